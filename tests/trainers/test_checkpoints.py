"""Checkpoints: the same bits back, the right ones kept, others refused; a run's folder locked."""

import dataclasses
import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

from radkit import config, outputs, runs
from radkit.errors import UserError
from trainers import checkpoint_files, checkpoints

TRAINER = config.Trainer(keep_last=2)
DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool")


def variables(*values: object) -> dict[str, list[tf.Variable]]:
    return {"network": [tf.Variable(value, name=f"v{i}") for i, value in enumerate(values)]}


def bits(parts: Mapping[str, Sequence[tf.Variable]]) -> list[bytes]:
    return [variable.numpy().tobytes() for part in parts.values() for variable in part]


def saved(run: Path, *steps: int) -> dict[str, list[tf.Variable]]:
    """Saves one variable whose value is the step, and best weights that name it."""
    run.mkdir(exist_ok=True)
    parts = variables(np.zeros(3, np.float32))
    keeper = checkpoints.Keeper(run, parts, TRAINER)
    for step in steps:
        parts["network"][0].assign([step] * 3)
        outputs.write_text(run / runs.BEST, f"best of {step}")
        keeper.save(step, {"best": step / 10}, wait=True)
    keeper.close()
    return parts


def restored(run: Path, parts: Mapping[str, Sequence[tf.Variable]] | None = None) -> tuple[dict | None, float, str]:
    """Returns the facts, the variable's value and the best weights of a run that goes on."""
    parts = parts or variables(np.zeros(3, np.float32))
    facts = checkpoints.Keeper(run, parts, TRAINER).restore()
    best = run / runs.BEST
    return facts, float(parts["network"][0][0]), best.read_text() if best.is_file() else "none"


class TestSameBits:
    @hypothesis.settings(max_examples=25)
    @hypothesis.given(
        st.lists(st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=3)), max_size=5),
        st.integers(0, 2**31 - 1),
    )
    def test_of_any_variables(
        self, tmp_path_factory: pytest.TempPathFactory, kinds: list[tuple[str, list[int]]], seed: int
    ) -> None:
        run, random = tmp_path_factory.mktemp("run"), np.random.default_rng(seed)
        values = []
        for name, shape in kinds:
            kind = np.dtype(tf.as_dtype(name).as_numpy_dtype)
            raw = random.integers(0, 2 if name == "bool" else 256, int(np.prod(shape)) * kind.itemsize, np.uint8)
            values.append(raw.view(kind).reshape(shape))  # any bits at all: NaNs with payloads, denormals
        before, after = variables(*values), variables(*(np.zeros_like(value) for value in values))
        keeper = checkpoints.Keeper(run, before, TRAINER)
        keeper.save(7, {"best": 0.1, "losses": [1.5, None]})
        keeper.close()
        assert checkpoints.Keeper(run, after, TRAINER).restore() == {"best": 0.1, "losses": [1.5, None], "step": 7}
        assert bits(after) == bits(before)

    def test_variables_are_copied_before_save_returns(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        parts, may_write = variables(np.arange(4.0)), threading.Event()
        whole = checkpoint_files.write

        def late(*args: object) -> None:
            assert may_write.wait(30)
            whole(*args)

        monkeypatch.setattr(checkpoint_files, "write", late)
        keeper = checkpoints.Keeper(tmp_path, parts, TRAINER)
        outputs.write_text(tmp_path / runs.BEST, "best of then")
        keeper.save(1, {})
        outputs.write_text(tmp_path / runs.BEST, "best of later")
        parts["network"][0].assign([9.0] * 4)
        assert not (tmp_path / "state" / "1").exists()
        may_write.set()
        keeper.close()
        assert keeper.restore() == {"step": 1}
        assert parts["network"][0].numpy().tolist() == [0, 1, 2, 3]
        assert (tmp_path / runs.BEST).read_text() == "best of then"

    def test_a_run_tells_whether_there_is_one_to_go_on_from(self, tmp_path: Path) -> None:
        assert not checkpoints.has_whole(tmp_path)
        saved(tmp_path, 1, 2)
        for step, is_left in ((2, True), (1, False)):
            (tmp_path / "state" / str(step) / checkpoint_files.DATA).unlink()
            assert checkpoints.has_whole(tmp_path) == is_left

    def test_nothing_saved_changes_nothing(self, tmp_path: Path) -> None:
        parts = variables(3.0)
        assert checkpoints.Keeper(tmp_path, parts, TRAINER).restore() is None
        assert float(parts["network"][0]) == 3.0


class TestRefused:
    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ((np.zeros(4, np.float32),), r"network/0/v0 \(3,\) float32 instead of network/0/v0 \(4,\) float32"),
            ((np.zeros(3, np.float16),), "instead of network/0/v0 .3,. float16"),
            ((np.zeros(3, np.float32), 1.0), "of 1 variables that are not the 2 of this run"),
            ((), "of 1 variables that are not the 0"),
        ],
    )
    def test_other_variables(self, tmp_path: Path, values: tuple, message: str) -> None:
        saved(tmp_path, 1)
        with pytest.raises(UserError, match=message):
            checkpoints.Keeper(tmp_path, variables(*values), TRAINER).restore()

    def test_another_part_of_the_same_shapes(self, tmp_path: Path) -> None:
        parts = saved(tmp_path, 1)
        with pytest.raises(UserError, match="name another --output"):
            checkpoints.Keeper(tmp_path, {"average": parts["network"]}, TRAINER).restore()

    def test_a_layer_that_keras_numbered_otherwise_is_the_same(self, tmp_path: Path) -> None:
        for number in ("", "_3"):
            kernel = tf.Variable([1.0], name=f"net{number}/conv2d{number}/kernel")
            keeper = checkpoints.Keeper(tmp_path, {"network": [kernel]}, TRAINER)
            keeper.restore()
            keeper.save(1, {}, wait=True)

    def test_a_fact_that_is_no_number(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="JSON"):
            checkpoints.Keeper(tmp_path, variables(1.0), TRAINER).save(1, {"score": float("nan")})


