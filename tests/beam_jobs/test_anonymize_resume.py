"""A run that was killed goes on where it was, and the outcome is as if nothing had happened."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from beam_jobs import anonymize, anonymize_batch, anonymize_close
from radkit import outputs
from radkit.deid import keys, part10, reidentify, wire
from tests.beam_jobs.test_anonymize import add_trouble, hospital, tree  # noqa: F401 - a fixture
from tests.deid.test_engine import header, packed, written

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def many(hospital):  # noqa: F811 - a fixture
    """Returns the made-up hospital with enough files for three batches, some of them trouble."""
    for number in range(70):
        dataset = header()
        dataset.SOPInstanceUID = f"1.2.999.8.{number}"
        written(dataset, hospital, f"PLANTED many {number:03d}.dcm")
    add_trouble(hospital)
    return hospital


@pytest.fixture
def run(tmp_path, many, capfd):
    """Returns a call of the verb: its status, and all it said."""
    keys.write(keys.Key(bytes(range(32))), tmp_path / "secret.key")

    def call(*more, output="clean"):
        where = [f"--input={many}", f"--output={tmp_path / output}", f"--key={tmp_path / 'secret.key'}"]
        status = anonymize.main(["radkit anonymize", *where, *more])
        said = capfd.readouterr()
        return status, said.out, said.err

    return call


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def left(tmp_path, monkeypatch):
    """Returns the folder `again.incomplete.<pid>`, as a run that was killed after its last batch leaves it."""
    folder = tmp_path / f"again.incomplete.{dead_process()}"
    close = anonymize_close.write

    def copied(root, *arguments, **more):
        shutil.copytree(root, folder)
        monkeypatch.setattr(anonymize_close, "write", close)  # the first run's only
        close(root, *arguments, **more)

    monkeypatch.setattr(anonymize_close, "write", copied)
    return folder


def instances(folder):
    return sorted(folder.rglob("*.dcm"))


def nothing(folder):
    pass


def a_batch_is_missing(folder):
    (folder / "parts/000001.json").unlink()


def a_batch_and_all_it_wrote_are_missing(folder):
    a_batch_is_missing(folder)
    (folder / "audit/000001.jsonl").unlink()
    for row in json.loads((folder / "parts/000000.json").read_text())[::2]:
        if "place" in row:
            (folder / row["place"]).unlink(missing_ok=True)
    (folder / "parts/000000.json").unlink()


def every_batch_is_missing(folder):
    for part in (folder / "parts").iterdir():
        part.unlink()


def a_file_was_being_written(folder):
    a_batch_is_missing(folder)
    name = instances(folder)[0]
    name.with_name(f"{name.stem}.99.123.aside").write_bytes(b"half")
    name.with_name(f"{name.stem}.99.123.aside.99-7.incomplete").write_bytes(b"half")


def a_list_was_being_written(folder):
    a_batch_is_missing(folder)
    (folder / "parts/000001.json.incomplete.99").write_text('[{"number": 33,')
    (folder / "audit/000001.jsonl.incomplete.99").write_text('{"instance": "2.25')


def it_was_closing(folder):
    (folder / anonymize_close.CLOSING).touch()
    instances(folder)[0].unlink()
    instances(folder)[1].rename(instances(folder)[1].with_suffix(".dcm.settling"))
    (folder / "conflicts").mkdir()
    (folder / "conflicts" / "old.dcm").write_bytes(b"old")


LEFT = (
    nothing, a_batch_is_missing, a_batch_and_all_it_wrote_are_missing, every_batch_is_missing,
    a_file_was_being_written, a_list_was_being_written, it_was_closing,
)  # fmt: skip


@pytest.mark.parametrize("damage", LEFT)
def test_what_a_killed_run_left_is_gone_on_with_to_the_same_end(run, tmp_path, left, damage):
    assert run()[0] == 1
    damage(left)
    status, _, err = run(output="again")
    assert (status, tree(tmp_path / "again")) == (1, tree(tmp_path / "clean"))
    if damage not in (every_batch_is_missing, it_was_closing):
        assert "goes on after" in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "clean", "hospital", "secret.key"]
    assert "already done" in run(output="again")[1]


def test_finished_batches_are_not_done_again(run, tmp_path, left, monkeypatch):
    run()
    a_batch_is_missing(left)
    clean, done = anonymize_batch.clean, tmp_path / "done"
    done.mkdir()

    def noted(batch, *arguments):
        (done / str(batch[0])).touch()  # Beam works with copies of what it is given
        clean(batch, *arguments)

    monkeypatch.setattr(anonymize_batch, "clean", noted)
    run("--direct_num_workers=1", output="again")
    assert [p.name for p in done.iterdir()] == ["1"]


@pytest.mark.parametrize("more", [["--options=CleanDescriptors"], ["--unlisted=remove"], ["other key"], ["new file"]])
def test_what_another_run_left_is_not_gone_on_with(run, many, tmp_path, left, more):
    run()
    (instances(left)[0]).write_bytes(b"PLANTED of another run")
    if more == ["other key"]:
        keys.write(keys.Key(bytes(32)), tmp_path / "other.key")
        more = [f"--key={tmp_path / 'other.key'}"]
    if more == ["new file"]:
        more = []
        written(header(), many, "PLANTED_new.dcm")
    status, _, err = run(*more, output="again")
    assert (status, "goes on" in err) == (1, False)
    assert not any(b"PLANTED" in content for content in tree(tmp_path / "again").values())
    assert not left.exists()  # swept: a dead process's


def test_what_a_living_run_is_writing_is_left_alone(run, tmp_path, left):
    run()
    living = left.with_name(f"again.incomplete.{os.getppid()}")
    left.rename(living)
    before = tree(living)
    status, _, err = run(output="again")
    assert (status, "goes on" in err, tree(living)) == (1, False, before)


def asked(tmp_path, vault, capfd):
    key = keys.read(tmp_path / "secret.key")
    where = [f"--vault={vault}", f"--key={tmp_path / 'secret.key'}", "--reason=a test"]
    ids = [f"--id={key.patient('PLANTED1')}", f"--id={key.uid('1.2.999.8.40')}"]
    status = reidentify.main(["radkit reidentify", *where, *ids])
    return status, capfd.readouterr().out


@pytest.mark.parametrize("litter", [False, True])
def test_the_vault_of_a_killed_run_holds_everybody(run, tmp_path, left, capfd, litter):
    assert run("--mode=pseudonymize", f"--vault={tmp_path / 'one.vault'}")[0] == 1
    a_batch_is_missing(left)
    (left / "vault/000001").unlink()
    if litter:  # killed while the part was written
        (left / "vault/000001.incomplete.99").write_bytes(b"half a part")
    status, _, err = run("--mode=pseudonymize", f"--vault={tmp_path / 'two.vault'}", output="again")
    assert status == 1, err
    assert tree(tmp_path / "again") == tree(tmp_path / "clean")
    one, two = (asked(tmp_path, tmp_path / name, capfd) for name in ("one.vault", "two.vault"))
    assert one == two
    assert one[0] == 0


def test_a_run_that_must_begin_again_can_still_be_gone_on_with(run, tmp_path, left, monkeypatch):
    # Killed while it closed, begun again, and killed once more: the folder still says whose it is.
    run()
    it_was_closing(left)
    seen = []
    done = anonymize.runner.run

    def watched(*arguments, **more):
        (aside,) = tmp_path.glob("again.incomplete.*")
        record = json.loads((tmp_path / "clean/provenance.json").read_text())
        seen.append((aside / outputs._PLANNED).exists() and outputs._planned(aside) == record)
        done(*arguments, **more)

    monkeypatch.setattr(anonymize.runner, "run", watched)
    run(output="again")
    assert seen == [True]


def test_the_command_that_made_the_key_can_be_given_again_after_a_kill(run, tmp_path, left):
    (tmp_path / "secret.key").unlink()
    assert run("--create_key")[0] == 1
    a_batch_is_missing(left)
    status, _, err = run("--create_key", output="again")
    assert (status, "goes on" in err) == (1, True)
    assert tree(tmp_path / "again") == tree(tmp_path / "clean")


# --- real signals ---------------------------------------------------------------------------------------------------


@pytest.fixture
def slow_hospital(tmp_path):
    """Returns a folder whose last files take seconds each: they are small and inflate to a hundred megabytes."""
    folder = tmp_path / "hospital"
    folder.mkdir()
    for number in range(300):
        dataset = header()
        dataset.SOPInstanceUID = f"1.2.999.8.{number}"
        written(dataset, folder, f"PLANTED {number:03d}.dcm")
    for number in range(6):
        dataset = header()
        dataset.SOPInstanceUID = f"1.2.999.9.{number}"
        del dataset.PixelData
        body = packed(dataset, wire.EXPLICIT) + wire.header(0x7FE00010, "OW", 100 << 20, wire.EXPLICIT)
        content = part10.meta(dataset.SOPClassUID, dataset.SOPInstanceUID, part10.DEFLATED)
        (folder / f"PLANTED z{number}.dcm").write_bytes(content + part10.deflated(body + bytes(100 << 20)))
    keys.write(keys.Key(bytes(range(32))), tmp_path / "secret.key")
    return folder


def heeding():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored where the tests themselves run in the background


def started(tmp_path, output, *more):
    where = [f"--input={tmp_path / 'hospital'}", f"--output={tmp_path / output}", f"--key={tmp_path / 'secret.key'}"]
    return subprocess.Popen(
        [sys.executable, "-m", "beam_jobs.anonymize", *where, *more],
        cwd=REPOSITORY,
        start_new_session=True,
        preexec_fn=heeding,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_some_batches_are_done(tmp_path, process, batches=2):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(tmp_path.glob("*.incomplete.*/parts/*.json"))) >= batches:
            return
        time.sleep(0.01)
    raise AssertionError(f"no batch was done: {process.poll()}")


def group_is_gone(group):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_started_again_it_goes_on_to_the_same_end(tmp_path, slow_hospital, workers):
    flags = [f"--direct_num_workers={workers}"]
    process = started(tmp_path, "clean", *flags)
    until_some_batches_are_done(tmp_path, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert group_is_gone(process.pid)  # its workers, too
    assert not (tmp_path / "clean").exists()
    (found,) = tmp_path.glob("clean.incomplete.*")
    done = len(list((found / "parts").glob("*.json")))
    again = started(tmp_path, "clean", *flags)
    _, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert 2 <= done < 10
    assert f"goes on after {done} batches" in err
    whole = started(tmp_path, "whole", "--direct_num_workers=1")
    whole.communicate(timeout=300)
    assert tree(tmp_path / "clean") == tree(tmp_path / "whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clean", "hospital", "secret.key", "whole"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("to_all", [False, True])
def test_interrupted_it_leaves_nothing(tmp_path, slow_hospital, workers, to_all):
    process = started(tmp_path, "clean", f"--direct_num_workers={workers}")
    until_some_batches_are_done(tmp_path, process)
    if to_all:  # as a terminal does on Ctrl-C
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert group_is_gone(process.pid)
    assert process.returncode == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["hospital", "secret.key"]
    assert "PLANTED" not in err
    assert err.strip().splitlines()[-1].startswith("radkit: interrupted")
    assert "Traceback" not in err
