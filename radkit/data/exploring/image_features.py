"""One record in a few kilobytes: its facts, simple features of its image, its grey values' spread, a thumbnail.

What `radkit statistics` collects of a sample of records, to draw `explore.html` from. Plain JSON values.
"""

import base64
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from radkit import config
from radkit.data.exploring import texture
from radkit.data.figures import tallies

FACTS = (
    "site", "study_date", "modality", "manufacturer", "manufacturer_model", "kernel", "laterality", "body_part",
    "view_position", "sex",
)  # fmt: skip
NUMBERS = ("age_years", "field_strength_t", "slice_thickness_mm", "tube_voltage_kv")
NUM_QUANTILES = 65  # from least to most
_STANDARDS = ("label_reference_standard", "annotation_reference_standard")
_THUMBNAIL = 64  # pixels a side, at most
_PLANE = 128  # pixels a side of what texture is measured on, at most
_MOST_VALUES = 2**16  # of a record; more say nothing new of its spread
_PERCENTILES = (1, 25, 50, 75, 99)


def describe(record: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    """Returns what the page shows of a record, as JSON values; None where it is not known.

    Args:
        record: Decoded, all fields.
        data: The config's data section.

    Returns:
        `record_uid`, `patient_id`, the facts (`FACTS`, `NUMBERS`) and the reference standards by name, `size`,
        `spacing_mm`, `label` (see `label_of`), `mask_voxels` by name, `boxes` by name, `features` (name to number),
        `quantiles` (modality values, evenly spaced from least to most), `not_finite` (share of the values), and
        `thumbnail` (see `thumbnail`).
    """
    values, not_finite = _some_values(record)
    steps = np.arange(NUM_QUANTILES) * (len(values) - 1) / (NUM_QUANTILES - 1)
    return {
        "record_uid": record["record_uid"],
        "patient_id": record["patient_id"],
        **{name: str(record[name]) for name in (*FACTS, *_STANDARDS) if name in record},
        **{name: _known(record[name]) for name in NUMBERS},
        "size": [int(n) for n in record["image"].shape[:-1]],
        "spacing_mm": [_known(n) for n in record["spacing_mm"]],
        "label": label_of(record, data),
        **_annotated(record, data),
        "features": features(record, values),
        "quantiles": [_short(q) for q in np.interp(steps, np.arange(len(values)), values)],
        "not_finite": not_finite,
        "thumbnail": thumbnail(record, data),
    }


def label_of(record: Mapping[str, Any], data: config.Data) -> Any:
    """Returns a record's label as people say it; None where it has none.

    A class's name; of several flags {class: 1 yes, 0 no or -1 unknown}; a regression's number; of survival
    {"time": number, "event": whether it was seen}.
    """
    if "label" not in record:
        return None
    label = record["label"]
    if data.label_kind == "multi_label":
        return {name: int(flag) for name, flag in zip(data.class_names, label)}
    if data.label_kind == "regression":
        return _known(label)
    if data.label_kind == "survival":
        return {"time": _known(label), "event": bool(record["event"])}
    return data.class_names[int(label)]


def _annotated(record: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "mask" in record:
        counts = np.bincount(record["mask"].ravel(), minlength=len(data.mask_labels) + 1)
        found["mask_voxels"] = {name: int(n) for name, n in zip(data.mask_labels, counts[1:])}
    if "box_labels" in record:
        counts = np.bincount(np.asarray(record["box_labels"], np.int64), minlength=len(data.box_labels))
        found["boxes"] = {name: int(n) for name, n in zip(data.box_labels, counts)}
    return found


def features(record: Mapping[str, Any], values: np.ndarray) -> dict[str, float]:
    """Returns some forty numbers: of grey values in modality units, and of texture whatever the units.

    Texture is that of the middle slice and of two beside it, a quarter of the stack apart, averaged.

    Args:
        record: Decoded.
        values: Of its image, modality units, finite, sorted, at least one.
    """
    planes = [texture.of_plane(texture.shrunk(_plane(record, place), _PLANE)) for place in _places(record)]
    textures = {name: float(np.mean([plane[name] for plane in planes])) for name in planes[0]}
    return {name: _short(value) for name, value in {**_first_order(values), **textures}.items()}


def _first_order(values: np.ndarray) -> dict[str, float]:
    percentiles = np.interp(np.array(_PERCENTILES) / 100 * (len(values) - 1), np.arange(len(values)), values)
    mean, deviation = float(values.mean()), float(values.std())
    standard = (values - mean) / deviation if deviation > 1e-9 * max(1.0, abs(mean)) else np.zeros_like(values)
    squares = standard * standard
    counts = np.histogram(texture.windowed(values[None], percentiles[0], percentiles[-1]), bins=64, range=(0, 1))[0]
    share = counts[counts > 0] / values.size
    return {
        "mean": mean,
        "deviation": deviation,
        "skewness": float((squares * standard).mean()),
        "kurtosis": float((squares * squares).mean()),
        **{f"percentile_{p}": float(value) for p, value in zip(_PERCENTILES, percentiles)},
        "entropy": float(-(share * np.log2(share)).sum()),
        "least_share": float((values == values[0]).mean()),
        "most_share": float((values == values[-1]).mean()),
    }


def thumbnail(record: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    """Returns a picture of at most 64 pixels a side: the slice with most of the mask, else the middle one.

    Returns:
        `rows`, `columns`, `aspect` (height of a pixel over its width), `image` (base64 of rows * columns bytes of
        grey), and, of a slice with a mask, `mask` (base64 of as many mask values).
    """
    place = _shown(record)
    plane = texture.shrunk(_plane(record, place), _THUMBNAIL)
    low, high = data.window if data.normalise == "window" else (None, None)
    grey = (texture.windowed(plane, low, high) * 255).round().astype(np.uint8)
    down, across = (_known(n) or 1.0 for n in record["spacing_mm"][-2:])
    shown = {
        "rows": grey.shape[0],
        "columns": grey.shape[1],
        "aspect": _short(down / across),
        "image": base64.b64encode(grey.tobytes()).decode(),
    }
    if tallies.has_mask(record) and record["mask"].any():
        mask = record["mask"][..., 0][place]
        # Half a pixel in: the nearest voxel to each new pixel's centre.
        rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(grey.shape, mask.shape))
        shown["mask"] = base64.b64encode(mask[np.ix_(rows, columns)].astype(np.uint8).tobytes()).decode()
    return shown


def _shown(record: Mapping[str, Any]) -> Any:
    """What to index the image by to have the slice that is shown; of a radiograph nothing."""
    if record["image"].ndim == 3:
        return ()
    if tallies.has_mask(record) and (areas := np.count_nonzero(record["mask"][..., 0], axis=(1, 2))).any():
        return int(np.argmax(areas))
    return len(record["image"]) // 2


def _places(record: Mapping[str, Any]) -> list[Any]:
    if record["image"].ndim == 3:
        return [()]
    slices = len(record["image"])
    return sorted({int(slices * share) for share in (0.25, 0.5, 0.75)})


def _plane(record: Mapping[str, Any], place: Any) -> np.ndarray:
    """One slice in modality values, (rows, columns) float64; what is no number is the least of the others."""
    if not record["image"].size:
        return np.zeros((1, 1))
    number = place if isinstance(place, int) else 0
    slope, intercept = (float(record[name][number]) for name in ("rescale_slope", "rescale_intercept"))
    plane = record["image"][..., 0][place].astype(np.float64) * slope + intercept
    known = np.isfinite(plane)
    return np.where(known, plane, plane[known].min() if known.any() else 0.0)


def _some_values(record: Mapping[str, Any]) -> tuple[np.ndarray, float]:
    """Modality values from places evenly spread over the image, finite, sorted; and the share that is not finite."""
    image = record["image"][..., 0]
    if not image.size:
        return np.zeros(1), 0.0
    step = max(1, -(-image.size // _MOST_VALUES))
    while step > 1 and math.gcd(step, image.shape[-1]) > 1:  # else only some columns were looked at
        step += 1
    places = np.arange(0, image.size, step)
    slices = places // (image.size // len(record["rescale_slope"]))
    stored = image.reshape(-1)[::step].astype(np.float64)
    values = stored * record["rescale_slope"][slices] + record["rescale_intercept"][slices]
    known = np.isfinite(values)
    return (np.sort(values[known]) if known.any() else np.zeros(1)), _short(1 - known.mean())


def _known(number: Any) -> float | None:
    return _short(number) if math.isfinite(number) else None


def _short(number: Any) -> float:
    """Six digits: enough to draw, and the same wherever the last ones are rounded otherwise."""
    return float(f"{float(number):.6g}")
