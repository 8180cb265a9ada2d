"""The labels table: what an image, series, study or patient is labelled, who said so, when, and on what ground.

A CSV file (commas, semicolons or tabs; UTF-8, or UTF-16 as Excel's "Unicode text") with at least one identifier column
(a DICOM keyword) and the config's columns of labels and reports (`label_cells`); `reader`, `date` and
`reference_standard` may stand beside them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radkit import config
from radkit.data import label_cells, label_kinds, label_table, readers
from radkit.data.label_table import Row
from radkit.dicom import scan
from radkit.dicom.findings import Finding
from radkit.errors import UserError

_MOST_SHOWN = 3
_TIED = {
    "class": "have as many votes for two classes",
    "ordinal": "have an even number of votes, the middle two of which differ",
    "multi_label": "have a class with as many votes for yes as for no: it is unknown",
}


@dataclass(frozen=True)
class Label:
    """An image's label, and how it came to be known.

    Attributes:
        value: See `label_kinds`; of a class its place in `data.class_names`.
        reader: Who said so; of several, joined by ", "; empty where nobody says.
        date: YYYY-MM-DD, the latest of several; empty where nobody says.
        reference_standard: One of `form.REFERENCE_STANDARDS`, "consensus" where readings of several became one; empty
            where nobody says.
        report: The report's text, as `data.report` asks for it; empty where there is none.
    """

    value: label_kinds.Value
    reader: str = ""
    date: str = ""
    reference_standard: str = ""
    report: str = ""


class Labels:
    """A labels table, read and decided.

    Rows count if they are of `data.annotations.readers` and `reference_standards` and say something. Rows of one reader
    that say the same count once. Several readers' labels are made one by votes (`several="majority"`, and so with
    "staple": a row is one vote; `label_kinds.elected`), the first reader's is taken (in the order of `readers`, or by
    name), or the table is refused. Texts are not made one: the first reader's report is taken.

    Attributes:
        key: The identifier column by which images are found: the most specific of the table.
    """

    def __init__(self, path: Path, data: config.Data, rename: label_table.Rename | None = None) -> None:
        """Reads the table.

        Args:
            path: The file.
            data: The config's data section: what it says of labels, `report` and `annotations` are read.
            rename: Gives the identifier that images bear for a column and its value in the table, as where the images
                were de-identified and the table was not; None where the table has the images' own.

        Raises:
            UserError: It is no such table, or a row cannot be used and no setting says what becomes of it; or reports
                stand beside original identifiers.
        """
        self._data, self._wishes = data, data.annotations
        self._table = label_table.Table(path, data, rename)
        self._counts: Counter[str] = Counter()
        self._first: dict[str, Row] = {}
        self._later: dict[str, list[Row]] = {}  # of identifiers with several rows, which are few
        for uid, row in self._table.rows():
            if self._first.setdefault(uid, row) is not row:
                self._later.setdefault(uid, []).append(row)
        if not self._first and self._table.num_of_others:
            raise UserError(
                f"--labels {path.name}: none of {self._table.num_of_others} rows is of data.annotations.readers and "
                "reference_standards; correct these, or the table's columns reader and reference_standard"
            )
        self.key = self._table.key
        self._ties: dict[str, dict[str, Row]] = {}
        self._undecided: dict[str, tuple[int, ...]] = {}  # places of the classes that readers are tied about
        self._decided: dict[str, Label | None] = {}
        self._decide()

    def __len__(self) -> int:
        """Returns how many identifiers have rows that count."""
        return len(self._first)

    @property
    def findings(self) -> list[Finding]:
        """What a person should know of the table, by now, with counts."""
        kind, one = self._data.label_kind, label_cells.called(self._data)
        many = "classes" if one == "class" else f"{one}s"
        left_out = "class is none of data.class_names" if one == "class" else "label cannot be read"
        said = (
            ("unknown_class", self._table.num_unknown, f"rows were left out: their {left_out}"),
            ("unknown_class", self._table.num_names, "rows list names that are none of data.class_names: left out"),
            ("remark", self._table.num_dates, "dates were left out, as images by --key have others"),
            ("duplicate_rows", self._counts["same"], "rows say again what an earlier row of the same reader said"),
            ("contradicting_rows", self._counts["first"], "rows contradict an earlier row of their reader: left out"),
            ("contradicting_rows", len(self._ties), f"{self.key} values {_TIED.get(kind, '')}"),
            ("contradicting_rows", self._counts["series"], f"series have rows of different {many} by {self.key}"),
            ("several_readers", self._counts["merged"], f"{self.key} values have rows of several readers"),
            ("several_readers", self._counts["reports"], f"{self.key} values have several reports: the first counts"),
            ("labels_without_images", self._counts["unused"], f"of {len(self)} {self.key} values are no image's"),
        )  # fmt: skip
        return [Finding(name, f"{self._table.name}: {count} {what}", count) for name, count, what in said if count]

    def of(self, instance: scan.Instance) -> Label | None:
        """Returns the label of an instance; None when the table has none for it, or its readers are tied.

        Raises:
            UserError: Another identifier of the row is not the image's.
        """
        uid = instance[self.key]
        row = self._first.get(uid)
        if row is None:
            return None
        for one in (row, *self._later.get(uid, ())):
            for column, value in zip(self._table.others, one.others):
                if value and instance[column] and value != instance[column]:
                    self._table.refuse(
                        one.line,
                        f"the image of this {self.key} has another {column}; correct the row, or leave one column",
                    )
        return self._decided[uid] if uid in self._decided else _label([row], row.value, row.report)

    def of_any(self, instances: Iterable[scan.Instance]) -> Label | None:
        """Returns the label of what is one example, as a volume's series: that of any of its instances.

        Instances that contradict each other give None, and a finding.

        Raises:
            UserError: As `of`.
        """
        by_uid: dict[str, scan.Instance] = {}
        for instance in instances:
            by_uid.setdefault(instance[self.key], instance)
        found = [label for label in map(self.of, by_uid.values()) if label is not None]
        if _differ(found):
            self._counts["series"] += 1
            return None
        return found[0] if found else None

    def contradicts(self, instances: Iterable[scan.Instance]) -> bool:
        """Tells whether rows of one example's instances say different things, as those of a series' slices."""
        return _differ([label for label in map(self.of, instances) if label is not None])

    def disagreement(self, record_uid: str, instances: Iterable[scan.Instance]) -> dict[str, Any] | None:
        """Returns a row for `readers.adjudication` if the readers of one of the instances are tied; else None."""
        for uid in dict.fromkeys(instance[self.key] for instance in instances) if self._ties else ():
            if uid in self._ties:
                votes, about = self._ties[uid], self._undecided[uid]
                said = {name: label_kinds.words(row.value, self._data, about) for name, row in votes.items()}
                return readers.class_disagreement(record_uid, said)
        return None

    def unused(self, seen: Iterable[scan.Instance]) -> int:
        """Returns how many identifiers of the table are no image's; it is a finding, too.

        Args:
            seen: All instances that are there, also those that become no record.

        Raises:
            UserError: There are some, and data.annotations.without_image is "refuse".
        """
        count = len(self._first.keys() - {instance[self.key] for instance in seen})
        if count and self._wishes.without_image == "refuse":
            raise UserError(
                f"--labels {self._table.name}: {count} of {len(self)} {self.key} values are no image's; add the "
                "images, remove the rows, or set data.annotations.without_image='report'"
            )
        self._counts["unused"] = count
        return count

    def _decide(self) -> None:
        """Settles what identifiers with several rows are."""
        several: set[str] = set()
        for uid, later in self._later.items():
            votes = self._votes(self._first[uid], later)
            if len(votes) > 1:
                several |= votes.keys()
                self._counts["merged"] += 1
            self._decided[uid] = self._elected(uid, votes)
        if several and self._wishes.several == "refuse":
            names = sorted(name or "(nobody named)" for name in several)
            shown = ", ".join(names[:_MOST_SHOWN]) + (", ..." if len(names) > _MOST_SHOWN else "")
            raise UserError(
                f"--labels {self._table.name}: {self._counts['merged']} {self.key} values have rows of several readers "
                f"({shown}); data.annotations.several='majority' or 'first' says how they are made one, "
                "data.annotations.readers whose rows count"
            )

    def _votes(self, first: Row, later: Sequence[Row]) -> dict[str, Row]:
        """Returns the one row of each reader that counts."""
        votes = {first.reader: first}
        seen = {first[:4]}
        for row in later:
            self._check_against(first, row)
            said = votes.setdefault(row.reader, row)
            if (said.value, said.report) != (row.value, row.report):
                self._contradicts(row, "report" if said.value == row.value else label_cells.called(self._data))
            elif row[:4] in seen:
                self._counts["same"] += 1
            seen.add(row[:4])
        return votes

    def _check_against(self, first: Row, row: Row) -> None:
        for column, old, new in zip(self._table.others, first.others, row.others):
            if old and new and old != new:
                self._table.refuse(row.line, f"the same {self.key} had another {column} before; correct either")
        old, new = first.reference_standard, row.reference_standard
        if old != new and old and new:
            self._table.refuse(
                row.line,
                f"the same {self.key} rests on {old} before and on {new} here; name the reference standard that counts "
                "in data.annotations.reference_standards",
            )

    def _contradicts(self, row: Row, what: str) -> None:
        if self._wishes.duplicates == "refuse":
            whose = f", by reader {row.reader}" if row.reader else ""
            self._table.refuse(
                row.line,
                f"the same {self.key} had another {what} before{whose}; correct one, name who read each in a column "
                "'reader', or set data.annotations.duplicates='first'",
            )
        self._counts["first"] += 1

    def _elected(self, uid: str, votes: dict[str, Row]) -> Label | None:
        order = self._wishes.readers or sorted(votes, key=readers.natural)
        rows = [votes[name] for name in dict.fromkeys(order) if name in votes]
        if len(rows) == 1 or self._wishes.several == "first":
            return _label(rows[:1], rows[0].value, rows[0].report)
        value, tied = label_kinds.elected([row.value for row in rows], self._data)
        if value is None and self._data.label_kind == "survival":
            self._table.refuse(
                next(row.line for row in rows if row.value != rows[0].value),
                f"the readers of this {self.key} say different times or events, which are measured and not voted on; "
                "correct them, or name whose rows count in data.annotations.readers",
            )
        if value is None or tied:
            self._ties[uid], self._undecided[uid] = votes, tied
        if value is None:
            return None
        by_class = self._data.label_kind == "class"
        winners = [row for row in rows if row.value == value or not by_class]
        return _label(winners, value, self._report(rows), merged=True)

    def _report(self, rows: Sequence[Row]) -> str:
        """Returns the first report that says something."""
        said = [row.report for row in rows if row.report]
        self._counts["reports"] += len(set(said)) > 1
        return said[0] if said else ""


def _differ(found: Sequence[Label]) -> bool:
    return len({(label.value, label.report) for label in found}) > 1


def _label(rows: Sequence[Row], value: label_kinds.Value, report: str, merged: bool = False) -> Label:
    """Returns the label that rows come to."""
    stated = {row.reference_standard for row in rows}
    standard = stated.pop() if len(stated) == 1 else ""
    return Label(
        value,
        ", ".join(sorted((row.reader for row in rows if row.reader), key=readers.natural)),
        max(row.date for row in rows),
        "consensus" if merged and standard == "reader" else standard,
        report,
    )
