"""One instance from end to end: who it is of, which rules hold, what it becomes, and the marks that say so.

Source: DICOM PS3.15 E.1.1 (what a de-identifier does), E.3 (options); PS3.16 CID 7050.
"""

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import radkit
from radkit.deid import graphics, private, profile, rules, wire
from radkit.deid.audit import Log
from radkit.deid.keys import Key
from radkit.deid.part10 import Source
from radkit.deid.rewrite import REFERENCE_LISTS, Rewriter
from radkit.deid.settings import (
    FEATURES,
    FULL_DATES,
    GRAPHICS,
    MODIFIED_DATES,
    PIXELS,
    SAFE_PRIVATE,
    UIDS,
    Settings,
    ordered,
)
from radkit.deid.values import Replacer, decoded
from radkit.deid.wire import Entry, NotCleanable, Part

SOP_CLASS, SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_CHARSET, _MODALITY, _BIRTH_DATE, DOCUMENT_TYPE = 0x00080005, 0x00080060, 0x00100030, 0x00420012
_BURNED_IN, _FEATURES, _LONGITUDINAL = 0x00280301, 0x00280302, 0x00280303
_REFERENCED_INSTANCES = (0x0008, 0x114A)  # ReferencedInstanceSequence: what a presentation state's own list lacks
# PatientIdentityRemoved, DeidentificationMethod and its codes: ours to set.
MARKS = (0x00120062, 0x00120063, 0x00120064)
ENCRYPTED = 0x04000500  # EncryptedAttributesSequence
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)

_STORAGE = "1.2.840.10008.5.1.4.1.1."
DICOMDIR = "1.2.840.10008.1.3.10"
_SECONDARY_CAPTURE = f"{_STORAGE}7"
_VOICE = (f"{_STORAGE}9.4.",)
# Modalities whose pixels usually carry text.
_TEXT_IN_PIXELS = frozenset(("US", "IVUS", "OT", "SC", "XC", "ES", "DOC", "DG", "GM"))


class Directory(NotCleanable):
    """A DICOMDIR: it is not cleaned but made anew from what is written."""


@dataclass(frozen=True)
class Pixels:
    """What was done to the pixels beforehand: nothing, looked at, or changed.

    Attributes:
        looked_at: Every frame was searched for text.
        defaced: The face was removed.
        elements: New top-level elements by tag, encoded as the source is.
        transfer_syntax: Of the new file; "" for the source's.
    """

    looked_at: bool = False
    defaced: bool = False
    elements: Mapping[int, bytes] = field(default_factory=dict)
    transfer_syntax: str = ""


@dataclass(frozen=True)
class Outcome:
    """What an instance becomes."""

    parts: Sequence[Part]
    sop_class: str
    transfer_syntax: str
    patient: str
    study: str
    series: str
    instance: str
    log: Log
    old: "Old"
    pixels_with_text: bool  # the pixels may show text, and were not looked at


@dataclass(frozen=True)
class Old:
    """Whose the instance was: for the vault only."""

    patient: str = field(repr=False)
    name: str = field(repr=False)
    birth_date: str = field(repr=False)
    study: str = field(repr=False)
    series: str = field(repr=False)
    instance: str = field(repr=False)


@dataclass(frozen=True)
class Facts:
    """What of an instance's top level decides its course; values as they came."""

    entries: dict[int, Entry]
    tags: list[int]  # sorted
    end: int
    source: Source
    charset: str

    def raw(self, tag: int) -> bytes:
        """Returns an element's value; empty when it is not there."""
        entry = self.entries.get(tag)
        return bytes(self.source.scanner.buffer[entry.value : entry.value_end]) if entry else b""

    def text(self, tag: int) -> str:
        """Returns an element's value as text without the padding."""
        return decoded(self.raw(tag), self.charset)


def clean(source: Source, key: Key, settings: Settings, pixels: Pixels | None = None) -> Outcome:
    """Returns what an instance becomes; the source stays as it is.

    Args:
        source: As `part10.opened` yields it.
        key: What pseudonyms, UIDs and shifts come from.
        settings: Options, and what becomes of unlisted text.
        pixels: What was done to the pixels beforehand.

    Raises:
        Directory: It is a DICOMDIR.
        NotCleanable: A kind of object that would stay leaking, or a broken one.

    Source: DICOM PS3.15 E.1.1.
    """
    facts, pixels = facts_of(source), pixels or Pixels()
    _refuse(facts)
    replacer = Replacer(key, identity(facts), facts.charset, facts.text(DOCUMENT_TYPE))
    looked_at = pixels.looked_at or not has_pixels(facts)
    marks = _marks(settings, source.syntax, looked_at=looked_at, has_pixels=has_pixels(facts), defaced=pixels.defaced)
    parts, log = _pass(facts, replacer, settings, {**pixels.elements, **marks})
    new = [_new_uid(facts, replacer, settings, tag) for tag in (_STUDY, _SERIES, SOP_INSTANCE)]
    return Outcome(
        parts=parts,
        sop_class=facts.text(SOP_CLASS),
        transfer_syntax=pixels.transfer_syntax or source.transfer_syntax,
        patient=replacer.pseudonym,
        study=new[0],
        series=new[1],
        instance=new[2],
        log=log,
        old=Old(*map(facts.text, (rules.PATIENT_ID, rules.PATIENT_NAME, _BIRTH_DATE, _STUDY, _SERIES, SOP_INSTANCE))),
        pixels_with_text=not looked_at and _pixels_may_show_text(facts),
    )