class TestBestWeights:
    def test_a_run_that_goes_on_has_those_of_its_checkpoint(self, tmp_path: Path) -> None:
        saved(tmp_path, 1)
        outputs.write_text(tmp_path / runs.BEST, "best of a step that was lost")
        assert restored(tmp_path)[2] == "best of 1"
        assert [path.name for path in tmp_path.iterdir() if path.name != "state"] == [runs.BEST]

    def test_those_that_are_there_already_stay(self, tmp_path: Path) -> None:
        saved(tmp_path, 1)
        assert restored(tmp_path)[2] == "best of 1"
        assert sorted(path.name for path in tmp_path.iterdir()) == [runs.BEST, "state"]

    def test_without_any_at_the_time_there_are_none(self, tmp_path: Path) -> None:
        checkpoints.Keeper(tmp_path, variables(np.zeros(3, np.float32)), TRAINER).save(1, {}, wait=True)
        outputs.write_text(tmp_path / runs.BEST, "best of a step that was lost")
        assert restored(tmp_path)[2] == "none"

    def test_a_disk_without_links_gets_a_copy(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
        saved(tmp_path, 1, 2)
        outputs.write_text(tmp_path / runs.BEST, "best of a step that was lost")
        assert restored(tmp_path)[2] == "best of 2"


class TestHosts:
    def test_only_the_chief_writes_and_all_restore(self, tmp_path: Path) -> None:
        saved(tmp_path, 1)
        before = sorted(tmp_path.rglob("*"))
        outputs.write_text(tmp_path / runs.BEST, "the chief's to put back")
        parts = variables(np.zeros(3, np.float32))
        other = checkpoints.Keeper(tmp_path, parts, TRAINER, is_chief=False)
        assert other.restore() == {"best": 0.1, "step": 1}
        assert float(parts["network"][0][0]) == 1.0
        other.save(2, {}, wait=True)
        other.close()
        assert sorted(tmp_path.rglob("*")) == before
        assert (tmp_path / runs.BEST).read_text() == "the chief's to put back"


def test_an_error_of_the_thread_is_raised_at_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    saved(tmp_path, 1)
    keeper = checkpoints.Keeper(tmp_path, variables(np.zeros(3, np.float32)), TRAINER)
    with monkeypatch.context() as patched:
        patched.setattr(outputs, "require_space", full)
        keeper.save(2, {})
        with pytest.raises(OSError, match="No space left"):
            keeper.save(3, {})
        with pytest.raises(OSError, match="No space left"):
            keeper.save(4, {}, wait=True)
        keeper.save(5, {})
        with pytest.raises(OSError, match="No space left"):
            keeper.close()
    assert restored(tmp_path)[0] == {"best": 0.1, "step": 1}


SAVES = st.lists(
    st.tuples(st.floats(0, 3), st.one_of(st.none(), st.sampled_from([0.1, 0.5, 0.9]))), min_size=1, max_size=25
)


def test_a_step_is_saved_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is asked to stop while it validates saves the same step twice, the second time without its score."""
    keeper = checkpoints.Keeper(tmp_path, variables(1.0), TRAINER)
    keeper.save(1, {"score": 0.5})
    keeper.save(1, {}, wait=True)
    assert keeper.restore() == {"score": 0.5, "step": 1}
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_files, "write", lambda *_: (_ for _ in ()).throw(OSError("no disk")))
        with pytest.raises(OSError, match="no disk"):
            keeper.save(2, {}, wait=True)
    keeper.save(2, {}, wait=True)  # the one that failed counts for nothing
    assert keeper.restore() == {"step": 2}


TWO_REPLICAS = """
import sys
from pathlib import Path
import keras, numpy as np, tensorflow as tf
from radkit import config
from trainers import checkpoints
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
both = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
def new():
    with both.scope():
        network = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()])
        optimizer = keras.optimizers.SGD(momentum=0.9)
        optimizer.build(network.trainable_variables)
        scale = tf.Variable(2.0, trainable=False)
    parts = {"network": network.variables, "optimizer": optimizer.variables}
    return {name: [one.value for one in part] for name, part in parts.items()} | {"scale": [scale]}
