"""Tables of public sets: one row an image, with its patient, label and what else its columns say.

Columns are known by their usual names, those of NIH ChestX-ray14's Data_Entry_2017.csv among them.
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path

from radkit import config
from radkit.data import label_cells, label_table
from radkit.data.label_kinds import UNLABELLED, Value
from radkit.dicom.findings import Finding
from radkit.errors import UserError

_NAMES = {
    "image": ("imageindex", "file", "filename", "image", "imagename", "imageid", "imagepath", "path", "case", "name"),
    "patient": ("patientid", "patient", "subject", "subjectid", "pid"),
    "sex": ("patientsex", "patientgender", "sex", "gender"),
    "age": ("patientage", "age", "ageyears"),
    "view": ("viewposition", "view", "projection"),
    "findings": ("findinglabels", "labels", "finding", "findings"),
    # NIH's own table has these with an unquoted comma: each is two columns.
    "width": ("originalimagewidth",),
    "height": ("height", "originalimageheight"),
    "x": ("originalimagepixelspacingx",),
    "y": ("y",),
}
_SEXES = {"m": "M", "male": "M", "f": "F", "female": "F", "w": "F", "o": "O", "other": "O"}
# ViewPosition's Defined Terms (PS3.3 C.8.1.1, C.8.11.5).
_VIEWS = ("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO")
_OLDEST = 120


@dataclass(frozen=True)
class Row:
    """What a table says of an image.

    Attributes:
        line: Where it stands; equal rows may differ in it.
        image: The image's name as it stands there.
        patient: As it stands there; empty where nothing does.
        label: See `label_kinds`; -1 where none is asked for or `no_label` says why there is none.
        no_label: Why the image has no label, or of what is asked for alone no report; empty where it has.
        facts: (DICOM keyword, text).
        original: See `public_cases.Case`.
        report: Its text.
    """

    line: int = field(compare=False)
    image: str
    patient: str = ""
    label: Value = UNLABELLED
    no_label: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    original: tuple[float, ...] = ()
    report: str = ""


@dataclass(frozen=True)
class Columns:
    """Which of a table's columns say what; empty where none does."""

    of: Mapping[str, str]
    label: tuple[str, ...]  # of the label itself
    meaning: label_cells.Meaning  # of its cells

    def get(self, what: str, values: Mapping[str, str | None]) -> str:
        """Returns a row's value, without blanks around it."""
        return (values.get(self.of[what]) or "").strip() if self.of[what] else ""


def read(path: Path, data: config.Data) -> tuple[dict[str, Row], list[Finding]]:
    """Returns a table's rows by the image's name, and what a person should know of them.

    Raises:
        UserError: It is no such table, names an unknown class, or has rows that contradict each other.
    """
    if not path.is_file():
        raise UserError(f"--labels {path} {'is a folder' if path.is_dir() else 'does not exist'}; name a CSV file")
    try:
        lines = label_table.lines(path, {name for names in _NAMES.values() for name in names}, _bare)
        _, header = next(lines, (0, []))
        known = columns(header, data, f"--labels {path.name}")
        rows = [_checked(header, cells, n, known, data, path.name) for n, cells in lines if cells]
    except (UnicodeError, csv.Error) as error:
        raise UserError(f"--labels {path.name} is no CSV file in UTF-8; save it as one") from error
    return gathered(rows, data, path.name)


def _checked(
    header: Sequence[str], cells: Sequence[str], line: int, known: Columns, data: config.Data, name: str
) -> Row:
    if len(cells) > len(header):  # a comma too many: which value belongs to which column is a guess
        raise UserError(f"--labels {name}, line {line}: more values than there are columns")
    return row(dict(zip_longest(header, cells)), known, line, data, name)


def _bare(column: str) -> str:
    return re.sub("[^a-z0-9]", "", column.lower())