def _pass(facts: Facts, replacer: Replacer, settings: Settings, forced: Mapping[int, bytes]) -> tuple[list[Part], Log]:
    """Returns the whole data set, and what was done to it."""
    overlays, declared = _overlays(facts, settings), _declared(facts, settings)
    node = _root(settings, facts.text(SOP_CLASS))

    def once(more: Mapping[int, bytes]) -> tuple[list[Part], Rewriter]:
        rewriter = Rewriter(facts.source.scanner, replacer, Log(replacer.key), overlays, declared)
        patient = _patient(facts, replacer, rewriter.log)
        return _rewritten(facts, rewriter, node, {**patient, **forced, **more}), rewriter

    parts, rewriter = once({})
    if rewriter.references_removed and not rewriter.references_kept:
        # The list of all references must not stand when there are none (PS3.3 C.12.2).
        mark = facts.source.syntax.tag.pack(*_REFERENCED_INSTANCES)
        lists = [tag for tag in REFERENCE_LISTS if mark in facts.raw(tag)]
        if lists:
            parts, rewriter = once(dict.fromkeys(lists, b""))
            for tag in lists:
                rewriter.log.add(tag, rules.Rule(rules.REMOVE, "SQ", "X"), facts.raw(tag))
    return parts, rewriter.log


def inspect(facts: Facts, settings: Settings, replacer: Replacer, log: Log, *, passes: Sequence[int] = ()) -> None:
    """Goes through an instance as `clean` does, for what is told to the log; nothing is made of it.

    Args:
        facts: Of the instance.
        settings: As for `clean`.
        replacer: What it leaves as it is, is not told.
        log: Told the rest.
        passes: Top-level tags that are passed over.
    """
    rewriter = Rewriter(facts.source.scanner, replacer, log, _overlays(facts, settings), _declared(facts, settings))
    node = _root(settings, facts.text(SOP_CLASS), inspecting=True)
    _rewritten(facts, rewriter, node, dict.fromkeys((*MARKS, *passes), b""))


def facts_of(source: Source) -> Facts:
    """Returns an instance's top level."""
    found = list(source.scanner.entries(source.start, len(source.scanner.buffer), source.syntax))
    if not found:
        raise NotCleanable("the file holds nothing")
    entries = {entry.tag: entry for entry in reversed(found)}  # of a tag that stands twice, the first
    tags = sorted(entries)
    charset = Facts(entries, tags, found[-1].end, source, "").text(_CHARSET)
    return Facts(entries, tags, found[-1].end, source, charset)


def identity(facts: Facts) -> str:
    """Returns what says who the patient is: PatientID, else name and birth date, else the study alone."""
    if patient := facts.text(rules.PATIENT_ID):
        return patient
    # The first character cannot begin a DICOM text, so none of these equals some other patient's PatientID.
    if name := facts.text(rules.PATIENT_NAME):
        return f"\1name\1{name}\1{facts.text(_BIRTH_DATE)}"
    return "\1study\1" + facts.text(_STUDY)


def has_pixels(facts: Facts) -> bool:
    """Tells whether there are pixels that may have to be looked at."""
    return any(tag in facts.entries for tag in _PIXELS)


def _refuse(facts: Facts) -> None:
    sop_class = facts.text(SOP_CLASS)
    if sop_class == DICOMDIR or (not sop_class and 0x00041220 in facts.entries):
        raise Directory("DICOMDIR: made anew from the output")
    if sop_class.startswith(_VOICE):
        raise NotCleanable("spoken words cannot be cleaned by this profile")
    for tag in (SOP_CLASS, SOP_INSTANCE, _STUDY, _SERIES):
        if not facts.text(tag):
            raise NotCleanable(f"{_KEYWORDS[tag]} is missing")


_KEYWORDS = {
    SOP_CLASS: "SOPClassUID", SOP_INSTANCE: "SOPInstanceUID", _STUDY: "StudyInstanceUID",
    _SERIES: "SeriesInstanceUID",
}  # fmt: skip


