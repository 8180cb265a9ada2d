"""Tables of boxes (CSV) in the layouts that public sets have, and in radkit's own.

| layout | columns | what the numbers are |
|---|---|---|
| `nih` | Image Index, Finding Label, Bbox [x, y, w, h] | pixels of the PNG, from its upper left corner |
| `rsna` | patientId, x, y, width, height, Target | pixels; a row without numbers: nothing was found |
| `luna16` | seriesuid, coordX, coordY, coordZ, diameter_mm | centre and diameter of a ball, LPS mm |
| `vindr` | image_id, class_name, x_min, y_min, x_max, y_max; rad_id | pixels; without numbers: nothing was found |
| `radkit` | identifiers (`IDENTIFIERS`), `SAYING` as far as known, one of `GROUPS` | pixels' edges or LPS mm |
"""

import csv
import datetime
import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from radkit.dicom.annotations import coco
from radkit.dicom.annotations.box_rows import Row
from radkit.dicom.annotations.coco import Image, Table
from radkit.dicom.annotations.form import REFERENCE_STANDARDS, AnnotationError
from radkit.errors import did_you_mean

# Of our own layout: which image, most telling first; who and what; and where, in one of four ways.
IDENTIFIERS = ("SeriesInstanceUID", "SOPInstanceUID", "StudyInstanceUID", "file", "PatientID")
SAYING = ("label", "lesion_id", "reader", "date", "reference_standard")
_EDGES = ("x_min", "y_min", "x_max", "y_max")
GROUPS = {
    "box of a slice": _EDGES,  # pixels' edges, from 0: x columns, y rows
    "box of slices": (*_EDGES, "z_min", "z_max"),  # z: index of first and last slice, from 0
    "box in mm": ("x_min_mm", "y_min_mm", "z_min_mm", "x_max_mm", "y_max_mm", "z_max_mm"),  # LPS
    "ball in mm": ("x_mm", "y_mm", "z_mm", "diameter_mm"),  # LPS
}
_RSNA = ("patientId", "x", "y", "width", "height", "Target")
_LUNA16 = ("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm")
_VINDR = ("image_id", "class_name", *_EDGES)
NIH_SIZE = (1024, 1024)  # rows, columns of the PNG files that its boxes were drawn on

_UTF16 = (b"\xff\xfe", b"\xfe\xff")  # as Excel's "Unicode text" begins

_Line = Mapping[str, str]


@dataclass(frozen=True)
class _Entry:
    """What a line says: of which image, by whom (reader, date, reference standard), and where."""

    column: str
    identifier: str
    row: Row | None
    about: tuple[str, str, str] = ("", "", "")
    facts: Mapping[str, str] = field(default_factory=dict)


def read_csv(path: Path) -> Table:
    """Returns the boxes of a table, by image and reader; its columns tell its layout (see the module).

    Rows that say the same thing twice are taken once, with a finding; boxes without extent stay in, so that
    `box_rows.place` refuses their image.

    Raises:
        AnnotationError: Not a table, columns of no layout, or values that are not what the layout asks for.
    """
    header, lines = _lines(path)
    layout, entry_of = _layout(header)
    counts: Counter[str] = Counter()
    found: dict[tuple[str, str], list[_Entry]] = {}
    seen: set[tuple[str, ...]] = set()
    for number, line in enumerate(lines, start=2):
        if (values := tuple(line.values())) in seen:
            counts["duplicate_rows"] += 1
            continue
        seen.add(values)
        try:
            entry = entry_of(line)
        except AnnotationError as error:
            raise AnnotationError(f"line {number} of the table: {error}", error.finding) from error
        found.setdefault((entry.column, entry.identifier), []).append(entry)
        if entry.row is not None:
            coco.count_places(entry.row, counts)
    images = tuple(_image(*key, entries) for key, entries in found.items())
    labels = tuple(dict.fromkeys(row.label for image in images for row in image.rows))
    return Table(layout, images, labels, coco.findings(counts))