def columns(found: Sequence[str], data: config.Data, table: str) -> Columns:
    """Returns which columns say what.

    Raises:
        UserError: None names the image, none holds the label or the report, or one stands there twice.
    """
    plain = {_bare(name): name for name in reversed(found)}
    of = {what: next((plain[name] for name in names if name in plain), "") for what, names in _NAMES.items()}
    twice = [name for name, count in Counter(filter(None, found)).items() if count > 1]
    if twice:
        raise UserError(f"{table} has the column {twice[0]} more than once; leave one")
    if not of["image"]:
        raise UserError(
            f"{table} has the columns {', '.join(filter(None, found)) or 'none'}; one that names the image was "
            "expected: file, image, filename or 'Image Index'"
        )
    label = label_cells.columns(data, found)
    may_be_list = bool(label) and data.label_kind in ("class", "multi_label")
    if may_be_list and of["findings"] and not set(label) <= set(found):
        label = ()
    if not {*label, *([data.report] if data.report else [])} <= set(found):
        findings = " (data.label) or 'Finding Labels'" if may_be_list else ""
        raise UserError(
            f"{table} has the columns {', '.join(filter(None, found))}; {label_cells.expected(data)}{findings} was "
            "expected"
        )
    return Columns(of, label, label_cells.meaning(data, label) if label else label_cells.listed(data))


def row(values: Mapping[str, str | None], known: Columns, line: int, data: config.Data, table: str) -> Row:
    """Returns a row of a table.

    Raises:
        UserError: It names no image, or its label is none that the config knows.
    """
    image = known.get("image", values)
    if not image:
        raise UserError(f"--labels {table}, line {line}: the image's name is empty; each row needs one")
    label, no_label = _label(values, known, data, f"--labels {table}, line {line}")
    report = (values.get(data.report) or "").strip() if data.report else ""
    if data.report and not data.label and not report:
        no_label = _nothing(data)
    facts = {
        "PatientSex": _SEXES.get(known.get("sex", values).lower(), ""),
        "PatientAge": age(known.get("age", values)),
        "ViewPosition": _view(known.get("view", values)),
    }
    said = tuple((keyword, text) for keyword, text in facts.items() if text)
    return Row(line, image, known.get("patient", values), label, no_label, said, _original(values, known), report)


def _nothing(data: config.Data) -> str:
    return f"no {label_cells.called(data)} in the labels table"


def _label(values: Mapping[str, str | None], known: Columns, data: config.Data, where: str) -> tuple[Value, str]:
    if not data.label:
        return UNLABELLED, ""
    if not known.label:
        return _of_list(known.get("findings", values), known, data)
    cells = [(values.get(column) or "").strip() for column in known.label]
    if not any(cells):
        return UNLABELLED, _nothing(data)
    value, unclear = known.meaning(cells)
    if unclear and data.annotations.unknown_class == "refuse":
        raise UserError(f"{where}: {unclear}; correct it, or set {label_cells.POLICY}")
    return (UNLABELLED, "class that the config does not know") if value is None else (value, "")


def _of_list(text: str, known: Columns, data: config.Data) -> tuple[Value, str]:
    """Returns the label of a list as "Effusion|Pneumonia".

    Of several labels, each is what stands in it. Of one class it is the one of the config's that stands in it: "No
    Finding" is class 0; images that have other findings alone are neither, and are left out.
    """
    if not text.replace("|", "").strip():
        return UNLABELLED, _nothing(data)
    if data.label_kind == "multi_label":
        value, unclear = known.meaning([text])
        return (UNLABELLED, unclear) if value is None else (value, "")
    names = {label_cells.plain(part) for part in text.split("|") if part.strip()}
    classes = [label_cells.plain(name) for name in data.class_names]
    if names == {"no finding"} and "no finding" not in classes:
        return 0, ""
    found = [number for number, name in enumerate(classes) if name in names]
    if len(found) == 1:
        return found[0], ""
    return UNLABELLED, "findings of several classes" if found else "findings of none of data.class_names"


