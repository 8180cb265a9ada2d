"""`radkit reidentify`: no answer without a line in the log, and no line that goes unnoticed."""

import errno
import json
import os
import stat
import subprocess
import sys
from concurrent import futures
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from radkit import cli, program
from radkit.deid import keys, reidentify, vault

HOUSE = Path(__file__).parents[2]
KEY = keys.Key(bytes(range(32)))
OTHER = keys.Key(bytes(range(1, 33)))
PATIENT = vault.Entry("patient", "PABCDEFGHIJ234567", "MRN 4711", "Zufall^Zöe", "19700101")
SERIES = vault.Entry("series", "2.25.17", "1.2.3")
SECRETS = (PATIENT.old, PATIENT.name, "Zufall", PATIENT.birth_date, SERIES.old)


@pytest.fixture
def place(tmp_path):
    """A folder with a vault, its key and another key."""
    keys.write(KEY, tmp_path / "a.key")
    keys.write(OTHER, tmp_path / "other.key")
    vault.write_part(tmp_path / "part", [PATIENT, SERIES], KEY)
    vault.merge([tmp_path / "part"], tmp_path / "a.vault", KEY)
    return tmp_path


@pytest.fixture
def call(place, capsys):
    """Returns the status and what was said on stdout and stderr."""

    def called(*more, key="a.key", name="a.vault"):
        status = reidentify.main(["reidentify", f"--vault={place / name}", f"--key={place / key}", *more])
        return status, *capsys.readouterr()

    return called


def asked(*identifiers):
    return [*(f"--id={identifier}" for identifier in identifiers), "--reason=incidental finding"]


def log_of(place):
    return place / "a.vault.audit.jsonl"


def lines_of(place):
    return [json.loads(line) for line in log_of(place).read_text().splitlines()]


def test_an_answer_is_one_line(call):
    assert call(*asked(PATIENT.new)) == (
        program.DONE,
        'patient PABCDEFGHIJ234567: PatientID "MRN 4711", PatientName "Zufall^Zöe", PatientBirthDate "19700101"\n',
        "",
    )
    assert call(*asked(SERIES.new, PATIENT.new))[1].splitlines()[0] == 'series 2.25.17: SeriesInstanceUID "1.2.3"'


def test_an_answer_as_json(call):
    status, out, err = call(*asked(PATIENT.new, SERIES.new), "--json")
    assert (status, err) == (program.DONE, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"kind": "patient", "id": PATIENT.new, "PatientID": PATIENT.old, "PatientName": PATIENT.name,
         "PatientBirthDate": PATIENT.birth_date},
        {"kind": "series", "id": SERIES.new, "SeriesInstanceUID": SERIES.old},
    ]  # fmt: skip
    assert out.isascii()


def test_each_question_is_a_line_of_the_log(call, place):
    call(*asked(PATIENT.new, "P0"))
    call("--id", SERIES.new, "--reason", '  quality "check"\nsecond line ')
    first, second, third = lines_of(place)
    assert [line["number"] for line in (first, second, third)] == [1, 2, 3]
    assert [line["found"] for line in (first, second, third)] == [True, False, True]
    assert [line["id"] for line in (first, second, third)] == [PATIENT.new, "P0", SERIES.new]
    assert third["reason"] == 'quality "check"\nsecond line'
    assert first["user"]
    assert first["time"].endswith("Z")
    assert stat.S_IMODE(log_of(place).stat().st_mode) == 0o600
    for secret in SECRETS:
        assert secret not in log_of(place).read_text()


def test_the_user_is_the_systems_whatever_the_environment_says(call, place, monkeypatch):
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody else")
    call(*asked(PATIENT.new))
    assert lines_of(place)[0]["user"] != "somebody else"


def test_a_user_without_a_name_is_a_number(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 3_999_999_999)
    assert reidentify._user() == "uid 3999999999"


