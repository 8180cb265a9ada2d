"""De-identifies tables that go with the images (labels, outcomes): identifiers mapped, other columns only if named."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radkit.deid.keys import Key
from radkit.errors import UserError, did_you_mean

IDENTIFIERS = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@dataclass(frozen=True)
class Table:
    """A table as it will be written."""

    name: str  # of the file, as the steward named it
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    dropped: tuple[str, ...]  # columns that are left out


def read(paths: Sequence[Path], keep: Sequence[str], key: Key) -> list[Table]:
    """Returns de-identified tables: the same key gives the images the same identifiers.

    Args:
        paths: CSV files with a header row, UTF-8, comma separated.
        keep: Columns that are kept as they are, in whichever table has them.
        key: As for the images.

    Raises:
        UserError: No such file, two of one name, no identifier column, or a column to keep that none has.
    """
    names = [path.name for path in paths]
    for name in names:
        if names.count(name) > 1 or not name.endswith(".csv") or name == "quarantine.csv":
            raise UserError(f"--tables: {name!r} must be one .csv file of that name, and not quarantine.csv")
    if keep and not paths:
        raise UserError("--keep_columns was given without --tables; name the table that has these columns")
    read_in = [(path.name, *_read(path)) for path in paths]
    known = sorted({column for _, header, _ in read_in for column in header})
    for column in keep:
        if column not in known:
            raise UserError(
                f"--keep_columns: no table has a column {column!r}{did_you_mean(column, known)}; "
                f"there are: {', '.join(known)}"
            )
    return [_clean(name, header, rows, keep, key) for name, header, rows in read_in]


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except FileNotFoundError as error:
        raise UserError(f"--tables {path} does not exist; name a CSV file") from error
    except (IsADirectoryError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--tables {path} is not CSV in UTF-8; save it as such") from error
    if not rows:
        raise UserError(f"--tables {path} is empty; its first row must name the columns")
    header = [column.strip() for column in rows[0]]
    if not set(header) & set(IDENTIFIERS):
        raise UserError(
            f"--tables {path} has no column that links it to images; one must be named {', '.join(IDENTIFIERS)}"
        )
    if len(set(header)) != len(header):
        raise UserError(f"--tables {path} has two columns of one name; name each once")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise UserError(f"--tables {path}: row {number} has {len(row)} cells where the header has {len(header)}")
    return header, rows[1:]


def _clean(name: str, header: Sequence[str], rows: list[list[str]], keep: Sequence[str], key: Key) -> Table:
    kept = [(i, column) for i, column in enumerate(header) if column in IDENTIFIERS or column in keep]
    return Table(
        name=name,
        header=tuple(column for _, column in kept),
        rows=[tuple(_cell(column, row[i], key) for i, column in kept) for row in rows],
        dropped=tuple(column for column in header if column not in IDENTIFIERS and column not in keep),
    )


def _cell(column: str, value: str, key: Key) -> str:
    if column not in IDENTIFIERS or not value.strip():
        return value
    return key.patient(value) if column == "PatientID" else key.uid(value)
