"""The patients table: at which site a patient was seen, on which day, on which side it shall be, what it is like.

A CSV of rows by PatientID, by StudyInstanceUID, or both: what is said of a study goes before what is said of its
patient. Which columns are read, `data.split` says. What stands there decides on which side a patient is. Only the site
becomes a field of the record; the days are written nowhere, so that the true ones may be given.
"""

import csv
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from radkit import config
from radkit.data import label_table
from radkit.dicom import scan
from radkit.dicom.findings import Finding
from radkit.errors import UserError, did_you_mean

PATIENT, STUDY = "PatientID", "StudyInstanceUID"
SIDES = ("train", "validation", "test", "development", "leave_out")
STUDY_DATE = "StudyDate"
_ROUNDED = re.compile(r"\d+([.,]\d+)?[eE]\+\d+")  # what Excel makes of long numbers
_LABEL, _SITE, _SPLIT, _DATE = "label", "site", "split", "date"

Header = Callable[[str], str]  # gives the value of a DICOM keyword of an image


@dataclass(frozen=True)
class Known:
    """What decides on which side an image is.

    Attributes:
        day: YYYY-MM-DD; empty where nobody says.
        site: Empty where nobody says.
        side: One of `SIDES`; empty where nobody says.
        strata: Of `data.split.stratify`, in its order; empty for the label, which the labels table has.
    """

    day: str = ""
    site: str = ""
    side: str = ""
    strata: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """The rows of a file.

    Attributes:
        name: The file's, for messages.
        columns: Those that are read, by the names that `data.split` has for them.
        of_study: By StudyInstanceUID, values by column.
        of_patient: By PatientID, the same.
    """

    name: str
    columns: frozenset[str]
    of_study: Mapping[str, Mapping[str, str]]
    of_patient: Mapping[str, Mapping[str, str]]

    def value(self, column: str, header: Header) -> str:
        """Returns what the table says of an image; empty where it says nothing."""
        of_study = self.of_study.get(header(STUDY), {}).get(column, "")
        return of_study or self.of_patient.get(header(PATIENT), {}).get(column, "")

    def knows(self, header: Header) -> bool:
        """Tells whether a row is of this image's patient or study."""
        return header(STUDY) in self.of_study or header(PATIENT) in self.of_patient

    def strangers(self, instances: Iterable[scan.Instance], patients: Collection[str]) -> list[Finding]:
        """Returns a finding of those of `patients` of whom no row is.

        Args:
            instances: Of the whole input.
            patients: By PatientID, those that become records.

        Raises:
            UserError: No row is of any of them: the table is of other patients, or has other identifiers.
        """
        known = {instance[PATIENT] for instance in instances if self.knows(instance.__getitem__)}
        count = len(set(patients) - known)
        if count and count == len(patients):
            raise UserError(
                f"--patients {self.name} has no row of any of the {count} patients; its {PATIENT} or {STUDY} must be "
                "the images' own, or the original ones with --key"
            )
        text = f"{self.name}: {count} of {len(patients)} patients have no row"
        return [Finding("remark", text, count)] if count else []


def read(path: Path, data: config.Data, rename: label_table.Rename | None = None) -> Table:
    """Returns a patients table.

    Args:
        path: A CSV file.
        data: The config's data section.
        rename: Gives the identifiers that images bear, where the table has the original ones.

    Raises:
        UserError: It is no such table, or a row of it cannot be used or contradicts another.
    """
    if not path.is_file():
        raise UserError(f"--patients {path} {'is a folder' if path.is_dir() else 'does not exist'}; name a CSV file")
    wanted = _wanted(data)
    try:
        return _read(path, data, wanted, rename)
    except (UnicodeError, csv.Error) as error:
        raise UserError(f"--patients {path.name} is no CSV file in UTF-8; save it as one") from error


def _wanted(data: config.Data) -> tuple[str, ...]:
    """Returns the columns that are of use; what others of these names hold does not matter."""
    wanted = [data.split.site, *(name for name in data.split.stratify if name not in (_LABEL, _SITE))]
    wanted += [data.split.date] if data.split.test == "temporal" else []
    wanted += [_SPLIT] if data.split.test == "explicit" else []
    return tuple(dict.fromkeys(wanted))


def _read(path: Path, data: config.Data, wanted: Sequence[str], rename: label_table.Rename | None) -> Table:
    lines = label_table.lines(path, {PATIENT, STUDY, *wanted})
    _, header = next(lines, (0, []))
    at = _places(path.name, header, wanted)
    found: dict[str, dict[str, dict[str, str]]] = {STUDY: {}, PATIENT: {}}
    read_at: dict[tuple[str, str], int] = {}
    for line, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(header):  # a comma too many: which value belongs to which column is a guess
            raise UserError(f"--patients {path.name}, line {line}: more values than the {len(header)} columns")
        values = {name: cells[place].strip() if place < len(cells) else "" for name, place in at.items()}
        key, identifier = _identifier(path.name, line, values, rename)
        row = {name: values[name] for name in wanted if values.get(name)}
        _check(path.name, line, row, data)
        before = found[key].setdefault(identifier, row)
        if before != row:
            raise UserError(
                f"--patients {path.name}: lines {read_at[key, identifier]} and {line} say different things of one "
                f"{'study' if key == STUDY else 'patient'}; leave one"
            )
        read_at.setdefault((key, identifier), line)
    return Table(path.name, frozenset(at) - {PATIENT, STUDY}, found[STUDY], found[PATIENT])


