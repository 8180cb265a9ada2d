"""The end of `curate`: what the batches found becomes decisions, tables and the page."""

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from beam_jobs import curate_annotations, curate_page, curate_population, curate_series
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
        _decide(row, job.data, overrides)
    alone = curate.unmatched(overrides, [row["uid"] for row in rows])
    said = [*plan.findings, *([finding.name, finding.text, finding.count] for finding in alone)]
    outputs.write_csv(root / CURATION, _CURATION, map(_curated, rows))
    outputs.write_csv(root / FINDINGS, _FINDINGS, [*_of_folder(said), *_of_series(rows)])
    outputs.write_csv(root / outputs.QUARANTINE, ("path", "reason"), plan.unreadable)
    summary = _summary(rows, plan, said, overrides)
    summary["convert_refuses"] = _refusals(rows, plan, said, job.data.annotations)
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
    for told in (curate_population.duplicates(rows), curate_population.masks(rows), curate_population.turned(rows)):
        for number, found in told.items():
            more[number] += found
    for outlier in curate_population.outliers(rows):
        more[outlier.number].append(Finding("unusual_series", outlier.text))
    for row in rows:
        row["findings"] = [*row["findings"], *([f.name, f.text] for f in more.get(row["number"], ()))]


def _decide(row: Row, data: config.Data, overrides: Overrides) -> None:
    """Adds the decision, its reasons, and whose it is."""
    found = [Finding(*finding) for finding in row["findings"]]
    against = _against(found, [Finding(*finding) for finding in row.get("refused", ())], data)
    row["by_rules"] = _DECISIONS[not against]
    row["decision"], row["decided_by"], row["note"] = row["by_rules"], BY_RULES, "; ".join(f.text for f in against)
    row["reasons"] = list(dict.fromkeys(f.name for f in against))
    spoken = curate.overruled(row["uid"], overrides)
    if not spoken:
        return
    override = overrides[row["uid"]]
    row["decision"] = _DECISIONS[curate.judge([*found, *spoken], data.curate)]
    row["decided_by"], row["note"] = override.by, f"{override.date}: {override.reason}"
    row["findings"] += [[finding.name, finding.text] for finding in spoken]
    if override.decision == "leave_out":
        row["reasons"] = ["left_out_by_person", *row["reasons"]]


def _against(found: Sequence[Finding], refused: Sequence[Finding], data: config.Data) -> list[Finding]:
    """Returns the findings that leave a series out.

    Of annotations, data.annotations decides: what `convert` would set the image aside for leaves it out, be it a
    warning; what it takes by a policy does not, be it a fault.
    """
    rules, taken = data.curate, curate_annotations.taken(data.annotations)

    def leaves_out(finding: Finding) -> bool:
        if finding in refused:
            return rules.faults != "keep" and finding.name not in rules.accepted
        return finding.name not in taken and not curate.judge([finding], rules)

    return [finding for finding in dict.fromkeys(found) if leaves_out(finding)]


def _refusals(
    rows: Sequence[Row], plan: curate_series.Plan, said: Sequence[Sequence[Any]], wishes: config.Annotations
) -> list[str]:
    """Returns for what `convert` would refuse the whole folder, in words."""
    refusals = list(plan.refusals)
    if wishes.without_image == "refuse" and any(name == "labels_without_images" for name, *_ in said):
        refusals.append("labels whose images are not there; data.annotations.without_image='report' goes on")
    alone = any(name == "images_without_labels" for row in rows for name, _ in row["findings"])
    if wishes.missing == "refuse" and alone:
        refusals.append("images without labels; data.annotations.missing='leave_out' goes on without them")
    return refusals


def _curated(row: Row) -> tuple[Any, ...]:
    return (
        row["number"], row["uid"], row["patient_id"], row["modality"], row["num_instances"], row["decision"],
        " ".join(row["reasons"]), row["decided_by"], row["note"],
    )  # fmt: skip


def _of_folder(said: Sequence[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    for name, text, _ in said:
        yield "", "", name, KINDS[name].severity, text


def _of_series(rows: Sequence[Row]) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        for name, text in row["findings"]:
            yield row["number"], row["uid"], name, KINDS[name].severity, text


def _summary(
    rows: Sequence[Row], plan: curate_series.Plan, said: Sequence[Sequence[Any]], overrides: Overrides
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
        "of_folder": _of_each_name(said),
        "overridden": sum(row["uid"] in overrides for row in rows),
        "overrides_against_rules": sum(row["decision"] != row["by_rules"] for row in rows),
        "overrides_without_series": sum(uid not in here for uid in overrides),
        "not_images": plan.not_images,
        "quarantined": len(plan.unreadable),
        "quarantined_by_reason": dict(Counter(reason for _, reason in plan.unreadable)),
    }


def _of_each_name(said: Sequence[Sequence[Any]]) -> dict[str, int]:
    """Returns of how many images or rows the folder's findings are, by name."""
    counts: Counter[str] = Counter()
    for name, _, count in said:
        counts[name] += count
    return dict(counts)


def found_something(summary: Mapping[str, Any]) -> bool:
    """Tells whether there are faults, warnings, or files that could not be read: the exit status."""
    of_folder = any(KINDS[name].severity in _FOUND for name in summary["of_folder"])
    return bool(summary["with_faults"] or summary["with_warnings"] or summary["quarantined"] or of_folder)
