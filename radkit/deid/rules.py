"""Which action holds for an attribute: by table, options, Type in its IOD, and where it stands.

Source: DICOM PS3.15 E.1.1, Tables E.1-1 and E.1-1a; E.3 for the options.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from radkit.deid import iods, profile, unlisted
from radkit.deid.settings import (
    FULL_DATES,
    GRAPHICS,
    MODIFIED_DATES,
    SAFE_PRIVATE,
    UIDS,
    Settings,
)

# What the engine does. X, Z, D, U and K are the table's own; the others say how C, or one of these, is done.
REMOVE, EMPTY, DUMMY, UID, KEEP = "X", "Z", "D", "U", "K"
PATIENT, DATE, TEXT, DOCUMENT, PRIVATE, OVERLAY = "patient", "date", "text", "document", "private", "overlay"
ITEMS, ITEMS_KEPT, ITEMS_DUMMIES, ITEMS_CODES = "items", "items:kept", "items:dummies", "items:codes"
CONTENT, GRAPHIC = "content", "graphic"

SEQUENCES = frozenset((ITEMS, ITEMS_KEPT, ITEMS_DUMMIES, ITEMS_CODES, CONTENT, GRAPHIC))

PATIENT_NAME, PATIENT_ID = 0x00100010, 0x00100020
CONTENT_SEQUENCE, ENCAPSULATED_DOCUMENT, GRAPHIC_ANNOTATION = 0x0040A730, 0x00420011, 0x00700001

_DATES = frozenset(("DA", "DT", "TM"))
_TEXTS = frozenset(("SH", "LO", "ST", "LT", "UC", "UT", "UR", "PN"))
# Cleaning needs words whose meaning can be told; AE titles, bytes and offsets have none, so theirs is the basic action.
_CLEANABLE = frozenset(("SH", "LO", "ST", "LT", "UC", "UT"))
_STRUCTURED = frozenset((0x00400555, 0x00400610, 0x0040B020, CONTENT_SEQUENCE))

# SpecimenPreparationStepContentItemSequence, ProtocolContextSequence, ContentItemModifierSequence.
_CONTENT_ITEMS = frozenset((0x00400612, 0x00400440, 0x00400441))

# Of a compound code, by the attribute's Type; "?" where the SOP class is not known: valid for every Type.
_COMPOUND = {
    "Z/D": {"1": DUMMY, "2": EMPTY, "3": EMPTY, "?": DUMMY},
    "X/Z": {"1": DUMMY, "2": EMPTY, "3": REMOVE, "?": EMPTY},
    "X/D": {"1": DUMMY, "2": DUMMY, "3": REMOVE, "?": DUMMY},
    "X/Z/D": {"1": DUMMY, "2": EMPTY, "3": REMOVE, "?": DUMMY},
    # A Type 2 reference, too, is worth more mapped than emptied: Z allows a value that is a dummy.
    "X/Z/U*": {"1": ITEMS, "2": ITEMS, "3": REMOVE, "?": ITEMS},
}
# ReferencedStudySequence, X/Z, is not allowed to be empty but where it is Type 2.
_NEVER_EMPTY = frozenset((0x00081110,))

# NumericValue, FloatingPointValue, and RationalNumeratorValue and RationalDenominatorValue.
_MEASURED = frozenset((0x0040A30A, 0x0040A161, 0x0040A162, 0x0040A163))

# Of a place: how what no rule names is taken. CODES: codes are cleaned, as a hospital's own names it, and its meaning
# says what it likes; DUMMIES: text becomes a dummy. KEPT: an option keeps the sequence, so labels and codes in it stay.
KEPT, DUMMIES, CODES = "kept", "dummies", "codes"
_MODES = {ITEMS_KEPT: KEPT, ITEMS_DUMMIES: DUMMIES, ITEMS_CODES: CODES, CONTENT: CODES}


@dataclass(frozen=True)
class Rule:
    """What is done with an attribute, and why."""

    code: str  # what the engine does
    vr: str  # to write a new value under
    action: str = ""  # as the audit says it: X, Z, D, U, K or C
    option: str = ""  # which decided; "" for the Basic Profile
    fallback: str = REMOVE  # what is done when C cannot be


_KEPT = Rule(KEEP, "", KEEP)


class Known(NamedTuple):
    """How an element that begins with certain bytes is met."""

    rule: Rule | None  # None: it stays
    tag: int
    vr: str | None
    read: Callable[..., Any]  # the length, as a tuple of one
    length_at: int
    value_at: int  # 8 or 12 bytes on; 0 where the header must be read each time


@dataclass
class Node:
    """One place in an IOD's tree, or outside it, with the rules that hold there; made once, asked often."""

    settings: Settings
    iod: iods.Node | None
    known: bool  # the SOP class is
    mode: str = CODES
    is_top: bool = False
    # By the bytes an element begins with, in each encoding.
    learned: tuple[dict[bytes, Known], ...] = field(default_factory=lambda: ({}, {}, {}), repr=False)
    # Items that no rule touches, in each encoding.
    unchanged: tuple[set[tuple[int, bytes]], ...] = field(default_factory=lambda: (set(), set(), set()), repr=False)
    _children: dict[tuple[int, str], "Node"] = field(default_factory=dict, repr=False)

    def rule(self, tag: int, vr: str | None) -> Rule:
        """Returns what is done with an attribute that stands here.

        Args:
            tag: Any tag.
            vr: What the file says; None in implicit VR.
        """
        found = self._decide(tag, vr)
        replaced = true_vr(tag) in _TEXTS or tag in _MEASURED
        if self.mode == DUMMIES and found.code == KEEP and not found.option and replaced:
            return Rule(DUMMY, true_vr(tag), DUMMY)
        return found

    def child(self, tag: int, code: str) -> "Node":
        """Returns the place within a sequence that stands here.

        Args:
            tag: The sequence's.
            code: Its rule's code; what makes dummies or cleans codes does so down to the leaves.
        """
        found = self._children.get((tag, code))
        if found is None:
            found = self._children[tag, code] = self._new_child(tag, code)
        return found

    def _new_child(self, tag: int, code: str) -> "Node":
        mode = _MODES.get(code, self.mode) if self.mode != DUMMIES else DUMMIES
        iod = self.iod.child(tag) if self.iod else None
        if iod is None and self.iod is None and mode == self.mode and not self.is_top:
            return self
        return Node(self.settings, iod, self.known, mode)

    def _decide(self, tag: int, vr: str | None) -> Rule:
        group = tag >> 16
        if group in (0, 2, 4) or not tag & 0xFFFF:  # command, meta and directory elements; group lengths
            return Rule(REMOVE, "", REMOVE)
        if group & 1:
            return self._private(vr)
        if group >> 8 == 0x60 and GRAPHICS in self.settings.options:
            return Rule(OVERLAY, true_vr(tag), "C", GRAPHICS)
        if group >> 8 in (0x50, 0x60):
            return Rule(REMOVE, "", REMOVE)
        if tag in (PATIENT_NAME, PATIENT_ID):
            return Rule(PATIENT, true_vr(tag), DUMMY)
        row = profile.attribute(tag)
        return self._unlisted(tag, vr) if row is None else self._listed(tag, vr, row)

    def _private(self, vr: str | None) -> Rule:
        if SAFE_PRIVATE in self.settings.options:
            return Rule(PRIVATE, vr or "UN", "C", SAFE_PRIVATE)
        return Rule(REMOVE, "", REMOVE)

    def _listed(self, tag: int, vr: str | None, row: profile.Attribute) -> Rule:
        real = true_vr(tag)
        action, option = profile.chosen(row, self.settings.options)
        basic = self._resolved(tag, row.basic)
        if (real == "SQ" and vr not in (None, "SQ", "UN")) or (real != "SQ" and vr == "SQ" and action in "KC"):
            return Rule(REMOVE, "", REMOVE)  # under another VR's name it cannot be read as what it is
        if action == "K":
            return Rule(ITEMS_KEPT if real == "SQ" else KEEP, real, KEEP, option)
        if action == "C":
            return self._cleaned(tag, real, option, basic)
        return _of_sequence(tag, basic) if real == "SQ" else _of_value(tag, real, basic)

    def _cleaned(self, tag: int, vr: str, option: str, basic: str) -> Rule:
        """Returns how C is done; where there is no way, the basic action."""
        if vr == "SQ":
            code = CONTENT if tag in _STRUCTURED else ITEMS_CODES
            return Rule(code, vr, "C", option)
        if vr in _DATES and option == MODIFIED_DATES:
            return Rule(DATE, vr, "C", option, basic)
        if vr in _CLEANABLE and option != MODIFIED_DATES:
            return Rule(TEXT, vr, "C", option, basic)
        return _of_value(tag, vr, basic)

    def _unlisted(self, tag: int, vr: str | None) -> Rule:
        real = true_vr(tag)
        removed = self._resolved(tag, "X/Z/D") if self.known else REMOVE
        if real == "SQ" or vr == "SQ":
            action = unlisted.action(tag, vr)
            if vr not in (None, "SQ", "UN") or action == "X":
                return Rule(REMOVE, "", REMOVE)
            return Rule(CONTENT if tag in _CONTENT_ITEMS else ITEMS, "SQ", KEEP)
        if real in _DATES:
            return self._unlisted_date(real, removed)
        action = unlisted.action(tag, vr)
        if action == UID and UIDS in self.settings.options:
            return Rule(KEEP, real, KEEP, UIDS)
        if action == KEEP and self._forgotten(tag, real, vr):
            action = REMOVE
        if action == KEEP:
            return _KEPT if real == "UN" else Rule(KEEP, real, KEEP)
        return _of_value(tag, real, removed if action == REMOVE else action)

    def _unlisted_date(self, vr: str, removed: str) -> Rule:
        if FULL_DATES in self.settings.options:
            return Rule(KEEP, vr, KEEP, FULL_DATES)
        if MODIFIED_DATES in self.settings.options:
            return Rule(DATE, vr, "C", MODIFIED_DATES, removed)
        return Rule(removed, vr, removed)

    def _forgotten(self, tag: int, vr: str, said: str | None) -> bool:
        """Tells whether text stands where no IOD defines it, or is not on the list of what may stay."""
        if vr not in _TEXTS and said not in _TEXTS:
            return False
        if tag in unlisted.CODE_TAGS:
            return self.is_top  # within items they are cleaned all together
        if self.mode == KEPT:
            return False
        if self.settings.unlisted == "remove":
            return not unlisted.allowed(tag)
        return self.known and (self.iod is None or tag not in self.iod.types)

    def _resolved(self, tag: int, action: str) -> str:
        """Returns a compound code's one action, by the attribute's Type here."""
        by_type = _COMPOUND.get(action)
        if by_type is None:
            return action
        kind = (self.iod.types.get(tag, "3") if self.iod else "3") if self.known else "?"
        return REMOVE if tag in _NEVER_EMPTY and kind != "2" else by_type[kind]


