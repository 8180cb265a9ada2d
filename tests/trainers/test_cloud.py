"""Folders in a bucket; TensorFlow's file system in memory stands for one."""

import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from radkit import runs
from radkit.errors import UserError
from tests.conftest import MadeUp
from tests.trainers import test_train
from trainers import checkpoints, cloud, loop, train


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name, copy = f"ram://{uuid.uuid4().hex}", tf.io.gfile.copy

    def replaced(path: str, new: str, overwrite: bool = False) -> None:
        """Copies; to what is there already the file system in memory would append, which no bucket does."""
        if overwrite and tf.io.gfile.exists(new):
            tf.io.gfile.remove(new)
        copy(path, new)

    monkeypatch.setattr(tf.io.gfile, "copy", replaced)
    yield name
    if tf.io.gfile.exists(name):
        tf.io.gfile.rmtree(name)


def put(bucket: str, **files: str) -> None:
    for name, text in files.items():
        path = f"{bucket}/{name.replace('__', '/')}"
        tf.io.gfile.makedirs(path.rpartition("/")[0])
        if tf.io.gfile.exists(path):
            tf.io.gfile.remove(path)
        with tf.io.gfile.GFile(path, "w") as file:
            file.write(text)


def lying(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def names(bucket: str) -> set[str]:
    return {place for place, _ in cloud._listed(bucket)}


def test_a_folder_becomes_what_the_bucket_holds(bucket: str, tmp_path: Path) -> None:
    put(bucket, a="1", deep__b="22")
    assert cloud.fetch(bucket, tmp_path / "here") == 2
    assert lying(tmp_path / "here") == {"a": "1", "deep/b": "22"}
    put(bucket, a="333", c="4")
    tf.io.gfile.remove(f"{bucket}/deep/b")
    cloud.fetch(bucket, tmp_path / "here")
    assert lying(tmp_path / "here") == {"a": "333", "c": "4"}


def test_what_is_there_is_not_copied_again(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(bucket, a="1", b="2")
    cloud.fetch(bucket, tmp_path)
    (tmp_path / "b").unlink()
    copied: list[str] = []
    copy = tf.io.gfile.copy
    monkeypatch.setattr(tf.io.gfile, "copy", lambda *said, **more: (copied.append(said[0]), copy(*said, **more)))
    cloud.fetch(bucket, tmp_path)
    assert copied == [f"{bucket}/b"]


def run(bucket: str, folder: Path) -> cloud.Run:
    return cloud.Run(bucket, folder)


def test_a_manifest_goes_up_last_and_is_taken_away_first(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noted(sign: str, work: Callable[[cloud.Run, str], None]) -> Callable[[cloud.Run, str], None]:
        def work_and_note(self: cloud.Run, place: str) -> None:
            done.append(sign + place)
            work(self, place)

        return work_and_note

    monkeypatch.setattr(cloud.Run, "_up", noted("+", cloud.Run._up))
    monkeypatch.setattr(cloud.Run, "_away", noted("-", cloud.Run._away))
    for name in ("state/1/manifest.json", "state/1/data.bin", "history.jsonl", "state/2.incomplete/data.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    pushed = run(bucket, tmp_path)
    assert pushed.push is not None
    pushed.push()
    assert (done[-1], len(done)) == ("+state/1/manifest.json", 3)
    shutil.rmtree(tmp_path / "state" / "1")
    done.clear()
    pushed.push()
    assert done == ["-state/1/manifest.json", "-state/1/data.bin"]
    assert names(bucket) == {"history.jsonl"}


def test_what_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"s3://x cannot be read or written: .*'s3' not implemented.*tensorflow-io"):
        cloud.fetch("s3://x", tmp_path)


def said(made: MadeUp, bucket: str, folder: Path) -> list[str]:
    flags = [f"--config={made.config_file(folder)}", f"--input={bucket}/records", f"--output={bucket}/runs/one"]
    return ["train", *flags, "--noprogress"]


@pytest.mark.slow
def test_a_run_in_a_bucket_goes_on_on_another_machine(
    radiographs: MadeUp, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keras_alone: None
) -> None:
    for path in radiographs.folder.rglob("*"):
        if path.is_file():
            remote = f"{bucket}/records/{path.relative_to(radiographs.folder).as_posix()}"
            tf.io.gfile.makedirs(remote.rpartition("/")[0])
            tf.io.gfile.copy(str(path), remote)
    step = loop.run

    def killed(*args: object, **more: object) -> int:
        hooks = [*more.pop("hooks"), lambda number, _: number == 4 and (_ for _ in ()).throw(KeyboardInterrupt)]
        return step(*args, hooks=hooks, **more)

    monkeypatch.setattr(loop, "run", killed)
    assert train.main([*said(radiographs, bucket, tmp_path), f"--cache={tmp_path / 'first'}"]) == 2
    monkeypatch.setattr(loop, "run", step)
    there = names(f"{bucket}/runs/one")
    assert f"{checkpoints.STATE}/3/manifest.json" in there
    assert runs.MANIFEST not in there
    assert train.main([*said(radiographs, bucket, tmp_path), f"--cache={tmp_path / 'second'}"]) == 0
    cloud.fetch(f"{bucket}/runs/one", tmp_path / "done")
    assert [line["step"] for line in runs.history(tmp_path / "done")] == [3, 6]
    whole = tmp_path / "whole"
    flags = [f"--config={radiographs.config_file(tmp_path)}", f"--input={radiographs.folder}", f"--output={whole}"]
    assert train.main(["train", *flags, "--noprogress"]) == 0
    test_train.assert_same(tmp_path / "done", whole)


def test_a_bucket_without_records_and_folds_into_a_bucket_are_refused(
    radiographs: MadeUp, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(bucket, other="x")
    flags = [*said(radiographs, bucket, tmp_path), f"--cache={tmp_path / 'cache'}"]
    assert train.main(flags) == 2
    assert "does not exist or holds nothing" in capsys.readouterr().err
    assert train.main([*flags, f"--input={radiographs.folder}", "--folds=2"]) == 2
    assert "--folds writes into a folder of this machine" in capsys.readouterr().err
