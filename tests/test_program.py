"""What all programs share: flags that do not leak, exit statuses, one line for a mistake."""

import errno
import os
import subprocess
import sys
import types

import pytest
from absl import flags

from radkit import outputs, program
from radkit.errors import UserError


def made_up(passes_on=False):
    """Returns a program whose body notes what it was given."""
    module = types.ModuleType("made_up", "Does nothing.\n\n    made_up --input x")
    module.FLAGS = program.new_flags(data_in="In.", out="Out.", config=True)
    flags.DEFINE_bool("fast", False, "Fast.", flag_values=module.FLAGS)
    flags.DEFINE_integer("count", 3, "Count.", flag_values=module.FLAGS, lower_bound=0)
    flags.DEFINE_list("names", ["a"], "Names.", flag_values=module.FLAGS)
    flags.DEFINE_multi_string("model", ["m"], "Models.", flag_values=module.FLAGS)
    flags.DEFINE_enum("split", "test", ["test", "train"], "Split.", flag_values=module.FLAGS)
    module.calls = []

    def body(values, rest):
        for name in ("set", "model", "names"):
            values[name].value.append("scribble")  # a body may do what it likes with its own flags
            values[name].value.pop()
        module.calls.append(({name: values[name].value for name in values}, rest))
        return program.DONE

    module.main = lambda *argv: program.run(module, body, ["made_up", *argv], passes_on=passes_on)
    return module


DEFAULTS = {
    "input": None, "output": None, "config": None, "set": [], "fast": False, "count": 3, "names": ["a"],
    "model": ["m"], "split": "test",
}  # fmt: skip
GIVEN = [
    "--input=i", "--output=o", "--config=c", "--set=a.b=1", "--set=c.d=2", "--fast", "--count=5", "--names=x,y",
    "--model=n=/f", "--split=train",
]  # fmt: skip


def test_flags_are_parsed():
    module = made_up()
    assert module.main(*GIVEN) == program.DONE
    assert module.calls[0][0] == {
        "input": "i", "output": "o", "config": "c", "set": ["a.b=1", "c.d=2"], "fast": True, "count": 5,
        "names": ["x", "y"], "model": ["n=/f"], "split": "train",
    }  # fmt: skip


@pytest.mark.parametrize("flag", GIVEN)
def test_no_call_sees_another_calls_flags(flag):
    module = made_up()
    for argv in ([flag], [], [flag, flag], []):
        assert module.main(*argv) == program.DONE
    assert module.calls[1][0] == module.calls[3][0] == DEFAULTS
    assert module.calls[0][0] != DEFAULTS


def test_a_call_that_was_refused_leaves_no_flags_either():
    module = made_up()
    assert module.main("--set=a=1", "--fast", "--count=-1") == program.REFUSED
    assert module.main() == program.DONE
    assert module.calls[0][0] == DEFAULTS


def test_flags_may_be_written_with_a_space():
    module = made_up()
    assert module.main("--input", "i", "--set", "a=1", "--nofast") == program.DONE
    assert module.calls[0][0] == {**DEFAULTS, "input": "i", "set": ["a=1"]}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--inptu=x"], "Unknown command line flag 'inptu'. Did you mean: input ?"),
        (["stray"], "'stray' was not expected; flags are written --name=value"),
        (["--input=x", "stray"], "'stray' was not expected"),
        (["--count=many"], "many"),
        (["--count=-1"], "not a non-negative integer"),
        (["--split=all"], "should be one of <test|train>"),
        (["--input"], "Missing value for flag --input"),
        (["--nofast=1"], "does not take an argument"),
        (["--flagfile=/no/such/file"], "flagfile"),
    ],
)
def test_wrong_flags_are_told_in_one_line(argv, said, capsys):
    assert made_up().main(*argv) == program.REFUSED
    out, err = capsys.readouterr()
    assert said in err
    assert err.startswith("radkit: ")
    assert err.count("\n") == 1
    assert not out


def test_flags_of_beam_are_passed_on_wherever_they_stand():
    module = made_up(passes_on=True)
    assert module.main("--runner=X", "--input=i", "--streaming", "--output=o") == program.DONE
    assert module.calls[0][1] == ["--runner=X", "--streaming"]
    assert module.calls[0][0]["output"] == "o"


def test_a_beam_flag_written_with_a_space_does_not_swallow_ours():
    module = made_up(passes_on=True)
    assert module.main("--runner", "X", "--input=i") == program.DONE
    assert module.calls[0][0]["input"] == "i"
    assert module.calls[0][1] == ["--runner=X"]


