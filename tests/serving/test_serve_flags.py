"""The flags of `radkit serve`, TensorFlow Serving's files, and what --autotune stores."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
from absl import flags

from radkit.errors import UserError
from serving import autotune, configs_text, models, serve_flags, server, settings, warm_up
from tests.serving import running

SPLIT = "enable_large_batch_splitting { value: true }"


def given(*words: str) -> flags.FlagValues:
    values = copy.deepcopy(serve_flags.FLAGS)
    values(["radkit serve", *words])
    return values


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--model=a=/x", "--use_alts_credentials=true"], "--use_alts_credentials of tensorflow_model_server is not"),
        (["--model=a=/x", "--saved_model_tags=serve,gpu"], "only the tag serve"),
        (["--model=a=/x", "--batching_parameters_file=/b"], "needs --enable_batching"),
        (["--model=a=/x", "--port=8500", "--rest_api_port=8500"], "must differ"),
        (["--model_base_path=/nowhere/at/all"], "is not a folder"),
        (["--model_base_path=/x", "--model_name=a b"], "no model's name"),
        (["--model_config_file=/nowhere/at/all"], "cannot be read"),
        (["--model=a=/x", "--model_base_path=/y", "--model_name=a"], "given twice"),
        (["--no_such_flag=1", "--model=a=/x"], "no_such_flag"),
    ],
)
def test_flags_that_cannot_be_honoured_are_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.main(["radkit serve", *words]) == 2
    printed = capsys.readouterr().err
    assert told in printed
    assert printed.count("\n") == 1


def test_flags_of_tensorflow_model_server_are_understood() -> None:
    values = given(
        "--port=8500", "--rest_api_port=8501", "--model_name=m", "--model_base_path=/models/m", "--grpc_max_threads=8",
        "--enable_batching=true", "--file_system_poll_wait_seconds=5", "--flush_filesystem_caches=false",
        "--tensorflow_intra_op_parallelism=2", "--grpc_channel_arguments=grpc.max_connection_age_ms=5,grpc.a=b",
        "--load_retry_interval_micros=100", "--enable_model_warmup=false", "--use_alts_credentials=false",
    )  # fmt: skip
    serve_flags.check(values)
    assert serve_flags.wanted(values) == [configs_text.Wanted("m", Path("/models/m"))]
    assert serve_flags.wishes(values) == settings.Wishes(None, 64, True)
    told = serve_flags.channel_arguments(values["grpc_channel_arguments"].value)
    assert told == {"grpc.max_connection_age_ms": 5, "grpc.a": "b"}


def test_switches_may_stand_without_a_value() -> None:
    values = given(
        "--model=a=/x", "--enable_grpc_healthcheck_service", "--port", "8511", "--load_retry_interval_micros=-1",
        "--enable_profiler=false", "--noprefer_tflite_model",
    )  # fmt: skip
    serve_flags.check(values)
    assert (values["port"].value, values["load_retry_interval_micros"].value) == (8511, -1)
    for name in ("xla_gpu_compilation_enabled", "enable_per_model_batching_parameters", "prefer_tflite_model"):
        with pytest.raises(UserError, match=f"--{name} of tensorflow_model_server is not"):
            serve_flags.check(given("--model=a=/x", f"--{name}"))


def test_models_config_is_read(tmp_path: Path) -> None:
    (tmp_path / "models.config").write_text("""
        model_config_list {
          config { name: "a" base_path: "/m/a" model_platform: "tensorflow"
                   model_version_policy { specific { versions: 42 versions: 43 } }
                   version_labels { key: "stable" value: 42 } }
          config { name: "b" base_path: "/m/b" model_type: TENSORFLOW
                   model_version_policy { latest { num_versions: 2 } } }
          config { name: "c" base_path: "/m/c" model_version_policy { all {} } }
        }""")
    assert configs_text.models_file(tmp_path / "models.config") == [
        configs_text.Wanted("a", Path("/m/a"), configs_text.Policy(0, (42, 43)), {"stable": 42}),
        configs_text.Wanted("b", Path("/m/b"), configs_text.Policy(2)),
        configs_text.Wanted("c", Path("/m/c"), configs_text.Policy(0)),
    ]
    for text, words in (
        ("model_config_list { config { name: 'a' } }", "absolute"),
        ("nonsense: 1", "text format"),
        ("model_config_list { config { name: 'a' base_path: '/a' model_platform: 'onnx' } }", "onnx"),
        ("model_config_list { " + "config { name: 'a' base_path: '/a' } " * 2 + "}", "twice"),
        ("custom_model_config { }", "no model_config_list"),
    ):
        (tmp_path / "models.config").write_text(text)
        with pytest.raises(UserError, match=words):
            configs_text.models_file(tmp_path / "models.config")


def test_batching_and_monitoring_files_are_read(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text("""max_batch_size { value: 8 } batch_timeout_micros { value: 500 } num_batch_threads { value: 3 }
                       max_enqueued_batches { value: 7 } allowed_batch_sizes: [2, 8]""")
    assert configs_text.batching_file(file) == (settings.Batching(8, 0.0005, (2, 8)), 3, 7)
    values = given("--model=a=/x", "--enable_batching", f"--batching_parameters_file={file}")
    assert serve_flags.wishes(values) == settings.Wishes(3, 7, True, settings.Batching(8, 0.0005, (2, 8)))
    for text, words in (
        ("pad_variable_length_inputs: true", "other answers"),
        ("allowed_batch_sizes: 4", "end with max_batch_size"),
        ("num_batch_threads { value: 0 }", "at least 1"),
        ("max_batch_size { value: 0 }", "at least 1"),
        ("batch_timeout_micros { value: -1 }", "at least 0"),
        (f"max_batch_size {{ value: 8 }} {SPLIT} max_execution_batch_size {{ value: 9 }}", "at most max_batch_size, 8"),
        (f"{SPLIT} max_execution_batch_size {{ value: 4 }} allowed_batch_sizes: 8", "max_execution_batch_size, 4"),
    ):
        file.write_text(text)
        with pytest.raises(UserError, match=words):
            configs_text.batching_file(file)
    file.write_text(f"{SPLIT} max_execution_batch_size {{ value: 4 }} allowed_batch_sizes: 2 allowed_batch_sizes: 4")
    assert configs_text.batching_file(file)[0] == settings.Batching(4, 0.0, (2, 4))
    file.write_text("max_execution_batch_size { value: 4 }")  # says nothing where nothing is split
    assert configs_text.batching_file(file)[0] == settings.Batching()
    file.write_text("prometheus_config { enable: true }")
    assert configs_text.monitoring_file(file) == "/monitoring/prometheus/metrics"
    file.write_text('prometheus_config { enable: true path: "/figures" }')
    assert configs_text.monitoring_file(file) == "/figures"
    file.write_text("")
    assert configs_text.monitoring_file(file) is None


def test_autotune_stores_what_is_read_at_load(tmp_path: Path) -> None:
    running.save(tmp_path / "1", 2.0)
    model = models.load(tmp_path)
    with pytest.raises(UserError, match="radkit export writes it"):
        autotune.tune("m", model)
    warm_up.write(model.folder, "m", {"0/serving_default": {"x": np.ones((1, 2), np.float32)}})
    assert "requests/s" in autotune.tune("m", model, round_s=0.02)
    stored = json.loads((model.folder / settings.FILE).read_text())
    rates = {
        (one["workers"], one["max_batch_size"]): one["requests_per_s"] for one in stored["measured"]["requests_per_s"]
    }
    found = settings.read(model.folder)
    assert found is not None
    size = found.batching.max_batch_size if found.batching else 1
    plain = rates[stored["measured"]["cpus"], 1]
    assert rates[found.workers, size] >= plain  # never slower than without
    assert settings.of(model.folder, settings.Wishes(workers=5)).workers == 5
    joined = settings.Batching(3)
    assert settings.of(model.folder, settings.Wishes(enable_batching=True, batching=joined)).batching == joined
    assert settings.of(model.folder, settings.Wishes(enable_batching=True)).batching == found.batching
    model.close()


def test_settings_that_are_damaged_are_told(tmp_path: Path) -> None:
    assert settings.of(tmp_path, settings.Wishes()).batching is None
    assert settings.of(tmp_path, settings.Wishes(enable_batching=True)).batching == settings.Batching()
    (tmp_path / settings.FILE).parent.mkdir()
    for text in ("{", "[]", '{"workers": 1}', '{"workers": "a", "batching": null}'):
        (tmp_path / settings.FILE).write_text(text)
        with pytest.raises(UserError, match="damaged"):
            settings.read(tmp_path)


def test_warm_up_requests_that_are_not_answered_leave_a_version_out(tmp_path: Path) -> None:
    running.save(tmp_path / "1", 2.0)
    with running.running([configs_text.Wanted("m", tmp_path)]) as started:
        running.save(tmp_path / "aside", 3.0)
        warm_up.write(tmp_path / "aside", "m", {"0/serving_default": {"x": np.ones((1, 7), np.float32)}})
        (tmp_path / "aside").rename(tmp_path / "2")
        (problem,) = started.served.refresh()
        assert "warm-up request 1 was not answered" in problem
        assert running.factor(started) == 2
        warm_up.write(tmp_path / "2", "m", {"0/serving_default": {"x": np.ones((1, 2), np.float32)}})
        assert started.served.refresh() == []
        assert running.factor(started) == 3
