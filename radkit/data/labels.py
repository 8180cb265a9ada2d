"""The labels table: which class an image, series, study or patient is of, who said so, when, and on what ground.

A CSV file (commas, semicolons or tabs; UTF-8, or UTF-16 as Excel's "Unicode text") with at least one identifier column
(a DICOM keyword) and the config's label column; `reader`, `date` and `reference_standard` may stand beside them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radkit import config
from radkit.data import label_table, readers
from radkit.data.label_table import Row
from radkit.dicom import scan
from radkit.dicom.findings import Finding
from radkit.errors import UserError

_MOST_SHOWN = 3


@dataclass(frozen=True)
class Label:
    """An image's class, and how it came to be known.

    Attributes:
        value: Place of the class in `data.class_names`.
        reader: Who said so; of several, joined by ", "; empty where nobody says.
        date: YYYY-MM-DD, the latest of several; empty where nobody says.
        reference_standard: One of `form.REFERENCE_STANDARDS`, "consensus" where readings of several became one; empty
            where nobody says.
    """

    value: int
    reader: str = ""
    date: str = ""
    reference_standard: str = ""


class Labels:
    """A labels table, read and decided.

    Rows count if they are of `data.annotations.readers` and `reference_standards` and have a class. Rows of one reader
    that say the same count once. Of several readers the class with the most votes is taken (`several="majority"`, and
    so with "staple": a row is one vote), the first reader's (in the order of `readers`, or by name), or the table is
    refused.

    Attributes:
        key: The identifier column by which images are found: the most specific of the table.
    """

    def __init__(self, path: Path, data: config.Data, rename: label_table.Rename | None = None) -> None:
        """Reads the table.

        Args:
            path: The file.
            data: The config's data section: `label`, `class_names` and `annotations` are read.
            rename: Gives the identifier that images bear for a column and its value in the table, as where the images
                were de-identified and the table was not; None where the table has the images' own.

        Raises:
            UserError: It is no such table, or a row cannot be used and no setting says what becomes of it.
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
        self._decided: dict[str, Label | None] = {}
        self._decide()

    def __len__(self) -> int:
        """Returns how many identifiers have rows that count."""
        return len(self._first)

    @property
    def findings(self) -> list[Finding]:
        """What a person should know of the table, by now, with counts."""
        said = (
            ("unknown_class", self._table.num_unknown, "rows were left out: their class is none of data.class_names"),
            ("remark", self._table.num_dates, "dates were left out, as images by --key have others"),
            ("duplicate_rows", self._counts["same"], "rows say again what an earlier row of the same reader said"),
            ("contradicting_rows", self._counts["first"], "rows contradict an earlier row of their reader: left out"),
            ("contradicting_rows", len(self._ties), f"{self.key} values have as many votes for two classes"),
            ("contradicting_rows", self._counts["series"], f"series have rows of different classes by {self.key}"),
            ("several_readers", self._counts["merged"], f"{self.key} values have rows of several readers"),
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
        return self._decided[uid] if uid in self._decided else _label([row])

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
        if len({label.value for label in found}) > 1:
            self._counts["series"] += 1
            return None
        return found[0] if found else None

    def contradicts(self, instances: Iterable[scan.Instance]) -> bool:
        """Tells whether rows of one example's instances name different classes, as those of a series' slices."""
        return len({label.value for label in map(self.of, instances) if label is not None}) > 1

    def disagreement(self, record_uid: str, instances: Iterable[scan.Instance]) -> dict[str, Any] | None:
        """Returns a row for `readers.adjudication` if the readers of one of the instances are tied; else None."""
        for uid in dict.fromkeys(instance[self.key] for instance in instances):
            if uid in self._ties:
                votes = self._ties[uid]
                return readers.class_disagreement(
                    record_uid, {reader: self._data.class_names[row.value] for reader, row in votes.items()}
                )
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
            if said.value != row.value:
                self._contradicts(row)
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

    def _contradicts(self, row: Row) -> None:
        if self._wishes.duplicates == "refuse":
            whose = f", by reader {row.reader}" if row.reader else ""
            self._table.refuse(
                row.line,
                f"the same {self.key} had another class before{whose}; correct one, name who read each in a column "
                "'reader', or set data.annotations.duplicates='first'",
            )
        self._counts["first"] += 1

    def _elected(self, uid: str, votes: dict[str, Row]) -> Label | None:
        if len(votes) == 1 or self._wishes.several == "first":
            order = self._wishes.readers or sorted(votes, key=readers.natural)
            return _label([next(votes[name] for name in order if name in votes)])
        counts = Counter(row.value for row in votes.values()).most_common(2)
        if len(counts) > 1 and counts[0][1] == counts[1][1]:
            self._ties[uid] = votes
            return None
        return _label([row for row in votes.values() if row.value == counts[0][0]], merged=True)


def _label(rows: Sequence[Row], merged: bool = False) -> Label:
    """Returns the label of rows that say the same."""
    stated = {row.reference_standard for row in rows}
    standard = stated.pop() if len(stated) == 1 else ""
    return Label(
        rows[0].value,
        ", ".join(sorted((row.reader for row in rows if row.reader), key=readers.natural)),
        max(row.date for row in rows),
        "consensus" if merged and standard == "reader" else standard,
    )
