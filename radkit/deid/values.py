"""What stands where a value was: dummies, mapped UIDs, pseudonyms, shifted dates, cleaned words.

Source: DICOM PS3.15 Table E.1-1a; PS3.5 6.2 for what is valid under a VR.
"""

import re
import warnings
from dataclasses import dataclass, field

from pydicom.charset import convert_encodings, decode_bytes

from radkit.deid import codes, dates, descriptors, documents, rules
from radkit.deid.keys import Key
from radkit.deid.rules import Rule

DUMMY = "ANONYMIZED"
# Valid for their VR, ASCII, of even length; UIDs are mapped instead.
_DUMMIES = {
    "AE": b"ANONYMIZED", "AS": b"000Y", "CS": b"ANONYMIZED", "DA": b"19000101", "DS": b"0 ", "IS": b"0 ",
    "DT": b"19000101000000", "TM": b"000000", "PN": b"ANONYMIZED", "LO": b"ANONYMIZED", "SH": b"ANONYMIZED",
    "LT": b"ANONYMIZED", "ST": b"ANONYMIZED", "UC": b"ANONYMIZED", "UT": b"ANONYMIZED",
    "UR": b"https://anonymized.invalid", "FD": bytes(8), "SV": bytes(8), "UV": bytes(8), "OD": bytes(8),
    "OV": bytes(8), "FL": bytes(4), "SL": bytes(4), "UL": bytes(4), "AT": bytes(4), "OF": bytes(4), "OL": bytes(4),
}  # fmt: skip
_DUMMIES_BY_TAG = {
    0x04000565: b"COERCE",  # ReasonForTheAttributeModification: a defined term
    0x00080102: b"99RADKIT",  # CodingSchemeDesignator: 99 begins a private scheme (PS3.3 8.2)
}
_CODE, _SCHEME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,15}"), re.compile(r"[A-Za-z0-9][A-Za-z0-9._\[\] -]{0,15}")
# Distinct UIDs of one study are few, and most stand in each of its instances.
_MOST_REMEMBERED = 100_000


@dataclass
class Replacer:
    """Makes an instance's new values; one for each patient, so that shifts and pseudonyms agree.

    Attributes:
        key: What everything secret comes from.
        patient: Who the instance is of, as `Key.patient` takes it.
        charset: The instance's SpecificCharacterSet, for text that is looked into.
        document_type: MIMETypeOfEncapsulatedDocument.
    """

    key: Key
    patient: str
    charset: str = ""
    document_type: str = ""
    days: int = field(init=False)
    pseudonym: str = field(init=False)

    def __post_init__(self) -> None:
        self.days, self.pseudonym = self.key.days(self.patient), self.key.patient(self.patient)

    def value(self, rule: Rule, tag: int, old: bytes) -> bytes | None:
        """Returns the new value under a rule, or None when the value cannot be cleaned and the fallback holds."""
        code = rule.code
        if code == rules.UID:
            return self.uids(old)
        if code == rules.EMPTY:
            return b""
        if code == rules.DUMMY:
            return dummy(tag, rule.vr)
        if code == rules.DATE:
            return self.date(old, rule.vr)
        if code == rules.TEXT:
            return self.words(old) or None
        if code == rules.DOCUMENT:
            return documents.dummy(self.document_type) or dummy(tag, rule.vr)
        raise ValueError(f"no value is made under {code!r}")

    def uids(self, old: bytes) -> bytes:
        """Returns one or several new UIDs for old ones, padded as UIDs are."""
        new = b"\\".join(self._uid(one) for one in old.split(b"\\"))
        return new + b"\0" * (len(new) % 2)

    def patient_of(self, identifier: str, old: bytes) -> bytes:
        """Returns the pseudonym of whom an item's PatientID names: it may be another patient than the instance's.

        Args:
            identifier: The item's PatientID; empty when it has none.
            old: What the pseudonym will stand for: that, or the name.
        """
        return self.key.patient(identifier).encode() if identifier else DUMMY.encode()

    def _uid(self, old: bytes) -> bytes:
        known = _uids(self.key)
        new = known.get(old)
        if new is None:
            new = self.key.uid(old.decode("latin-1")).encode("latin-1")
            if len(known) >= _MOST_REMEMBERED:
                known.clear()
            known[old] = new
        return new

    def date(self, old: bytes, vr: str) -> bytes | None:
        """Returns dates moved by the patient's days; None when one cannot be read."""
        return dates.shift(old, vr, self.days)

    def words(self, old: bytes) -> bytes:
        """Returns what of a text is known to name no one."""
        return descriptors.clean(decoded(old, self.charset)).encode("ascii")

    def code(
        self, value: bytes, scheme: bytes, meaning: bytes, *, names_concept: bool = False
    ) -> tuple[bytes, bytes, bytes]:
        """Returns a code whose meaning is a dictionary's, or a dummy where no dictionary has it.

        Args:
            value: CodeValue.
            scheme: CodingSchemeDesignator.
            meaning: CodeMeaning.
            names_concept: It says what a content item is about, not what was found: then a private scheme's stays.
        """
        said = tuple(decoded(part, self.charset) for part in (value, scheme, meaning))
        new = codes.clean(*said)
        if names_concept and new == codes.UNKNOWN and _CODE.fullmatch(said[0]) and _SCHEME.fullmatch(said[1]):
            new = (said[0], said[1], descriptors.clean(said[2]) or DUMMY)
        return tuple(part.encode("ascii", "replace") for part in new)  # type: ignore[return-value]


_remembered: tuple[Key | None, dict[bytes, bytes]] = (None, {})


def _uids(key: Key) -> dict[bytes, bytes]:
    """Returns the new UIDs that this process has made with a key; those of another key are forgotten."""
    global _remembered
    if _remembered[0] != key:
        _remembered = (key, {})
    return _remembered[1]


def dummy(tag: int, vr: str) -> bytes:
    """Returns a value that says nothing and is valid for the VR."""
    return _DUMMIES_BY_TAG.get(tag) or _DUMMIES.get(
        vr, b"\1\0"
    )  # bytes that are not all zero: no reader may think it empty


def decoded(value: bytes, charset: str) -> str:
    """Returns a value as text without the padding, never an error."""
    try:
        return value.decode("ascii").strip(" \0")
    except UnicodeDecodeError:
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a value that does not fit its character set is still the patient's
        try:
            return decode_bytes(value, convert_encodings(charset.split("\\")), set()).strip(" \0")
        except (LookupError, ValueError):
            return value.decode("latin-1").strip(" \0")
