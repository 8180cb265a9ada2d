"""Recomputes a report's numbers from the tables beside it, with nothing of radkit.

    python -m tests.evaluation.recomputed evaluation [name=other_evaluation ...]

Reads `report.json`, `cases.csv`, of detectors `boxes.csv`, of perturbed images `robustness.csv`, of cases trained on
`trained_on.csv`, of readers `readers.csv`; evaluations that it was held against are named. Prints what differs and
which numbers it could not recompute; exit status 1 if there are such.
"""

import csv
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tests.evaluation import recomputed_statistics as plain

Statistic = Callable[[np.ndarray], float]  # of row numbers, one that is drawn twice there twice
Path_ = tuple[Any, ...]
# What a report is given, and no figure: settings, counters of looks, thresholds chosen elsewhere, what was not scored.
GIVEN = ("format", "settings", "data", "run", "test_set", "look", "operating_points")
_GIVEN_FIELDS = {"level", "threshold_this", "threshold_other", "fewest_patients", "at_cost_of"}
TOLERANCE = 2e-7  # slopes are found by search


@dataclass(frozen=True, eq=False)
class Table:
    """Rows of a CSV file, text as it stands there."""

    rows: Sequence[Mapping[str, str]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> list[str]:
        return list(self.rows[0])

    def numbers(self, name: str) -> np.ndarray:
        return np.array([float(row[name]) if row[name] not in ("", None) else math.nan for row in self.rows])

    @cached_property
    def patient(self) -> np.ndarray:
        names = sorted({row["patient_id"] for row in self.rows})
        return np.array([names.index(row["patient_id"]) for row in self.rows])

    @cached_property
    def _draws(self) -> dict[tuple[int, int], list[np.ndarray]]:
        return {}

    def draws(self, resamples: int, seed: int) -> list[np.ndarray]:
        """Returns the rows of each draw of patients."""
        if (resamples, seed) not in self._draws:
            random, count = np.random.default_rng(seed), int(self.patient.max()) + 1
            members = [np.flatnonzero(self.patient == one) for one in range(count)]
            self._draws[resamples, seed] = [
                np.concatenate([members[one] for one in random.integers(0, count, count)]) for _ in range(resamples)
            ]
        return self._draws[resamples, seed]

    def patients(self, about: np.ndarray) -> int:
        return len(set(self.patient[about].tolist()))


@dataclass(eq=False)
class Ledger:
    """A report, and which of its numbers were recomputed."""

    report: Any
    seen: set[Path_] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)

    def at(self, path: Path_) -> Any:
        held = self.report
        for step in path:
            held = held[step]
        return held

    def check(self, path: Path_, expected: Any) -> None:
        """Holds what stands at a place against what is expected; mappings and lists by their parts."""
        said = self.at(path)
        if isinstance(expected, Mapping):
            for key, value in expected.items():
                self.check((*path, key), value)
        elif isinstance(expected, list | tuple | np.ndarray):
            if len(said) != len(expected):
                self.wrong.append(f"{path}: {len(said)} entries, not {len(expected)}")
                return
            for place, value in enumerate(expected):
                self.check((*path, place), value)
        else:
            self.seen.add(path)
            if not _same(said, expected):
                self.wrong.append(f"{'.'.join(map(str, path))}: {said}, recomputed {expected}")

    def unseen(self) -> list[str]:
        """Returns the numbers that nobody recomputed."""
        found: list[str] = []
        pending: list[tuple[Path_, Any]] = [((), self.report)]
        while pending:
            path, held = pending.pop()
            if path and (path[0] in GIVEN or path[-1] in _GIVEN_FIELDS or path == ("cases", "left_out")):
                continue
            if isinstance(held, Mapping):
                pending += [((*path, key), value) for key, value in held.items()]
            elif isinstance(held, list):
                pending += [((*path, place), value) for place, value in enumerate(held)]
            elif isinstance(held, int | float) and not isinstance(held, bool) and path not in self.seen:
                found.append(".".join(map(str, path)))
        return sorted(found)


def _same(said: Any, expected: Any) -> bool:
    if isinstance(expected, str | bool) or expected is None:
        return said == expected or (expected is None and said is None)
    expected = float(expected)
    if not math.isfinite(expected) or said is None:
        return said is None and not math.isfinite(expected)
    return abs(float(said) - expected) <= TOLERANCE * max(1.0, abs(expected))


