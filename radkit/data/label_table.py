"""A labels table as rows: which columns it has, and what stands in each row; what a row means, `labels` decides."""

import csv
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from radkit import config
from radkit.data import label_cells
from radkit.data.label_kinds import Value
from radkit.dicom.annotations.form import REFERENCE_STANDARDS
from radkit.errors import UserError, did_you_mean

# The most specific first: what says something of one image goes before what says it of a whole patient.
KEYS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")
OPTIONAL = ("reader", "date", "reference_standard")
NO_DATE = "date is none; YYYY-MM-DD or YYYYMMDD was expected"
_SEPARATORS = ",;\t"
_ROUNDED = re.compile(r"\d+([.,]\d+)?[eE]\+\d+")  # what Excel makes of long numbers
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's own, before the header
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")

Rename = Callable[[str, str], str]


class Row(NamedTuple):
    """One row that counts, as plain values: a table may have a million."""

    value: Value  # of a class its place
    reader: str
    date: str  # YYYY-MM-DD
    reference_standard: str
    line: int
    others: tuple[str, ...]  # values of the less specific identifier columns
    report: str = ""


class Table:
    """The rows of a file that count, one after the other.

    Attributes:
        name: The file's, for messages.
        key: The identifier column by which images are found, the most specific.
        others: The identifier columns beside it.
        num_unknown: Rows left out so far, as their label is none that the config knows.
        num_names: Rows so far that name a class, in a list of several, which is none of the config's.
        num_of_others: Rows left out so far, as their reader or reference standard is not wanted.
        num_dates: Dates left out so far, as they are the original ones.
    """

    def __init__(self, path: Path, data: config.Data, rename: Rename | None) -> None:
        if not path.is_file():
            raise UserError(f"--labels {path} {'is a folder' if path.is_dir() else 'does not exist'}; name a CSV file")
        self.name, self.num_unknown, self.num_names, self.num_of_others, self.num_dates = path.name, 0, 0, 0, 0
        self._path, self._data, self._rename = path, data, rename
        self._readers, self._wanted = data.annotations.readers, data.annotations.reference_standards
        self._dates, self._standards = {"": ""}, {"", *REFERENCE_STANDARDS}
        if rename is not None and data.report:
            raise UserError(
                f"--labels {path.name} holds original identifiers (--key), so its column {data.report!r} (data.report) "
                "may name patients; map the table with `radkit anonymize --tables`, --keep_columns once the reports' "
                "text names nobody"
            )

    def rows(self) -> Iterator[tuple[str, Row]]:
        """Yields (identifier, row) in the file's order.

        Raises:
            UserError: It is no such table, or a row cannot be used and no setting says what becomes of it.
        """
        try:
            yield from self._read(lines(self._path, {*KEYS, *label_cells.known(self._data)}))
        except (UnicodeError, csv.Error) as error:
            raise UserError(f"--labels {self.name} is no CSV file in UTF-8; save it as one") from error

    def refuse(self, line: int, what: str) -> NoReturn:
        """Raises what is wrong with a row."""
        raise UserError(f"--labels {self.name}, line {line}: {what}")

    def _read(self, found: Iterator[tuple[int, list[str]]]) -> Iterator[tuple[str, Row]]:
        _, columns = next(found, (0, []))
        values_of, num_columns, strip = itemgetter(*self._places(columns)), len(columns), str.strip
        for line, cells in found:
            if len(cells) > num_columns:  # a comma too many: which value belongs to which column is a guess
                self.refuse(line, f"more values than the {num_columns} columns")
            while len(cells) <= num_columns:  # the last stands for columns that are not there
                cells.append("")
            row = self._row([*map(strip, values_of(cells))], line)
            if row is not None:
                yield row

    def _places(self, columns: Sequence[str]) -> list[int]:
        """Returns the places of label, report, reader, date, standard, identifiers; past the end: not there."""
        keys, cells = [key for key in KEYS if key in columns], label_cells.columns(self._data, columns)
        asked = [*cells, *([self._data.report] if self._data.report else [])]
        if not keys or not asked or not set(asked) <= set(columns):
            raise UserError(
                f"--labels {self.name} has the columns {shown(columns, {*KEYS, *label_cells.known(self._data)})}; one "
                f"of {', '.join(KEYS)} and {label_cells.expected(self._data)} were expected"
            )
        self.key, self.others = keys[0], tuple(keys[1:])
        self._num_cells, self._meaning = len(cells), label_cells.meaning(self._data, cells)
        names = [column if column in {*asked, *keys} else column.lower() for column in columns]
        wanted = (*asked, *(name for name in OPTIONAL if name not in asked), *keys)
        twice = [name for name in wanted if names.count(name) > 1]
        if twice:
            raise UserError(f"--labels {self.name} has the column {twice[0]} more than once; leave one")
        optional = [names.index(n) if n in names and n not in asked else len(columns) for n in OPTIONAL]
        report = names.index(self._data.report) if self._data.report else len(columns)
        return [*map(names.index, cells), report, *optional, *map(names.index, keys)]

    def _row(self, values: list[str], line: int) -> tuple[str, Row] | None:
        """Returns a row's identifier and values; None of one that says nothing or does not count."""
        cells = values[: self._num_cells]
        report, reader, when, standard, uid, *others = values[self._num_cells :]
        if not any(cells) and (cells or not report):
            return None
        if standard not in self._standards:
            near = did_you_mean(standard, REFERENCE_STANDARDS)
            self.refuse(line, f"reference_standard is none of {', '.join(REFERENCE_STANDARDS)}{near}")
        if (self._readers and reader not in self._readers) or (self._wanted and standard not in self._wanted):
            self.num_of_others += 1
            return None
        value = self._value(cells, line)
        if value is None:
            return None
        if not uid:
            self.refuse(line, f"{self.key} is empty; each {label_cells.called(self._data)} needs one")
        day = self._dates[when] if when in self._dates else self._day(when, line)
        if self._rename is not None and day:  # the images' dates moved, and the true one tells who a patient is
            self.num_dates, day = self.num_dates + 1, ""
        if self._rename is not None or "+" in uid:
            uid, *others = (self._named(*pair, line) for pair in zip((self.key, *self.others), (uid, *others)))
        return uid, Row(value, reader, day, standard, line, tuple(others), report)

    def _value(self, cells: Sequence[str], line: int) -> Value | None:
        """Returns the label; None of one that is not understood and left out."""
        value, unclear = self._meaning(cells)
        if unclear:
            if self._data.annotations.unknown_class == "refuse":
                self.refuse(line, f"{unclear}; correct it, or set {label_cells.POLICY}")
            self.num_unknown += value is None
            self.num_names += value is not None
        return value

    def _named(self, column: str, value: str, line: int) -> str:
        """Returns the identifier that images bear."""
        if column != "PatientID" and "+" in value and _ROUNDED.fullmatch(value):
            self.refuse(line, f"{column} was rounded, as Excel does with long numbers; import the column as text")
        return self._rename(column, value) if self._rename is not None and value else value

    def _day(self, when: str, line: int) -> str:
        found = day(when)
        if found is None:
            self.refuse(line, NO_DATE)
        return self._dates.setdefault(when, found)


