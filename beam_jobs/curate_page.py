"""The content of a curation's page: which findings, which examples of them, which histograms, how many of each."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beam_jobs import curate_population, curate_series, curate_values
from radkit import outputs
from radkit.dicom import curate
from radkit.dicom.findings import KINDS
from radkit.reports import quality

_TILES_A_KIND, _ROWS_A_KIND = 8, 12
_MOST_ROWS = 60  # of the tables of outliers and overrides
_FOR_KINDS = 0.7  # of the pictures; the rest shows what is kept
_MOST_MODALITIES = 4  # whose values are drawn
_GEOMETRY_BINS = 40
_HU_TICKS = (-1000, 0, 1000, 2000, 3000)
_LOG_TICKS = (0, 10, 100, 1000, 10_000, 100_000)
_HEADER = ("series", "what was found")
_GRAVEST_FIRST = ("fault", "warning", "note")
_LEFT_OUT = "rule"  # severity of what is no finding but a rule's

Row = curate_series.Row


def page(
    rows: Sequence[Row],
    summary: Mapping[str, Any],
    said: Sequence[Sequence[Any]],
    overrides: Mapping[str, curate.Override],
    root: Path,
    pictures: int,
) -> str:
    """Returns the page.

    Args:
        rows: Of all series, decided.
        summary: See `beam_jobs.curate_close`.
        said: Name, text and count of each finding of the folder as a whole.
        overrides: What persons decided, by SeriesInstanceUID.
        root: Where the batches' outcomes are, which hold the pictures.
        pictures: How many are shown at most.
    """
    by_kind = _by_kind(rows)
    chosen = _examples(by_kind, int(pictures * _FOR_KINDS))
    kept = [row for row in rows if row["decision"] == "keep"]
    shown = _spread([row for row in kept if row["has_picture"]], pictures - sum(map(len, chosen.values())))
    files = _pictures([*shown, *(row for some in chosen.values() for row, _ in some)], root)
    outliers = curate_population.outliers(rows)
    content = quality.Quality(
        figures=_figures(summary),
        kinds=[*_kinds(by_kind, chosen, files), *_of_folder(said, summary)],
        rejections=[(KINDS[name].title, count) for name, count in Counter(summary["left_out_by_reason"]).most_common()],
        histograms=[*_values(rows, outliers), *_geometry(rows, outliers)],
        outliers=_outliers(outliers),
        kept=[_tile(row, _about(row), files) for row in shown],
        num_kept=len(kept),
        overrides=_overridden(rows, overrides),
        warnings=[f"radkit convert would refuse the whole folder: {why}" for why in summary["convert_refuses"]],
        notes=_notes(summary),
    )
    return quality.page(content)


def _figures(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    figures = [
        ("series", "series"), ("patients", "patients"), ("kept", "kept"), ("left out", "left_out"),
        ("series with faults", "with_faults"), ("series with warnings", "with_warnings"),
        ("decided by persons", "overridden"), ("files set aside", "quarantined"),
    ]  # fmt: skip
    return [(name, f"{summary[key]:,}") for name, key in figures]


def _notes(summary: Mapping[str, Any]) -> list[str]:
    if not summary["not_images"]:
        return []
    named = {m if m != "absent" else "without Modality": count for m, count in summary["not_images"].items()}
    told = ", ".join(f"{modality} {count:,}" for modality, count in sorted(named.items()))
    return [f"Series that are no images, and are not counted: {told}."]


def _by_kind(rows: Sequence[Row]) -> dict[str, list[tuple[Row, str]]]:
    """Returns each series and its first text, by kind of finding, but for what only a rule says."""
    found: dict[str, dict[int, tuple[Row, str]]] = defaultdict(dict)
    for row in rows:
        for name, text in row["findings"]:
            if KINDS[name].severity != _LEFT_OUT:
                found[name].setdefault(row["number"], (row, text))
    return {name: list(held.values()) for name, held in found.items()}


def _examples(by_kind: Mapping[str, Sequence[tuple[Row, str]]], most: int) -> dict[str, list[tuple[Row, str]]]:
    """Returns which series are shown for each kind: one, and of the gravest and most frequent kinds several."""
    seen = {name: [pair for pair in pairs if pair[0]["has_picture"]] for name, pairs in by_kind.items()}
    order = sorted(by_kind, key=lambda name: (_GRAVEST_FIRST.index(KINDS[name].severity), -len(by_kind[name]), name))
    counts = dict.fromkeys(order, 0)
    for each in (1, _TILES_A_KIND):
        for name in order:
            more = min(min(each, len(seen[name])) - counts[name], most)
            counts[name] += more
            most -= more
    return {name: _spread(seen[name], count) for name, count in counts.items()}


def _spread(everything: Sequence[Any], count: int) -> list[Any]:
    """Returns `count` of all, evenly spread; all where there are no more."""
    count = max(0, min(count, len(everything)))
    return [everything[number * len(everything) // count] for number in range(count)]


def _pictures(rows: Sequence[Row], root: Path) -> dict[int, str]:
    """Returns the pictures of some series, by number; a batch's file is read once."""
    wanted: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        wanted[row["batch"]].add(row["number"])
    return {
        row["number"]: row["picture"]
        for batch, numbers in sorted(wanted.items())
        for row in outputs.read_json(curate_series.part(root, batch))
        if row["number"] in numbers
    }


