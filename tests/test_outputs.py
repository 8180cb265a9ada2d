"""Outputs are absent or complete."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from radkit import outputs
from radkit.errors import Unfinished, UserError

RECORD = outputs.provenance("index", {"a": (1, 2)}, "digest")


def litter(folder):
    return [p.name for p in folder.iterdir() if "incomplete" in p.name]


def test_success_appears_at_once(tmp_path):
    output = tmp_path / "deep" / "out"
    with outputs.staged(output, RECORD) as aside:
        (aside / "a").write_text("a")
        assert not output.exists()
        assert aside.parent == output.parent  # one file system, so that a rename is enough
    assert sorted(p.name for p in output.iterdir()) == ["a", outputs.PROVENANCE]
    assert not litter(output.parent)
    assert outputs.already_done(output, RECORD)


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt, SystemExit, OSError(errno.ENOSPC, "full")])
def test_failure_leaves_nothing(tmp_path, raised):
    with pytest.raises(BaseException) as caught, outputs.staged(tmp_path / "out", RECORD) as aside:  # noqa: PT012
        (aside / "a").write_text("a")
        raise raised
    assert isinstance(caught.value, raised if isinstance(raised, type) else OSError)
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "out").mkdir()
    assert not outputs.already_done(tmp_path / "out", RECORD)
    with outputs.staged(tmp_path / "out", RECORD):
        pass
    assert outputs.already_done(tmp_path / "out", RECORD)


def test_the_working_folder_itself_can_be_filled(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with outputs.staged(outputs.Path(), RECORD) as aside:
        (aside / "a").write_text("a")
    assert (tmp_path / "here" / "a").is_file()


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed(tmp_path, there):
    if there:
        (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk", target_is_directory=True)
    with outputs.staged(tmp_path / "out", RECORD) as aside:
        (aside / "a").write_text("a")
    assert (tmp_path / "disk" / "a").is_file()
    assert (tmp_path / "out").is_symlink()


def test_what_another_process_put_there_meanwhile_stays(tmp_path):
    output = tmp_path / "out"
    with pytest.raises(UserError, match="another process"), outputs.staged(output, RECORD):  # noqa: PT012
        output.mkdir()
        (output / "theirs").write_text("theirs")
    assert [p.name for p in output.iterdir()] == ["theirs"]
    assert not litter(tmp_path)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({**RECORD, "inputs": "other"}, "differs in inputs"),
        ({**RECORD, "settings": {"a": [1, 3]}}, "differs in settings"),
        ({**RECORD, "verb": "convert"}, "'convert' that differs in verb"),
        ({**RECORD, "more": 1}, "differs in more"),
        ({}, "radkit did not write it"),
        ([], "radkit did not write it"),
        (None, "radkit did not write it"),
    ],
)
def test_another_output_is_refused(tmp_path, found, said):
    (tmp_path / outputs.PROVENANCE).write_text(json.dumps(found))
    with pytest.raises(UserError, match=said):
        outputs.already_done(tmp_path, RECORD)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_a_damaged_provenance_is_not_ours(tmp_path, content):
    (tmp_path / outputs.PROVENANCE).write_bytes(content)
    with pytest.raises(UserError, match="did not write it"):
        outputs.already_done(tmp_path, RECORD)


@pytest.mark.parametrize("below", ["out", "deep/out"])
def test_a_file_in_place_of_a_folder_above_is_told(tmp_path, below):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file stands in its way"), outputs.staged(tmp_path / "file" / below, RECORD):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="is a file"):
        outputs.already_done(tmp_path / "out", RECORD)


@pytest.mark.parametrize("name", ["out", "out[1]", "o*t"])
def test_litter_of_the_dead_is_swept_and_all_else_stays(tmp_path, name):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    living = os.getppid()
    gone = [f"{name}.incomplete.{dead.pid}", f"{name}.incomplete.{os.getpid()}"]
    kept = [
        f"{name}.incomplete.{living}", f"{name}.incomplete.mine", f"{name}.incomplete.", f"other.incomplete.{dead.pid}",
        f"{name}.incomplete.{dead.pid}.tar", f"{name}.incomplete.99999999999999999999",
    ]  # fmt: skip
    for folder in (*gone, *kept):
        (tmp_path / folder / "inner").mkdir(parents=True)
    outputs.sweep(tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)


def test_a_container_where_every_run_has_one_number_can_begin_again(tmp_path):
    (tmp_path / f"out.incomplete.{os.getpid()}").mkdir()
    with outputs.staged(tmp_path / "out", RECORD):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_the_same_run_has_the_same_provenance_and_another_has_not():
    assert outputs.provenance("index", {"a": [1, 2]}, "digest") == RECORD
    assert outputs.provenance("index", {"a": [2, 1]}, "digest") != RECORD


@pytest.mark.parametrize("digest", [outputs.digest_of_files, outputs.digest_of_names])
def test_a_digest_is_of_names_and_contents_whatever_the_order(tmp_path, digest):
    paths = [tmp_path / "a", tmp_path / os.fsdecode(b"b\xe4"), tmp_path / "c" / "d"]
    paths[2].parent.mkdir()
    for path in paths:
        path.write_text(path.name.encode("utf-8", "replace").decode())
    first = digest(paths, tmp_path)
    assert digest(paths[::-1], tmp_path) == first
    assert digest(paths[1:], tmp_path) != first
    paths[0].write_text("longer")
    assert digest(paths, tmp_path) != first


def test_contents_of_equal_size_are_told_apart(tmp_path):
    path = tmp_path / "a"
    path.write_text("one")
    first = outputs.digest_of_files([path], tmp_path)
    path.write_text("two")
    assert outputs.digest_of_files([path], tmp_path) != first


@pytest.mark.parametrize(
    ("content", "said"), [(None, "not a finished output"), (b"{", "damaged"), (b"\xff", "damaged")]
)
def test_a_json_file_that_cannot_be_read_is_told(tmp_path, content, said):
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(UserError, match=said):
        outputs.read_json(tmp_path / "a.json")


def test_text_and_tables_are_written_whole(tmp_path):
    outputs.write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    outputs.write_csv(tmp_path / "a.csv", ("x", "y"), [("1,2", 'say "no"'), ("ä\n", "")])
    assert outputs.read_json(tmp_path / "a.json") == {"a": [2], "b": 1}
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == 'x,y\n"1,2","say ""no"""\n"ä\n",\n'
    assert not litter(tmp_path)


