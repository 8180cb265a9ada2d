"""A second de-identifier to judge the first by: plain recursion over what pydicom has parsed, one element at a time.

It reads the standard's table and the IODs' Types itself and shares no step with `rules`, `rewrite` or `engine`: only
the tables, the key, and the cleaners of single values (`codes`, `dates`, `descriptors`), which have tests of their
own. It says what must become of each element (`Fate`); it writes nothing. What only judgement of text can tell is left
out: content trees and graphics are `OPAQUE`, and the options that clean are not for it.

Source: DICOM PS3.15 E.1.1, E.3 and Table E.1-1.
"""

import re
from dataclasses import dataclass, field
from io import BytesIO

import pydicom
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from radkit.deid import codes, dates, descriptors, engine, iods, part10, profile, safe_private, unlisted, values
from radkit.deid.keys import Key
from radkit.deid.settings import Settings
from radkit.dicom.part10 import silence

KEPT, VALUE, ITEMS, OPAQUE = "kept", "value", "items", "opaque"

# A dummy by VR, as the documentation promises them; bytes and numbers are any that are valid.
DUMMIES = {
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), b"ANONYMIZED"),
    "AS": b"000Y", "DA": b"19000101", "DT": b"19000101000000", "TM": b"000000", "DS": b"0", "IS": b"0",
}  # fmt: skip
WORDS = ("LO", "LT", "SH", "ST", "UC", "UT")  # of several words, which can be told from a name
TEXT = (*WORDS, "PN", "UR")
NUMBERS = (0x0040A30A, 0x0040A161, 0x0040A162, 0x0040A163)
MARKS = (0x00120062, 0x00120063, 0x00120064, 0x00280303)
NAME, IDENTIFIER, REFERENCED = 0x00100010, 0x00100020, 0x00081155
# ContentSequence, GraphicAnnotationSequence, AcquisitionContextSequence and what else holds content items.
TREES = (0x0040A730, 0x00700001, 0x00400555, 0x00400610, 0x0040B020, 0x00400612, 0x00400440, 0x00400441)
DOCUMENT = 0x00420011
_CODE, _SCHEME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,15}"), re.compile(r"[A-Za-z0-9][]A-Za-z0-9._[ -]{0,15}")
PIXEL_REPRESENTATION = 0x00280103
CODE, SCHEME, VERSION, MEANING = (0x00080100, 0x00080119, 0x00080120), 0x00080102, 0x00080103, 0x00080104

# How what stands in a place is taken besides the table: as an option or a dummy of the sequence around it asks.
PLAIN, UNDER_KEPT, UNDER_DUMMY, UNDER_CODES = range(4)


