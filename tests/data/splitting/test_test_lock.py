"""Looks at a test set are counted, whoever looks at once, and whatever became of the file."""

import json
import multiprocessing
from pathlib import Path

import pytest

from radkit.data.splitting import test_lock
from radkit.errors import UserError


def about(weights: str = "w", test_set: str = "test") -> dict[str, str]:
    return {"weights": weights, "test_set": test_set}


def test_looks_are_counted_for_each_test_set(tmp_path: Path) -> None:
    test_lock.require(tmp_path)
    assert not list(tmp_path.iterdir())
    assert test_lock.look(tmp_path, about()) == test_lock.Look(1, 1)
    assert test_lock.look(tmp_path, about()) == test_lock.Look(2, 1)
    assert test_lock.look(tmp_path, about("other")) == test_lock.Look(3, 2)
    assert test_lock.look(tmp_path, about(test_set="repeat 0, fold 1")) == test_lock.Look(1, 1)
    lines = [json.loads(line) for line in (tmp_path / test_lock.LOOKS).read_text().splitlines()]
    assert [line["look"] for line in lines] == [1, 2, 3, 1]
    assert lines[0] == {"look": 1, **about()}


def test_only_the_first_look_is_without_a_warning() -> None:
    assert test_lock.Look(1, 1).warning == ""
    assert test_lock.Look(2, 1).warning.startswith("look 2 at this test set, of one network: it is no longer unseen")
    assert "look 3 at this test set, of 2 networks" in test_lock.Look(3, 2).warning
    assert "is not recorded" in test_lock.Look(0, 0).warning


def test_a_line_that_was_damaged_or_cut_short_is_a_look(tmp_path: Path) -> None:
    test_lock.look(tmp_path, about())
    with (tmp_path / test_lock.LOOKS).open("a") as file:
        file.write('[1]\n{"weights": {}}\n{"look": 2, "wei')
    assert test_lock.look(tmp_path, about()).number == 5
    assert test_lock.look(tmp_path, about()).number == 6


def _look(folder: Path, count: int) -> None:
    for _ in range(count):
        test_lock.look(folder, about())


def test_those_who_look_at_once_are_all_counted(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_look, args=(tmp_path, 20)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = [json.loads(line) for line in (tmp_path / test_lock.LOOKS).read_text().splitlines()]
    assert [line["look"] for line in lines] == list(range(1, 61))


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_lock.os, "access", lambda *_: False)  # whoever runs this may be root
    with pytest.raises(UserError, match=r"test_looks.jsonl: it cannot be written to; .* or give --unrecorded"):
        test_lock.require(tmp_path)
