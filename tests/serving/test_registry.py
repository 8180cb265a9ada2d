"""Versions that come and go while a server runs, seen through the stock stubs."""

import gc
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorflow_serving.apis import get_model_status_pb2, model_management_pb2

from serving import configs_text, models, registry, watching
from serving.configs_text import Policy, Wanted
from tests.serving import running
from tests.serving.running import factor, put

CODE = grpc.StatusCode
State = get_model_status_pb2.ModelVersionStatus


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    base = tmp_path_factory.mktemp("saved")
    return {number: running.save(base / str(number), float(number)) for number in (1, 2)}


@pytest.fixture
def base(saved: dict[int, Path], tmp_path: Path) -> Path:
    put(saved[1], tmp_path, 1)
    return tmp_path


@pytest.fixture
def server(base: Path) -> Iterator[running.Running]:
    with running.running([Wanted("m", base)]) as started:
        yield started


def states(server: running.Running) -> dict[int, tuple[int, str]]:
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "m"
    found = server.status.GetModelStatus(asked, timeout=60).model_version_status
    return {one.version: (one.state, one.status.error_message) for one in found}


def wait_for(met: Callable[[], bool]) -> None:
    ends = time.monotonic() + 30
    while not met():
        assert time.monotonic() < ends
        time.sleep(0.01)


def reload(
    server: running.Running, *wanted: tuple[str, Path], labels: dict[str, int] | None = None, **rule: int
) -> None:
    asked = model_management_pb2.ReloadConfigRequest()
    for name, folder in wanted:
        one = asked.config.model_config_list.config.add(name=name, base_path=str(folder), model_platform="tensorflow")
        if "specific" in rule:
            one.model_version_policy.specific.versions.extend(rule["specific"])
        one.version_labels.update(labels or {})
    reply = server.status.HandleReloadConfigRequest(asked, timeout=60)
    assert reply.status.error_code == 0


def test_a_new_version_takes_over_and_the_old_one_ends(
    server: running.Running, saved: dict[int, Path], base: Path
) -> None:
    assert factor(server) == 1
    put(saved[2], base, 7)
    assert server.served.refresh() == []
    assert factor(server) == 2
    wait_for(lambda: states(server)[1][0] == State.END)
    assert states(server)[7] == (State.AVAILABLE, "")
    shutil.rmtree(base / "7")
    assert server.served.refresh() == []  # back to the one that is there
    assert factor(server) == 1


def test_a_damaged_version_is_refused_while_the_old_one_serves(
    server: running.Running, saved: dict[int, Path], base: Path
) -> None:
    put(saved[2], base, 2)
    (data,) = base.glob("2/variables/variables.data*")
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    (problem,) = server.served.refresh()
    assert "cannot be loaded" in problem
    assert factor(server) == 1
    state, words = states(server)[2]
    assert state == State.END
    assert "version 2 is not served" in words
    assert server.served.refresh() == [problem]  # not tried again: nothing changed
    data.write_bytes(whole)
    assert server.served.refresh() == []
    assert factor(server) == 2


def test_a_folder_without_a_graph_is_not_a_version_yet(server: running.Running, base: Path) -> None:
    (base / "9").mkdir()
    assert server.served.refresh() == []
    assert list(states(server)) == [1]


def test_a_number_that_no_request_can_name_is_no_version(
    server: running.Running, base: Path, saved: dict[int, Path]
) -> None:
    for name in ("9" * 25, str(1 << 63)):
        shutil.copytree(saved[2], base / name)
    assert server.served.refresh() == []
    assert list(states(server)) == [1]
    assert models.find_version(base)[0] == 1


def test_a_folder_that_is_away_leaves_the_model_in_service(server: running.Running, base: Path) -> None:
    base.rename(base.with_name("away"))
    (problem,) = server.served.refresh()
    assert "is not a folder" in problem
    assert factor(server) == 1


def test_policies_and_labels_come_by_reload_requests(
    server: running.Running, saved: dict[int, Path], base: Path
) -> None:
    put(saved[2], base, 2)
    reload(server, ("m", base), specific=[1, 2], labels={"stable": 1, "canary": 2})
    assert factor(server, version_label="stable") == 1
    assert factor(server, version_label="canary") == 2
    assert factor(server, version=1) == 1
    assert factor(server) == 2
    reload(server, ("m", base), specific=[1, 2], labels={"stable": 2})
    assert factor(server, version_label="stable") == 2
    with pytest.raises(grpc.RpcError) as caught:
        factor(server, version_label="canary")
    assert caught.value.code() == CODE.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as caught:
        reload(server, ("m", base), specific=[1, 2], labels={"stable": 5})
    assert caught.value.code() == CODE.FAILED_PRECONDITION
    assert "not currently available" in caught.value.details()
    assert factor(server, version_label="stable") == 2


