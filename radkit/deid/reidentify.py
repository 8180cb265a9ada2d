"""Tells which original identifier stands behind a new one, and writes down who asked and why.

    radkit reidentify --vault=study.vault --key=study.key --id=PABCDEFGHIJ234567 --reason="incidental finding, case 12"
    radkit reidentify --vault=study.vault --key=study.key --check_audit

Prints one line for each answer: kind, new identifier, original values; with --json, as JSON. Before that, each
question becomes a line of <vault>.audit.jsonl: time in UTC, the system's user, identifier, reason, found or not. What
cannot be written down is not answered. Each line carries a seal made with the key over it and the line before, and the
vault counts the lines: what somebody without the key changes, leaves out or cuts off shows in --check_audit. Keep
copies where those who ask may not write: an older vault put back together with its older log would not show.

Exit status: 0 done; 1 an identifier is not in the vault, or --check_audit found the log broken; 2 refused, nothing
answered.
"""

import contextlib
import datetime
import hmac
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import flags

from radkit import program
from radkit.deid import keys, vault
from radkit.errors import UserError

FLAGS = program.new_flags(data_in=None, out=None)
flags.DEFINE_string("vault", None, "The vault that --mode=pseudonymize wrote.", flag_values=FLAGS)
flags.DEFINE_string("key", None, "The key file that the vault was written with.", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "id", [], "The new identifier, as it stands in the output: a PatientID or a UID; may be given again.",
    flag_values=FLAGS,
)  # fmt: skip
flags.DEFINE_string("reason", None, "Why it is asked; goes into the log.", flag_values=FLAGS)
flags.DEFINE_bool("json", False, "Prints each answer as a line of JSON.", flag_values=FLAGS)
flags.DEFINE_bool("check_audit", False, "Verifies the log and asks nothing.", flag_values=FLAGS)

NOT_FOUND = 1

_ORIGINALS = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv)


def _run(values: flags.FlagValues, _: list[str]) -> int:
    program.required(values, "vault", "key")
    vault_path, key = Path(values["vault"].value).resolve(), _key(Path(values["key"].value))
    if values["check_audit"].value:
        if values["id"].value or values["reason"].value:
            raise UserError("--check_audit asks nothing; leave --id and --reason out, or ask without it")
        return _check(vault_path, key)
    program.required(values, "id", "reason")
    identifiers, reason = [text.strip() for text in values["id"].value], values["reason"].value.strip()
    if not reason or not all(identifiers):
        raise UserError("--id or --reason is blank; give the new identifier, and say why it is asked")
    answers = [vault.find(vault_path, key, identifier) for identifier in identifiers]
    questions = [Question(text, reason, bool(found)) for text, found in zip(identifiers, answers)]
    if not write_down(vault_path, key, questions):
        print("radkit: the audit log was changed; --check_audit tells where", file=sys.stderr)
    for found in answers:
        _answer(found, values["json"].value)
    return _missing(answers)


def _key(path: Path) -> keys.Key:
    if not path.exists():
        raise UserError(f"key file {path} does not exist; name the one that the vault was written with")
    return keys.read(path)


def _missing(answers: Sequence[Sequence[vault.Entry]]) -> int:
    # By number, not by value: what was typed by mistake may be a patient's own identifier.
    numbers = [str(number) for number, found in enumerate(answers, 1) if not found]
    if not numbers:
        return program.DONE
    which = f" (--id number {', '.join(numbers)})" if len(answers) > 1 else ""
    print(f"radkit: not in the vault{which}; give a new identifier, as it stands in the output", file=sys.stderr)
    return NOT_FOUND


def _answer(found: Sequence[vault.Entry], as_json: bool) -> None:
    for entry in found:
        values = {_ORIGINALS[entry.kind]: entry.old}
        if entry.kind == "patient":
            values |= {"PatientName": entry.name, "PatientBirthDate": entry.birth_date}
        if as_json:
            print(json.dumps({"kind": entry.kind, "id": entry.new, **values}))
        else:
            said = ", ".join(f'{keyword} "{_printable(value)}"' for keyword, value in values.items())
            print(f"{entry.kind} {entry.new}: {said}")


def _printable(value: str) -> str:
    # A name may hold what drives a terminal, or what its encoding lacks.
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    encoding = sys.stdout.encoding or "ascii"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


@dataclass(frozen=True)
class Question:
    """What goes into the log, beside time and user.

    Args:
        identifier: As it was given.
        reason: Why it was asked.
        found: Whether the vault has an answer.
    """

    identifier: str
    reason: str
    found: bool


