"""The `radkit` command, as its users call it."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import radkit
from radkit import cli, program

HOUSE = Path(__file__).parents[1]
ORDER = ("index", "anonymize", "convert", "statistics", "train", "evaluate", "export", "serve", "predict", "demo")
LIGHT = [verb for verb, (module, _) in cli.VERBS.items() if module.startswith("beam_jobs") or verb == "predict"]


def command(*argv):
    """Returns a module's status and what it said on stdout and stderr, but for what Beam says of itself on import."""
    done = subprocess.run([sys.executable, "-m", *argv], cwd=HOUSE, capture_output=True, text=True, timeout=120)
    said = [line for line in done.stderr.splitlines() if not line.startswith("WARNING:root:apitools")]
    return done.returncode, done.stdout, said


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_the_verbs_in_the_order_of_the_work(argv, capsys):
    assert cli.main(["radkit", *argv]) == program.DONE
    out, err = capsys.readouterr()
    places = [out.index(f"\n  {verb} ") for verb in cli.VERBS]
    assert places == sorted(places)
    assert [verb for verb in cli.VERBS if verb in ORDER] == list(ORDER)
    assert not err


@pytest.mark.parametrize("argv", [["--version"], ["version"]])
def test_the_version_is_told(argv, capsys):
    assert cli.main(["radkit", *argv]) == program.DONE
    assert capsys.readouterr().out == f"radkit {radkit.__version__}\n"


@pytest.mark.parametrize(
    ("verb", "said"),
    [("idnex", "no verb 'idnex' (did you mean 'index'?)"), ("--input=x", "no verb '--input=x'"), ("", "no verb ''")],
)
def test_an_unknown_verb_is_one_line(verb, said, capsys):
    assert cli.main(["radkit", verb]) == program.REFUSED
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert not out


def test_ctrl_c_while_a_verb_is_loaded_is_one_line(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(importlib, "import_module", interrupt)
    assert cli.main(["radkit", "train"]) == program.REFUSED
    assert capsys.readouterr().err == "radkit: interrupted before anything was begun\n"


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_a_program(verb):
    assert importlib.util.find_spec(cli.VERBS[verb][0]) is not None


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_has_a_manual(verb, capsys):
    pytest.importorskip("tensorflow")
    assert cli.main(["radkit", verb, "--help"]) == program.DONE
    text = capsys.readouterr().out
    assert f"radkit {verb}" in text
    assert "xit status" in text
    module = importlib.import_module(cli.VERBS[verb][0])
    for name in module.FLAGS:
        assert f"\n  --{name}" in text
        assert module.FLAGS[name].help


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_refuses_an_unknown_flag_and_a_stray_word(verb, capsys, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("no DICOM")
    flags = importlib.import_module(cli.VERBS[verb][0]).FLAGS
    given = [f"--input={tmp_path / 'in'}"] if "input" in flags else []
    given += [f"--output={tmp_path / 'out'}"] if "output" in flags else []
    for wrong in ("--no_such_flag=1", "stray"):
        assert cli.main(["radkit", verb, *given, wrong]) == program.REFUSED
        assert capsys.readouterr().err.startswith("radkit: ")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("verb", [LIGHT[0], *(pytest.param(verb, marks=pytest.mark.slow) for verb in LIGHT[1:])])
def test_a_verb_is_the_same_as_its_module(verb):
    found = command("radkit", verb, "--help")
    assert found == command(cli.VERBS[verb][0], "--help")
    assert found[0] == program.DONE
    assert not found[2]


def test_a_refusal_is_the_same_by_verb_and_by_module():
    found = command("radkit", "index", "--input=/no/such/folder")
    assert found == command("beam_jobs.index", "--input=/no/such/folder")
    assert found == (program.REFUSED, "", ["radkit: --input /no/such/folder does not exist; name a folder"])


def test_a_package_that_is_not_installed_is_named(monkeypatch, capsys, tmp_path):
    (tmp_path / "needy_verb.py").write_text("import no_such_package_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(cli.VERBS, "needy", ("needy_verb", ""))
    assert cli.main(["radkit", "needy"]) == program.REFUSED
    err = capsys.readouterr().err
    assert "radkit: needy needs no_such_package_at_all, which is not installed" in err


def documents():
    """Returns the pages and programs that hold commands, by their names."""
    paths = [HOUSE / "README.md", *(HOUSE / "docs").rglob("*.md"), *(HOUSE / "configs").glob("*.py")]
    return {str(path.relative_to(HOUSE)): path.read_text().replace("\\\n", " ") for path in sorted(paths)}


def test_every_flag_of_a_documented_command_is_its_verbs():
    pytest.importorskip("tensorflow")
    one = re.compile(rf"radkit ({'|'.join(cli.VERBS)}) ([^`;|#]*)")
    commands = [
        (name, *found.groups()) for name, text in documents().items() for line in text.splitlines()
        for found in one.finditer(line)
    ]  # fmt: skip
    assert len(commands) > 50
    for name, verb, rest in commands:
        known = {"help", *importlib.import_module(cli.VERBS[verb][0]).FLAGS}
        for flag in re.findall(r"(?<!\S)--(\w+)", rest):
            assert flag in known or flag.removeprefix("no") in known, (name, verb, flag)