def _tile(row: Row, why: str, files: Mapping[int, str]) -> quality.Tile:
    title = f"Series {row['number']}, {row['modality'] or 'no modality'}"
    return quality.Tile(title, why, files.get(row["number"], ""), row.get("aspect", 1.0))


def _about(row: Row) -> str:
    count = row["num_slices"]
    volumes = f", {row['num_volumes']} volumes" if row["num_volumes"] > 1 else ""
    return f"{count} slice{'s' if count != 1 else ''}{volumes}"


def _kinds(
    by_kind: Mapping[str, Sequence[tuple[Row, str]]],
    chosen: Mapping[str, Sequence[tuple[Row, str]]],
    files: Mapping[int, str],
) -> list[quality.Kind]:
    made = []
    for name, pairs in by_kind.items():
        patients = len({row["patient_id"] for row, _ in pairs})
        concerns = f"{len(pairs):,} series of {patients:,} patient{'s' if patients != 1 else ''}"
        shown = {row["number"] for row, _ in chosen[name]}
        others = [(row["number"], text) for row, text in pairs if row["number"] not in shown]
        examples = quality.Table(_HEADER, others[:_ROWS_A_KIND], len(others), f"findings.csv ({name})")
        tiles = [_tile(row, text, files) for row, text in chosen[name]]
        kind = KINDS[name]
        made.append(quality.Kind(name, kind.severity, kind.title, kind.advice, len(pairs), concerns, tiles, examples))
    return made


def _of_folder(said: Sequence[Sequence[Any]], summary: Mapping[str, Any]) -> list[quality.Kind]:
    """Returns what is found of no series: files that are no DICOM, labels without images, overrides without series."""
    texts: dict[str, list[str]] = defaultdict(list)
    for name, text, _ in said:
        texts[name].append(text)
    made = []
    for name, found in texts.items():
        kind, rows = KINDS[name], [(text,) for text in found[:_ROWS_A_KIND]]
        examples = quality.Table(("what was found",), rows, len(found), f"findings.csv ({name})")
        told = f"{found[0]}; and {len(found) - 1} more" if len(found) > 1 else found[0]
        # A kind of finding may be met in series, too, which have its name for their part of the page.
        about = (f"folder-{name}", kind.severity, kind.title, kind.advice, summary["of_folder"][name], "", ())
        made.append(quality.Kind(*about, examples, said=told))
    if summary["quarantined"]:
        made.append(_set_aside(summary))
    return made


def _set_aside(summary: Mapping[str, Any]) -> quality.Kind:
    reasons: Counter[str] = Counter()
    for reason, count in sorted(summary["quarantined_by_reason"].items()):
        reasons[reason.partition(":")[0]] += count  # what follows is the file's own
    rows = reasons.most_common(_ROWS_A_KIND)
    count = summary["quarantined"]
    return quality.Kind(
        "files-set-aside",
        "warning",
        "files that could not be read",
        "quarantine.csv names each with its reason; send cut ones again, and leave out what is no DICOM.",
        count,
        f"{count:,} file{'s' if count != 1 else ''}",
        (),
        quality.Table(("reason", "files"), rows, len(reasons), "quarantine.csv"),
    )