def _of_sequence(tag: int, code: str) -> Rule:
    if code == DUMMY:
        done = {CONTENT_SEQUENCE: CONTENT, GRAPHIC_ANNOTATION: GRAPHIC}.get(tag, ITEMS_DUMMIES)
        return Rule(done, "SQ", DUMMY)
    if code == ITEMS:
        return Rule(ITEMS, "SQ", UID)
    return Rule(code, "SQ", code)


def _of_value(tag: int, vr: str, code: str) -> Rule:
    if code == DUMMY and tag == ENCAPSULATED_DOCUMENT:
        return Rule(DOCUMENT, vr, DUMMY)
    if code == DUMMY and vr == "UI":
        return Rule(UID, vr, UID)
    return Rule(code, vr, code)


def true_vr(tag: int) -> str:
    """Returns the standard's VR of a tag; UN when neither table nor dictionary knows it."""
    known = unlisted.entry(tag)
    return profile.vr(tag) or (known[0][0] if known else "UN")


def root(settings: Settings, sop_class: str) -> Node:
    """Returns the rules for the top level of a SOP class's instances."""
    iod = iods.root(sop_class)
    return Node(settings, iod, iod is not None, is_top=True)


def with_fallback(rule: Rule) -> Rule:
    """Returns the rule for a value that could not be cleaned."""
    return replace(rule, code=rule.fallback, action=rule.fallback, option="")
