"""The conversion as a job: the same bytes however it went, killed, interrupted or with other inputs."""

import contextlib
import csv
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from beam_jobs import convert as job
from beam_jobs import convert_close, convert_shard, workers
from radkit import config, outputs
from radkit.data import convert, records, shards
from radkit.dicom import write
from tests import conftest
from tests.conftest import MadeUp

REPOSITORY = Path(__file__).parents[2]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_same_input_gives_the_same_bytes(volumes: MadeUp, tmp_path: Path) -> None:
    again = conftest.convert(volumes, tmp_path / "again")
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {
        p.name: p.read_bytes() for p in volumes.folder.iterdir()
    }


def test_a_second_call_is_done_at_once(volumes: MadeUp, capsys: pytest.CaptureFixture[str]) -> None:
    before = {p: p.stat().st_mtime_ns for p in volumes.folder.iterdir()}
    conftest.convert(volumes, volumes.folder.parent.parent)
    assert {p: p.stat().st_mtime_ns for p in volumes.folder.iterdir()} == before
    said = capsys.readouterr().out
    assert said.startswith("convert: already done: ")
    assert "records of 14 patients" in said


def test_the_patients_of_each_split_are_listed(radiographs: MadeUp) -> None:
    listed = outputs.read_json(radiographs.folder / "patients.json")
    record_fields = convert.fields_of(radiographs.experiment.data)
    for split, patients in listed.items():
        files = shards.split_files(radiographs.folder, split)
        read = [records.decode(r, record_fields) for f in files for r in shards.read_shard(f)]
        assert sorted({r["patient_id"] for r in read}) == patients
        assert len(read) == 2 * len(patients)
    everyone = [p for patients in listed.values() for p in patients]
    assert len(everyone) == len(set(everyone)) == 14


