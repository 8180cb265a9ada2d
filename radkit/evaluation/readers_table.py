"""The readers' table: what people said of the cases, a row an answer or a mark."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from radkit.errors import UserError, did_you_mean
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint

KINDS = ("call", "rating", "value")
_WORDS = {"1": 1.0, "yes": 1.0, "true": 1.0, "0": 0.0, "no": 0.0, "false": 0.0}
_NUMBERS = ("value", "called")  # columns of the case table that `value` is beside where no question is named
_COLUMNS = ("record_uid", "reader")

Row = Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Reading:
    """One reader's answers to one question.

    Attributes:
        reader: By a pseudonym.
        kind: `call` (yes or no), `rating` (how sure of yes, on any scale) or `value` (a number).
        question: An endpoint's name; of a `value` the column of the case table that holds the model's number.
        answers: Of each case, (n,) float64; nan: not read.
    """

    reader: str
    kind: str
    question: str
    answers: np.ndarray

    @property
    def read(self) -> np.ndarray:
        """Which cases were read, (n,) bool."""
        return ~np.isnan(self.answers)


@dataclass(frozen=True, eq=False)
class Marks:
    """What one reader marked.

    Attributes:
        reader: By a pseudonym.
        read: Which cases were read, (n,) bool.
        highest: Rating of the highest mark of each case, (n,) float64; -inf: none.
        lesions: Of each lesion that was marked: number of the case, and its highest rating.
    """

    reader: str
    read: np.ndarray
    highest: np.ndarray
    lesions: Sequence[tuple[int, float]]


@dataclass(frozen=True, eq=False)
class Table:
    """The readers' table, held against the cases.

    Attributes:
        readings: Answers by reader, kind and question, in that order.
        marks: Of each reader, where the table has a column `lesion`.
        elsewhere: How many rows are of records that are not among the cases.
    """

    readings: Sequence[Reading]
    marks: Sequence[Marks]
    elsewhere: int


def parsed(rows: Sequence[Row], cases: Cases, endpoints: Sequence[Endpoint]) -> Table:
    """Returns the readers' table.

    Args:
        rows: Each has `record_uid` and `reader`, and what was said: `call`, `rating` or `value`, for a `question`. In a
            table with a column `lesion` a row is a mark: its `rating`, and the name of the lesion that it is on, empty
            where it is on none; a row without a rating says that the case was read and not marked.
        cases: The table of cases.
        endpoints: Questions of yes or no.

    Raises:
        UserError: A column is missing, an answer is none, two rows answer one question, or no record is a case's.
    """
    for column in _COLUMNS:
        if any(not row.get(column) for row in rows):
            raise UserError(f"each row of the readers' table needs {' and '.join(_COLUMNS)}; one has no {column}")
    place = {uid: number for number, uid in enumerate(cases.words("record_uid"))}
    known = [row for row in rows if row["record_uid"] in place]
    if not known:
        raise UserError(
            f"none of the {len(rows)} rows of the readers' table is of a record of this evaluation; record_uid must be "
            "those of cases.csv"
        )
    has_marks = any("lesion" in row for row in known)
    readings = [] if has_marks else _readings(known, place, cases, endpoints)
    marks = [_marks(name, known, place) for name in _names(known)] if has_marks else []
    return Table(readings, marks, len(rows) - len(known))


def _names(rows: Sequence[Row]) -> list[str]:
    return sorted({row["reader"] for row in rows})


def _readings(
    rows: Sequence[Row], place: Mapping[str, int], cases: Cases, endpoints: Sequence[Endpoint]
) -> list[Reading]:
    found: dict[tuple[str, str, str], np.ndarray] = {}
    for row in rows:
        said = [kind for kind in KINDS if (row.get(kind) or "").strip()]
        if not said:
            raise UserError(
                f"a row of reader {row['reader']!r} says nothing: it needs one of {', '.join(KINDS)}; leave out what "
                "was not read"
            )
        for kind in said:
            question = _question(row, kind, cases, endpoints)
            answers = found.setdefault((row["reader"], kind, question), np.full(len(place), math.nan))
            number = place[row["record_uid"]]
            if not math.isnan(answers[number]):
                raise UserError(
                    f"reader {row['reader']!r} has two rows of one record for {kind} of {question!r}; leave one out"
                )
            answers[number] = _answer(row, kind)
    return [Reading(reader, kind, question, found[reader, kind, question]) for reader, kind, question in sorted(found)]


def _question(row: Row, kind: str, cases: Cases, endpoints: Sequence[Endpoint]) -> str:
    asked = (row.get("question") or "").strip()
    if kind == "value":
        columns = [asked] if asked else [name for name in _NUMBERS if cases.has(name)]
        if not columns or not cases.has(columns[0]):
            raise UserError(
                f"value of question {asked!r}: no such column in the table of cases; `question` must name the one with "
                "the model's number"
            )
        return columns[0]
    names = [endpoint.name for endpoint in endpoints]
    if not asked and len(names) == 1:
        return names[0]
    if asked not in names:
        hint = did_you_mean(asked, names) if asked else ""
        raise UserError(
            f"{kind} of question {asked!r}: no such endpoint{hint}; there are: {', '.join(names) or 'none'}"
        )
    return asked


def _answer(row: Row, kind: str) -> float:
    text = row[kind].strip()
    if kind == "call":
        if text.lower() not in _WORDS:
            raise UserError(f"call {text[:40]!r} of reader {row['reader']!r} is neither yes (1) nor no (0)")
        return _WORDS[text.lower()]
    return _number(text, f"{kind} of reader {row['reader']!r}")


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UserError(f"{what} must be a number, not {text[:40]!r}") from error
    if not math.isfinite(value):
        raise UserError(f"{what} must be finite, not {text[:40]!r}")
    return value


def _marks(reader: str, rows: Sequence[Row], place: Mapping[str, int]) -> Marks:
    read, highest = np.zeros(len(place), bool), np.full(len(place), -math.inf)
    lesions: dict[tuple[int, str], float] = {}
    for row in rows:
        if row["reader"] != reader:
            continue
        number, lesion = place[row["record_uid"]], (row.get("lesion") or "").strip()
        read[number] = True
        if not (row.get("rating") or "").strip():
            if lesion:
                raise UserError(f"a mark of reader {reader!r} on lesion {lesion!r} has no rating")
            continue
        rating = _number(row["rating"].strip(), f"rating of reader {reader!r}")
        highest[number] = max(highest[number], rating)
        if lesion:
            lesions[number, lesion] = max(lesions.get((number, lesion), -math.inf), rating)
    return Marks(reader, read, highest, [(number, rating) for (number, _), rating in sorted(lesions.items())])


def by_question(readings: Sequence[Reading], kind: str) -> dict[str, list[Reading]]:
    """Returns readings of one kind by their question."""
    found: dict[str, list[Reading]] = {}
    for reading in readings:
        if reading.kind == kind:
            found.setdefault(reading.question, []).append(reading)
    return found


def as_endpoint(reading: Reading, endpoint: Endpoint) -> Endpoint:
    """Returns the endpoint as if the reader's answers were a model's scores."""
    return Endpoint(endpoint.name, endpoint.truth, lambda _: reading.answers, probable=False)


def too_many(reader: str, marked: int, there: int) -> UserError:
    """Returns the refusal of a case in which a reader has marked more lesions than it has."""
    return UserError(
        f"reader {reader!r} marked {marked} lesions in a case that has {there}; `lesion` names the reference's lesion "
        "that a mark is on, and is empty where it is on none"
    )
