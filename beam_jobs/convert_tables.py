"""The tables that `convert` is given beside its images: labels, annotations, patients, a curation's decisions."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from radkit import config
from radkit.data import label_table, sources
from radkit.data.labels import Labels
from radkit.data.splitting import dealing, patients_table
from radkit.deid import keys
from radkit.errors import UserError

CURATION = "curation.csv"
_DECIDING, _DECISIONS = ("SeriesInstanceUID", "decision"), ("keep", "leave_out")


@dataclass(frozen=True)
class Given:
    """What the flags name.

    Attributes:
        labels: The labels table, if the config has a label.
        annotations: Annotations that are not below --input.
        decisions: Whether a curation keeps a series, by SeriesInstanceUID; None without one.
        patients: The patients table, if there is one.
        kept: Patients that stay on the side where another data set has them.
        paths: All files that this was read from.
    """

    labels: Labels | None
    annotations: tuple[sources.Table, ...]
    decisions: dict[str, bool] | None
    patients: patients_table.Table | None
    kept: dealing.Kept | None
    paths: tuple[Path, ...]


def read(values: flags.FlagValues, data: config.Data) -> Given:
    """Returns what --labels, --annotations, --patients, --keep_splits, --curation and --key name.

    Raises:
        UserError: One cannot be read, is missing, or has no use.
    """
    rename = renaming(values["key"].value)
    labels = _labels(values["labels"].value, data, rename)
    named: Sequence[str] = values["annotations"].value
    if named and not (data.mask_labels or data.box_labels):
        raise UserError("--annotations was given, but the config has neither data.mask_labels nor data.box_labels")
    tables = tuple(sources.Table(Path(path), data, rename) for path in dict.fromkeys(named))
    curation = values["curation"].value
    patients = values["patients"].value
    table = patients_table.read(Path(patients), data, rename) if patients else None
    patients_table.require(table, data)
    earlier = values["keep_splits"].value
    kept = dealing.read_kept(Path(earlier)) if earlier else None
    paths = [Path(path) for path in (values["labels"].value, patients, values["key"].value) if path]
    paths += [path for one in tables for path in one.paths]
    paths += [Path(curation, CURATION)] if curation else []
    paths += [path for path in dealing.kept_files(Path(earlier)) if path.is_file()] if earlier else []
    decided = _decisions(Path(curation)) if curation else None
    return Given(labels, tables, decided, table, kept, tuple(path.resolve() for path in paths))


def renaming(key: str | None) -> sources.Rename | None:
    """Returns what gives the pseudonyms of original identifiers by a key's file; None without one."""
    if key is None:
        return None
    read_key = keys.read(Path(key))
    return lambda column, value: read_key.patient(value) if column == "PatientID" else read_key.uid(value)


def _labels(path: str | None, data: config.Data, rename: sources.Rename | None) -> Labels | None:
    asked = [f"data.{name} is {getattr(data, name)!r}" for name in ("label", "report") if getattr(data, name)]
    if not asked:
        if path is not None:
            raise UserError("--labels was given, but the config has no data.label: the column to read")
        return None
    if path is None:
        raise UserError(f"the config's {asked[0]}, so --labels must name the table with that column")
    return Labels(Path(path), data, rename)


def _decisions(folder: Path) -> dict[str, bool]:
    path = folder / CURATION
    if not path.is_file():
        raise UserError(f"--curation {folder} holds no {CURATION}; name a folder that `radkit curate` wrote")
    try:
        lines = label_table.lines(path, _DECIDING)
        _, header = next(lines, (0, []))
        if not set(_DECIDING) <= set(header):
            raise UserError(f"--curation: {CURATION} lacks the columns {' and '.join(_DECIDING)}; run `radkit curate`")
        uid, decision = map(header.index, _DECIDING)
        decided = {row[uid]: row[decision] for _, row in lines if len(row) > max(uid, decision)}
    except (UnicodeError, csv.Error) as error:
        raise UserError(f"--curation: {CURATION} is no CSV file in UTF-8; run `radkit curate` again") from error
    if other := sum(said not in _DECISIONS for said in decided.values()):
        raise UserError(f"--curation: {other} decisions of {CURATION} are none of {', '.join(_DECISIONS)}")
    return {series: said == "keep" for series, said in decided.items()}
