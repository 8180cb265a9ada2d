"""The conformance statement of a run: what is done with which attribute, for whoever must sign for it.

Source: DICOM PS3.2 N.11.2.6 (Attribute Confidentiality Details); PS3.15 E.1.1.
"""

from collections.abc import Mapping
from typing import Any

import radkit
from radkit.deid import profile, safe_private
from radkit.deid.settings import (
    DESCRIPTORS,
    FEATURES,
    FULL_DATES,
    MODIFIED_DATES,
    PIXELS,
    SAFE_PRIVATE,
    Settings,
    ordered,
)

_HOW = {
    "X": "removed",
    "Z": "emptied; PatientName is the pseudonym",
    "D": "a dummy of the VR: `ANONYMIZED`, `19000101`, `000000`, `0`; PatientID is the pseudonym",
    "U": "mapped to a UUID-derived UID by HMAC-SHA256 with the key, the same everywhere",
    "K": "kept; the rules apply within a sequence's items",
    "C": "cleaned, see below; the basic action where it cannot be",
}


def statement(settings: Settings, decided: Mapping[str, Any]) -> str:
    """Returns a conformance statement in Markdown.

    Args:
        settings: Of the run.
        decided: The run's settings as its provenance has them.
    """
    lines = [
        "# Conformance statement: de-identification",
        "",
        f"radkit {radkit.__version__}, {profile.EDITION}, Basic Application Level Confidentiality Profile.",
        "",
        "| code | option |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in _codes(settings)),
        "",
        f"Mode: {decided['mode']}. Text that the table does not list: {decided['unlisted']}.",
        f"Originals encrypted within each instance: {'yes' if decided['escrow'] else 'no'}.",
        "",
        "## How",
        "",
        *(f"- {code}: {how}" for code, how in _HOW.items()),
        "- Compound codes: by the attribute's Type in the SOP class's IOD at its path (1: D, 2: Z, 3 or not",
        "  defined: X); references (X/Z/U*) of Type 1 and 2 are mapped.",
        "- Every sequence is entered, at every depth, in every transfer syntax; private ones included.",
        f"- Dates: {_dates(settings)}.",
        f"- Private elements: {_private(settings)}.",
        f"- Structured reports: item by item, Table E.3.4-1; free text {_text(settings)}.",
        f"- Pixels: {_pixels(settings)}.",
        "- Referential integrity: across all files, studies and runs with the same key.",
        "- PatientIdentityRemoved, DeidentificationMethod, DeidentificationMethodCodeSequence and",
        "  LongitudinalTemporalInformationModified are set; BurnedInAnnotation is NO where pixels were looked at.",
        "",
        "## Attributes",
        "",
        "| tag | attribute | action | option |",
        "|---|---|---|---|",
        *_rows(settings),
        "",
    ]
    return "\n".join(lines)


def _codes(settings: Settings) -> list[tuple[str, str]]:
    return [profile.CODES[name] for name in ("BasicProfile", *ordered(settings))]


def _rows(settings: Settings) -> list[str]:
    rows = [(tag, 0xFFFFFFFF, row) for tag, row in sorted(profile.ATTRIBUTES.items())]
    lines = []
    for tag, mask, row in (*rows, *profile.MASKED):
        action, option = profile.chosen(row, settings.options)
        lines.append(f"| {_masked(tag, mask)} | {row.keyword} | {action} | {option} |")
    safe = SAFE_PRIVATE in settings.options
    odd = f"| odd groups | PrivateAttributes | {'C' if safe else 'X'} | {SAFE_PRIVATE if safe else ''} |"
    return [*lines, odd]


def _masked(tag: int, mask: int) -> str:
    """Returns a tag as the standard writes it, with x for digits that may be any.

    >>> _masked(0x60003000, 0xFF00FFFF)
    '(60xx,3000)'
    """
    digits = "".join(d if m != "0" else "x" for d, m in zip(f"{tag:08X}", f"{mask:08X}", strict=True))
    return f"({digits[:4]},{digits[4:]})"


def _dates(settings: Settings) -> str:
    if FULL_DATES in settings.options:
        return "kept"
    if MODIFIED_DATES in settings.options:
        return "moved back by whole days, 366 to 3652, the same for all of a patient's; times of day stay"
    return "removed, emptied or dummies"


def _private(settings: Settings) -> str:
    if SAFE_PRIVATE in settings.options:
        return f"removed but for {safe_private.count()} listed safe ones and those that the instance declares safe"
    return "removed"


def _text(settings: Settings) -> str:
    return "keeps only words of a radiology vocabulary" if DESCRIPTORS in settings.options else "is a dummy"


def _pixels(settings: Settings) -> str:
    said = []
    if PIXELS in settings.options:
        said.append("text found by two networks and in known places is blacked out")
    if FEATURES in settings.options:
        said.append("faces in CT and MR of the head are overwritten")
    return "; ".join(said) or "not looked at"