def test_bad_inputs_give_status_1_and_a_list(volumes: MadeUp, tmp_path: Path) -> None:
    shutil.copytree(volumes.dicom, tmp_path / "dicom")
    (tmp_path / "dicom" / "note.txt").write_text("hello")
    (tmp_path / "dicom" / "3" / "0004.dcm").unlink()
    said = [f"--input={tmp_path / 'dicom'}", f"--output={tmp_path / 'out'}"]
    assert job.main(["convert", *said, f"--config={volumes.config_file(tmp_path)}"]) == 1
    folder = tmp_path / "out" / "blobs" / "1.0.0"
    listed = (folder / outputs.QUARANTINE).read_text()
    assert "note.txt" in listed
    assert "1 slices are missing" in listed
    assert outputs.read_json(folder / "summary.json")["quarantined"] == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--set=data.modalities=('PT',)"], "holds nothing for data set 'blobs': 14 x Modality MR"),
        (["--labels=table.csv"], "config has no data.label"),
        (["--set=data.label=x", "--set=data.class_names=('a','b')"], "--labels must name the table"),
        (["--set=data.shard_mib=0"], "shard_mib must be > 0"),
    ],
)
def test_wrong_use_writes_nothing(
    volumes: MadeUp, tmp_path: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = [f"--input={volumes.dicom}", f"--output={tmp_path / 'out'}", f"--config={volumes.config_file(tmp_path)}"]
    assert job.main(["convert", *said, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.*")) if (tmp_path / "out").exists() else True


def test_where_all_series_are_refused_nothing_is_written(volumes: MadeUp, tmp_path: Path, capsys) -> None:
    shutil.copytree(volumes.dicom, tmp_path / "dicom")
    for folder in sorted((tmp_path / "dicom").iterdir()):
        (folder / "0004.dcm").unlink()
    (tmp_path / "dicom" / "3" / "0005.dcm").unlink()
    said = [f"--input={tmp_path / 'dicom'}", f"--output={tmp_path / 'out'}"]
    assert job.main(["convert", *said, f"--config={volumes.config_file(tmp_path)}"]) == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("radkit: no record could be made: all 14 series were refused: 13 x ")
    assert "; 1 x " in line
    assert not (tmp_path / "out").exists()


@pytest.fixture
def job_of(volumes: MadeUp, tmp_path: Path):
    """Returns a call of the job on a copy of the volumes: its status and where the records are."""
    shutil.copytree(volumes.dicom, tmp_path / "dicom")
    said = [f"--input={tmp_path / 'dicom'}", f"--config={volumes.config_file(tmp_path)}"]

    def call(*flags: str, output: str = "out") -> tuple[int, Path]:
        status = job.main(["radkit convert", *said, f"--output={tmp_path / output}", *flags])
        return status, tmp_path / output / "blobs" / "1.0.0"

    return call


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_in_a_line_and_leaves_nothing(job_of, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setattr(shards, "write_shard", full)  # in the workers, which are forked
    assert job_of("--direct_num_workers", "2")[0] == 2
    said = capfd.readouterr().err
    assert "radkit: no space is left on the disk" in said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


class TestInputs:
    def test_each_file_that_was_read_is_listed_with_its_digest(self, volumes: MadeUp) -> None:
        rows = table(volumes.folder / convert_close.INPUTS)
        files = sorted(p for p in volumes.dicom.rglob("*") if p.is_file())
        assert [row["path"] for row in rows] == [p.relative_to(volumes.dicom).as_posix() for p in files]
        assert [row["sha256"] for row in rows] == [hashlib.sha256(p.read_bytes()).hexdigest() for p in files]
        assert [int(row["bytes"]) for row in rows] == [p.stat().st_size for p in files]
        contents = hashlib.sha256((volumes.folder / convert_close.INPUTS).read_bytes()).hexdigest()
        assert outputs.read_json(volumes.folder / outputs.PROVENANCE)["contents"] == contents

    def test_a_file_with_other_contents_is_noticed_though_its_size_is_the_same(self, job_of, tmp_path, capsys) -> None:
        assert job_of()[0] == 0
        path = tmp_path / "dicom" / "3" / "0004.dcm"
        content = bytearray(path.read_bytes())
        dates = path.stat()
        content[-5] ^= 1
        path.write_bytes(content)
        os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))
        capsys.readouterr()
        assert job_of()[0] == 2
        assert "1 files changed since" in capsys.readouterr().err
        content[-5] ^= 1
        path.write_bytes(content)
        assert job_of()[0] == 0

    def test_when_files_were_written_changes_no_byte(self, job_of, volumes: MadeUp, tmp_path: Path) -> None:
        for number, path in enumerate(sorted((tmp_path / "dicom").rglob("*.dcm"), reverse=True)):
            os.utime(path, (number, number))
        assert tree(job_of()[1]) == tree(volumes.folder)

    def test_output_within_the_input_is_refused(self, volumes: MadeUp, tmp_path: Path, capsys) -> None:
        said = [f"--input={volumes.dicom}", f"--config={volumes.config_file(tmp_path)}"]
        assert job.main(["convert", *said, f"--output={volumes.dicom / 'records'}"]) == 2
        assert "--output lies in --input" in capsys.readouterr().err


# --- killed runs ----------------------------------------------------------------------------------------------------


@pytest.fixture
def left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the folder that a run that was killed after its last shard leaves, once a run has been."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    folder = tmp_path / "again" / "blobs" / f"1.0.0.incomplete.{process.pid}"
    close = convert_close.write

    def copied(made: convert_shard.Job, *arguments: object) -> str:
        shutil.copytree(made.root, folder)
        monkeypatch.setattr(convert_close, "write", close)  # the first run's only
        return close(made, *arguments)

    monkeypatch.setattr(convert_close, "write", copied)
    return folder


def nothing(left: Path) -> None:
    pass


def a_shard_is_missing(left: Path) -> None:
    (left / "work/parts/00001.json").unlink()


def a_shard_is_cut_short(left: Path) -> None:
    path = sorted(left.glob("*.tfrecord-*"))[0]
    path.write_bytes(path.read_bytes()[:-1])


def a_shard_was_being_written(left: Path) -> None:
    a_shard_is_missing(left)
    name = sorted(left.glob("*.tfrecord-*"))[1]
    name.rename(name.with_name(f"{name.name}.incomplete.99"))
    (left / "work/parts/00001.json.incomplete.99").write_text('{"split"')


def an_outcome_was_being_written(left: Path) -> None:
    (left / "work/parts/00000.json").write_text('{"split": "tr')


def the_plan_was_being_written(left: Path) -> None:
    (left / "work/plan.json").unlink()


def it_was_closing(left: Path) -> None:
    (left / "summary.json").write_text("{")
    (left / "inputs.csv.incomplete.99").write_text("path")


def it_was_tidying(left: Path) -> None:
    (left / "summary.json").write_text("{}")
    shutil.rmtree(left / "work")


LEFT = (
    nothing, a_shard_is_missing, a_shard_is_cut_short, a_shard_was_being_written, an_outcome_was_being_written,
    the_plan_was_being_written, it_was_closing, it_was_tidying,
)  # fmt: skip


@pytest.mark.parametrize("damage", LEFT)
def test_what_a_killed_run_left_is_gone_on_with_to_the_same_end(
    job_of, volumes, tmp_path, left, damage, capsys
) -> None:
    assert job_of()[0] == 0
    damage(left)
    status, folder = job_of(output="again")
    assert (status, tree(folder)) == (0, tree(volumes.folder))
    assert [p.name for p in folder.parent.iterdir()] == ["1.0.0"]
    assert ("goes on after" in capsys.readouterr().err) == (damage not in (the_plan_was_being_written, it_was_tidying))


def test_finished_shards_are_not_written_again(job_of, tmp_path, left, monkeypatch) -> None:
    job_of()
    a_shard_is_missing(left)
    (tmp_path / "done").mkdir()
    shard = convert.write

    def noted(planned: convert.Shard, *arguments: object, **more: object) -> dict:
        (tmp_path / "done" / f"{planned.split}-{planned.index}").touch()  # in a worker
        return shard(planned, *arguments, **more)

    monkeypatch.setattr(convert, "write", noted)
    job_of(output="again")
    assert [p.name for p in (tmp_path / "done").iterdir()] == ["train-1"]


@pytest.mark.slow
def test_a_file_that_changed_since_the_kill_is_read_again(job_of, tmp_path, left) -> None:
    job_of()
    path = tmp_path / "dicom" / "3" / "0004.dcm"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    _, again = job_of(output="again")
    _, whole = job_of(output="whole")
    assert tree(again) == tree(whole)
    assert tree(again) != tree(tmp_path / "out" / "blobs" / "1.0.0")


# --- workers that die -----------------------------------------------------------------------------------------------


def dying(folder: Path, times: int):
    """Returns a reader that kills its process when it meets patient 3, so many times."""
    read = convert.contents.volumes_of

    def deadly(unit: convert.Unit, data: config.Data) -> object:
        if unit.patient_id == "P003" and len(list(folder.iterdir())) < times:
            (folder / str(time.monotonic_ns())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return read(unit, data)

    return deadly


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("times", [1, 2])
def test_a_job_survives_workers_that_are_killed(job_of, volumes, tmp_path, monkeypatch, number, times) -> None:
    (tmp_path / "died").mkdir()
    monkeypatch.setattr(convert.contents, "volumes_of", dying(tmp_path / "died", times))
    status, folder = job_of(f"--direct_num_workers={number}")
    assert len(list((tmp_path / "died").iterdir())) == times
    assert (status, tree(folder)) == (0, tree(volumes.folder))


def test_a_series_that_kills_its_workers_is_set_aside(job_of, volumes, tmp_path, monkeypatch) -> None:
    (tmp_path / "died").mkdir()
    monkeypatch.setattr(convert.contents, "volumes_of", dying(tmp_path / "died", 1000))
    status, folder = job_of()
    assert status == 1
    (row,) = table(folder / outputs.QUARANTINE)
    assert row["reason"] == convert.KILLED
    assert sum(outputs.read_json(folder / "summary.json")["records"].values()) == 13
    assert len(list((tmp_path / "died").iterdir())) == workers.DEATHS_TOGETHER + 1


def deadly(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_job_whose_workers_die_of_anything_is_refused(job_of, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(convert_shard, "write", deadly)
    status, folder = job_of()
    assert status == 2
    assert "worker processes were killed" in capsys.readouterr().err
    assert not folder.exists()


# --- real signals ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with DICOM of sixty patients and a config of as many shards."""
    folder = tmp_path_factory.mktemp("many")
    for patient in range(60):
        stored = np.random.default_rng(patient).integers(0, 1000, (30, 128, 128)).astype(np.int16)
        write.write_series(stored, np.eye(4), conftest.header("CT", patient, 0), folder / "dicom" / str(patient))
    data = config.Data(dataset="blobs", shard_mib=1.0)
    experiment = config.Experiment(data, config.Model("unet"), config.Task("segmentation"))
    (folder / "config.json").write_text(json.dumps(config.to_json(experiment)))
    return folder


def started(many: Path, output: Path, *flags: str) -> "subprocess.Popen[str]":
    said = [f"--input={many / 'dicom'}", f"--output={output}", f"--config={many / 'config.json'}"]
    return subprocess.Popen(
        [sys.executable, "-m", "beam_jobs.convert", *said, *flags],
        cwd=REPOSITORY,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_some_shards_are_done(output: Path, process: "subprocess.Popen[str]", number: int = 3) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(output.glob("*/*/work/parts/*.json"))) >= number:
            return
        time.sleep(0.005)
    raise AssertionError(f"no shard was done: {process.poll()} {process.communicate()}")


def children(process: "subprocess.Popen[str]") -> list[int]:
    """Returns a process's children; those that its threads made, too."""
    found = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/children")]
    return sorted(int(pid) for pids in found for pid in pids.split())


def group_is_gone(group: int) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return False


@pytest.fixture(scope="module")
def whole(many: Path) -> dict[str, bytes]:
    """Returns what an undisturbed run writes."""
    process = started(many, many / "whole", "--direct_num_workers=1")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return tree(many / "whole" / "blobs" / "1.0.0")


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
def test_killed_and_started_again_it_goes_on_to_the_same_end(many, whole, tmp_path, number) -> None:
    process = started(many, tmp_path / "out", f"--direct_num_workers={number}")
    until_some_shards_are_done(tmp_path / "out", process)
    process.kill()
    process.communicate()
    assert group_is_gone(process.pid)  # its workers, too
    again = started(many, tmp_path / "out", f"--direct_num_workers={number}")
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert "goes on after" in err
    assert tree(tmp_path / "out" / "blobs" / "1.0.0") == whole


@pytest.mark.slow
def test_workers_killed_from_outside_are_replaced(many, whole, tmp_path) -> None:
    process = started(many, tmp_path / "out", "--direct_num_workers=2")
    killed = []
    for number in (2, 6, 10):
        until_some_shards_are_done(tmp_path / "out", process, number)
        with contextlib.suppress(ProcessLookupError):
            for pid in children(process)[-1:]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert killed
    assert tree(tmp_path / "out" / "blobs" / "1.0.0") == whole


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("to_all", [False, True])
def test_interrupted_it_ends_in_a_line(many, tmp_path, number, to_all) -> None:
    process = started(many, tmp_path / "out", f"--direct_num_workers={number}")
    until_some_shards_are_done(tmp_path / "out", process)
    if to_all:  # as a terminal does on Ctrl-C
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert group_is_gone(process.pid)
    assert process.returncode == 2
    assert err.strip().splitlines()[-1].startswith("radkit: interrupted")
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "blobs" / "1.0.0").exists()
