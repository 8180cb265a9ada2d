"""A table of masks: which file is drawn on which image, by whom, when, and on what ground."""

import csv
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from radkit.data import label_table
from radkit.data.label_table import KEYS
from radkit.dicom.annotations.form import REFERENCE_STANDARDS
from radkit.dicom.findings import Finding
from radkit.errors import UserError, did_you_mean

ABOUT = ("reader", "date", "reference_standard")
_OF_BOXES = {"x_min", "x_mm", "x_min_mm"}


@dataclass(frozen=True)
class Row:
    """One mask.

    Attributes:
        column: The identifier column by which its image is found, the most specific of the table.
        identifier: What stands there.
        path: The mask's file.
        about: Reader, date (YYYY-MM-DD) and reference standard; empty where nobody says.
        others: (column, value) of the less specific identifiers.
        line: Of the table.
    """

    column: str
    identifier: str
    path: Path
    about: tuple[str, str, str]
    others: tuple[tuple[str, str], ...] = ()
    line: int = field(default=0, compare=False)


def read(path: Path) -> tuple[list[Row], list[Finding]] | None:
    """Returns a table's masks, each once, and what a person should know; None when it is no table of masks.

    Raises:
        UserError: It cannot be read, or a row makes no sense.
    """
    try:
        lines = label_table.lines(path, {*KEYS, "file"})
        _, header = next(lines, (0, []))
        keys = [name for name in KEYS if name in header]
        if "file" not in header or not keys or _OF_BOXES & set(header):
            return None
        _refuse_twice(header, keys, path)
        every = [_row(dict(zip(header, _fitting(cells, header, path, n))), keys, path, n) for n, cells in lines]
    except (UnicodeError, csv.Error) as error:
        raise UserError(f"--annotations {path.name} is no CSV file in UTF-8; save it as one") from error
    rows = list(dict.fromkeys(row for row in every if row is not None))
    return rows, _findings(path, rows, sum(row is not None for row in every) - len(rows))


def refuse(table: Path, line: int, what: str) -> NoReturn:
    """Raises what is wrong with a row."""
    raise UserError(f"--annotations {table.name}, line {line}: {what}")


def _refuse_twice(header: Sequence[str], keys: Sequence[str], path: Path) -> None:
    counts = Counter(header)
    twice = [name for name in ("file", *keys, *ABOUT) if counts[name] > 1]
    if twice:
        raise UserError(f"--annotations {path.name} has the column {twice[0]} more than once; leave one")


def _fitting(cells: Sequence[str], header: Sequence[str], path: Path, line: int) -> list[str]:
    if any(cells[len(header) :]):  # a comma too many: which value belongs to which column is a guess
        refuse(path, line, f"more values than the {len(header)} columns")
    return [cell.strip() for cell in cells[: len(header)]] + [""] * (len(header) - len(cells))


def _row(said: Mapping[str, str], keys: Sequence[str], path: Path, line: int) -> Row | None:
    if not any(said.values()):
        return None
    file, identifier = said["file"], said[keys[0]]
    if not file or not identifier:
        refuse(path, line, f"file or {keys[0]} is empty; each row needs both")
    if not (path.parent / file).is_file():
        refuse(path, line, "its file does not exist beside the table")
    reader, date, standard = (said.get(name, "") for name in ABOUT)
    if standard and standard not in REFERENCE_STANDARDS:
        near = did_you_mean(standard, REFERENCE_STANDARDS)
        refuse(path, line, f"reference_standard is none of {', '.join(REFERENCE_STANDARDS)}{near}")
    day = label_table.day(date) if date else ""
    if day is None:
        refuse(path, line, label_table.NO_DATE)
    others = tuple((name, said[name]) for name in keys[1:] if said[name])
    return Row(keys[0], identifier, (path.parent / file).resolve(), (reader, day, standard), others, line)


def _findings(path: Path, rows: Sequence[Row], again: int) -> list[Finding]:
    images: dict[Path, set[str]] = defaultdict(set)
    for row in rows:
        images[row.path].add(row.identifier)
    shared = sum(len(found) > 1 for found in images.values())
    said = (
        ("duplicate_rows", again, "rows say again what an earlier row said; each counts once"),
        ("one_mask_of_several_images", shared, "files stand in it for several images"),
    )
    return [Finding(name, f"{path.name}: {count} {what}", count) for name, count, what in said if count]
