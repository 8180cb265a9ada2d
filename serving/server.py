"""radkit serve: answers over gRPC and HTTP as TensorFlow Serving does.

    radkit serve --model hippocampus=models/hippocampus --port 8500
    radkit serve --model_config_file models.config --rest_api_port 8501 --monitoring_config_file monitoring.config

In: folders of the layout FOLDER/<version>/saved_model.pb (`radkit export` writes it); the highest version is served
unless a configuration file says otherwise, and new ones are taken up while the server runs. Out:
tensorflow.serving.PredictionService and ModelService, grpc.health.v1.Health, reflection, and with --rest_api_port
TensorFlow Serving's REST API; stock clients work unchanged, as do `radkit predict` and `serving.client`. A line
"serving NAME version V on HOST:PORT" is printed for each version when it is ready.

tensorflow_model_server's flags are understood under their own names. Without --ssl_config_file the channel is neither
encrypted nor authenticated: keep to --host 127.0.0.1 or a closed network.

Exit status: 0 ended by SIGTERM or SIGINT; 2 refused (no such folder, port in use).
"""

import gc
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from absl import flags

from radkit import program, quiet
from radkit.errors import UserError
from serving import (
    answering,
    audit,
    autotune,
    batching,
    configs_text,
    counters,
    ending,
    endpoints,
    health,
    models,
    protocol,
    registry,
    rest,
    serve_flags,
    service,
    sessions,
    settings,
    warming,
    watching,
)

FLAGS = serve_flags.FLAGS

# How long calls under way may take to end after SIGTERM.
GRACE_S = 10.0


def start(
    loaded: Mapping[str, models.Model], host: str, port: int, *, workers: int, max_message_bytes: int
) -> tuple[grpc.Server, int]:
    """Starts a gRPC server for loaded models, as they are, and returns it with the port it listens on.

    Raises:
        UserError: The address cannot be had.
    """
    served = registry.Registry(registry.Loading(_no_loading))
    chosen = settings.Settings(workers)
    for name, model in loaded.items():
        served.hold(name, model, batching.Runner(model, chosen))
    door = endpoints.Door(host, port, _threads(chosen), max_message_bytes)
    answers = service.Service(served, min(max_message_bytes, protocol.MAX_BYTES))
    return endpoints.start(answers, health.Health(lambda: True), door)


def _no_loading(name: str, base: Path, version: int) -> Any:
    raise UserError(
        f"version {version} of model {name} in {base} cannot be loaded: this server serves what it was given"
    )


def _threads(chosen: settings.Settings) -> int:
    return chosen.workers + chosen.most_waiting + endpoints.SPARE_THREADS


@dataclass(frozen=True)
class _Parts:
    """What a running server is made of."""

    served: registry.Registry
    answers: service.Service
    state: health.Health
    figures: counters.Figures | None


def _run(values: flags.FlagValues, _: list[str]) -> int:
    serve_flags.check(values)
    wanted = serve_flags.wanted(values)
    for one in wanted:  # a wrong folder is told before seconds go into TensorFlow
        models.check_base(one.base)
    serves, ended = threading.Event(), threading.Event()
    # Until it serves, no call can be under way.
    ending.heard(lambda: ended.set() if serves.is_set() else os._exit(program.DONE))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    ready: list[tuple[str, int]] = []
    told: list[Callable[[str, int], None]] = [lambda name, version: ready.append((name, version))]
    parts = _parts(values, lambda name, version: told[-1](name, version))
    problems = parts.served.configure(wanted, waits=values["file_system_poll_wait_seconds"].value > 0)
    if problems:
        raise UserError("; ".join(problems))
    server, port = endpoints.start(parts.answers, parts.state, _door(values, parts))
    serves.set()
    web = _web(values, parts)
    told.append(_teller(endpoints.address(values["host"].value, port), parts.state))
    for name, version in ready:
        told[-1](name, version)
    watcher = _watcher(values, parts.served)
    ended.wait()
    parts.state.changed(ending=True)
    watcher.stop(0.0)  # a version that is just being loaded is waited for by nobody
    stopped = server.stop(GRACE_S)
    if web is not None:
        web.drain(GRACE_S)
    stopped.wait(GRACE_S + 1.0)
    # No answer is under way, and nothing is left to write. Taking TensorFlow's and gRPC's threads down one by one was
    # once seen to hang, and whoever stops a server waits for it.
    sys.stdout.flush()
    os._exit(program.DONE)