def test_a_table_that_fails_half_way_leaves_the_old_one(tmp_path):
    def rows():
        yield ("new",)
        raise OSError(errno.ENOSPC, "full")

    outputs.write_csv(tmp_path / "a.csv", ("x",), [("old",)])
    with pytest.raises(OSError, match="full"):
        outputs.write_csv(tmp_path / "a.csv", ("x",), rows())
    assert (tmp_path / "a.csv").read_text() == "x\nold\n"
    assert not litter(tmp_path)


# --- runs that go on ------------------------------------------------------------------------------------------------


def dead_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def killed(folder, record=RECORD, *, name="out", content="half"):
    """Leaves what a run leaves that was killed while it wrote."""
    left = folder / f"{name}.incomplete.{dead_process()}"
    left.mkdir()
    outputs.write_json(left / outputs._PLANNED, record)
    (left / "a").write_text(content)
    return left


def test_what_a_killed_run_of_the_same_provenance_left_is_taken_over(tmp_path):
    left = killed(tmp_path)
    assert outputs.can_resume(tmp_path / "out", RECORD)
    with outputs.staged(tmp_path / "out", RECORD, resumes=True) as aside:
        assert (aside / "a").read_text() == "half"
        assert not left.exists()
        (aside / "a").write_text("whole")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a", outputs.PROVENANCE]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert not outputs.can_resume(tmp_path / "out", RECORD)


def test_who_does_not_ask_to_resume_begins_anew(tmp_path):
    killed(tmp_path)
    with outputs.staged(tmp_path / "out", RECORD) as aside:
        assert not list(aside.iterdir())
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    "record", [{**RECORD, "inputs": "other"}, {**RECORD, "settings": {}}, {**RECORD, "radkit": "0"}, {}, [], None]
)
def test_what_another_run_left_is_not_taken_over_but_swept(tmp_path, record):
    killed(tmp_path, record)
    assert not outputs.can_resume(tmp_path / "out", RECORD)
    with outputs.staged(tmp_path / "out", RECORD, resumes=True) as aside:
        assert [p.name for p in aside.iterdir()] == [outputs._PLANNED]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff"])