def _pixels_may_show_text(facts: Facts) -> bool:
    said = facts.text(_BURNED_IN)
    secondary = facts.text(SOP_CLASS).startswith(_SECONDARY_CAPTURE)
    return said == "YES" or (said != "NO" and (secondary or facts.text(_MODALITY) in _TEXT_IN_PIXELS))


def _overlays(facts: Facts, settings: Settings) -> frozenset[int]:
    if GRAPHICS not in settings.options or not any(tag >> 24 == 0x60 for tag in facts.entries):
        return frozenset()
    if importlib.util.find_spec("rapidocr_onnxruntime") is None:
        return frozenset()  # what cannot be looked at goes
    from radkit.deid import text_in_pixels  # its networks are an extra

    shows_text = text_in_pixels.text_in_overlay
    return graphics.clean_overlays(facts.entries, facts.source.scanner, facts.source.syntax, shows_text)


def _declared(facts: Facts, settings: Settings) -> private.Declarations:
    entry = facts.entries.get(private.CHARACTERISTICS)
    if entry is None or SAFE_PRIVATE not in settings.options:
        return {}
    return private.declarations(facts.source.scanner, entry, facts.source.syntax)


@functools.lru_cache(maxsize=64)
def _root(settings: Settings, sop_class: str, *, inspecting: bool = False) -> rules.Node:
    """Returns the rules of a SOP class; whoever only inspects has its own: they remember what stays unchanged."""
    return rules.root(settings, sop_class)


def _patient(facts: Facts, replacer: Replacer, log: Log) -> dict[int, bytes]:
    forced = {}
    for tag, vr in ((rules.PATIENT_NAME, "PN"), (rules.PATIENT_ID, "LO")):
        if tag in facts.entries or tag == rules.PATIENT_ID:
            forced[tag] = wire.element(tag, vr, replacer.pseudonym.encode(), facts.source.syntax)
            log.add(tag, rules.Rule(rules.PATIENT, vr, "D"), facts.raw(tag))
    return forced


def _new_uid(facts: Facts, replacer: Replacer, settings: Settings, tag: int) -> str:
    old = facts.raw(tag)
    new = old if UIDS in settings.options else replacer.uids(old)
    said = new.decode("latin-1").strip(" \0")
    if len(said) > 64 or not all(part.isdigit() for part in said.split(".")):  # it becomes a name in the output
        raise NotCleanable(f"{_KEYWORDS[tag]} is no UID")
    return said


def _rewritten(facts: Facts, rewriter: Rewriter, node: rules.Node, forced: Mapping[int, bytes]) -> list[Part]:
    """Returns the whole data set, sorted, forced elements in their places among the others."""
    return rewriter.top([facts.entries[tag] for tag in facts.tags], node, facts.source.syntax, forced)


def _marks(
    settings: Settings, syntax: wire.Syntax, *, looked_at: bool, has_pixels: bool, defaced: bool
) -> dict[int, bytes]:
    """Returns the elements that say in the header what was done, by tag.

    Source: DICOM PS3.15 E.1.1; PS3.16 CID 7050; PS3.3 C.12.1.1.9 (LongitudinalTemporalInformationModified).
    """
    return dict(_marks_of(settings, syntax, looked_at, has_pixels, defaced))


@functools.lru_cache(maxsize=64)
def _marks_of(
    settings: Settings, syntax: wire.Syntax, looked_at: bool, has_pixels: bool, defaced: bool
) -> tuple[tuple[int, bytes], ...]:
    used = [o for o in ordered(settings) if (o != PIXELS or looked_at) and (o != FEATURES or defaced)]
    dates = "UNMODIFIED" if FULL_DATES in used else "MODIFIED" if MODIFIED_DATES in used else "REMOVED"
    codes = []
    for name in ("BasicProfile", *used):
        code, meaning = profile.CODES[name]
        codes.append(
            wire.element(0x00080100, "SH", code.encode(), syntax)
            + wire.element(0x00080102, "SH", b"DCM", syntax)
            + wire.element(0x00080104, "LO", meaning.encode(), syntax)
        )
    method = f"radkit {radkit.__version__}, {profile.EDITION}"
    marks = [
        (0x00120062, wire.element(0x00120062, "CS", b"YES", syntax)),  # PatientIdentityRemoved
        (0x00120063, wire.element(0x00120063, "LO", method.encode(), syntax)),  # DeidentificationMethod
        (0x00120064, wire.sequence(0x00120064, codes, syntax)),  # DeidentificationMethodCodeSequence
        (_LONGITUDINAL, wire.element(_LONGITUDINAL, "CS", dates.encode(), syntax)),
    ]
    if PIXELS in used and has_pixels:
        marks.append((_BURNED_IN, wire.element(_BURNED_IN, "CS", b"NO", syntax)))
    if FEATURES in used:
        marks.append((_FEATURES, wire.element(_FEATURES, "CS", b"NO", syntax)))
    return tuple(marks)
