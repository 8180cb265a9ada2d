"""The concepts of structured reports whose values may identify a patient, and what happens to them.

Source: DICOM PS3.15 Table E.3.4-1; `generate_tables.py` makes `concepts.json`.
"""

import functools
import json
from pathlib import Path
from typing import Any

STRICTEST_FIRST = ("X", "X/D", "D")  # the actions of the table
LEGACY_SNOMED = ("SRT", "SNM3", "99SDM")  # one set of codes under three designators, PS3.16 8-1


def action(scheme: str, code: str, value_type: str) -> tuple[str, dict[str, str]] | None:
    """Returns the basic action on a content item and the action under each option, or None for an unlisted concept.

    A listed concept under a value type that is not listed still holds what the list warns of (a person's name as TEXT
    instead of PNAME). So it gets the strictest of the concept's basic actions - removing is safe, a dummy of another
    type may not be - and only the option actions that its rows share: no row allows the rest for this value type.

    Args:
        scheme: CodingSchemeDesignator of the item's concept name; SNOMED's old ones are understood.
        code: CodeValue of the concept name.
        value_type: The item's ValueType.

    >>> action("DCM", "121022", "TEXT")  # Accession Number
    ('X', {})
    """
    rows = _rows(scheme, code)
    if rows is None:
        return None
    if value_type.strip() in rows:
        basic, options = rows[value_type.strip()]
        return basic, options
    return _strictest(list(rows.values()))


def lists(scheme: str, code: str, value_type: str) -> bool:
    """Tells whether a concept is listed under this very value type.

    >>> lists("DCM", "121071", "TEXT"), lists("DCM", "121071", "CODE")  # Finding
    (True, False)
    """
    return value_type.strip() in (_rows(scheme, code) or {})


def _rows(scheme: str, code: str) -> dict[str, list[Any]] | None:
    """Returns a concept's rows by value type."""
    read = _read()
    scheme, code = scheme.strip().split(" [")[0], code.strip()  # some write the version behind it: NCDR [2.0b]
    if scheme in LEGACY_SNOMED:
        scheme, code = "SCT", read["srt"].get(code, "")
    found: dict[str, list[Any]] | None = read["concepts"].get(f"{scheme} {code}")
    return found


def _strictest(rows: list[list[Any]]) -> tuple[str, dict[str, str]]:
    basic = min((row[0] for row in rows), key=STRICTEST_FIRST.index)
    shared = set.intersection(*(set(row[1].items()) for row in rows))
    return basic, dict(sorted(shared))


@functools.cache
def _read() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(Path(__file__).with_name("concepts.json").read_text(encoding="utf-8"))
    return read
