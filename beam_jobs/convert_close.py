"""The end of `convert`: what is made of the shards' outcomes; and whether an output is still that of its input."""

import csv
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from beam_jobs import convert_shard
from radkit import config, outputs
from radkit.data import convert, readers, schema, shards, splits
from radkit.dicom.findings import KINDS
from radkit.errors import UserError

INPUTS = "inputs.csv"
_MOST_REASONS = 3  # that a message names
_COLUMNS = ("path", "bytes", "sha256", "unit")
_FINDINGS = ("record_uid", "name", "severity", "text")


def write(job: convert_shard.Job, plan: convert_shard.Plan, data_json: dict[str, Any]) -> str:
    """Makes of the shards' outcomes what the output holds beside its shards.

    Args:
        job: Of the run.
        plan: Of the run; all its shards are finished.
        data_json: The config's data section as JSON values.

    Returns:
        A digest of the contents of all files that were read.

    Raises:
        UserError: Nothing became a record.
    """
    root = Path(job.root)
    for litter in root.rglob("*.incomplete.*"):  # of workers that were killed
        litter.unlink()
    outcomes = convert_shard.outcomes(job, plan)
    _refuse_none(outcomes, job.data)
    by_split = {split: [o for o in outcomes if o["split"] == split] for split in shards.SPLITS}
    patients = {split: sorted({p for o in found for p in o["patients"]}) for split, found in by_split.items()}
    dead = sorted((d.get("path", d["uid"]), d["reason"]) for o in outcomes for d in o["dead"])
    outputs.write_json(root / splits.PATIENTS_JSON, patients)
    _write_splits(root, plan, patients)
    outputs.write_json(root / "data.json", data_json)
    if source := outputs.read_provenance(Path(job.folder)):  # how the images were de-identified, where radkit did it
        outputs.write_json(root / "source.json", source)
    outputs.write_csv(root / outputs.QUARANTINE, ("input", "reason"), [*plan.unreadable, *dead])
    outputs.write_csv(root / INPUTS, _COLUMNS, sorted(row for o in outcomes for row in o["inputs"]))
    findings = _findings(root, plan, outcomes)
    reasons = [reason for _, reason in [*plan.unreadable, *dead]]
    summary = {
        "records": {split: sum(o["records"] for o in found) for split, found in by_split.items()},
        "patients": len({p for found in patients.values() for p in found}),
        "left_out": sum(plan.left_out.values()),
        "left_out_by_reason": plan.left_out,
        "patients_left_out": sum(plan.splits["left_out"].values()),
        "quarantined": len(reasons),
        "quarantined_by_reason": dict(Counter(reasons)),
        "findings_by_name": findings,
    }
    outputs.write_json(root / "summary.json", summary)
    _metadata(root, job.data, by_split)
    return convert.digest_of(root / INPUTS)[1]


def _write_splits(root: Path, plan: convert_shard.Plan, patients: dict[str, list[str]]) -> None:
    """Writes how the patients who have records were split, and their folds where there are any."""
    counts = {split: len(found) for split, found in patients.items()}
    outputs.write_json(root / splits.SPLITS_JSON, {**plan.splits, "patients": counts})
    if plan.folds:
        developed = {*patients["train"], *patients["validation"]}
        folds = {patient: dealt for patient, dealt in plan.folds.items() if patient in developed}
        said = {"folds": plan.splits["folds"], "repeats": plan.splits["repeats"], "patients": folds}
        outputs.write_json(root / splits.FOLDS_JSON, said)


def _findings(root: Path, plan: convert_shard.Plan, outcomes: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Writes the tables of findings and of disagreements; returns how many images or rows they are of, by name."""
    found = sorted((*map(tuple, plan.findings), *((*row, 1) for o in outcomes for row in o["findings"])))
    rows = [(uid, name, KINDS[name].severity, text) for uid, name, text, _ in found]
    outputs.write_csv(root / "findings.csv", _FINDINGS, rows)
    disagreements = readers.adjudication([*plan.disagreements, *(row for o in outcomes for row in o["disagreements"])])
    if disagreements:
        listed = [[row[column] for column in readers.COLUMNS] for row in disagreements]
        outputs.write_csv(root / "adjudication.csv", readers.COLUMNS, listed)
    counts: Counter[str] = Counter()
    for _, name, _, count in found:
        counts[name] += count
    return dict(sorted(counts.items()))


def _refuse_none(outcomes: Sequence[dict[str, Any]], data: config.Data) -> None:
    if any(o["records"] for o in outcomes):
        return
    dead = [d for o in outcomes for d in o["dead"]]
    number = len({d["uid"].partition("/")[0] for d in dead})  # a series may be several records
    reasons = Counter(d["reason"] for d in dead).most_common(_MOST_REASONS)
    raise UserError(
        f"no record could be made: all {number} {'series' if data.kind == 'volume' else 'images'} were refused: "
        + "; ".join(f"{n} x {reason}" for reason, n in reasons)
    )


def _metadata(root: Path, data: config.Data, by_split: dict[str, list[dict[str, Any]]]) -> None:
    shards.write_metadata(
        root,
        dataset=data.dataset,
        version=data.version,
        record_fields=convert.fields_of(data),
        shard_lengths={split: [o["records"] for o in found] for split, found in by_split.items()},
        num_bytes={split: sum(o["bytes"] for o in found) for split, found in by_split.items()},
        description=f"{data.kind} records written by radkit, schema {schema.VERSION}",
    )


def tidy(job: convert_shard.Job) -> None:
    """Removes what only the run itself needed."""
    shutil.rmtree(Path(job.root, convert_shard.WORK))


def already_done(target: Path, record: dict[str, Any], folder: Path) -> bool:
    """Tells whether `target` is the finished result of this very run.

    Names, sizes and settings are compared; and the contents of files that changed after the output was made.

    Raises:
        UserError: The folder is there and is something else.
    """
    found = outputs.read_provenance(target) or {}
    said = {"contents": found["contents"]} if "contents" in found else {}
    if not outputs.already_done(target, {**record, **said}):
        return False
    changed = _changed(target, folder)
    if changed:
        raise UserError(
            f"--output {target} holds a run whose inputs had other contents: {changed} files changed since; remove "
            "it or name another folder"
        )
    return True


def _changed(target: Path, folder: Path) -> int:
    made_at = (target / outputs.PROVENANCE).stat().st_mtime
    with (target / INPUTS).open(newline="", encoding="utf-8") as file:
        rows: Sequence[dict[str, str]] = list(csv.DictReader(file))
    younger = [row for row in rows if convert_shard.changed_at(folder / row["path"]) >= made_at]
    return sum(convert.digest_of(folder / row["path"])[1] != row["sha256"] for row in younger)