def age(text: str) -> str:
    """Returns an age as PatientAge (AS, PS3.5 6.2); empty where it is none that a person reaches.

    >>> age("58"), age("058Y"), age("0.5"), age("411"), age("")
    ('058Y', '058Y', '006M', '', '')
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([DWMYdwmy]?)", text)
    if found is None:
        return ""
    number, unit = float(found[1]), found[2].upper() or "Y"
    if unit == "Y" and number != int(number) and number < 2:
        number, unit = number * 12, "M"
    if number >= 1000 or (unit == "Y" and number > _OLDEST):
        return ""
    return f"{int(number):03d}{unit}"


def _view(text: str) -> str:
    first = text.upper().replace("-", " ").split()[:1]
    return first[0] if first and first[0] in _VIEWS else ""


def _original(values: Mapping[str, str | None], known: Columns) -> tuple[float, ...]:
    try:
        numbers = tuple(float(known.get(what, values)) for what in ("x", "y", "width", "height"))
    except ValueError:
        return ()
    return numbers if all(0 < number < math.inf for number in numbers) else ()


def gathered(rows: Sequence[Row], data: config.Data, table: str) -> tuple[dict[str, Row], list[Finding]]:
    """Returns rows by the image's name; rows that say the same thing twice count once, with a finding.

    Raises:
        UserError: Rows of one image contradict each other, and `data.annotations.duplicates` refuses them.
    """
    found: dict[str, Row] = {}
    same = contradicting = 0
    for one in rows:
        before = found.setdefault(one.image, one)
        if before is one:
            continue
        if before == one:
            same += 1
            continue
        contradicting += 1
        if data.annotations.duplicates == "refuse":
            raise UserError(
                f"--labels {table}, lines {before.line} and {one.line} say different things of one image; correct "
                "them, or set data.annotations.duplicates='first'"
            )
    said = []
    if same:
        said.append(Finding("duplicate_rows", f"{same} rows of the labels table stand there twice", same))
    if contradicting:
        said.append(
            Finding(
                "contradicting_rows", f"{contradicting} rows contradict an earlier one, which was taken", contradicting
            )
        )
    found, more = _of_one_sex(found)
    return found, [*said, *more]


def _of_one_sex(rows: Mapping[str, Row]) -> tuple[dict[str, Row], list[Finding]]:
    """Returns rows without the sex of patients who have one here and another there."""
    sexes: dict[str, set[str]] = {}
    for one in rows.values():
        if one.patient:
            sexes.setdefault(one.patient, set()).update(text for keyword, text in one.facts if keyword == "PatientSex")
    doubtful = {patient for patient, said in sexes.items() if len(said) > 1}
    if not doubtful:
        return dict(rows), []

    def mended(one: Row) -> Row:
        return replace(one, facts=tuple(fact for fact in one.facts if fact[0] != "PatientSex"))

    said = f"{len(doubtful)} patients are of different sex in different rows; their sex is left empty"
    return (
        {name: mended(one) if one.patient in doubtful else one for name, one in rows.items()},
        [Finding("contradicting_rows", said)],
    )


def matched(rows: Mapping[str, Row], images: Mapping[str, Path]) -> tuple[dict[str, Row], int]:
    """Returns each image's row by the image's name, and how many rows are of no image.

    A row names an image by its path below the folder, or by its file's name alone; with its suffix, or without.

    Raises:
        UserError: A row could mean several images.
    """
    keys: list[Callable[[str, Path], str]] = [
        lambda name, path: f"{name}{_ending(name, path)}",
        lambda name, path: name,
        lambda name, path: path.name,
        lambda name, path: name.rpartition("/")[2],
    ]
    by_key: list[dict[str, list[str]]] = []
    for key in keys:
        index: dict[str, list[str]] = {}
        for name, path in images.items():
            index.setdefault(key(name, path), []).append(name)
        by_key.append(index)
    found: dict[str, Row] = {}
    homeless = 0
    for one in rows.values():
        names = next((index[one.image] for index in by_key if one.image in index), [])
        if len(names) > 1:
            raise UserError(
                f"the labels table, line {one.line}, fits {len(names)} images; write the path below --input"
            )
        if names and names[0] in found:
            lines = f"lines {found[names[0]].line} and {one.line}"
            raise UserError(f"the labels table, {lines} name the same image in two ways; remove one")
        if names:
            found[names[0]] = one
        homeless += not names
    return found, homeless


def _ending(name: str, path: Path) -> str:
    return path.name[len(name.rpartition("/")[2]) :]