def test_a_reload_request_adds_and_removes_models(server: running.Running, base: Path) -> None:
    reload(server, ("m", base), ("other", base))
    assert factor(server, name="other") == 1
    reload(server, ("other", base))
    with pytest.raises(grpc.RpcError) as caught:
        factor(server)
    assert caught.value.code() == CODE.NOT_FOUND


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", CODE.INVALID_ARGUMENT, "no model_config_list"),
        ('model_config_list { config { name: "m" base_path: "here" } }', CODE.INVALID_ARGUMENT, "absolute"),
        ('model_config_list { config { name: "a b" base_path: "/x" } }', CODE.INVALID_ARGUMENT, "no model's name"),
        ('model_config_list { config { name: "m" base_path: "/no/such" } }', CODE.FAILED_PRECONDITION, "not a folder"),
    ],
)
def test_a_wrong_reload_request_changes_nothing(
    server: running.Running, text: str, code: grpc.StatusCode, words: str
) -> None:
    asked = model_management_pb2.ReloadConfigRequest()
    text_format.Parse(text, asked.config)
    with pytest.raises(grpc.RpcError) as caught:
        server.status.HandleReloadConfigRequest(asked, timeout=60)
    assert caught.value.code() == code
    assert words in caught.value.details()
    assert factor(server) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('config { name: "bad" base_path: "{none}" }', "not a folder"),
        ('config { name: "bad" base_path: "{damaged}" }', "is not a SavedModel"),
        ('config { name: "bad" base_path: "{empty}" }', "holds no version"),
        ('config { name: "bad" base_path: "{base}" version_labels { key: "x" value: 9 } }', "not currently available"),
        ('config { name: "bad" base_path: "{base}" model_version_policy { specific { versions: 5 } } }', "no version"),
    ],
)
def test_of_several_models_all_are_taken_up_or_none(
    server: running.Running, saved: dict[int, Path], base: Path, tmp_path: Path, more: str, words: str
) -> None:
    places = {name: tmp_path / "places" / name for name in ("none", "damaged", "empty", "base", "two")}
    for name in ("damaged/1", "empty"):
        (tmp_path / "places" / name).mkdir(parents=True)
    (places["damaged"] / "1" / models.GRAPH).write_bytes(b"\xff\xff")
    for number, name in ((1, "base"), (2, "two")):
        places[name].mkdir()
        put(saved[number], places[name], 1)
    reload(server, ("m", base), ("other", base))
    for name, place in places.items():
        more = more.replace(f"{{{name}}}", str(place))
    asked = model_management_pb2.ReloadConfigRequest()
    moved = f'config {{ name: "m" base_path: "{places["two"]}" }} config {{ name: "new" base_path: "{base}" }}'
    text_format.Parse(f"model_config_list {{ {moved} {more} }}", asked.config)
    with pytest.raises(grpc.RpcError) as caught:
        server.status.HandleReloadConfigRequest(asked, timeout=60)
    assert (caught.value.code(), words in caught.value.details()) == (CODE.FAILED_PRECONDITION, True)
    assert server.served.available() == {"m": [1], "other": [1]}
    assert (factor(server), factor(server, name="other")) == (1, 1)
    assert server.served.refresh() == []


def test_a_model_from_another_folder_answers_anew(
    server: running.Running, saved: dict[int, Path], base: Path, tmp_path: Path
) -> None:
    (tmp_path / "two").mkdir()
    put(saved[2], tmp_path / "two", 1)
    (held,) = server.served._table["m"].values()
    assert factor(server, version=1) == 1
    reload(server, ("m", tmp_path / "two"))
    assert factor(server, version=1) == 2
    wait_for(lambda: held.state == State.END)


def test_a_model_without_versions_waits_for_one(saved: dict[int, Path], tmp_path: Path) -> None:
    with running.running([]) as server:
        assert server.served.configure([Wanted("m", tmp_path)]) != []
        assert server.served.configure([Wanted("m", tmp_path)], waits=True) == []
        health = server.channel.unary_unary("/grpc.health.v1.Health/Check")
        assert health(b"", timeout=60) == b"\x08\x02"
        for ask in (lambda: factor(server), lambda: states(server)):
            with pytest.raises(grpc.RpcError) as caught:
                ask()
            assert caught.value.code() == CODE.NOT_FOUND
        assert server.ask("/v1/models/m")[0] == 404
        put(saved[2], tmp_path, 1)
        assert server.served.refresh() == []
        assert factor(server) == 2
        assert health(b"", timeout=60) == b"\x08\x01"