def _teller(address: str, state: health.Health) -> Callable[[str, int], None]:
    def tell(name: str, version: int) -> None:
        program.say(f"serving {name} version {version} on {address}")
        state.changed()

    return tell


def _parts(values: flags.FlagValues, told: Callable[[str, int], None]) -> _Parts:
    log = audit.Log(Path(values["audit_log"].value)) if values["audit_log"].value else None
    with quiet.held_back():
        import tensorflow  # noqa: F401 - what it makes stays for good: not to be looked through again and again
    gc.collect()
    gc.freeze()
    monitored = values["monitoring_config_file"].value
    path = configs_text.monitoring_file(Path(monitored)) if monitored else None
    figures = counters.Figures(lambda: served.available()) if path else None
    ahead = "allow_version_labels_for_unavailable_models"
    served = registry.Registry(
        registry.Loading(
            _loader(values, figures),
            told,
            lambda: state.changed(),
            values["max_num_load_retries"].value,
            values["load_retry_interval_micros"].value / 1e6,
            values[ahead].value or values["force_allow_any_version_labels_for_unavailable_models"].value,
        )
    )
    state = health.Health(lambda: all(served.available().values()))
    max_bytes = min(values["max_message_mib"].value << 20, protocol.MAX_BYTES)
    answers = service.Service(served, max_bytes, figures, log)
    return _Parts(served, answers, state, figures)


def _loader(
    values: flags.FlagValues, figures: counters.Figures | None
) -> Callable[[str, Path, int], tuple[models.Model, batching.Runner]]:
    wishes = serve_flags.wishes(values)
    both = values["tensorflow_session_parallelism"].value
    threads = sessions.Threads(
        values["tensorflow_intra_op_parallelism"].value or both,
        values["tensorflow_inter_op_parallelism"].value or both,
        values["per_process_gpu_memory_fraction"].value,
    )
    times = values["num_request_iterations_for_warmup"].value if values["enable_model_warmup"].value else 0

    def load(name: str, base: Path, version: int) -> tuple[models.Model, batching.Runner]:
        model = models.load(base, version, threads)
        try:
            if values["autotune"].value:
                program.say(autotune.tune(name, model))
            seen = None if figures is None else lambda examples, seconds: figures.run(name, examples, seconds)
            runner = batching.Runner(model, settings.of(model.folder, wishes), seen)
            if times:
                warming.play(answering.Asked(model, runner, name), times)
        except BaseException:
            model.close()
            raise
        return model, runner

    return load


def _door(values: flags.FlagValues, parts: _Parts) -> endpoints.Door:
    wishes = serve_flags.wishes(values)
    chosen = settings.Settings(wishes.workers or os.cpu_count() or 1, wishes.most_waiting)
    return endpoints.Door(
        values["host"].value,
        values["port"].value,
        values["grpc_max_threads"].value or _threads(chosen) * max(1, len(parts.served.available())),
        values["max_message_mib"].value << 20,
        _tls(values),
        values["grpc_socket_path"].value,
        serve_flags.channel_arguments(values["grpc_channel_arguments"].value),
    )


def _tls(values: flags.FlagValues) -> configs_text.Tls | None:
    path = values["ssl_config_file"].value
    return configs_text.tls_file(Path(path)) if path else None


def _web(values: flags.FlagValues, parts: _Parts) -> rest.Server | None:
    if not values["rest_api_port"].value:
        return None
    monitored = values["monitoring_config_file"].value
    server = rest.Server(
        parts.answers,
        rest.Door(
            values["host"].value,
            max(0, values["rest_api_port"].value),
            values["rest_api_num_threads"].value,
            values["rest_api_timeout_in_ms"].value / 1000,
            values["max_message_mib"].value << 20,
            _tls(values),
            configs_text.monitoring_file(Path(monitored)) if monitored else None,
            values["rest_api_enable_cors_support"].value,
        ),
    )
    program.say(f"REST API on {endpoints.address(values['host'].value, server.server_address[1])}")
    return server


def _watcher(values: flags.FlagValues, served: registry.Registry) -> watching.Watcher:
    config = values["model_config_file"].value
    return watching.Watcher(
        served,
        values["file_system_poll_wait_seconds"].value,
        Path(config) if config else None,
        values["model_config_file_poll_wait_seconds"].value,
        serve_flags.by_name(values),
    )


def main(argv: Sequence[str]) -> int:
    """Runs the verb."""
    return program.run(sys.modules[__name__], _run, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
