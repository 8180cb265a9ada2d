"""The index's page: what is counted, which series are shown, and their pictures."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from radkit.dicom import attributes, facts, luts, pixels, scan
from radkit.errors import UserError
from radkit.reports import overview

MOST_ROWS = 300
_MOST_NAMES = 12
_PICTURE = 144  # pixels a side
_LARGEST_FILE = 1 << 28  # one picture is not worth reading more
_FLAT = 0.02  # a window that shows less than this deviation, of black to white, shows nothing
_COUNTED = (
    ("Modality", "Modality"), ("Manufacturer", "Manufacturer"), ("plane", "Plane"), ("BodyPartExamined", "Body part"),
    ("year", "Year"), ("MagneticFieldStrength", "Field strength, T"), ("KVP", "Tube voltage, kV"),
    ("contrast_hint", "Contrast (hint)"), ("phase_hint", "Phase (hint)"), ("kernel_hint", "Kernel (hint)"),
    ("size", "Rows x columns"), ("PatientSex", "Sex"),
)  # fmt: skip
_ALWAYS = {"Modality", "Manufacturer", "plane", "year"}
_LISTED = (
    ("SeriesDescription", "Description"), ("Modality", "Modality"), ("BodyPartExamined", "Body part"),
    ("plane", "Plane"), ("num_instances", "Instances"), ("Rows", "Rows"), ("Columns", "Columns"),
    ("spacing_mm", "Spacing, mm"), ("SliceThickness", "Thickness, mm"), ("contrast_hint", "Contrast"),
    ("phase_hint", "Phase"), ("kernel_hint", "Kernel"), ("Manufacturer", "Manufacturer"),
    ("ManufacturerModelName", "Model"), ("StudyDate", "Date"),
)  # fmt: skip
_SHOWN = ("Modality", "plane", "SeriesDescription", "Manufacturer", "num_instances", "middle_path", "PixelSpacing")


def write(target: Path, series: Path, folder: Path, summary: dict[str, Any], num_pictures: int) -> None:
    """Writes the page.

    Args:
        target: The HTML file.
        series: The table of series.
        folder: What paths in it are below.
        summary: See `beam_jobs.index`.
        num_pictures: How many series are shown at most.
    """
    from pyarrow import parquet

    with parquet.ParquetFile(series) as file:
        names = [name for name, _ in _LISTED]
        first = next(file.iter_batches(MOST_ROWS, columns=names), None)
    rows = [] if first is None else [[_cell(row[name]) for name in names] for row in first.to_pylist()]
    # A column in which nothing stands tells nothing.
    kept = [place for place in range(len(names)) if not place or any(row[place] != "" for row in rows)]
    content = overview.Overview(
        figures=_figures(summary),
        counts=_counts(series),
        tiles=[_tile(row, folder) for row in _chosen(series, num_pictures)],
        header=[_LISTED[place][1] for place in kept],
        rows=[[row[place] for place in kept] for row in rows],
        num_series=summary["series"],
        warnings=_warnings(summary),
        notes=_notes(summary),
    )
    target.write_text(overview.page(content), encoding="utf-8")


def _figures(summary: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("patients", f"{summary['patients']:,}"),
        ("studies", f"{summary['studies']:,}"),
        ("series", f"{summary['series']:,}"),
        ("instances", f"{summary['instances']:,}"),
        ("of DICOM", _size(summary["size_bytes"])),
        ("files set aside", f"{summary['quarantined']:,}"),
    ]


def _size(num_bytes: int) -> str:
    amount, units = float(num_bytes), ["bytes", "kB", "MB", "GB", "TB", "PB"]
    while amount >= 1000 and len(units) > 1:
        amount, units = amount / 1000, units[1:]
    return f"{amount:.0f} {units[0]}" if amount >= 100 or units[0] == "bytes" else f"{amount:.1f} {units[0]}"


def _warnings(summary: dict[str, Any]) -> list[str]:
    if not (count := summary["not_deidentified"]):
        return []
    return [
        f"{count:,} of {summary['instances']:,} instances are not marked as de-identified (PatientIdentityRemoved is "
        "not YES). The descriptions, dates and pictures below are theirs and may name or show a patient."
    ]


def _notes(summary: dict[str, Any]) -> list[str]:
    found = []
    if summary["quarantined"]:
        reasons: Counter[str] = Counter()
        for reason, count in sorted(summary["quarantined_by_reason"].items()):
            reasons[reason.partition(":")[0]] += count  # what follows is the file's own
        told = "; ".join(f"{count:,} x {reason}" for reason, count in reasons.most_common(_MOST_NAMES))
        found.append(f"Set aside, see quarantine.csv: {told}.")
    if summary["unreadable_numbers"]:
        told = ", ".join(f"{keyword} {count:,}" for keyword, count in sorted(summary["unreadable_numbers"].items()))
        found.append(f"Numbers that could not be read, and are empty in the tables: {told}.")
    if summary["links_not_followed"]:
        found.append(f"{summary['links_not_followed']:,} links to folders were not followed.")
    return found


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else value


def _counts(series: Path) -> list[overview.Count]:
    from pyarrow import parquet

    found = []
    for column, heading in _COUNTED:
        read = {"year": ["StudyDate"], "size": ["Rows", "Columns"]}.get(column, [column])
        table = parquet.read_table(series, columns=read)
        counted = table.group_by(read).aggregate([([], "count_all")]).to_pylist()
        total: dict[str, int] = {}
        for row in counted:
            name = _name(column, [row[keyword] for keyword in read])
            total[name] = total.get(name, 0) + row["count_all"]
        told = {name: count for name, count in total.items() if name}
        if not told and column not in _ALWAYS:
            continue
        ordered = sorted(told.items(), key=lambda item: (-item[1], item[0]))
        if column == "year":
            ordered = sorted(told.items(), reverse=True)
        left_out = len(ordered) - _MOST_NAMES
        found.append(overview.Count(heading, ordered[:_MOST_NAMES], max(0, left_out), total.get("", 0)))
    return found


def _name(column: str, values: Sequence[Any]) -> str:
    if any(value is None for value in values):
        return ""
    if column == "year":
        return values[0][:4] if re.match("[0-9]{4}", values[0]) else ""
    return " x ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _chosen(series: Path, count: int) -> list[dict[str, Any]]:
    """Returns the rows of series to show: one of each kind first, then others from all over the table."""
    import pyarrow
    from pyarrow import parquet

    if count < 1:
        return []
    table = parquet.read_table(series, columns=[*_SHOWN, "is_image", "is_localizer"])
    table = table.append_column("row", pyarrow.array(np.arange(table.num_rows)))
    images = table.filter(table.column("is_image"))
    kinds = images.group_by(["Modality", "plane", "Manufacturer", "is_localizer"]).aggregate([("row", "min")])
    first = sorted(kinds.column("row_min").to_pylist())
    if len(first) > count:
        first = [first[place * len(first) // count] for place in range(count)]
    others = sorted(set(images.column("row").to_pylist()) - set(first))
    wanted = min(count - len(first), len(others))
    more = [others[place * len(others) // wanted] for place in range(wanted)]
    taken = pyarrow.array(sorted(first + more), pyarrow.int64())
    rows: list[dict[str, Any]] = table.take(taken).to_pylist()
    return rows


def _tile(row: dict[str, Any], folder: Path) -> overview.Tile:
    title = " ".join(filter(None, (row["Modality"], row["plane"])))
    count = row["num_instances"]
    detail = f"{row['SeriesDescription'] or ''} ({count} instance{'s' if count != 1 else ''})".strip()
    picture, reason = _picture(folder / row["middle_path"])
    spacing = facts.numbers(row["PixelSpacing"], 2)
    aspect = spacing[0] / spacing[1] if spacing and min(spacing) > 0 else 1.0
    return overview.Tile(title or "image", detail, picture, reason, float(np.clip(aspect, 0.1, 10)))


def _picture(path: Path) -> tuple[np.ndarray | None, str]:
    """Returns the middle frame, (rows, columns) or (rows, columns, 3) uint8, or why there is none."""
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return None, "the file is too large for a thumbnail"
        dataset = scan.read_file(path)
        frames = attributes.whole(dataset, "NumberOfFrames", 1)
        small = _reduced(pixels.stored(dataset, max(0, (frames - 1) // 2)))
        grey = _shown(small, dataset, frames) if small.ndim == 2 else small / 255
    except (UserError, OSError) as error:
        return None, str(error) if isinstance(error, UserError) else "the file cannot be read"
    return (np.clip(grey, 0, 1) * 255).round().astype(np.uint8), ""


def _reduced(stored: np.ndarray) -> np.ndarray:
    """Returns pixels averaged down to a thumbnail, float32."""
    values = np.nan_to_num(stored.astype(np.float32))
    rows, columns = values.shape[:2]
    step = max(1, -(-max(rows, columns) // _PICTURE))
    down, across = min(step, rows), min(step, columns)
    values = values[: rows // down * down, : columns // across * across]
    blocks = values.reshape(rows // down, down, columns // across, across, *values.shape[2:])
    return np.asarray(blocks.mean(axis=(1, 3)))


def _shown(values: np.ndarray, dataset: Dataset, frames: int) -> np.ndarray:
    """Returns stored values as the image's own first window shows them; without one, between two percentiles."""
    # In an instance of many frames window and rescale may be each frame's own.
    if frames == 1 and "SharedFunctionalGroupsSequence" not in dataset and luts.views(dataset):
        slope, intercept = luts.rescale(dataset)
        windowed = luts.window(values * slope + intercept, dataset)
        if windowed.std() > _FLAT:
            return windowed
    low, high = np.percentile(values, [1, 99])
    if high <= low:
        low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.full(values.shape, 0.5, np.float32)
