"""A checkpoint's files: cut, changed or half written ones are never gone on from."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from radkit import runs
from radkit.errors import UserError
from tests.trainers.test_checkpoints import TRAINER, restored, saved, variables
from trainers import checkpoint_files, checkpoints


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.unlink()  # of a link, the other name's file stays as it was
    path.write_bytes(content)


def other_fact(path: Path) -> None:
    path.write_text(path.read_text().replace('"best": 0.2', '"best": 0.9'))


class TestDamaged:
    @pytest.mark.parametrize(
        ("name", "damage", "message"),
        [
            (checkpoint_files.DATA, cut, "data.bin is cut or was changed"),
            (checkpoint_files.DATA, flip, "data.bin is cut or was changed"),
            (checkpoint_files.DATA, Path.unlink, "data.bin is missing"),
            (checkpoint_files.MANIFEST, cut, "manifest.json is cut or was changed"),
            (checkpoint_files.MANIFEST, other_fact, "manifest.json was changed"),
            (checkpoint_files.MANIFEST, Path.unlink, "manifest.json is missing"),
            (runs.BEST, flip, "best.weights.h5 is cut or was changed"),
        ],
    )
    def test_the_one_before_is_taken(
        self,
        tmp_path: Path,
        name: str,
        damage: Callable[[Path], None],
        message: str,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        saved(tmp_path, 1, 2)
        damage(tmp_path / "state" / "2" / name)
        assert restored(tmp_path) == ({"best": 0.1, "step": 1}, 1.0, "best of 1")
        told = capsys.readouterr().err
        assert told == f"radkit: checkpoint {tmp_path / 'state' / '2'} is passed over: {message}\n"

    @hypothesis.settings(max_examples=40)
    @hypothesis.given(
        st.sampled_from([checkpoint_files.DATA, checkpoint_files.MANIFEST]), st.integers(0), st.integers(0, 7)
    )
    def test_no_changed_bit_is_ever_restored(
        self, tmp_path_factory: pytest.TempPathFactory, name: str, place: int, bit: int
    ) -> None:
        run = tmp_path_factory.mktemp("run")
        saved(run, 1, 2)
        path = run / "state" / "2" / name
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= 1 << bit
        path.write_bytes(content)
        newest, before = ({"best": 0.2, "step": 2}, 2.0, "best of 2"), ({"best": 0.1, "step": 1}, 1.0, "best of 1")
        # A manifest in which white space became other white space says the same.
        assert restored(run) in ((before,) if name == checkpoint_files.DATA else (before, newest))

    def test_it_goes_with_the_next_save(self, tmp_path: Path) -> None:
        saved(tmp_path, 1, 3)
        cut(tmp_path / "state" / "3" / checkpoint_files.DATA)
        keeper = checkpoints.Keeper(tmp_path, variables(np.zeros(3, np.float32)), TRAINER)
        assert keeper.restore()["step"] == 1
        keeper.save(2, {}, wait=True)
        assert sorted(path.name for path in (tmp_path / "state").iterdir()) == ["1", "2"]
        assert keeper.restore() == {"step": 2}

    def test_its_step_can_be_saved_again(self, tmp_path: Path) -> None:
        saved(tmp_path, 1, 2)
        cut(tmp_path / "state" / "2" / checkpoint_files.DATA)
        keeper = checkpoints.Keeper(tmp_path, variables(np.ones(3, np.float32)), TRAINER)
        assert keeper.restore()["step"] == 1
        keeper.save(2, {"again": True}, wait=True)
        assert restored(tmp_path)[:2] == ({"again": True, "step": 2}, 1.0)

    def test_where_none_is_whole_training_begins_anew(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        saved(tmp_path, 1, 2)
        for step in "12":
            cut(tmp_path / "state" / step / checkpoint_files.DATA)
        assert restored(tmp_path)[:2] == (None, 0.0)
        assert "no checkpoint is whole; training begins anew" in capsys.readouterr().err


class Dead(BaseException):
    """The process is gone: nothing after it happens."""


class Death:
    """Lets so many of a process's operations on files happen, and nothing more."""

    def __init__(self, operations: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.is_dead = operations, False
        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "replace"), (Path, "mkdir"), (shutil, "rmtree")):
            monkeypatch.setattr(owner, name, self.before(getattr(owner, name)))

    def before(self, operation: Callable) -> Callable:
        def mortal(*args: object, **settings: object) -> object:
            if self.is_dead:
                return None  # what would be tidied up stays
            self.left -= 1
            if self.left < 0:
                self.is_dead = True
                raise Dead
            return operation(*args, **settings)

        return mortal


def test_a_kill_at_any_operation_of_a_save_leaves_a_whole_checkpoint(tmp_path: Path) -> None:
    """Old ones are removed in the same save, so those operations are among them."""
    deaths, left = 0, set()
    for operations in range(100):
        run = tmp_path / str(operations)
        parts = saved(run, 1, 2)
        keeper = checkpoints.Keeper(run, parts, TRAINER)
        parts["network"][0].assign([3.0] * 3)
        with pytest.MonkeyPatch.context() as patched:
            death = Death(operations, patched)
            try:
                keeper.save(3, {"best": 0.3}, wait=True)
            except Dead:
                deaths += 1
        facts, value, best = restored(run)
        left.add(value)
        assert (facts, best) == ({"best": value / 10, "step": value}, "best of 2")
        if not death.is_dead:
            break
        again = checkpoints.Keeper(run, parts, TRAINER)
        again.restore()
        again.save(4, {}, wait=True)
        assert sorted(path.name for path in (run / "state").iterdir()) == [f"{value:.0f}", "4"], "litter stays"
    assert deaths >= 8
    assert left == {2.0, 3.0}


def test_another_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_files, "FORMAT", 2)
        saved(tmp_path, 1)
    with pytest.raises(UserError, match="of format 2, this radkit reads 1"):
        restored(tmp_path)


def test_the_manifest_is_plain(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    said = json.loads((tmp_path / "state" / "1" / checkpoint_files.MANIFEST).read_text())
    assert said["variables"] == [["network/0/v0", [3], "float32"]]
    assert np.fromfile(tmp_path / "state" / "1" / checkpoint_files.DATA, "<f4").tolist() == [1, 1, 1]
    assert set(said["sums"]) == {checkpoint_files.DATA, runs.BEST}
