"""What two sides share by name: patients, studies, series, records, and days of one patient."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from radkit.data.leakage.fingerprints import Row

_KINDS = {
    "shared_patient": "patient_id",
    "shared_study": "study_uid",
    "shared_series": "series_uid",
    "shared_record": "record_uid",
}
SAME_DAY = "same_day"


@dataclass(frozen=True)
class Shared:
    """One identifier that lies on several sides.

    Attributes:
        kind: `shared_patient`, `shared_study`, `shared_series`, `shared_record`, or `same_day`: studies of one patient
            on one day.
        value: The identifier after de-identification; of a day, the patient's.
        sides: How many records each side has of it.
    """

    kind: str
    value: str
    sides: dict[str, int]


def shared(rows: Sequence[Row]) -> list[Shared]:
    """Returns what lies on several sides, by kind, then by value."""
    found = []
    for kind, name in _KINDS.items():
        found += [Shared(kind, value, sides) for (value,), sides in _apart(rows, (name,))]
    studies: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for row in rows:
        studies[row["patient_id"], row["study_date"]].add(row["study_uid"])
    days = _apart(rows, ("patient_id", "study_date"))
    # One study on two sides is told above; a day says more only of several.
    return found + [Shared(SAME_DAY, day[0], sides) for day, sides in days if len(studies[day]) > 1]


def _apart(rows: Sequence[Row], names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, int]]]:
    """Yields values that lie on several sides, and how many records each side has of them; empty ones say nothing."""
    sides: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for row in rows:
        sides[tuple(row[name] for name in names)][row["side"]] += 1
    for value in sorted(sides):
        if all(value) and len(sides[value]) > 1:
            yield value, dict(sides[value])