def test_flags_of_beam_may_be_written_with_a_space():
    module = made_up(passes_on=True)
    said = ["stray", "--a", "2", "--b=1", "x", "--streaming", "-1", "y", "--c", "a b=c", "z"]
    assert module.main(*said) == program.DONE
    assert module.calls[0][1] == ["stray", "--a=2", "--b=1", "x", "--streaming", "-1", "y", "--c=a b=c", "z"]


@pytest.mark.parametrize("flag", ["--help", "-h", "--helpfull"])
def test_help_is_the_docstring_and_the_flags(flag, capsys):
    module = made_up()
    assert module.main("--count=-1", flag) == program.DONE
    out, err = capsys.readouterr()
    assert out.startswith("Does nothing.")
    for text in ("--input\n      In.", "--count [3]", "--names [a]", "--set\n", "--split [test]", "--fast"):
        assert text in out, text
    assert not module.calls
    assert not err


@pytest.mark.parametrize("argv", [("radkit",), ("radkit", "statistics")])
def test_help_ends_quietly_where_nobody_reads_on(argv):
    there, gone = os.pipe()
    os.close(there)  # as `head` does when it has seen enough
    code = f"import sys; from radkit import cli; sys.exit(cli.main([*{argv!r}, '--help']))"
    ended = subprocess.run([sys.executable, "-c", code], stdout=gone, stderr=subprocess.PIPE, check=False)
    os.close(gone)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_help_does_not_show_the_last_calls_values(capsys):
    module = made_up()
    module.main("--count=77")
    module.main("--help")
    assert "77" not in capsys.readouterr().out


def failing(error):
    module = made_up()

    def body(values, rest):
        raise error

    return program.run(module, body, ["made_up"])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("two\n lines"), "two lines"),
        (KeyboardInterrupt(), "interrupted"),
        (OSError(errno.ENOSPC, "x", "/secret"), "no space is left on the disk"),
        (OSError(errno.EDQUOT, "x"), "quota"),
        (PermissionError(errno.EACCES, "x", "/secret"), "permission was refused"),
        (OSError(errno.EROFS, "x"), "read-only"),
    ],
)
def test_what_a_person_can_mend_is_one_line(error, said, capsys):
    assert failing(error) == program.REFUSED
    err = capsys.readouterr().err
    assert err.startswith("radkit: ")
    assert said in err
    assert err.count("\n") == 1
    assert "/secret" not in err


@pytest.mark.parametrize("error", [RuntimeError("a defect"), OSError(errno.EIO, "a defect"), ValueError("a defect")])
def test_a_defect_shows_where_and_is_never_taken_for_done(error, capsys):
    status = failing(error)
    err = capsys.readouterr().err
    assert status == program.REFUSED
    assert "a defect" in err
    assert "Traceback" in err
    assert "radkit: stopped by a defect" in err


def test_a_full_disk_leaves_nothing_and_is_one_line(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    def body(values, rest):
        with outputs.staged(tmp_path / "out", {"verb": "x"}) as aside:
            (aside / "a").write_text("a")
            outputs.write_json(aside / "b", {})
        return program.DONE

    monkeypatch.setattr(outputs.os, "fsync", full)
    assert program.run(made_up(), body, ["made_up"]) == program.REFUSED
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [program.DONE, program.QUARANTINED])
def test_the_bodys_status_is_returned(status):
    assert program.run(made_up(), lambda values, rest: status, ["made_up"]) == status


def test_required_names_all_that_is_missing():
    values = made_up().FLAGS
    values(["made_up", "--output="])
    with pytest.raises(UserError, match="--input, --output must be given"):
        program.required(values, "input", "output", "count", "fast", "model")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.write_text("x"), "is a file"),
        (lambda p: p.mkdir(), "is empty"),
    ],
)
def test_an_input_that_is_no_folder_is_refused(make, said, tmp_path):
    make(tmp_path / "in")
    values = made_up().FLAGS
    values(["made_up", f"--input={tmp_path / 'in'}"])
    with pytest.raises(UserError, match=said):
        program.input_folder(values)


def test_a_module_is_a_program_when_it_has_main_flags_and_a_manual():
    text = program.manual(made_up())
    assert text.splitlines()[0] == "Does nothing."
    assert "made_up" not in sys.modules
