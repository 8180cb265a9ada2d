"""Looks through a folder as a stranger would: does anything still stand that the profile takes out?

Each file goes through the very rules that de-identify, with a replacer that leaves what is already clean. What would
still change is a finding. It needs no key and tells no value.

Source: DICOM PS3.15 E.1.1.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from radkit.deid import dates, documents, engine, part10, profile, rules, values, wire
from radkit.deid.audit import Log
from radkit.deid.keys import Key
from radkit.deid.rewrite import Rewriter
from radkit.deid.rules import Rule
from radkit.deid.settings import Settings
from radkit.deid.wire import NotCleanable
from radkit.dicom.part10 import MALFORMED

_PSEUDONYM = re.compile(rb"P[A-Z2-7]{16} ?")
_CODE = re.compile(r"^\s*(\d{6})\s*$")
# Nothing of the outcome is kept, so any key does.
_ANY_KEY = Key(bytes(32))
_STAND_INS = frozenset(documents.dummy(kind).strip(b" \0") for kind in (*documents.TYPES, ""))
_DUMMIES = (b"", b"1", b"19000101", b"000000")
_META_KEPT = frozenset((0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013))
_RECORDS, _FILE_SET = 0x00041220, (0x00041130, 0x00041141)  # DirectoryRecordSequence; FileSetID, its descriptor's ID
_IDENTITY_REMOVED, _CODES, _CODE_VALUE, _LONGITUDINAL = 0x00120062, 0x00120064, 0x00080100, 0x00280303


@dataclass(frozen=True)
class Finding:
    """Something that a de-identified file would not hold."""

    path: str  # of the element, as in the audit; "meta", "preamble" or "file" for what is around the data set
    what: str  # what should have been done; never a value


def file(path: Path, settings: Settings | None = None, *, escrow: bool = False) -> list[Finding]:
    """Returns what in a file the profile would still change.

    Args:
        path: Any file.
        settings: What it should conform to; what it says of itself (DeidentificationMethodCodeSequence) if left out.
        escrow: Whether the originals may stand in it, encrypted.
    """
    try:
        with part10.opened(path) as source:
            facts = engine.facts_of(source)
            if facts.text(engine.SOP_CLASS) == engine.DICOMDIR or _RECORDS in facts.entries:
                return _of_directory(facts, settings or Settings())
            said = _said(facts)
            chosen = settings or Settings(frozenset(said))
            return _around(source, facts) + _marks(facts, chosen, said) + _within(facts, chosen, escrow)
    except NotCleanable as error:
        return [Finding("file", str(error))]
    except MALFORMED as error:
        return [Finding("file", f"it cannot be read ({type(error).__name__})")]


def said(path: Path) -> frozenset[str]:
    """Returns the options that a file says it was de-identified with; none when it cannot be read."""
    try:
        with part10.opened(path) as source:
            return frozenset(_said(engine.facts_of(source)))
    except (NotCleanable, *MALFORMED):
        return frozenset()


def _around(source: part10.Source, facts: engine.Facts) -> list[Finding]:
    """Returns what preamble, file meta information and the bytes behind the data set hold."""
    found = [Finding("file", "something stands behind the data set")] if _trails(source, facts) else []
    found += [Finding(f"{tag:08X}", "it stands more than once") for tag in _repeated(source)]
    if source.file is None:
        return found
    source.file.seek(0)
    head = source.file.read(4096)
    if head[128:132] == b"DICM" and any(head[:128]):
        found.append(Finding("preamble", "it is not empty"))
    position = 132 if head[128:132] == b"DICM" else 0
    scanner = wire.Scanner(head)
    expected = {0x00020002: facts.raw(engine.SOP_CLASS), 0x00020003: facts.raw(engine.SOP_INSTANCE)}
    while head[position : position + 2] == b"\2\0":
        tag, _, length, value = scanner.header(position, wire.EXPLICIT)
        position = value + length
        same = head[value:position].strip(b"\0 ") == expected.get(tag, head[value:position]).strip(b"\0 ")
        if tag not in _META_KEPT or (tag in expected and not same):
            found.append(Finding(f"{tag:08X}", "file meta information that must be new"))
    return found


def _trails(source: part10.Source, facts: engine.Facts) -> bool:
    return source.trailing or not source.scanner.is_zero(facts.end, len(source.scanner.buffer))


def _repeated(source: part10.Source) -> list[int]:
    entries = source.scanner.entries(source.start, len(source.scanner.buffer), source.syntax)
    return [tag for tag, count in Counter(entry.tag for entry in entries).items() if count > 1]


def _of_directory(facts: engine.Facts, settings: Settings) -> list[Finding]:
    """Returns what a DICOMDIR's records still tell; its own elements, group 0004, name no one but the file-set."""
    log = _Findings(_ANY_KEY)
    scanner, syntax = facts.source.scanner, facts.source.syntax
    rewriter = Rewriter(scanner, _Lenient(_ANY_KEY, "", facts.charset), log)
    node = rules.root(settings, "")
    found = [Finding(f"{tag:08X}", "should be empty") for tag in _FILE_SET if facts.raw(tag).strip(b" \0")]
    if records := facts.entries.get(_RECORDS):
        for number, item in enumerate(scanner.items(records.value, records.value_end, syntax), start=1):
            log.enter(_RECORDS, number)
            for entry in scanner.entries(item.value, item.value_end, syntax):
                value = bytes(scanner.buffer[entry.value : entry.value_end]).strip(b" \0")
                # What a directory must have and the files have no more stands there empty, or as a dummy.
                if entry.tag >> 16 != 4 and value not in _DUMMIES:
                    rewriter.dataset(entry.start, entry.end, node, syntax)
            log.leave()
    return found + log.found


