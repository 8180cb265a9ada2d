"""The standard's table of attributes that may identify a patient, and what its Basic Profile does with each.

Source: DICOM PS3.15 Table E.1-1, in the edition that `EDITION` names, and PS3.16 CID 7050; `generate_tables.py` makes
`profile.json`.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PRIVATE = "X"  # the table's one row for all attributes of odd groups


@dataclass(frozen=True)
class Attribute:
    """One row of the table."""

    keyword: str
    vr: str  # the first the standard names; "" for a masked row that stands for many
    basic: str  # X, Z, D, U or a compound such as X/Z/D
    options: dict[str, str] = field(default_factory=dict)  # the action under each option that has one


def _row(row: list[Any]) -> Attribute:
    keyword, vrs, basic, options = row
    return Attribute(keyword, vrs.split("/")[0], basic, options)


_READ: dict[str, Any] = json.loads(Path(__file__).with_name("profile.json").read_text(encoding="utf-8"))

EDITION: str = _READ["edition"]

# Code value and meaning, in the scheme DCM, of "BasicProfile" and of each option (PS3.16 CID 7050).
CODES: dict[str, tuple[str, str]] = {name: (code, meaning) for name, (code, meaning) in _READ["codes"].items()}

# The options in the order of the table's columns.
OPTIONS: tuple[str, ...] = tuple(name for name in CODES if name != "BasicProfile")

ATTRIBUTES: dict[int, Attribute] = {int(tag, 16): _row(row) for tag, row in _READ["attributes"].items()}

MASKED: list[tuple[int, int, Attribute]] = [
    (int(name[:8], 16), int(name[9:], 16), _row(row)) for name, row in _READ["masked"].items()
]


def attribute(tag: int) -> Attribute | None:
    """Returns the table's row for a tag, masked rows included, or None when it is not listed.

    >>> attribute(0x60023000).keyword
    'OverlayData'
    """
    found = ATTRIBUTES.get(tag)
    if found is None and tag >> 24 in (0x50, 0x60):  # curves and overlays: the table's only masks
        for value, mask, row in MASKED:
            if tag & mask == value:
                return row
    return found


def action(tag: int) -> str | None:
    """Returns the Basic Profile's action for a tag; X for private ones, None when the table does not list it.

    >>> action(0x00100010), action(0x00090010), action(0x00280010)
    ('Z', 'X', None)
    """
    if tag & 0x10000:
        return PRIVATE
    row = attribute(tag)
    return None if row is None else row.basic


def chosen(row: Attribute, options: Collection[str]) -> tuple[str, str]:
    """Returns the action that holds and the option it comes from: K before C before the Basic Profile's.

    Args:
        row: Of the table.
        options: Those asked for.
    """
    found = [(action, option) for option, action in row.options.items() if option in options]
    for wanted in ("K", "C"):
        for action, option in found:
            if action == wanted:
                return action, option
    return row.basic, ""


def vr(tag: int) -> str | None:
    """Returns the VR of a listed tag, also of those that pydicom's dictionary lacks.

    >>> vr(0x00100012)
    'LT'
    """
    row = attribute(tag)
    return None if row is None or not row.vr else row.vr