def _image(column: str, identifier: str, entries: Sequence[_Entry]) -> Image:
    rows = tuple(
        replace(e.row, reader=e.about[0], date=e.about[1], reference_standard=e.about[2]) for e in entries if e.row
    )
    return Image(column, identifier, rows, tuple(dict.fromkeys(e.about for e in entries)), entries[0].facts)


def _lines(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content[:2] in _UTF16 else "utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"the table cannot be opened ({type(error).__name__})") from error
    except UnicodeDecodeError as error:
        raise AnnotationError("the table is not UTF-8; save it so") from error
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        found = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if any(row)]
    except csv.Error as error:
        raise AnnotationError("the table is no CSV: a quotation is not closed, or a field has no end") from error
    if not found:
        raise AnnotationError("the table is empty; a line of column names was expected")
    header = _named([name.strip() for name in found[0]])
    for number, row in enumerate(found[1:], start=2):
        if len(row) > len(header) and any(row[len(header) :]):
            raise AnnotationError(f"line {number} of the table has {len(row)} fields, its first line {len(header)}")
    rows = [[value.strip() for value in (*row, *[""] * (len(header) - len(row)))] for row in found[1:]]
    return header, [dict(zip(header, row)) for row in rows]


def _named(header: list[str]) -> list[str]:
    """Returns column names; the brackets and empty names of the NIH's list become x, y, w, h."""
    if header[:2] == ["Image Index", "Finding Label"] and len(header) > 2 and header[2].startswith("Bbox [x"):
        width = max(len(header), 6)
        return ["Image Index", "Finding Label", "x", "y", "w", "h", *(f"_{n}" for n in range(width - 6))]
    header = [name or f"_{n}" for n, name in enumerate(header)]  # an index column, or a trailing delimiter
    if len(set(header)) < len(header):
        raise AnnotationError("two columns of the table have the same name")
    return header


def _layout(header: Sequence[str]) -> tuple[str, Callable[[_Line], _Entry]]:
    there = set(header)
    for name, columns, entry_of in (
        ("nih", ("Image Index", "Finding Label", "x", "y", "w", "h"), _nih),
        ("rsna", _RSNA, _rsna),
        ("luna16", _LUNA16, _luna16),
        ("vindr", _VINDR, _vindr),
    ):
        if there.issuperset(columns):
            return name, entry_of
    _check_own(there)
    return "radkit", _own


def _check_own(there: set[str]) -> None:
    known = [*IDENTIFIERS, *SAYING, *dict.fromkeys(name for group in GROUPS.values() for name in group)]
    unknown = sorted(name for name in there.difference(known) if not name.startswith("_"))
    understood = f"understood are {', '.join(known)}, or the columns of {'; '.join(map(', '.join, _PUBLIC))}"
    if unknown and not there.intersection(known):  # its first line may be a row, of a patient
        raise AnnotationError(f"the table's first line names none of the columns that are understood; {understood}")
    if unknown:
        raise AnnotationError(
            f"the table has the column {unknown[0]!r}{did_you_mean(unknown[0], known)} and {len(unknown) - 1} others "
            f"that are not understood; {understood}"
        )
    if not there.intersection(IDENTIFIERS):
        raise AnnotationError(f"the table does not say of which image a row is: one of {', '.join(IDENTIFIERS)}")
    told = [name for name, columns in GROUPS.items() if there.issuperset(columns)]
    places = there.difference(IDENTIFIERS, SAYING)
    if not told or not any({n for n in places if not n.startswith("_")} == set(GROUPS[name]) for name in told):
        ways = "; or ".join(f"{', '.join(columns)} ({name})" for name, columns in GROUPS.items())
        raise AnnotationError(f"the table does not say where its boxes are, in one way: {ways}")


_PUBLIC = (("Image Index", "Finding Label", "Bbox [x, y, w, h]"), _RSNA, _LUNA16, _VINDR)


def _floats(line: _Line, names: Sequence[str]) -> tuple[float, ...] | None:
    """Returns numbers of columns; None where all are empty."""
    said = [line[name] for name in names]
    if not any(said) or all(value.lower() in ("", "nan") for value in said):
        return None
    try:
        found = tuple(map(float, said))
    except ValueError:
        raise AnnotationError(f"{', '.join(names)} are not all numbers") from None
    if not all(map(math.isfinite, found)):
        raise AnnotationError(f"{', '.join(names)} are not all finite numbers")
    return found