def lines(
    path: Path, known: Collection[str], plain: Callable[[str], str] = str.strip
) -> Iterator[tuple[int, list[str]]]:
    """Yields number and cells of each line of a CSV file; the first has the columns' names, without spaces around.

    Args:
        path: The file: commas, semicolons or tabs; UTF-8 or UTF-16.
        known: Names of columns, by which the separator is told.
        plain: Gives the name as it is known.

    Raises:
        UnicodeError: It is no text.
        UserError: A quote is not closed, or closed within a cell: the rows after it would become part of it.
    """
    with path.open("rb") as start:
        encoding = "utf-16" if start.read(2) in _UTF_16 else "utf-8-sig"
    with path.open(newline="", encoding=encoding) as file:
        first = file.readline()
        told = _SEPARATOR_LINE.fullmatch(first)
        above = 1 if told else 0
        header = file.readline() if told else first
        separator = (
            told[1] if told else max(_SEPARATORS, key=lambda s: len({*known} & {*map(plain, _split(header, s))}))
        )
        reader = csv.reader(chain([header], file), delimiter=separator, strict=True)
        ended = 0
        try:
            yield 1 + above, [column.strip() for column in next(reader, [])]
            ended = reader.line_num
            for cells in reader:
                ended = reader.line_num
                yield ended + above, cells
        except csv.Error as error:
            raise UserError(
                f"{path.name}, line {ended + 1 + above}: a quote that opens a cell must close it at its end, and a "
                f"cell have at most {csv.field_size_limit():,} characters ({error}); correct it, or save the table as "
                "CSV again"
            ) from error


def day(when: str) -> str | None:
    """Returns a date as YYYY-MM-DD; None when it is none: it may tell who a patient is, so that it is not shown.

    >>> day("20260201"), day("2026-02-01"), day("1/2/26")
    ('2026-02-01', '2026-02-01', None)
    """
    for form, length in (("%Y-%m-%d", 10), ("%Y%m%d", 8)):
        found = _parsed(when, form) if len(when) == length and when.isascii() else None
        if found is not None:
            return str(found.date().isoformat())
    return None


def shown(columns: Sequence[str], known: Collection[str]) -> str:
    """Returns columns' names in words; not what may be a row, of a table that lacks its first line."""
    if not any(name in column for column in columns for name in known):
        return f"none that is known among its {len([c for c in columns if c])}, if its first line names them at all"
    return ", ".join(columns)


def _split(header: str, separator: str) -> list[str]:
    return next(csv.reader([header], delimiter=separator), [])


def _parsed(when: str, form: str) -> Any:
    try:
        return datetime.strptime(when, form)
    except ValueError:
        return None
