"""What is counted of one record: facts, sizes, labels, masks, boxes; and what is wrong with it, by name.

A tally is a `Counter` of keys, plain JSON values as text. Counters add up, so any sharding gives the same.
"""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from radkit.data import schema

Tallies = dict[str, Counter[str]]

UNKNOWN = "unknown"
FACTS = (
    "modality",
    "manufacturer",
    "manufacturer_model",
    "body_part",
    "view_position",
    "laterality",
    "kernel",
    "sex",
    "site",
    "label_reader",
    "label_reference_standard",
    "annotation_reader",
    "annotation_reference_standard",
)
SUBGROUPS = ("site", "sex", "age_band", "manufacturer", "view_position")  # of which patients and labels are counted
NUMBERS = ("age_years", "tube_voltage_kv", "field_strength_t", "slice_thickness_mm")
_BANDS = ((18, "under 18"), (40, "18 to 39"), (65, "40 to 64"), (80, "65 to 79"), (math.inf, "80 and over"))
AGE_BANDS = tuple(name for _, name in _BANDS)


def age_band(years: float) -> str:
    """Returns the band of ages that a patient is counted in.

    >>> age_band(64.5), age_band(float("nan"))
    ('40 to 64', 'unknown')
    """
    return next((name for below, name in _BANDS if years < below), UNKNOWN)


def key(*parts: Any) -> str:
    """Returns a tally's key; `parts_of` gives the parts back."""
    return json.dumps(parts, separators=(",", ":"))


def parts_of(text: str) -> list[Any]:
    """Returns what a key was made of."""
    parts: list[Any] = json.loads(text)
    return parts


def add(tallies: Tallies, record: Mapping[str, Any], record_fields: tuple[schema.Field, ...]) -> None:
    """Counts a record, all but its intensities."""
    rows = [*_facts(record), *_geometry(record), *_labels(record, record_fields), *_masks(record), *_boxes(record)]
    for name, number, parts in rows:
        tallies.setdefault(name, Counter())[key(*parts)] += number


Row = tuple[str, int, tuple[Any, ...]]  # tally, how many, the key's parts


def groups(record: Mapping[str, Any]) -> dict[str, str]:
    """Returns which subgroup a record belongs to, for each of `SUBGROUPS`."""
    found = {name: str(record.get(name, "")) or UNKNOWN for name in SUBGROUPS}  # site is not in records before schema 4
    return {**found, "age_band": age_band(float(record["age_years"]))}


def _facts(record: Mapping[str, Any]) -> Iterator[Row]:
    patient = record["patient_id"]
    yield "patients", 1, (patient,)
    for fact in FACTS:
        if fact in record:
            yield "facts", 1, (fact, record[fact] or UNKNOWN)
    for fact, value in groups(record).items():
        yield "groups", 1, (fact, value)
        yield "group_patients", 1, (fact, value, patient)
    for name in NUMBERS:
        yield "numbers", 1, (name, _known(record[name]))
    if "study_date" in record:
        yield "study_dates", 1, (record["study_date"] or None,)
    if "report" in record:
        yield "reports", 1, (bool(record["report"].strip()),)


def _known(number: Any) -> float | None:
    return float(number) if np.isfinite(number) else None


def _geometry(record: Mapping[str, Any]) -> Iterator[Row]:
    sizes = list(record["image"].shape[:-1])
    yield "geometry", 1, (sizes, [_known(s) for s in record["spacing_mm"]], content_size(record))


def content_size(record: Mapping[str, Any]) -> list[int]:
    """Returns the size of the box around all voxels that are not 0 in modality units; the whole image's of none."""
    stack = slices_of(record)
    slopes, intercepts = (np.asarray(record[name], np.float64) for name in ("rescale_slope", "rescale_intercept"))
    rows, columns = np.zeros(stack.shape[1], bool), np.zeros(stack.shape[2], bool)
    held = np.zeros(stack.shape[0], bool)
    for number, (plane, slope, intercept) in enumerate(zip(stack, slopes, intercepts)):
        zero = -intercept / slope if slope else 0.0
        there = plane != zero if zero * slope + intercept == 0 else np.ones(plane.shape, bool)
        rows, columns = rows | there.any(1), columns | there.any(0)
        held[number] = there.any()
    if not held.any():
        return list(record["image"].shape[:-1])
    extents = [int(np.ptp(np.flatnonzero(axis))) + 1 for axis in (held, rows, columns)]
    return extents[-(record["image"].ndim - 1) :]