def _values(rows: Sequence[Row], outliers: Sequence[curate_population.Outlier]) -> list[quality.Histogram]:
    """Returns the mean histogram of each of the most frequent modalities."""
    by_modality: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if "histogram" in row:
            by_modality[row["modality"]].append(row)
    most = sorted(by_modality, key=lambda modality: (-len(by_modality[modality]), modality))[:_MOST_MODALITIES]
    made = []
    for modality in most:
        ticks = [(_place(value, modality), f"{value:,}") for value in (_HU_TICKS if modality == "CT" else _LOG_TICKS)]
        far = [o for o in outliers if o.modality == modality and o.feature == curate_population.VALUES]
        made.append(
            quality.Histogram(
                f"Values of {modality or 'series without Modality'}",
                "HU" if modality == "CT" else "logarithmic",
                curate_population.share_by_bin(by_modality[modality]),
                ticks,
                [_place(outlier.value, modality) for outlier in far],
                f"Mean share of voxels in {_series(len(by_modality[modality]))}{_far(len(far), ' by its median')}.",
            )
        )
    return made


def _place(value: float, modality: str) -> float:
    """Returns where a value is along the axis of its modality's histogram, 0 to 1."""
    low, high = curate_values.CT_RANGE if modality == "CT" else curate_values.LOG_RANGE
    at = value if modality == "CT" else float(curate_values.on_log(np.asarray(value)))
    return float(np.clip((at - low) / (high - low), 0, 1))


def _geometry(rows: Sequence[Row], outliers: Sequence[curate_population.Outlier]) -> list[quality.Histogram]:
    made = []
    for feature in curate_population.GEOMETRY:
        values = [value for row in rows if (value := feature.of(row)) is not None and value > 0]
        if values:
            far = [outlier.value for outlier in outliers if outlier.feature == feature]
            made.append(_on_log_axis(feature, np.array(values, np.float64), far))
    return made


def _on_log_axis(feature: curate_population.Feature, values: np.ndarray, far: Sequence[float]) -> quality.Histogram:
    low, high = math.log(values.min() / 1.1), math.log(values.max() * 1.1)
    counts, _ = np.histogram(np.log(values), _GEOMETRY_BINS, (low, high))

    def place(value: float) -> float:
        return (math.log(value) - low) / (high - low)

    return quality.Histogram(
        feature.name.capitalize(),
        feature.unit,
        [int(count) for count in counts],
        [(place(value), f"{value:g}") for value in _round_numbers(math.exp(low), math.exp(high))],
        [place(value) for value in far if value > 0],
        f"Number of series, {len(values):,} in all, on a logarithmic axis{_far(len(far), '')}.",
    )


def _round_numbers(low: float, high: float) -> list[float]:
    """Returns round numbers between two, not many.

    >>> _round_numbers(0.4, 7.0), _round_numbers(0.9, 1.1), _round_numbers(3.1, 3.4)
    ([0.5, 1.0, 2.0, 5.0], [1.0], [3.2])
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [float(f"{step * 10.0**decade:.6g}") for decade in decades for step in steps]
        inside = [value for value in found if low <= value <= high]
        if len(inside) >= 3 or (steps[-1] == 8 and inside):
            return inside[:: -(-len(inside) // 6)]
    return [float(f"{math.sqrt(low * high):.2g}")]


def _series(count: int) -> str:
    return f"{count:,} series"


def _far(count: int, how: str) -> str:
    return f"; {count:,} stand{'s' if count == 1 else ''} out{how} (triangles)" if count else ""


def _outliers(outliers: Sequence[curate_population.Outlier]) -> quality.Table:
    # Of many of one kind some are shown, and none of the others is crowded out.
    rows = [(o.number, o.modality, o.text) for o in _spread(outliers, _MOST_ROWS)]
    return quality.Table(
        ("series", "Modality", "what stands out"), rows, len(outliers), "findings.csv (unusual_series)"
    )


def _overridden(rows: Sequence[Row], overrides: Mapping[str, curate.Override]) -> quality.Table:
    decided = [row for row in rows if row["uid"] in overrides]
    shown = [
        (row["number"], row["modality"], row["decision"], row["by_rules"], ", ".join(_titles(row)) or "nothing")
        for row in decided[:_MOST_ROWS]
    ]
    header = ("series", "Modality", "decision", "by the rules", "what the rules had against it")
    return quality.Table(header, shown, len(decided), "curation.csv")


def _titles(row: Row) -> list[str]:
    return [KINDS[name].title for name in row["reasons"] if name != "left_out_by_person"]