def test_an_unknown_identifier_is_not_said_again(call):
    status, out, err = call(*asked("MRN 4711"))
    assert (status, out) == (reidentify.NOT_FOUND, "")
    assert err == "radkit: not in the vault; give a new identifier, as it stands in the output\n"
    status, out, err = call(*asked("MRN 4711", PATIENT.new, "x"))
    assert (status, out.count("\n")) == (reidentify.NOT_FOUND, 1)
    assert "number 1, 3" in err
    assert "MRN" not in err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--id=P1"], "--reason must be given"),
        (["--reason=x"], "--id must be given"),
        (["--id=P1", "--reason=  "], "blank"),
        (["--id= ", "--reason=x"], "blank"),
        (["--id=P1", "--reason="], "--reason must be given"),
        (["--check_audit", "--id=P1"], "asks nothing"),
    ],
)
def test_a_question_without_its_reason_is_refused(call, place, flags, said):
    status, out, err = call(*flags)
    assert (status, out, err.count("\n")) == (program.REFUSED, "", 1)
    assert said in err
    assert not log_of(place).exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"key": "other.key"}, "another key"),
        ({"key": "no.key"}, "key file"),
        ({"name": "no.vault"}, "does not exist"),
        ({"name": ""}, "is a folder"),
        ({"name": "a.key"}, "not a vault"),
        ({"name": "b.vault"}, "damaged"),
    ],
)
@pytest.mark.parametrize("flags", [asked(PATIENT.new), ["--check_audit"]])
def test_a_wrong_key_or_vault_is_refused_in_a_line(call, place, given, said, flags):
    (place / "b.vault").write_bytes((place / "a.vault").read_bytes()[:-3])
    before = sorted(path.name for path in place.iterdir())
    status, out, err = call(*flags, **given)
    assert (status, out, err.count("\n")) == (program.REFUSED, "", 1)
    assert said in err
    assert sorted(path.name for path in place.iterdir()) == before


def test_a_log_that_cannot_be_opened_means_no_answer(call, place):
    log_of(place).mkdir()
    status, out, err = call(*asked(PATIENT.new))
    assert (status, out) == (program.REFUSED, "")
    assert "nothing is answered" in err
    log_of(place).rmdir()
    log_of(place).symlink_to("/dev/null")
    assert call(*asked(PATIENT.new))[:2] == (program.REFUSED, "")


@pytest.mark.parametrize("broken", ["write", "fsync"])
def test_a_full_disk_means_no_answer_and_leaves_the_log_whole(call, place, monkeypatch, broken):
    call(*asked(PATIENT.new))
    before = log_of(place).read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, broken, full)
        status, out, err = call(*asked(SERIES.new))
    assert (status, out) == (program.REFUSED, "")
    assert "no space" in err
    assert log_of(place).read_bytes() == before
    assert call("--check_audit")[0] == program.DONE


def test_a_line_that_is_written_in_half_means_no_answer(call, place, monkeypatch):
    writing = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, data: writing(descriptor, data[:10]))
        status, out, err = call(*asked(PATIENT.new))
    assert (status, out) == (program.REFUSED, "")
    assert "disk full" in err
    assert log_of(place).read_bytes() == b""


def test_a_count_that_cannot_be_written_means_no_answer(call, monkeypatch):
    def closed(*_):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(vault, "set_questions", closed)
    assert call(*asked(PATIENT.new))[:2] == (program.REFUSED, "")
    # The line without its count is no fault: the vault's count is the least that the log must hold.
    assert call("--check_audit")[0] == program.DONE


def test_the_line_is_on_the_disk_before_the_answer(call, place, monkeypatch):
    seen = []
    answering = reidentify._answer
    monkeypatch.setattr(reidentify, "_answer", lambda *rest: (seen.append(log_of(place).read_text()), answering(*rest)))
    call(*asked(PATIENT.new))
    assert PATIENT.new in seen[0]


def test_a_whole_log_is_told_so(call):
    assert call("--check_audit") == (program.DONE, "reidentify: the audit log is whole, 0 questions\n", "")
    for count in range(1, 4):
        call(*asked(PATIENT.new))
        assert call("--check_audit")[1] == f"reidentify: the audit log is whole, {count} questions\n"


def changed_reason(lines):
    return [lines[0].replace("incidental", "accidental"), *lines[1:]]


def with_space(lines):
    return [lines[0], lines[1] + " ", *lines[2:]]


