"""Other evaluations that one is held against: another model's on the same records, this model's on other test sets; and
the table of what readers said."""

import csv
import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Protocol

from radkit import config, outputs
from radkit.errors import UserError
from radkit.evaluation import box_table, operating
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import OperatingPoint

REPORT, TABLE, BOXES = "report.json", "cases.parquet", "boxes.csv"


class Named(Protocol):
    """Where they are, by the names that the report gives them."""

    @property
    def against(self) -> Mapping[str, Path]:
        """Evaluations of other models."""

    @property
    def beside(self) -> Mapping[str, Path]:
        """Evaluations on other test sets."""

    @property
    def readers(self) -> Path | None:
        """Table of what readers said."""


def digest(folder: Path) -> str:
    """Returns what an evaluation's figures are known by.

    Raises:
        UserError: The folder holds none.
    """
    _require(folder)
    found = hashlib.sha256()
    for name in (REPORT, TABLE, BOXES):
        if (folder / name).is_file():
            found.update((folder / name).read_bytes())
    return found.hexdigest()


def digest_of_table(path: Path) -> str:
    """Returns the SHA-256 of a table.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"--readers {path} cannot be read: {error.strerror}; name a CSV file") from error


def read(named: Named, experiment: config.Experiment) -> dict[str, Any]:
    """Returns what a plan holds of them: beside, points_beside, elsewhere, readers.

    Raises:
        UserError: One is no evaluation of this task, or the table is none.
    """
    reports = {name: _report(folder, experiment.task.name) for name, folder in named.against.items()}
    return {
        "beside": {name: _cases(folder, experiment) for name, folder in named.against.items()},
        "points_beside": {name: _points(report) for name, report in reports.items()},
        "elsewhere": {name: _report(folder, experiment.task.name) for name, folder in named.beside.items()},
        "readers": _rows(named.readers) if named.readers else (),
    }


def require_of_run(beside: Mapping[str, Path], reports: Mapping[str, Mapping[str, Any]], weights_sha256: str) -> None:
    """Refuses evaluations of other weights as other test sets of this run.

    Raises:
        UserError: It names the folder.
    """
    for name, folder in beside.items():
        if reports[name].get("run", {}).get("weights_sha256") != weights_sha256:
            raise UserError(
                f"--beside {name}={folder} is an evaluation of another run; name one of this run on another test set; "
                f"another model's on the same records is held against this one by --against {name}={folder}"
            )


def require_elsewhere(beside: Mapping[str, Path], record_uids: Collection[str]) -> None:
    """Refuses evaluations that share records with this one: the two are compared as independent test sets.

    Raises:
        UserError: It names the folder.
    """
    known = set(record_uids)
    for name, folder in beside.items():
        if shared := known.intersection(str(uid) for uid in _table(folder)["record_uid"]):
            raise UserError(
                f"--beside {name}={folder} shares {len(shared)} of its records with this evaluation; name one on "
                "another test set: both are compared as if they had no patient in common"
            )


def _require(folder: Path) -> None:
    lacking = [name for name in (REPORT, TABLE) if not (folder / name).is_file()]
    if lacking:
        raise UserError(f"{folder} holds no {lacking[0]}: name a folder that radkit evaluate wrote")


def _report(folder: Path, task: str) -> dict[str, Any]:
    _require(folder)
    report = outputs.read_json(folder / REPORT)
    if not isinstance(report, dict) or report.get("task") != task:
        found = report.get("task") if isinstance(report, dict) else None
        raise UserError(
            f"{folder} is an evaluation of task {found!r}, this one is of {task!r}: they have no figures alike"
        )
    return report


def _cases(folder: Path, experiment: config.Experiment) -> Cases:
    cases = Cases(_table(folder).to_pylist())
    if experiment.task.name != "detection":
        return cases
    return box_table.joined(cases, _rows(folder / BOXES), len(experiment.data.image_size))


def _table(folder: Path) -> Any:
    from pyarrow import ArrowInvalid, parquet

    try:
        return parquet.read_table(folder / TABLE)
    except (ArrowInvalid, OSError) as error:
        raise UserError(f"{folder / TABLE} cannot be read ({error}); evaluate that model again") from error


def _points(report: Mapping[str, Any]) -> list[OperatingPoint]:
    said = {"weights_sha256": "", "points": report.get("operating_points", [])}
    return operating.from_json(said, "") or []


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [dict(row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a CSV table: {error}") from error
    if any(None in row or None in row.values() for row in rows):
        raise UserError(
            f"{path} has rows with more or fewer cells than its header {', '.join(reader.fieldnames or ())}"
        )
    return rows
