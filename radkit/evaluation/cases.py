"""The table of cases that everything is computed from, and draws of its patients."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from radkit.errors import UserError

_BLOCK = 1 << 23  # weights held at once


@dataclass(frozen=True, eq=False)
class Cases:
    """Cases as `cases.csv` lists them: one mapping of plain numbers and text each, with `patient_id`.

    Attributes:
        rows: In record order, at least one.
    """

    rows: Sequence[Mapping[str, Any]]

    def __post_init__(self) -> None:
        if not self.rows:
            raise UserError("there are no cases to evaluate; name a split that holds some")

    def __len__(self) -> int:
        return len(self.rows)

    def numbers(self, name: str) -> np.ndarray:
        """Returns a column as float64, (n,); nan where it is empty.

        Raises:
            UserError: No case has it, or it holds what is no number.
        """
        return np.array([_number(name, value) for value in self._column(name)], np.float64)

    def words(self, name: str) -> np.ndarray:
        """Returns a column as text, (n,) object; empty where it is absent."""
        return np.array(["" if value is None else str(value) for value in self._column(name)], object)

    def has(self, name: str) -> bool:
        """Tells whether the table has a column."""
        return name in self.rows[0]

    def _column(self, name: str) -> list[Any]:
        if not self.has(name):
            raise UserError(f"the table of cases has no column {name!r}; it has {', '.join(self.rows[0])}")
        return [row.get(name) for row in self.rows]

    @cached_property
    def patients(self) -> np.ndarray:
        """Number of each case's patient in sorted order of their pseudonyms, (n,) int64."""
        return np.unique(self.words("patient_id").astype(str), return_inverse=True)[1].astype(np.int64)

    @property
    def num_patients(self) -> int:
        """How many patients there are."""
        return int(self.patients.max()) + 1


@dataclass(frozen=True)
class Draws:
    """How patients are drawn for intervals.

    Attributes:
        resamples: How often.
        seed: The same seed draws the same patients.
        level: Coverage of the intervals.
    """

    resamples: int = 2000
    seed: int = 0
    level: float = 0.95

    @property
    def told(self) -> str:
        """The method in words."""
        return f"percentile bootstrap of patients, expanded for their number, {self.resamples} draws, seed {self.seed}"

    def weights(self, cases: Cases) -> Iterator[np.ndarray]:
        """Yields how often each case is drawn, (some draws, n) float64, all draws in blocks.

        A patient's cases are drawn together. The draws are those of `metrics.intervals.bootstrap_ci`.
        """
        generator = np.random.default_rng(self.seed)
        count = cases.num_patients
        size = max(1, _BLOCK // max(len(cases), count))
        for start in range(0, self.resamples, size):
            drawn = [
                np.bincount(generator.integers(0, count, count), minlength=count)
                for _ in range(min(size, self.resamples - start))
            ]
            yield np.array(drawn, np.float64)[:, cases.patients]


def _number(name: str, value: Any) -> float:
    if value is None or value == "":
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"column {name!r} of the cases must hold numbers, not {str(value)[:40]!r}") from error
