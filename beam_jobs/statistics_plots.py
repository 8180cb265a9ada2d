"""Histograms of a sample of records: grey values, sizes, spacings, ages, masks; and what is the same in all."""

import math
from collections.abc import Sequence

import numpy as np

from beam_jobs.statistics_looks import Row, Sample
from radkit.reports import svg

_VALUE_BINS, _BINS, _FEWEST_BINS = 96, 24, 8
_OF_ONE_SCALE = 10  # the widest range of usual records over the narrowest
_SHOWN = (0.5, 99.5)  # percent of all grey values that the axis spans
_VALUES_BY = ("split", "label", "site", "manufacturer", "view")
_AXES = {3: ("slices", "rows", "columns"), 2: ("rows", "columns")}
_STEPS = ("slice", "row", "column")
_UNITS = {"CT": "HU"}
_NUMBERS = {
    "age_years": ("age", "years"),
    "slice_thickness_mm": ("slice thickness", "mm"),
    "tube_voltage_kv": ("tube voltage", "kV"),
    "field_strength_t": ("field strength", "T"),
}
_CONSTANT = {
    "modality": "modality", "manufacturer": "manufacturer", "manufacturer_model": "model", "kernel": "kernel",
    "body_part": "body part", "view_position": "view", "laterality": "laterality", "sex": "sex", "site": "site",
}  # fmt: skip

Column = tuple[str, str, list[float | None]]  # heading, unit, each record's


def values(found: Sample) -> list[svg.Histogram]:
    """Returns the spread of grey values by group, each record with the same weight.

    They are in modality units; where records' scales differ tenfold, as MR's do, each record is standardised, and their
    scales are drawn beside.
    """
    if not found.rows:
        return []
    quantiles = np.array([row["quantiles"] for row in found.rows], np.float64)
    scales = np.percentile(quantiles, _SHOWN[1], axis=1) - np.percentile(quantiles, _SHOWN[0], axis=1)
    usual = np.percentile(scales, (5, 95))
    if usual[1] <= _OF_ONE_SCALE * max(usual[0], 0.0):
        return _by_group(found, quantiles, "Grey values", _unit(found.rows), "")
    means, deviations = (np.array([[row["features"][n]] for row in found.rows]) for n in ("mean", "deviation"))
    standard = (quantiles - means) / np.maximum(deviations, 1e-9)
    caption = "Each record less its mean, over its deviation: their scales differ more than tenfold."
    ranges = [math.log10(scale) if scale > 0 else None for scale in scales]
    plot = _histogram(found, "Range of grey values, log10", "", ranges)
    return [*_by_group(found, standard, "Standardised grey values", "", caption), *([plot] if plot else [])]


def _by_group(found: Sample, quantiles: np.ndarray, what: str, unit: str, caption: str) -> list[svg.Histogram]:
    low, high = np.percentile(quantiles[:, 1:-1], _SHOWN)  # least and most of a record are hardly of one voxel each
    if not high > low:
        return []
    edges = np.linspace(low, high, _VALUE_BINS + 1)
    shares = np.array([_shares(row, edges) for row in quantiles])
    shown = []
    for heading in [h for h in _VALUES_BY if h in found.schemes] or [""]:
        groups = np.array(found.schemes[heading] if heading else ["records"] * len(found.rows))
        colours = found.colours.get(heading, [("records", 0)])
        curves = [svg.Curve(name, colour, shares[groups == name].mean(0).tolist()) for name, colour in colours]
        title = f"{what} by {heading}" if heading else what
        shown.append(svg.Histogram(title, unit, float(low), float(high), curves, caption, cut=True))
    return shown