def test_a_version_that_fails_unforeseen_holds_no_other_model_up(
    saved: dict[int, Path], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running.running([Wanted("a", base), Wanted("b", base)]) as server:
        load = server.served._loading.load

        def fails(name: str, *where: object) -> object:
            if name == "a":
                raise MemoryError("no room")
            return load(name, *where)

        monkeypatch.setattr(server.served, "_loading", registry.Loading(fails))
        put(saved[2], base, 2)
        (problem,) = server.served.refresh()
        assert "model a version 2 is not served: MemoryError: no room" in problem
        assert (factor(server, name="a"), factor(server, name="b")) == (1, 2)


def test_a_call_under_way_ends_on_the_version_that_goes(saved: dict[int, Path], base: Path) -> None:
    model = models.load(base)
    held = registry.Held("m", 1, model=model)
    held.state = 30
    assert held.enter()
    held.state = 40
    assert not held.enter()
    drained = threading.Thread(target=held.drain)
    drained.start()
    assert model.answer("", {"x": tf.constant([[1.0, 1.0]]).numpy()})["y"].tolist() == [[1.0, 1.0]]
    assert drained.is_alive()
    held.leave()
    drained.join(timeout=30)
    assert (held.state, held.model) == (50, None)


def _reloads(
    server: running.Running, saved: dict[int, Path], base: Path, times: int, first: int = 10
) -> tuple[int, list[str]]:
    """Takes up versions while clients ask on and on; returns the number of answers and the errors."""
    errors: list[str] = []
    answers, ended = [0], threading.Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                assert factor(server) in (1, 2)
                answers[0] += 1
            except grpc.RpcError as error:
                errors.append(f"{error.code()} {error.details()}")

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for version in range(first, first + times):
            put(saved[1 + version % 2], base, version)
            assert server.served.refresh() == []
            shutil.rmtree(base / str(version - 1), ignore_errors=True)
    finally:
        ended.set()
        for client in clients:
            client.join()
    return answers[0], errors


def test_clients_see_nothing_of_versions_taken_up(server: running.Running, saved: dict[int, Path], base: Path) -> None:
    answers, errors = _reloads(server, saved, base, 8)
    assert errors == []
    assert answers > 8


def _resident_mib() -> float:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.long
def test_a_hundred_versions_under_load_cost_no_call_and_no_memory(
    server: running.Running, saved: dict[int, Path], base: Path
) -> None:
    assert _reloads(server, saved, base, 10)[1] == []
    before = _resident_mib()
    answers, errors = _reloads(server, saved, base, 100, first=20)
    assert errors == []
    assert answers > 100
    assert _resident_mib() < 1.2 * before


def test_the_watcher_takes_up_folders_and_the_configuration_file(
    saved: dict[int, Path], base: Path, tmp_path: Path
) -> None:
    config = tmp_path / "models.config"
    config.write_text(f'model_config_list {{ config {{ name: "m" base_path: "{base}" }} }}')
    with running.running(configs_text.models_file(config)) as server:
        watcher = watching.Watcher(server.served, 0.05, config, 0.05)
        try:
            put(saved[2], base, 2)
            wait_for(lambda: factor(server) == 2)
            config.write_text("what is this")  # left aside, with a line in the log
            time.sleep(0.2)
            assert factor(server) == 2
            all_of_them = "model_version_policy { all {} }"
            config.write_text(f'model_config_list {{ config {{ name: "m" base_path: "{base}" {all_of_them} }} }}')
            wait_for(lambda: server.served.available() == {"m": [1, 2]})
        finally:
            watcher.stop()


def test_models_of_flags_stay_when_the_configuration_file_changes(base: Path, tmp_path: Path) -> None:
    config, flagged = tmp_path / "models.config", Wanted("f", base)
    one = 'config {{ name: "{}" base_path: "{}" }}'.format
    config.write_text(f"model_config_list {{ {one('m', base)} }}")
    with running.running([flagged, *configs_text.models_file(config)]) as server:
        watcher = watching.Watcher(server.served, 0.0, config, 0.05, [flagged])
        try:
            config.write_text(f"model_config_list {{ {one('n', base)} }}")
            wait_for(lambda: server.served.available() == {"f": [1], "n": [1]})
            config.write_text(f"model_config_list {{ {one('f', base)} }}")  # twice: left aside
            wait_for(lambda: watcher._refused_at is not None)
            assert server.served.available() == {"f": [1], "n": [1]}
        finally:
            watcher.stop()


def test_a_configuration_that_was_refused_is_tried_again(
    saved: dict[int, Path], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_AGAIN_S", 0.2)
    config, later = tmp_path / "models.config", tmp_path / "later"
    one = 'config {{ name: "{}" base_path: "{}" }}'.format
    config.write_text(f"model_config_list {{ {one('m', base)} }}")
    with running.running(configs_text.models_file(config)) as server:
        watcher = watching.Watcher(server.served, 0.0, config, 0.05)
        try:
            config.write_text(f"model_config_list {{ {one('m', base)} {one('n', later)} }}")
            wait_for(lambda: watcher._refused_at is not None)
            assert server.served.available() == {"m": [1]}
            later.mkdir()
            put(saved[2], later, 1)
            wait_for(lambda: server.served.available() == {"m": [1], "n": [1]})
        finally:
            watcher.stop()


def test_policies_choose_of_what_is_there() -> None:
    assert Policy().choose([]) == []
    assert Policy(0, (9,)).choose([1, 2]) == []
    assert Policy(5).choose([2, 1]) == [1, 2]