def _said(facts: engine.Facts) -> list[str]:
    """Returns the options that a file says it was de-identified with."""
    entry = facts.entries.get(_CODES)
    if entry is None:
        return []
    names = {code: name for name, (code, _) in profile.CODES.items() if name != "BasicProfile"}
    scanner, said = facts.source.scanner, []
    inner = scanner.inner(entry.vr, entry.value, facts.source.syntax)
    for item in scanner.items(entry.value, entry.value_end, inner):
        for element in scanner.entries(item.value, item.value_end, inner):
            if element.tag == _CODE_VALUE:
                code = bytes(scanner.buffer[element.value : element.value_end]).decode("latin-1")
                said += [names[found[1]] for found in [_CODE.match(code)] if found and found[1] in names]
    return said


def _marks(facts: engine.Facts, settings: Settings, said: list[str]) -> list[Finding]:
    found = []
    if facts.text(_IDENTITY_REMOVED) != "YES":
        found.append(Finding(f"{_IDENTITY_REMOVED:08X}", "PatientIdentityRemoved is not YES"))
    if _CODES not in facts.entries:
        found.append(Finding(f"{_CODES:08X}", "DeidentificationMethodCodeSequence is missing"))
    if not facts.text(_LONGITUDINAL):
        found.append(Finding(f"{_LONGITUDINAL:08X}", "LongitudinalTemporalInformationModified is missing"))
    beyond = sorted(set(said) - set(settings.options))
    return found + [Finding(f"{_CODES:08X}", f"it says {name}, which was not asked for") for name in beyond]


def _within(facts: engine.Facts, settings: Settings, escrow: bool) -> list[Finding]:
    log = _Findings(_ANY_KEY)
    replacer = _Lenient(_ANY_KEY, "", facts.charset, facts.text(engine.DOCUMENT_TYPE))
    engine.inspect(facts, settings, replacer, log, passes=(engine.ENCRYPTED,) if escrow else ())
    return log.found


class _Findings(Log):
    """Notes what would change, as findings."""

    def __init__(self, key: Key) -> None:
        super().__init__(key)
        self.found: list[Finding] = []

    def __len__(self) -> int:
        return len(self.found)

    def add(self, tag: int, rule: Rule, old: bytes) -> None:
        """Notes an element that should not stand as it does."""
        what = {"X": "should have gone", "Z": "should be empty", "U": "is no new UID"}.get(rule.action, "is not clean")
        self.found.append(Finding(self.path(tag), what))

    def note(self, tag: int, rule: Rule, old: bytes) -> None:
        """Passes over what may stay."""


class _Lenient(values.Replacer):
    """Leaves what is already clean."""

    def value(self, rule: Rule, tag: int, old: bytes) -> bytes | None:
        """Returns the old value when it could be a new one."""
        bare = old.strip(b" \0")
        if not bare or _PSEUDONYM.fullmatch(old) or bare == values.dummy(tag, rule.vr).strip(b" \0"):
            return old
        if rule.code == rules.DOCUMENT:  # what its type was may be gone
            return old if bare in _STAND_INS else b""
        if rule.code == rules.DATE:
            return old if dates.shift(old, rule.vr, 0) is not None else None
        new = super().value(rule, tag, old)
        return old if new is not None and new.strip(b" \0") == bare else new

    def uids(self, old: bytes) -> bytes:
        """Returns the same UIDs where all are the standard's own or of the kind that `Key.uid` makes."""
        return old if all(is_new(one) for one in old.split(b"\\")) else b""

    def patient_of(self, identifier: str, old: bytes) -> bytes:
        """Returns the same value when it could be a pseudonym."""
        return old if _PSEUDONYM.fullmatch(old) or old.strip(b" \0") == values.DUMMY.encode() else b""


def is_new(uid: bytes) -> bool:
    """Tells whether a UID names no one: empty, registered by the standard, or of the kind that `Key.uid` makes.

    >>> is_new(b"1.2.840.10008.1.2"), is_new(b"1.2.3.4")
    (True, False)
    """
    said = uid.decode("latin-1").strip(" \0")
    if not said or _ANY_KEY.uid(said) == said:
        return True
    number = said.removeprefix("2.25.")
    if said == number or not number.isdigit() or len(number) > 39:
        return False
    value = int(number)
    return value >> 76 & 0xF == 8 and value >> 62 & 3 == 2