def _places(name: str, header: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """Returns where each column that is read stands."""
    twice = sorted({column for column in (PATIENT, STUDY, *wanted) if header.count(column) > 1})
    if twice:
        raise UserError(f"--patients {name} has the column {twice[0]} more than once; leave one")
    keys = [key for key in (PATIENT, STUDY) if key in header]
    there = [column for column in wanted if column in header]
    for column in sorted(set(wanted) - set(there)):
        if other := [one for one in header if one.lower() == column.lower()]:
            raise UserError(f"--patients {name} has the column {other[0]!r}; {column!r} is read: rename it")
    if not keys or not there:
        raise UserError(
            f"--patients {name} has the columns {label_table.shown(header, {PATIENT, STUDY, *wanted})}; "
            f"{PATIENT} or {STUDY} and one of {', '.join(wanted)} were expected"
        )
    return {column: header.index(column) for column in (*keys, *there)}


def _identifier(name: str, line: int, values: Mapping[str, str], rename: label_table.Rename | None) -> tuple[str, str]:
    """Returns by which column a row is found, and the identifier that images bear."""
    key = STUDY if values.get(STUDY) else PATIENT
    identifier = values.get(key, "")
    if not identifier:
        raise UserError(f"--patients {name}, line {line}: {PATIENT} and {STUDY} are empty; each row needs one")
    if key == STUDY and _ROUNDED.fullmatch(identifier):
        raise UserError(
            f"--patients {name}, line {line}: {STUDY} was rounded, as Excel does with long numbers; import the column "
            "as text"
        )
    return key, rename(key, identifier) if rename is not None else identifier


def _check(name: str, line: int, row: dict[str, str], data: config.Data) -> None:
    """Puts a row's day into its form, and refuses one that is none, or a side that is none."""
    when, side = row.get(data.split.date), row.get(_SPLIT)
    if when is not None and data.split.test == "temporal":
        day = label_table.day(when)
        if day is None:
            raise UserError(f"--patients {name}, line {line}: {label_table.NO_DATE}")
        row[data.split.date] = day
    if side is not None and data.split.test == "explicit" and side not in SIDES:
        raise UserError(
            f"--patients {name}, line {line}: split is none of {', '.join(SIDES)}{did_you_mean(side, SIDES)}"
        )


def known(table: Table | None, data: config.Data, header: Header) -> Known:
    """Returns what is known of an image.

    Args:
        table: The patients table, if there is one.
        data: The config's data section.
        header: Gives the image's own values.
    """

    def value(column: str) -> str:
        if table is not None and column in table.columns:
            return table.value(column, header)
        return header(column) if column in scan.KEYWORDS else ""

    site = value(data.split.site)
    strata = (site if name == _SITE else "" if name == _LABEL else value(name) for name in data.split.stratify)
    of_header = data.split.date if data.split.date in scan.KEYWORDS else STUDY_DATE
    day = value(data.split.date) if tells_day(table, data) else label_table.day(header(of_header)) or ""
    return Known(day, site, value(_SPLIT), tuple(strata))


def tells_day(table: Table | None, data: config.Data) -> bool:
    """Tells whether a patients table has the days by which a test set is cut; else the images' own count."""
    return table is not None and data.split.date in table.columns


def require(table: Table | None, data: config.Data) -> None:
    """Refuses a config that asks for what neither the table nor headers have.

    Raises:
        UserError: It names the setting.
    """
    columns = frozenset() if table is None else table.columns
    asked = [("data.split.date", data.split.date)] if data.split.test == "temporal" and data.split.date != _DATE else []
    asked += [("data.split.stratify", name) for name in data.split.stratify if name not in (_LABEL, _SITE)]
    if data.split.test == "geographic" or _SITE in data.split.stratify:
        asked.append(("data.split.site", data.split.site))
    for setting, name in asked:
        if name not in columns and name not in scan.KEYWORDS:
            near = did_you_mean(name, (*columns, *scan.KEYWORDS))
            raise UserError(
                f"{setting} asks for {name!r}, which is {_no_column(table)} and no keyword that is read of "
                f"images{near}; give --patients a table with this column"
            )
    if data.split.test == "explicit" and _SPLIT not in columns:
        raise UserError(
            f"data.split.test='explicit' needs a column 'split' ({', '.join(SIDES)}); it is {_no_column(table)}: give "
            "--patients a table with one"
        )


def _no_column(table: Table | None) -> str:
    return f"no column of --patients {table.name}" if table is not None else "in no patients table, as none was given"