BREAKS = {
    "first line out": lambda lines: lines[1:],
    "middle line out": lambda lines: [lines[0], *lines[2:]],
    "last line out": lambda lines: lines[:-1],
    "all lines out": lambda lines: [],
    "two lines in another order": lambda lines: [lines[1], lines[0], *lines[2:]],
    "a line twice": lambda lines: [lines[0], *lines],
    "a line more": lambda lines: [*lines, '{"number": 5, "seal": "00"}'],
    "no JSON": lambda lines: [*lines, "x"],
    "an empty line": lambda lines: [lines[0], "", *lines[1:]],
    "a list": lambda lines: [*lines, "[]"],
    "a deep list": lambda lines: [*lines, "[" * 100_000],
    "changed reason": changed_reason,
    "a space more": with_space,
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_changed_log_is_told_and_no_later_question_mends_it(call, place, name):
    for _ in range(4):
        call(*asked(PATIENT.new))
    lines = log_of(place).read_text().splitlines()
    log_of(place).write_text("".join(f"{line}\n" for line in BREAKS[name](lines)))
    status, out, err = call("--check_audit")
    assert (status, out, err.count("\n")) == (reidentify.NOT_FOUND, "", 1)
    assert "audit log is broken" in err
    # A patient may need the answer: it is given, with a word.
    status, out, err = call(*asked(PATIENT.new))
    assert (status, out.count("\n")) == (program.DONE, 1)
    assert "the audit log was changed" in err
    assert call("--check_audit")[0] == reidentify.NOT_FOUND


def test_a_log_that_is_removed_is_told(call, place):
    call(*asked(PATIENT.new))
    log_of(place).unlink()
    assert call("--check_audit")[0] == reidentify.NOT_FOUND
    call(*asked(PATIENT.new))
    assert call("--check_audit")[0] == reidentify.NOT_FOUND


def test_every_changed_byte_of_the_log_is_told(call, place):
    call(*asked(PATIENT.new, SERIES.new))
    whole = log_of(place).read_bytes()
    counted = vault.questions(place / "a.vault", KEY)
    for at in range(len(whole) - 1):  # but for the last line's end, which says nothing
        text = whole[:at] + bytes([whole[at] ^ 0x02]) + whole[at + 1 :]
        assert reidentify._state(text, KEY, counted).fault
    for cut in range(len(whole) - 1):
        assert reidentify._state(whole[:cut], KEY, counted).fault
    assert not reidentify._state(whole, KEY, counted).fault


def test_a_log_is_not_made_up_without_the_key(call, place):
    call(*asked(PATIENT.new))
    lines, seal = b"", vault.NO_SEAL
    line, _ = reidentify._line(1, reidentify.Question("P1", "another", True), OTHER, seal)
    assert reidentify._state(lines + line, KEY, vault.questions(place / "a.vault", KEY)).fault


def test_a_vault_that_is_extended_keeps_its_log(call, place):
    call(*asked(PATIENT.new))
    vault.write_part(place / "later", [vault.Entry("study", "2.25.18", "1.2.4")], KEY)
    vault.merge([place / "later"], place / "a.vault", KEY)
    assert call(*asked("2.25.18"))[0] == program.DONE
    assert call("--check_audit")[1].endswith("2 questions\n")


def test_a_link_to_the_vault_has_the_vaults_log(call, place):
    (place / "link").symlink_to(place / "a.vault")
    call(*asked(PATIENT.new), name="link")
    assert len(lines_of(place)) == 1
    assert not (place / "link.audit.jsonl").exists()


def ask_often(vault_path, count):
    for _ in range(count):
        assert reidentify.write_down(vault_path, KEY, [reidentify.Question("P1", "at the same time", False)])


def test_questions_at_the_same_time_do_not_break_the_chain(call, place):
    # Threads, but each opens the log for itself, so that they exclude one another as processes do.
    with futures.ThreadPoolExecutor(3) as pool:
        list(pool.map(ask_often, [place / "a.vault"] * 3, [10] * 3))
    assert call("--check_audit")[1].endswith("30 questions\n")


def test_a_name_that_would_drive_a_terminal_is_shown_harmless(call, place):
    odd = vault.Entry("patient", "P1", "1\x1b[2J", "M\udcfcller\n^\x9b", "")
    vault.write_part(place / "odd", [odd], KEY)
    vault.merge([place / "odd"], place / "a.vault", KEY)
    _, out, _ = call(*asked("P1"))
    assert out.count("\n") == 1
    assert out[:-1].isprintable()
    _, out, _ = call(*asked("P1"), "--json")
    assert json.loads(out)["PatientName"] == odd.name


def test_a_terminal_of_few_letters_gets_an_answer(place):
    done = subprocess.run(
        [sys.executable, "-m", "radkit", "reidentify", "--vault=a.vault", "--key=a.key", *asked(PATIENT.new)],
        cwd=place,
        capture_output=True,
        timeout=180,
        env={**os.environ, "PYTHONPATH": str(HOUSE), "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (program.DONE, b"")
    assert b'PatientName "Zufall^Z\\xf6e"' in done.stdout


def test_the_verb_is_in_the_table(capsys):
    assert cli.main(["radkit", "reidentify", "--help"]) == program.DONE
    assert "--reason" in capsys.readouterr().out