def slices_of(record: Mapping[str, Any], name: str = "image") -> np.ndarray:
    """Returns a record's image or mask as (slices, rows, columns); a radiograph is one slice."""
    array: np.ndarray = record[name][..., 0]
    return array if array.ndim == 3 else array[None]


def has_mask(record: Mapping[str, Any]) -> bool:
    """Tells whether a record has a mask of its image's size; of another only the voxels are counted."""
    return "mask" in record and record["mask"].shape == record["image"].shape


def _labels(record: Mapping[str, Any], record_fields: tuple[schema.Field, ...]) -> Iterator[Row]:
    field = next((field for field in record_fields if field.name == "label"), None)
    if field is None:
        return
    for label in _label_keys(record, field):
        yield "labels", 1, label
        yield "label_patients", 1, (*label, record["patient_id"])
        # Of a time or a measurement each subgroup's own figures; of classes, counts.
        for fact, value in groups(record).items():
            yield "group_labels", 1, (fact, value, *label)


def _label_keys(record: Mapping[str, Any], field: schema.Field) -> list[tuple[Any, ...]]:
    value = record["label"]
    if field.kind == "flags":
        return [(n, int(flag)) for n, flag in enumerate(value)]
    if field.kind == "class":
        return [(int(value),)]
    return [(_known(value), int(record["event"]))] if "event" in record else [(_known(value),)]


def _masks(record: Mapping[str, Any]) -> Iterator[Row]:
    if "mask" not in record:
        return
    planes = slices_of(record, "mask")
    counts = sum((np.bincount(plane.reshape(-1), minlength=256) for plane in planes), np.zeros(256, np.int64))
    voxel_ml = float(np.prod(record["spacing_mm"].astype(np.float64))) / 1000
    for value in np.flatnonzero(counts):
        yield "mask_voxels", int(counts[value]), (int(value),)
        yield "mask_records", 1, (int(value),)
        if value and record["image"].ndim == 4:
            yield "mask_ml", 1, (int(value), _known(counts[value] * voxel_ml))


def _boxes(record: Mapping[str, Any]) -> Iterator[Row]:
    if "boxes" not in record:
        return
    rank = record["image"].ndim - 1
    boxes = record["boxes"].astype(np.float64)
    yield "boxes_in_records", 1, (len(boxes),)
    for box, label in zip(boxes, record["box_labels"]):
        sides = (box[rank:] - box[:rank]) * record["spacing_mm"].astype(np.float64)
        yield "boxes", 1, (int(label), *(_known(side) for side in sides))


def faults(
    record: Mapping[str, Any], record_fields: tuple[schema.Field, ...], num_masks: int | None = None
) -> list[str]:
    """Returns the names of what is wrong with a record, all but its intensities; see `validation.KINDS`.

    Args:
        record: Decoded.
        record_fields: Of its data set.
        num_masks: How many values but 0 a mask may have; None: not known.
    """
    spacing, sizes = record["spacing_mm"], record["image"].shape[:-1]
    found = {
        "spacing_unknown": not np.isfinite(spacing).all(),
        "spacing_not_positive": bool((spacing <= 0).any()),
        "place_not_finite": not (np.isfinite(record["origin_mm"]).all() and np.isfinite(record["direction"]).all()),
        "image_empty": 0 in sizes,
    }
    if "mask" in record and record["mask"].size:
        found["mask_value_unnamed"] = num_masks is not None and int(record["mask"].max()) > num_masks
        found["mask_of_other_size"] = not has_mask(record)
    if "boxes" in record and len(record["boxes"]):
        low, high = np.split(record["boxes"], 2, axis=1)
        found["box_outside"] = bool((low < 0).any() or (high > np.array(sizes)).any())
        found["box_without_size"] = not (high > low).all()
    return [name for name, is_so in found.items() if is_so] + _label_faults(record, record_fields)


def _label_faults(record: Mapping[str, Any], record_fields: tuple[schema.Field, ...]) -> list[str]:
    field = next((field for field in record_fields if field.name == "label"), None)
    if field is None:
        return []
    if field.kind == "class":
        return ["label_out_of_range"] if not 0 <= record["label"] < len(field.class_names) else []
    if field.kind == "flags":
        return ["label_all_unknown"] if (np.asarray(record["label"]) == -1).all() else []
    value = float(record["label"])
    is_wrong = not math.isfinite(value) or ("event" in record and value < 0)
    return ["label_out_of_range"] if is_wrong else []