def _corner_and_size(found: Sequence[float]) -> tuple[tuple[float, float], tuple[float, float]]:
    x, y, width, height = found
    return (y, x), (y + height, x + width)


def _identifier(line: _Line, name: str) -> str:
    if not line[name]:
        raise AnnotationError(f"{name} is empty")
    return line[name]


def _nih(line: _Line) -> _Entry:
    found = _floats(line, ("x", "y", "w", "h"))
    if found is None:
        raise AnnotationError("a row of the NIH's list has no box")
    low, high = _corner_and_size(found)
    return _Entry("file", _identifier(line, "Image Index"), Row(low, high, label=line["Finding Label"], size=NIH_SIZE))


def _rsna(line: _Line) -> _Entry:
    found = _floats(line, ("x", "y", "width", "height"))
    if line["Target"] not in ("0", "1") or (found is None) != (line["Target"] == "0"):
        raise AnnotationError("Target and box contradict each other: 1 with a box or 0 without was expected")
    # The set's one class; its detailed table calls it so.
    row = None if found is None else Row(*_corner_and_size(found), label="Lung Opacity")
    return _Entry("PatientID", _identifier(line, "patientId"), row)


def _luna16(line: _Line) -> _Entry:
    found = _floats(line, ("coordX", "coordY", "coordZ", "diameter_mm"))
    if found is None:
        raise AnnotationError("a row of the LUNA16 list has no place")
    return _Entry("SeriesInstanceUID", _identifier(line, "seriesuid"), _ball(found, "nodule"))


def _ball(found: Sequence[float], label: str, lesion_id: str = "") -> Row:
    *centre, diameter = found
    low, high = (tuple(n + sign * diameter / 2 for n in centre) for sign in (-1, 1))
    return Row(low, high, "mm", label, lesion_id, is_ball=True)


def _vindr(line: _Line) -> _Entry:
    found = _floats(line, _EDGES)
    row = None if found is None else Row(found[1::-1], found[:1:-1], label=line["class_name"])
    return _Entry("file", _identifier(line, "image_id"), row, (line.get("rad_id", ""), "", ""))


def _own(line: _Line) -> _Entry:
    facts = {name: line[name] for name in IDENTIFIERS if line.get(name)}
    if not facts:
        raise AnnotationError(f"none of {', '.join(IDENTIFIERS)} is given")
    kind = next(iter(facts))
    standard = line.get("reference_standard", "")
    if standard and standard not in REFERENCE_STANDARDS:
        expected = f"one of {', '.join(REFERENCE_STANDARDS)} was expected"
        raise AnnotationError(
            f"reference_standard is none that is known{did_you_mean(standard, REFERENCE_STANDARDS)}; {expected}"
        )
    about = (line.get("reader", ""), _date(line.get("date", "")), standard)
    return _Entry(kind, facts[kind], _own_row(line), about, facts)


def _date(said: str) -> str:
    try:
        return datetime.date.fromisoformat(said).isoformat() if said else ""
    except ValueError:
        raise AnnotationError("date is not YYYY-MM-DD") from None


def _own_row(line: _Line) -> Row | None:
    columns = max((c for c in GROUPS.values() if c[0] in line and set(c) <= set(line)), key=len)
    found = _floats(line, columns)
    if found is None:
        return None
    label, lesion_id = line.get("label", ""), line.get("lesion_id", "")
    if columns[0] == "x_mm":
        return _ball(found, label, lesion_id)
    if columns[0] == "x_min_mm":
        return Row(found[:3], found[3:], "mm", label, lesion_id)
    low, high = found[1::-1], found[3:1:-1]
    if len(found) == 6:
        if not all(z.is_integer() for z in found[4:]):
            raise AnnotationError("z_min and z_max are no whole numbers; the first and last slice's index was expected")
        low, high = (found[4], *low), (found[5] + 1, *high)
        return Row(low, high, "pixels", label, lesion_id)
    return Row(low, high, "pixels", label, lesion_id, line.get("SOPInstanceUID", ""))