def write_down(vault_path: Path, key: keys.Key, questions: Sequence[Question]) -> bool:
    """Appends questions to the vault's log, flushed to the disk, and returns whether the log was whole before.

    Raises:
        UserError: The log cannot be opened; nothing may be answered.
        OSError: It cannot be written, likewise; what was written of it is taken back.
    """
    log = _log_of(vault_path)
    with _locked(log) as descriptor:
        counted = vault.questions(vault_path, key)
        text = log.read_bytes()
        state = _state(text, key, counted)
        # On a broken log the vault's count goes on, so that new lines do not heal it.
        number, seal = counted if state.fault else (state.number, state.seal)
        lines = b"" if text.endswith(b"\n") or not text else b"\n"
        for question in questions:
            number += 1
            line, seal = _line(number, question, key, seal)
            lines += line + b"\n"
        _append(descriptor, lines, len(text))
        vault.set_questions(vault_path, key, number, seal)
    return not state.fault


def _check(vault_path: Path, key: keys.Key) -> int:
    counted = vault.questions(vault_path, key)
    try:
        text = _log_of(vault_path).read_bytes()
    except FileNotFoundError:
        text = b""
    except OSError as error:
        raise UserError(f"the audit log {_log_of(vault_path)} cannot be read; it must be a file of yours") from error
    state = _state(text, key, counted)
    if state.fault:
        print(f"radkit: the audit log is broken: {state.fault}", file=sys.stderr)
        return NOT_FOUND
    print(f"reidentify: the audit log is whole, {state.number} questions")
    return program.DONE


@dataclass(frozen=True)
class _State:
    number: int
    seal: bytes
    fault: str


def _state(text: bytes, key: keys.Key, counted: tuple[int, bytes]) -> _State:
    """Returns how far a log is as it was written, and what is wrong after that."""
    number, seal = 0, vault.NO_SEAL
    for line in text.splitlines():
        try:
            fields = json.loads(line)
            body = {name: value for name, value in fields.items() if name != "seal"}
            expected = _sealed(body, key, seal)
        except (AttributeError, ValueError, RecursionError):
            expected = (b"", b"")
        if not hmac.compare_digest(line, expected[0]):
            return _State(number, seal, f"line {number + 1} was changed, or lines before it are missing")
        number, seal = number + 1, expected[1]
        if number == counted[0] and seal != counted[1]:
            return _State(number, seal, f"line {number} is not the one that the vault knows")
    if number < counted[0]:  # more is right: a run that was killed after the line and before the count
        return _State(number, seal, f"it ends after line {number}, and the vault counted {counted[0]}")
    return _State(number, seal, "")


def _line(number: int, question: Question, key: keys.Key, before: bytes) -> tuple[bytes, bytes]:
    now = datetime.datetime.now(datetime.timezone.utc)
    body = {
        "number": number,
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "user": _user(),
        "id": question.identifier,
        "reason": question.reason,
        "found": question.found,
    }
    return _sealed(body, key, before)


def _sealed(body: dict[str, Any], key: keys.Key, before: bytes) -> tuple[bytes, bytes]:
    """Returns a line of the log and its seal, which covers the line before."""
    seal = hmac.digest(key.secret("vault audit"), before + json.dumps(body).encode(), "sha256")
    return json.dumps({**body, "seal": seal.hex()}).encode(), seal


def _user() -> str:
    # Not $USER, which anybody can set.
    import pwd

    with contextlib.suppress(KeyError):  # a container's user may have no name
        return pwd.getpwuid(os.getuid()).pw_name
    return f"uid {os.getuid()}"


def _log_of(vault_path: Path) -> Path:
    return vault_path.with_name(f"{vault_path.name}.audit.jsonl")


@contextlib.contextmanager
def _locked(log: Path) -> Iterator[int]:
    """Yields the log's descriptor, for one process at a time; the log is made, 0600, when it is not there."""
    import fcntl

    try:
        descriptor = os.open(log, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UserError(f"the audit log {log} cannot be written, so nothing is answered; mend that first") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.fchmod(descriptor, 0o600)
        vault.sync_folder(log.parent)
        yield descriptor
    finally:
        os.close(descriptor)


def _append(descriptor: int, lines: bytes, length: int) -> None:
    try:
        written = os.write(descriptor, lines)
        if written != len(lines):
            raise UserError("the audit log could not be written whole, so nothing is answered; is the disk full?")
        os.fsync(descriptor)
    except BaseException:
        os.ftruncate(descriptor, length)
        raise