@dataclass(frozen=True)
class Fate:
    """What must become of one element that stays.

    Attributes:
        kind: KEPT (the same bytes), VALUE (this value), ITEMS (these items), OPAQUE (there, and not judged).
        value: Without padding; None for any that is not empty.
        items: Of a sequence, each by tag.
    """

    kind: str
    value: bytes | None = None
    items: tuple["dict[int, Fate]", ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a data set stands."""

    iod: iods.Node | None
    known: bool  # its SOP class is
    mode: int
    inside: tuple[int, ...] = ()  # the sequences around it, outermost first

    def within(self, tag: int, mode: int | None = None) -> "Place":
        """Returns the place of a sequence's items."""
        iod = self.iod.child(tag) if self.iod else None
        chosen = self.mode if mode is None or self.mode == UNDER_DUMMY else mode
        if chosen == PLAIN and self.known and iod is None:
            chosen = UNDER_CODES
        return Place(iod, self.known, chosen, (*self.inside, tag))

    def kind(self, tag: int) -> str:
        """Returns the Type of an attribute here; "?" when nobody knows."""
        if not self.known:
            return "?"
        return self.iod.types.get(tag, "3") if self.iod else "3"


@dataclass
class Reference:
    """Says what must become of one instance."""

    key: Key
    settings: Settings
    charset: str = ""
    patient: str = ""
    references: int = 0  # that stay, outside the lists of all references
    removed: int = 0
    _lists: tuple[int, ...] = field(default=(0x00081115, 0x00081200), repr=False)

    def instance(self, dataset: Dataset) -> dict[int, Fate]:
        """Returns the fate of each element that stays or is added."""
        self.charset = self._text(raw(dataset, 0x00080005))
        self.patient = self._text(raw(dataset, IDENTIFIER)) or self._nameless(dataset)
        iod = iods.root(self._text(raw(dataset, 0x00080016)))
        mode = UNDER_CODES
        fates = self.elements(dataset, Place(iod, iod is not None, mode))
        pseudonym = Fate(VALUE, self.key.patient(self.patient).encode())
        fates[IDENTIFIER] = pseudonym
        if NAME in dataset:
            fates[NAME] = pseudonym
        if self.removed and not self.references:
            for tag in self._lists:
                if tag in dataset and any(0x0008114A in item for item in _all_items(dataset[tag])):
                    fates.pop(tag, None)
        return fates | dict.fromkeys(MARKS, Fate(OPAQUE))

    def elements(self, dataset: Dataset, place: Place) -> dict[int, Fate]:
        """Returns the fate of each element of a data set or an item."""
        fates = {}
        for tag in map(int, dataset.keys()):
            fate = self._fate(dataset, tag, place)
            if fate is not None:
                fates[tag] = fate
                stays = tag == REFERENCED and not set(place.inside[:1]) & set(self._lists)
                self.references += stays and fate.kind == VALUE and fate.value != raw(dataset, tag).strip(b" \0")
            self.removed += fate is None and tag in (0x00081140, 0x00082112)
        return fates | self._code(dataset, place, fates)

    def _fate(self, dataset: Dataset, tag: int, place: Place) -> Fate | None:
        group, row = tag >> 16, profile.attribute(tag)
        if group in (0, 2, 4) or not tag & 0xFFFF or group >> 8 in (0x50, 0x60):
            return None
        if group % 2:
            return self._private(dataset, tag, place)
        if tag in (NAME, IDENTIFIER):
            return Fate(VALUE, self._person(dataset))
        listed = row is not None
        action, kept_by, second = self._listed(tag, row, place) if listed else self._unlisted(dataset, tag, place)
        if place.mode == UNDER_DUMMY and action == "K" and not kept_by and (vr(tag) in TEXT or tag in NUMBERS):
            action = "D"
        if vr(tag) == "SQ" or dataset.get_item(tag).VR == "SQ":
            return self._sequence(dataset, tag, action, place, listed)
        fate = self._cleaned(raw(dataset, tag), tag) if action == "C" else None
        return fate or self._value(raw(dataset, tag), tag, second if action == "C" else action)

    def _listed(self, tag: int, row: profile.Attribute, place: Place) -> tuple[str, bool, str]:
        # Days are moved; of TimezoneOffsetFromUTC no word can be told to be safe.
        dated = vr(tag) in ("DA", "DT", "TM")
        asked = [o for o in self.settings.options if o in row.options]
        found = {row.options[o] for o in asked if dated or (o, row.options[o]) != ("RetainLongModifiedDates", "C")}
        basic = resolved(tag, row.basic, place)
        if "K" in found:
            return "K", True, basic
        return ("C" if "C" in found else basic), False, basic

    def _unlisted(self, dataset: Dataset, tag: int, place: Place) -> tuple[str, bool, str]:
        action, options = unlisted.action(tag, dataset.get_item(tag).VR), self.settings.options
        removed = resolved(tag, "X/Z/D", place) if place.known else "X"
        if vr(tag) in ("DA", "TM", "DT"):
            if "RetainLongFullDates" in options:
                return "K", True, removed
            return ("C" if "RetainLongModifiedDates" in options else removed), False, removed
        if vr(tag) == "SQ":
            return action, False, removed
        if action == "U" and "RetainUIDs" in options:
            return "K", True, removed
        if action == "K" and vr(tag) in TEXT and not self._stays(tag, place):
            return removed, False, removed
        return (removed if action == "X" else action), False, removed

    def _stays(self, tag: int, place: Place) -> bool:
        """Tells whether a label may stay; a code's own words are judged together, and no code is at the top."""
        if tag in (*CODE, SCHEME, VERSION, MEANING) or place.mode == UNDER_KEPT:
            return bool(place.inside)
        if self.settings.unlisted == "remove":
            return unlisted.allowed(tag)
        return not place.known or (place.iod is not None and tag in place.iod.types)

    def _cleaned(self, old: bytes, tag: int) -> Fate | None:
        """Returns the fate of a value that is cleaned, None where it cannot be: then the basic action holds."""
        if vr(tag) in ("DA", "DT", "TM"):
            new = dates.shift(old, vr(tag), self.key.days(self.patient))
            return None if new is None else Fate(VALUE, new.strip(b" \0"))
        text = descriptors.clean(self._text(old)) if vr(tag) in WORDS else ""
        return Fate(VALUE, text.encode()) if text else None

    def _value(self, old: bytes, tag: int, action: str) -> Fate | None:
        if action == "K":
            return Fate(KEPT, old)
        if action == "Z":
            return Fate(VALUE, b"")
        if action == "U" or (action == "D" and vr(tag) == "UI"):
            new = [self.key.uid(one.decode("latin-1")) for one in old.split(b"\\")]
            return Fate(VALUE, "\\".join(new).encode().strip(b" \0"))
        return Fate(VALUE, DUMMIES.get(vr(tag)) if tag not in (0x04000565, SCHEME) else None) if action == "D" else None

    def _sequence(self, dataset: Dataset, tag: int, action: str, place: Place, listed: bool) -> Fate | None:
        if action == "X":
            return None
        if action == "Z":
            return Fate(VALUE, b"")
        if tag in TREES and not (listed and action == "K"):
            self.references += sum(REFERENCED in item for item in _all_items(dataset[tag]))
            return Fate(OPAQUE)
        mode = {"D": UNDER_DUMMY, "K": UNDER_KEPT if listed else None, "C": UNDER_CODES}.get(action)
        inner = place.within(tag, mode)
        return Fate(ITEMS, items=tuple(self.elements(item, inner) for item in dataset[tag].value))

    def _private(self, dataset: Dataset, tag: int, place: Place) -> Fate | None:
        group, number = tag >> 16, tag & 0xFFFF
        if "RetainSafePrivate" not in self.settings.options:
            return None
        if 0x10 <= number <= 0xFF:
            return Fate(KEPT, raw(dataset, tag)) if safe_private.knows(self._text(raw(dataset, tag)), group) else None
        creator = self._text(raw(dataset, group << 16 | number >> 8)) if number >= 0x1000 else ""
        real = safe_private.vr(creator, group, number & 0xFF)
        if real is None:
            return None
        said = dataset.get_item(tag).VR
        real = real if said in (None, "UN") else said
        if real == "SQ":
            items = dataset[tag].value
            return Fate(ITEMS, items=tuple(self.elements(i, place.within(tag, UNDER_KEPT)) for i in items))
        if real == "UI" and "RetainUIDs" not in self.settings.options:
            new = [self.key.uid(one.decode("latin-1")) for one in raw(dataset, tag).split(b"\\")]
            return Fate(VALUE, "\\".join(new).encode())
        if real in ("DA", "DT", "TM") and "RetainLongModifiedDates" in self.settings.options:
            moved = dates.shift(raw(dataset, tag), real, self.key.days(self.patient))
            return None if moved is None else Fate(VALUE, moved.strip(b" \0"))
        return Fate(KEPT, raw(dataset, tag))

    def _person(self, item: Dataset) -> bytes:
        said = self._text(raw(item, IDENTIFIER))
        return self.key.patient(said).encode() if said else b"ANONYMIZED"

    def _nameless(self, dataset: Dataset) -> str:
        if name := self._text(raw(dataset, NAME)):
            return f"\1name\1{name}\1{self._text(raw(dataset, 0x00100030))}"
        return "\1study\1" + self._text(raw(dataset, 0x0020000D))

    def _code(self, item: Dataset, place: Place, fates: dict[int, Fate]) -> dict[int, Fate]:
        """Returns a code's elements where codes are cleaned; a code that is one of a public dictionary stays."""
        said = {tag: raw(item, tag) for tag in (*CODE, SCHEME, VERSION, MEANING) if tag in item}
        if place.mode != UNDER_CODES or not place.inside or not said:
            return {}
        number = next((tag for tag in CODE if tag in said), 0)
        old = [self._text(said.get(tag, b"")) for tag in (number, SCHEME, MEANING)]
        new = codes.clean(*old)
        named = place.inside[-1] == 0x0040A043  # a concept's own private code says what is asked, not what was found
        if named and new == codes.UNKNOWN and _CODE.fullmatch(old[0]) and _SCHEME.fullmatch(old[1]):
            new = (old[0], old[1], descriptors.clean(old[2]) or "ANONYMIZED")
        wanted = dict(zip((number, SCHEME, MEANING), new, strict=True))
        for tag in set(said) - set(wanted):
            if tag == VERSION and new[1] == old[1]:
                continue
            fates.pop(tag, None)
        return {tag: Fate(VALUE, text.encode()) for tag, text in wanted.items() if tag in said}

    def _text(self, value: bytes) -> str:
        return values.decoded(value, self.charset)


def resolved(tag: int, code: str, place: Place) -> str:
    """Returns the one action that a compound code is where an attribute has the Type that it has there."""
    kind = place.kind(tag)
    if tag == 0x00081110:  # ReferencedStudySequence must not be empty but where it is Type 2
        return "Z" if kind == "2" else "X"
    if "/" not in code:
        return code
    if code == "X/Z/U*":
        return "X" if kind == "3" else "U"
    weakest, strongest = code.split("/")[0], code.split("/")[-1]
    if code == "X/Z":
        return {"1": "D", "2": "Z", "3": "X", "?": "Z"}[kind]
    if kind == "2":
        return "Z" if "Z" in code else "D"
    return weakest if kind == "3" else strongest


def vr(tag: int) -> str:
    """Returns the standard's VR of a tag, the first where it has several."""
    row = profile.attribute(tag)
    if row is not None and row.vr:
        return row.vr
    try:
        return pydicom.datadict.dictionary_VR(tag).split(" or ")[0]
    except KeyError:
        return "UN"


def raw(dataset: Dataset, tag: int) -> bytes:
    """Returns an element's value as the file holds it; empty when it is not there."""
    element = dataset.get_item(tag) if tag in dataset else None
    if element is None:
        return b""
    if isinstance(element, RawDataElement):
        return bytes(element.value or b"")
    # pydicom decodes the character set as it reads a file, and nothing else.
    said = element.value or ""
    return (said if isinstance(said, str) else "\\".join(said)).encode()


def _all_items(element: DataElement) -> list[Dataset]:
    found = []
    for item in element.value if element.VR == "SQ" else []:
        found.append(item)
        for inner in item:
            found += _all_items(inner)
    return found


def differences(fates: dict[int, Fate], after: Dataset, path: str = "") -> list[str]:
    """Returns where an output is not what must have become of the input: paths and what differs."""
    there = {*map(int, after.keys())}
    found = [f"{path}{tag:08X} is gone" for tag in sorted(set(fates) - there)]
    found += [f"{path}{tag:08X} stayed" for tag in sorted(there - set(fates))]
    for tag in sorted(there & set(fates)):
        fate = fates[tag]
        if fate.kind == ITEMS:
            found += _different_items(fate, after[tag], f"{path}{tag:08X}")
        elif tag == PIXEL_REPRESENTATION and fate.value == b"":
            continue  # pydicom fills it in while it reads others by it
        elif fate.kind == KEPT and raw(after, tag) != fate.value:
            found.append(f"{path}{tag:08X} was {fate.value!r} and is {raw(after, tag)!r}")
        elif fate.kind == VALUE:
            new = raw(after, tag).strip(b" \0") if fate.value is not None or vr(tag) in TEXT else raw(after, tag)
            if (new != fate.value) if fate.value is not None else not new:
                found.append(f"{path}{tag:08X} must be {fate.value!r} and is {new!r}")
    return found


def _different_items(fate: Fate, element: DataElement, path: str) -> list[str]:
    if element.VR != "SQ" or len(element.value) != len(fate.items):
        return [f"{path} has not {len(fate.items)} items"]
    pairs = enumerate(zip(fate.items, element.value, strict=True), start=1)
    return [line for number, (said, item) in pairs for line in differences(said, item, f"{path}[{number}].")]


def cleaned(content: bytes, key: Key, settings: Settings) -> bytes:
    """Returns what the engine under test makes of a file's bytes."""
    source = part10.source_of(content)
    outcome = engine.clean(source, key, settings)
    body = part10.joined(outcome.parts, source)
    head = part10.meta(outcome.sop_class, outcome.instance, outcome.transfer_syntax)
    return head + (part10.deflated(body) if outcome.transfer_syntax == part10.DEFLATED else body)


def judged(content: bytes, key: Key, settings: Settings) -> list[str]:
    """Returns how the engine's output differs from what must have become of a file."""
    with silence():
        after = read(cleaned(content, key, settings))
        return differences(Reference(key, settings).instance(read(content)), after)


def read(content: bytes) -> Dataset:
    """Returns a file's bytes as pydicom reads them, its values undecoded."""
    return pydicom.dcmread(BytesIO(content), force=True)
