"""Runs of a curation: the same bytes however it went, on any workers, after any kill."""

import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from beam_jobs import curate_close, curate_series
from radkit import outputs
from radkit.data import convert
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume
from tests.beam_jobs import curated
from tests.beam_jobs.curated import names, series, settings, tree, uid

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    """Returns a call of the job on `tmp_path / dicom`: its status and the output."""
    monkeypatch.setattr(curate_series.checks, "of_volume", curated.of_volume)
    return functools.partial(curated.run, tmp_path)


@pytest.fixture
def dicom(tmp_path: Path) -> Path:
    """Series of eight patients, one of them cut short, and a stray file."""
    for patient in range(1, 9):
        series(tmp_path / "dicom", patient)
    (tmp_path / "dicom" / "3-1" / "0004.dcm").unlink()
    (tmp_path / "dicom" / "note.txt").write_text("hello")
    return tmp_path / "dicom"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a batch of each two series."""
    monkeypatch.setattr(curate_series, "_SERIES_A_BATCH", 2)


def test_the_same_bytes_on_any_number_of_workers(call, dicom, small) -> None:
    made = [tree(call(f"--direct_num_workers={n}", output=f"out{n}")[1]) for n in (1, 2, 3)]
    assert made[0] == made[1] == made[2]


def test_a_second_call_is_done_at_once_and_other_settings_are_refused(call, dicom, capsys) -> None:
    status, folder = call()
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert call()[0] == status == 1
    assert "curate: already done: 8 series" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert call("--pictures=1")[0] == 2
    assert "differs in settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--pictures=-1"], "--pictures=-1 was not expected"),
        (["--no_such_flag=1"], "unknown flag"),
        (["--set=data.curate.plane=x"], "no setting 'data.curate.plane'"),
    ],
)
def test_wrong_use_writes_nothing(call, tmp_path, flags, message, capsys) -> None:
    series(tmp_path / "dicom", 1)
    status, folder = call(*flags)
    assert status == 2
    assert message in capsys.readouterr().err
    assert not folder.exists()


def test_a_folder_without_images_or_with_the_output_in_it_is_refused(call, tmp_path, capsys) -> None:
    (tmp_path / "dicom").mkdir()
    (tmp_path / "dicom" / "note.txt").write_text("hello")
    assert call()[0] == 2
    assert "holds no image series" in capsys.readouterr().err
    assert call(output="dicom/quality")[0] == 2
    assert "--output lies in --input" in capsys.readouterr().err


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the folder that a run that was killed after its last batch leaves, once a run has been."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    folder = tmp_path / f"again.incomplete.{process.pid}"
    close = curate_close.write

    def copied(made: curate_series.Job, *arguments: object) -> None:
        shutil.copytree(made.root, folder)
        monkeypatch.setattr(curate_close, "write", close)  # the first run's only
        close(made, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(curate_close, "write", copied)
    return folder


def nothing(left: Path) -> None:
    pass


def a_batch_is_missing(left: Path) -> None:
    (left / "work/parts/00001.json").unlink()


def an_outcome_is_cut_short(left: Path) -> None:
    (left / "work/parts/00001.json").write_text('[{"number": 1')
    (left / "work/parts/00002.json.incomplete.99").write_text("[")


def the_plan_is_missing(left: Path) -> None:
    (left / "work/plan.json").unlink()


def it_was_closing(left: Path) -> None:
    (left / "summary.json").write_text("{")


def it_was_tidying(left: Path) -> None:
    shutil.rmtree(left / "work")


LEFT = (nothing, a_batch_is_missing, an_outcome_is_cut_short, the_plan_is_missing, it_was_closing, it_was_tidying)


@pytest.mark.parametrize("damage", LEFT)
def test_what_a_killed_run_left_is_gone_on_with_to_the_same_end(call, dicom, small, left, damage, capsys) -> None:
    _, whole = call()
    damage(left)
    status, folder = call(output="again")
    assert status == 1
    assert tree(folder) == tree(whole)
    assert sorted(p.name for p in folder.parent.iterdir()) == ["again", "config.json", "dicom", "quality"]
    assert ("goes on after" in capsys.readouterr().err) == (damage not in (the_plan_is_missing, it_was_tidying))


def test_finished_batches_are_not_looked_at_again(call, dicom, small, left, tmp_path, monkeypatch) -> None:
    call()
    a_batch_is_missing(left)
    (tmp_path / "looked").mkdir()
    monkeypatch.setattr(
        curate_series.checks, "of_volume",
        lambda volume: [(tmp_path / "looked" / volume.meta["PatientID"]).touch()][:0],
    )  # fmt: skip
    call(output="again")
    assert len(list((tmp_path / "looked").iterdir())) <= 2


def test_a_file_that_changed_since_the_kill_is_read_again(call, dicom, small, left) -> None:
    _, whole = call()
    path = dicom / "5-1" / "0004.dcm"
    content = bytearray(path.read_bytes())
    content[-5] ^= 64
    path.write_bytes(content)
    _, again = call(output="again")
    assert (again / "quality.html").read_bytes() != (whole / "quality.html").read_bytes()


def dying(folder: Path, times: int):
    """Returns a check that kills its process when it meets patient 5, so many times."""

    def deadly(volume: Volume) -> list[Finding]:
        if volume.meta["PatientID"] == "P005" and len(list(folder.iterdir())) < times:
            (folder / str(time.monotonic_ns())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return []

    return deadly


@pytest.mark.parametrize("times", [1, 1000])
def test_a_series_that_kills_its_worker_is_tried_again_and_then_named(
    call, dicom, small, tmp_path, monkeypatch, times
) -> None:
    (tmp_path / "died").mkdir()
    monkeypatch.setattr(curate_series.checks, "of_volume", dying(tmp_path / "died", times))
    _, folder = call()
    told = names(folder, "unreadable_series")
    assert (uid(5) in told) == (times == 1000)
    assert outputs.read_json(folder / "summary.json")["kept"] == (6 if times == 1000 else 7)
    if times == 1000:
        assert told[uid(5)] == [convert.KILLED]


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_leaves_no_half_output_and_can_be_run_again(tmp_path, sign) -> None:
    for patient in range(1, 41):
        series(tmp_path / "dicom", patient)
    command = [sys.executable, "-m", "beam_jobs.curate", f"--config={settings(tmp_path)}", "--direct_num_workers=2"]
    command += [f"--input={tmp_path / 'dicom'}", f"--output={tmp_path / 'quality'}"]
    process = subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and not list(tmp_path.glob("quality.incomplete.*/work/parts/*.json")):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(sign)
    _, said = process.communicate(timeout=60)
    if process.returncode not in (0, 1):  # it was still at work
        assert not (tmp_path / "quality").exists()
        if sign == signal.SIGINT:
            assert process.returncode == 2
            assert "interrupted" in said
            assert "Traceback" not in said
    assert subprocess.run(command, cwd=REPOSITORY, capture_output=True, timeout=120).returncode in (0, 1)
    assert outputs.read_json(tmp_path / "quality" / "summary.json")["series"] == 40
    assert not list(tmp_path.glob("quality.incomplete.*"))