@dataclass(eq=False)
class Job:
    """What is recomputed from what.

    Attributes:
        ledger: The report.
        table: Its cases.
        beside: Other models' cases by name.
        perturbed: Cases answered again; None: none.
        trained_on: Cases that the model learned from; None: not known.
        readers: Rows of the readers' table.
        reports: Other evaluations' reports by name.
    """

    ledger: Ledger
    table: Table
    beside: Mapping[str, Table] = field(default_factory=dict)
    perturbed: Table | None = None
    trained_on: Table | None = None
    readers: Sequence[Mapping[str, str]] = ()
    reports: Mapping[str, Any] = field(default_factory=dict)

    @property
    def report(self) -> Any:
        return self.ledger.report

    @property
    def settings(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.report["settings"]
        return found

    def drawn(self, of: Statistic, about: np.ndarray, table: Table | None = None) -> np.ndarray:
        """Returns a statistic of each draw of patients, of some cases."""
        table = table or self.table
        draws = table.draws(self.settings["resamples"], self.settings["seed"])
        return np.array([of(rows[about[rows]]) for rows in draws])

    def figure(
        self,
        path: Path_,
        of: Statistic,
        about: np.ndarray,
        closed: tuple[float, float] | None = None,
        table: Table | None = None,
        yes: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Checks a figure of some cases with its intervals; returns its value and its draws.

        Of figures that hold yes against no, `yes` tells which cases are one.
        """
        table, level = table or self.table, self.settings["level"]
        value, drawn = of(np.flatnonzero(about)), self.drawn(of, about, table)
        patients = table.patients(about)
        deciding = patients
        if yes is not None:
            sides = [table.patients(side) for side in (about & yes, about & ~yes) if side.any()]
            deciding = max(min(sides, default=0), min(2, patients))
        low, high = plain.interval(value, drawn, deciding, level)
        told = {"value": value, "low": low, "high": high, "level": level, "n": int(about.sum())}
        told |= {"num_patients": patients, "num_deciding": deciding}
        self.ledger.check(path, {**told, "num_undefined": int((~np.isfinite(drawn)).sum())})
        if closed is not None:
            self.ledger.check((*path, "closed"), {"low": closed[0], "high": closed[1]})
        elif "closed" in self.ledger.at(path):
            self.ledger.wrong.append(f"{path}: its interval by formula is not recomputed")
        return value, drawn


def read(file: Path) -> Table | None:
    """Returns a table; None where there is no file."""
    if not file.exists():
        return None
    with file.open(newline="", encoding="utf-8") as opened:
        return Table(list(csv.DictReader(opened)))


def recompute(folder: Path, beside: Mapping[str, Path] | None = None) -> Ledger:
    """Returns the report of a folder, with what differs and what could not be recomputed."""
    from tests.evaluation import recomputed_sections

    named = beside or {}
    ledger, readers = Ledger(_report(folder)), read(folder / "readers.csv")
    job = Job(
        ledger,
        _cases(folder),
        {name: _cases(other) for name, other in named.items()},
        read(folder / "robustness.csv"),
        read(folder / "trained_on.csv"),
        readers.rows if readers else (),
        {name: _report(other) for name, other in named.items()},
    )
    recomputed_sections.check(job)
    return ledger


def _report(folder: Path) -> Any:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def _cases(folder: Path) -> Table:
    from tests.evaluation import recomputed_detection

    table, boxes = read(folder / "cases.csv"), read(folder / "boxes.csv")
    assert table is not None
    return table if boxes is None else recomputed_detection.joined(table, boxes.rows)


def main(argv: Sequence[str]) -> int:
    """Prints what differs and what is not recomputed."""
    beside = dict(word.split("=", 1) for word in argv[2:])
    ledger = recompute(Path(argv[1]), {name: Path(folder) for name, folder in beside.items()})
    for line in [*ledger.wrong, *(f"not recomputed: {path}" for path in ledger.unseen())]:
        print(line)
    print(f"{len(ledger.seen)} numbers recomputed, {len(ledger.wrong)} differ, {len(ledger.unseen())} not recomputed")
    return 1 if ledger.wrong or ledger.unseen() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