def _shares(quantiles: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of one record's values in each bin; a value that many voxels have falls into its own bin, whole."""
    last = len(quantiles) - 1
    upper = np.concatenate([edges[:-1], [np.nextafter(edges[-1], np.inf)]])  # the last bin holds its end
    after = np.clip(np.searchsorted(quantiles, upper, side="left"), 1, last)
    step = quantiles[after] - quantiles[after - 1]
    part = np.divide(upper - quantiles[after - 1], step, out=(upper > quantiles[after]).astype(float), where=step > 0)
    return np.asarray(np.diff((after - 1 + np.clip(part, 0, 1)) / last))


def _unit(rows: Sequence[Row]) -> str:
    modalities = {row["modality"] for row in rows}
    return _UNITS.get(modalities.pop(), "") if len(modalities) == 1 else ""


def shapes(found: Sample) -> list[svg.Histogram]:
    """Returns sizes, spacings, ages and what else differs between records, by split."""
    if not found.rows:
        return []
    rows, rank = found.rows, len(found.rows[0]["size"])
    columns: list[Column] = [
        *((axis, "", [row["size"][place] for row in rows]) for place, axis in enumerate(_AXES[rank])),
        *((f"{axis} spacing", "mm", [row["spacing_mm"][n] for row in rows]) for n, axis in enumerate(_STEPS[-rank:])),
        *((name, unit, [row[key] for row in rows]) for key, (name, unit) in _NUMBERS.items()),
        *_labels(found),
        *_masks(found),
    ]
    if "boxes" in rows[0]:
        columns.append(("boxes a record", "", [sum(row["boxes"].values()) for row in rows]))
    plots = [_histogram(found, *column) for column in columns]
    return [plot for plot in plots if plot is not None]


def _labels(found: Sample) -> list[Column]:
    data = found.data
    if data.label and data.label_kind == "regression":
        return [(data.label, data.label_unit, [row["label"] for row in found.rows])]
    if data.label and data.label_kind == "survival":
        return [(f"{data.label}, event or not", data.label_unit, [row["label"]["time"] for row in found.rows])]
    return []


def _masks(found: Sample) -> list[Column]:
    """How large each label is where it is drawn: in mL, or as a share of the image where no spacing is known."""
    if "mask_voxels" not in found.rows[0]:
        return []
    in_ml = found.data.kind == "volume" and all(None not in row["spacing_mm"] for row in found.rows)
    size, unit = (_ml, "mL") if in_ml else (_percent, "% of the image")
    return [
        (name, unit, [size(row, row["mask_voxels"][name]) if row["mask_voxels"][name] else None for row in found.rows])
        for name in found.data.mask_labels
    ]


def _ml(row: Row, voxels: int) -> float:
    return voxels * float(np.prod(row["spacing_mm"])) / 1000


def _percent(row: Row, voxels: int) -> float:
    return 100 * voxels / float(np.prod(row["size"]))


def _histogram(found: Sample, heading: str, unit: str, column: Sequence[float | None]) -> svg.Histogram | None:
    """One plot, by split; None where all that is known is the same."""
    known = [value for value in column if value is not None]
    if not known or min(known) == max(known):
        return None
    whole = all(float(value).is_integer() for value in known)
    edges = _edges(known, whole)
    groups = found.schemes.get("split", ["records"] * len(found.rows))
    curves = []
    for name, colour in found.colours.get("split", [("records", 0)]):
        inside = [value for value, group in zip(column, groups) if group == name and value is not None]
        counts = np.histogram(inside, bins=edges)[0]
        curves.append(svg.Curve(name, colour, (counts / max(1, len(inside))).tolist()))
    missing = len(column) - len(known)
    caption = f"{missing:,} of {len(column):,} not told or none." if missing else ""
    return svg.Histogram(heading.capitalize(), unit, float(edges[0]), float(edges[-1]), curves, caption, whole)


def _edges(values: Sequence[float], whole: bool) -> np.ndarray:
    """Edges of bins, as many as the records can fill; of whole numbers around one or several of them."""
    low, high = min(values), max(values)
    bins = max(_FEWEST_BINS, min(_BINS, math.ceil(2 * math.sqrt(len(values)))))
    if not whole:
        return np.linspace(low, high, bins + 1)
    width = math.ceil((high - low + 1) / bins)
    return low - 0.5 + width * np.arange(math.ceil((high - low + 1) / width) + 1)


def constant(found: Sample) -> list[tuple[str, str]]:
    """Returns what is the same in all records of the sample: name and value, empty where none tells."""
    if not found.rows:
        return []
    columns = {name: [str(row.get(key) or "") for row in found.rows] for key, name in _CONSTANT.items()}
    for key, (name, unit) in _NUMBERS.items():
        columns[name] = ["" if row[key] is None else f"{row[key]:g} {unit}" for row in found.rows]
    columns["size"] = [" x ".join(map(str, row["size"])) for row in found.rows]
    columns["spacing"] = [_mm(row["spacing_mm"]) for row in found.rows]
    return [(name, column[0]) for name, column in columns.items() if len(set(column)) == 1]


def _mm(spacing: Sequence[float | None]) -> str:
    return "" if None in spacing else " x ".join(f"{step:g}" for step in spacing) + " mm"