def test_a_folder_that_does_not_say_whose_it_is_is_not_taken_over(tmp_path, content):
    left = killed(tmp_path)
    (left / outputs._PLANNED).unlink()
    if content is not None:
        (left / outputs._PLANNED).write_bytes(content)
    assert not outputs.can_resume(tmp_path / "out", RECORD)
    with outputs.staged(tmp_path / "out", RECORD, resumes=True) as aside:
        assert not (aside / "a").exists()


def test_a_living_runs_folder_and_another_outputs_are_left_alone(tmp_path):
    living = killed(tmp_path)
    living = living.rename(tmp_path / f"out.incomplete.{os.getppid()}")
    other = killed(tmp_path, name="other")
    assert not outputs.can_resume(tmp_path / "out", RECORD)
    with outputs.staged(tmp_path / "out", RECORD, resumes=True) as aside:
        assert not (aside / "a").exists()
    assert (living / "a").read_text() == (other / "a").read_text() == "half"


def test_of_several_that_were_killed_one_is_taken_over_and_the_rest_swept(tmp_path):
    for content in ("one", "two"):
        killed(tmp_path, content=content)
    with outputs.staged(tmp_path / "out", RECORD, resumes=True) as aside:
        assert (aside / "a").read_text() in ("one", "two")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("raised", [ValueError, KeyboardInterrupt])
def test_a_resumed_run_that_fails_leaves_nothing(tmp_path, raised):
    killed(tmp_path)
    with pytest.raises(raised), outputs.staged(tmp_path / "out", RECORD, resumes=True):
        raise raised
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("resumes", [True, False])
def test_a_run_that_can_go_on_leaves_what_it_did(tmp_path, resumes):
    with pytest.raises(Unfinished), outputs.staged(tmp_path / "out", RECORD, resumes=resumes) as aside:  # noqa: PT012
        (aside / "a").write_text("half")
        raise Unfinished("the workers died; start again")
    assert [p.name for p in tmp_path.rglob("a")] == ["a"] * resumes
    assert not (tmp_path / "out").exists()


def test_a_container_where_every_run_has_one_number_can_go_on(tmp_path):
    left = killed(tmp_path)
    left.rename(tmp_path / f"out.incomplete.{os.getpid()}")
    assert outputs.can_resume(tmp_path / "out", RECORD)
    with outputs.staged(tmp_path / "out", RECORD, resumes=True) as aside:
        assert (aside / "a").read_text() == "half"


def test_a_killed_run_can_be_gone_on_with_through_a_link_and_from_its_first_moment(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real", target_is_directory=True)
    killed(tmp_path / "disk", name="real")
    assert outputs.can_resume(tmp_path / "out", RECORD)
    with outputs.staged(tmp_path / "new", RECORD, resumes=True) as aside:
        assert outputs.read_json(aside / outputs._PLANNED) == RECORD
    assert not (tmp_path / "new" / outputs._PLANNED).exists()


@pytest.mark.parametrize("output", ["nowhere/deep/out", "out"])
def test_where_nothing_was_left_there_is_nothing_to_go_on_with(tmp_path, output):
    assert not outputs.can_resume(tmp_path / output, RECORD)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", [".", "x", "x/y"])
def test_an_output_within_the_input_is_refused(tmp_path, output):
    records = tmp_path / "records"
    records.mkdir()
    (tmp_path / "link").symlink_to(records)
    for folder in (records, tmp_path / "link"):
        with pytest.raises(UserError, match=r"lies within the records .*name a folder beside them"):
            outputs.require_outside(folder / output, records)
    outputs.require_outside(tmp_path / "records2" / output, records)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no Linux")
def test_a_folder_that_takes_no_files_is_told():
    with pytest.raises(UserError, match=r"nothing can be written in /proc; name another --output"):
        outputs.write_text(Path("/proc/radkit.json"), "x")
    with pytest.raises(UserError, match="cannot be made; name another --output"), outputs.staged(Path("/proc/x"), {}):
        pass


def test_a_folder_that_is_missing_is_no_persons_mistake(tmp_path):
    with pytest.raises(FileNotFoundError):
        outputs.write_text(tmp_path / "gone" / "a.json", "x")