before, after, run = new(), new(), Path(sys.argv[1])
checkpoints.Keeper(run, before, config.Trainer()).save(3, {}, wait=True)
assert checkpoints.Keeper(run, after, config.Trainer()).restore() == {"step": 3}
for part in before:
    for one, other in zip(before[part], after[part]):
        assert len({value.numpy().tobytes() for value in (*one.values, *other.values)}) == 1, one.name
        assert len(other.values) == 2
print("the same on both")
"""


@pytest.mark.slow
def test_all_replicas_are_restored(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", TWO_REPLICAS, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "the same on both\n", done.stderr


class TestKept:
    def test_by_hand(self) -> None:
        scores = [0.1, 0.9, None, 0.9, 0.2, 0.3, 0.3]
        known = [checkpoints.Saved(step, step / 2, score) for step, score in enumerate(scores)]
        assert checkpoints.kept(known, config.Trainer(keep_last=1)) == {3, 6}
        assert checkpoints.kept(known, config.Trainer(keep_last=3)) == {3, 4, 5, 6}
        assert checkpoints.kept(known, config.Trainer(keep_last=1, keep_every_hours=1.0)) == {0, 2, 3, 4, 6}

    @hypothesis.given(SAVES, st.integers(1, 4), st.sampled_from([0.0, 0.5, 2.0, 7.0]))
    def test_over_a_whole_run(self, saves: list[tuple[float, float | None]], last: int, hours: float) -> None:
        trainer = dataclasses.replace(TRAINER, keep_last=last, keep_every_hours=hours)
        now, stay, everything = 0.0, [], []
        for step, (passed, score) in enumerate(saves):
            now += passed
            everything.append(checkpoints.Saved(step, now, score))
            stay.append(everything[-1])
            steps = checkpoints.kept(stay, trainer)
            stay = [one for one in stay if one.step in steps]
        assert stay[-last:] == everything[-last:]
        scored = [one for one in everything if one.score is not None]
        best = max(scored, key=lambda one: (one.score, one.step), default=None)
        assert best is None or best in stay
        if hours:  # whatever the time, one of the hours before it is there
            assert all(any(0 <= one.hours - s.hours < hours or s == one for s in stay) for one in everything)
        else:
            assert len(stay) <= last + 1

    def test_on_disk(self, tmp_path: Path) -> None:
        keeper = checkpoints.Keeper(tmp_path, variables(1.0), config.Trainer(keep_last=2))
        for step, score in ((10, 0.2), (20, 0.8), (30, None), (40, 0.5), (50, 0.6)):
            keeper.save(step, {"score": score})
        keeper.close()
        assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["20", "40", "50"]


def test_a_run_that_another_process_trains_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with (tmp_path / ".run.lock").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="being trained by another process"), checkpoints.lock(run):
            raise AssertionError("two processes would train one run")
        assert (tmp_path / ".run.lock").exists()
    with checkpoints.lock(run):
        assert not run.exists()
    assert list(tmp_path.iterdir()) == []


def test_what_stands_in_the_way_of_a_runs_files_is_named(tmp_path: Path) -> None:
    checkpoints.require_places(tmp_path / "none", ["a"], ["b"])
    (tmp_path / "a").mkdir()
    (tmp_path / "b").write_text("x")
    checkpoints.require_places(tmp_path, ["b", "c"], ["a", "c"])
    with pytest.raises(UserError, match=r"/a is a folder, and a file of that name is to be written; move it, or name"):
        checkpoints.require_places(tmp_path, ["a"])
    with pytest.raises(UserError, match="/b is a file, and a folder of that name is to be written"):
        checkpoints.require_places(tmp_path, [], ["b"])
    (tmp_path / ".run.lock").mkdir()
    with pytest.raises(UserError, match=r"/\.run\.lock is a folder"), checkpoints.lock(tmp_path / "run"):
        pass


def test_a_lock_that_was_removed_while_it_was_taken_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process ends between our opening of its lock and our locking of it."""
    run, lock, locked = tmp_path / "run", tmp_path / ".run.lock", fcntl.flock
    lock.touch()
    ends = iter([lock.unlink])

    def flock(file: Any, how: int) -> None:
        next(ends, lambda: None)()
        locked(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with checkpoints.lock(run):
        assert lock.exists()
        with pytest.raises(UserError, match="being trained by another process"), checkpoints.lock(run):
            raise AssertionError("two processes would train one run")
    assert not lock.exists()


@pytest.mark.parametrize("content", [b"\xff\xfe{}\n", b"{a}\n", b'{"loss": 1}\n', b'["step"}\n'])
def test_a_damaged_history_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / runs.HISTORY).write_bytes(content)
    with pytest.raises(UserError, match=r"history\.jsonl is damaged .*; remove it, and the same command goes on"):
        checkpoints.cut_history(tmp_path, 3)


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_lines_that_a_history_lost_are_told(tmp_path: Path, lost: int, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (3, 6, 9):
        checkpoints.add_history(tmp_path, {"step": step})
    content = (tmp_path / runs.HISTORY).read_bytes()
    (tmp_path / runs.HISTORY).write_bytes(content[: 12 * (2 - lost) + 6])
    checkpoints.cut_history(tmp_path, 7, 2)
    told = capsys.readouterr().err
    assert (f"history.jsonl tells of {2 - lost} of the 2 validations up to step 7: it was cut" in told) == bool(lost)
    assert [line["step"] for line in runs.history(tmp_path)] == [3, 6][: 2 - lost]


def test_a_line_of_the_history_is_on_the_disk_before_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: waited.append(os.fstat(number).st_size))
    checkpoints.add_history(tmp_path, {"step": 3})
    assert waited == [(tmp_path / runs.HISTORY).stat().st_size] == [12]


def test_a_checkpoint_that_cannot_be_read_is_in_no_savings_way(tmp_path: Path) -> None:
    saved(tmp_path, 1, 2)
    manifest = tmp_path / "state" / "2" / checkpoint_files.MANIFEST
    manifest.unlink()
    manifest.mkdir()  # reading it is an OSError, as on a disk that fails there
    parts = variables(np.zeros(3, np.float32))
    keeper = checkpoints.Keeper(tmp_path, parts, TRAINER)
    assert keeper.restore() == {"best": 0.1, "step": 1}
    keeper.save(2, {"best": 0.2}, wait=True)
    manifest.unlink()
    manifest.mkdir()
    keeper.save(3, {}, wait=True)
    keeper.close()
    # It may be readable again, and the best one: it stays.
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["1", "2", "3"]


def test_a_refused_run_leaves_no_folder_above_it_behind(tmp_path: Path) -> None:
    with checkpoints.lock(tmp_path / "runs" / "deep" / "first"):
        assert (tmp_path / "runs" / "deep").is_dir()
    assert list(tmp_path.iterdir()) == []
    with checkpoints.lock(tmp_path / "runs" / "second"):
        (tmp_path / "runs" / "second").mkdir()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["second"]
