"""The end of `curate`: what the batches found becomes decisions, tables and the page."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from beam_jobs import curate_page, curate_population, curate_series
from radkit import config, outputs
from radkit.dicom import curate
from radkit.dicom.findings import KINDS, Finding

CURATION, FINDINGS, PAGE, SUMMARY = "curation.csv", "findings.csv", "quality.html", "summary.json"
BY_RULES = "rules"
_DECISIONS = {True: "keep", False: "leave_out"}
_CURATION = (
    "series", "SeriesInstanceUID", "PatientID", "Modality", "num_instances", "decision", "reasons", "decided_by",
    "note",
)  # fmt: skip
_FINDINGS = ("series", "SeriesInstanceUID", "name", "severity", "text")
_FOUND = ("fault", "warning")  # what makes a folder one in which something was found

Row = curate_series.Row
Overrides = Mapping[str, curate.Override]


def write(job: curate_series.Job, plan: curate_series.Plan, overrides: Overrides, pictures: int) -> None:
    """Makes of the batches' outcomes what the output holds.

    Args:
        job: Of the run.
        plan: Of the run; all its batches are finished.
        overrides: What persons decided, by SeriesInstanceUID.
        pictures: How many pictures the page holds at most.
    """
    root = Path(job.root)
    rows = list(read(root, len(plan.files)))
    _compare(rows)
    for row in rows:
        _decide(row, job.data.curate, overrides)
    alone = curate.unmatched(overrides, [row["uid"] for row in rows])
    said = [*plan.findings, *([finding.name, finding.text] for finding in alone)]
    outputs.write_csv(root / CURATION, _CURATION, map(_curated, rows))
    outputs.write_csv(root / FINDINGS, _FINDINGS, [*_of_folder(said), *_of_series(rows)])
    outputs.write_csv(root / outputs.QUARANTINE, ("path", "reason"), plan.unreadable)
    summary = _summary(rows, plan, said, overrides)
    outputs.write_json(root / SUMMARY, summary)
    text = curate_page.page(rows, summary, said, overrides, root, pictures)
    outputs.write_text(root / PAGE, text)


def tidy(job: curate_series.Job) -> None:
    """Removes what only the run itself needed."""
    shutil.rmtree(Path(job.root, curate_series.WORK))


def read(root: Path, count: int) -> Iterator[Row]:
    """Yields what is known of each series, in order, but for its picture; `batch` says where that is."""
    for number in range(count):
        for row in outputs.read_json(curate_series.part(root, number)):
            row["has_picture"] = bool(row.pop("picture", ""))
            yield {**row, "batch": number}


def _compare(rows: Sequence[Row]) -> None:
    """Adds what is seen only beside the other series."""
    more: dict[int, list[Finding]] = defaultdict(list)
    for told in (curate_population.duplicates(rows), curate_population.masks(rows)):
        for number, found in told.items():
            more[number] += found
    for outlier in curate_population.outliers(rows):
        more[outlier.number].append(Finding("unusual_series", outlier.text))
    for row in rows:
        row["findings"] = [*row["findings"], *([f.name, f.text] for f in more.get(row["number"], ()))]


def _decide(row: Row, rules: config.Curate, overrides: Overrides) -> None:
    """Adds the decision, its reasons, and whose it is."""
    found = [Finding(*finding) for finding in row["findings"]]
    against = [f for f in dict.fromkeys(found) if not curate.judge([f], rules)]
    row["by_rules"] = _DECISIONS[curate.judge(found, rules)]
    row["decision"], row["decided_by"], row["note"] = row["by_rules"], BY_RULES, "; ".join(f.text for f in against)
    row["reasons"] = list(dict.fromkeys(f.name for f in against))
    spoken = curate.overruled(row["uid"], overrides)
    if not spoken:
        return
    override = overrides[row["uid"]]
    row["decision"] = _DECISIONS[curate.judge([*found, *spoken], rules)]
    row["decided_by"], row["note"] = override.by, f"{override.date}: {override.reason}"
    row["findings"] += [[finding.name, finding.text] for finding in spoken]
    if override.decision == "leave_out":
        row["reasons"] = ["left_out_by_person", *row["reasons"]]


def _curated(row: Row) -> tuple[Any, ...]:
    return (
        row["number"], row["uid"], row["patient_id"], row["modality"], row["num_instances"], row["decision"],
        " ".join(row["reasons"]), row["decided_by"], row["note"],
    )  # fmt: skip


def _of_folder(said: Sequence[Sequence[str]]) -> Iterator[tuple[Any, ...]]:
    for name, text in said:
        yield "", "", name, KINDS[name].severity, text


def _of_series(rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        for name, text in row["findings"]:
            yield row["number"], row["uid"], name, KINDS[name].severity, text


def _summary(
    rows: Sequence[Row], plan: curate_series.Plan, said: Sequence[Sequence[str]], overrides: Overrides
) -> dict[str, Any]:
    names = [sorted({name for name, _ in row["findings"]}) for row in rows]
    graves = [{KINDS[name].severity for name in found} for found in names]
    left = [row for row in rows if row["decision"] == "leave_out"]
    here = {row["uid"] for row in rows}
    return {
        "series": len(rows),
        "patients": len({row["patient_id"] for row in rows}),
        "kept": len(rows) - len(left),
        "left_out": len(left),
        "left_out_by_reason": dict(Counter(reason for row in left for reason in row["reasons"])),
        "series_by_finding": dict(Counter(name for found in names for name in found)),
        "with_faults": sum("fault" in found for found in graves),
        "with_warnings": sum("warning" in found for found in graves),
        "of_folder": dict(Counter(name for name, _ in said)),
        "overridden": sum(row["uid"] in overrides for row in rows),
        "overrides_against_rules": sum(row["decision"] != row["by_rules"] for row in rows),
        "overrides_without_series": sum(uid not in here for uid in overrides),
        "not_images": plan.not_images,
        "quarantined": len(plan.unreadable),
        "quarantined_by_reason": dict(Counter(reason for _, reason in plan.unreadable)),
    }


def found_something(summary: Mapping[str, Any]) -> bool:
    """Tells whether there are faults, warnings, or files that could not be read: the exit status."""
    of_folder = any(KINDS[name].severity in _FOUND for name in summary["of_folder"])
    return bool(summary["with_faults"] or summary["with_warnings"] or summary["quarantined"] or of_folder)
