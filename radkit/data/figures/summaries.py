"""Figures that people read, made of what was counted: `radkit.data.statistics` puts them together."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from radkit.data.figures import accumulators, tallies
from radkit.data.figures.accumulators import Moments, Values

FOREGROUND = "foreground"
BINS = 64  # of a histogram of intensities
_ANISOTROPIC = 3.0  # from this ratio on, an axis is far coarser than the others
_FLAGS = {1: "yes", 0: "no", -1: "unknown"}

Counts = Mapping[str, Mapping[str, int]]  # tallies as JSON values


def _rows(counts: Counts, name: str) -> list[tuple[list[Any], int]]:
    """Returns a tally's keys with their counts, in an order that is the keys' own."""
    return [(tallies.parts_of(text), number) for text, number in sorted(counts.get(name, {}).items())]


def intensity(looks: Sequence[Values], shares: Sequence[float]) -> dict[str, Any]:
    """Returns the figures of intensities; empty of none.

    Args:
        looks: What each look gave.
        shares: Percentiles, in percent.
    """
    if not looks[0].count:
        return {}
    sums = looks[0].moments
    at = {_percentile_name(share): accumulators.percentile(looks, share) for share in shares}
    least, most = at[_percentile_name(min(shares))], at[_percentile_name(max(shares))]
    return {
        **_of_moments(sums),
        **at,
        "voxels": sums.count,
        "histogram": {
            "least": least,
            "most": most,
            "counts": accumulators.histogram(looks[0], least, most, BINS),
        },
    }


def _of_moments(sums: Moments) -> dict[str, float]:
    return {"mean": sums.mean, "std": sums.std, "min": sums.least, "max": sums.most}


def _percentile_name(share: float) -> str:
    """Returns nnU-Net's name of a percentile: percentile_00_5 of 0.5."""
    return "median" if share == 50 else f"percentile_{int(share):02d}_{round(share % 1 * 10)}"


def geometry(counts: Counts) -> dict[str, Any]:
    """Returns least, median and most of sizes and spacings, axis by axis; None where nothing is known."""
    sizes, spacings, contents = _geometry(counts)
    return {"size": _ranges(sizes), "spacing_mm": _ranges(spacings), "content_size": _ranges(contents)}


def _geometry(counts: Counts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns sizes, spacings (nan: unknown) and sizes of what is not 0, each (records, axes) float64."""
    rows = _rows(counts, "geometry")
    often = [number for _, number in rows]
    columns = [np.array([parts[n] for parts, _ in rows], np.float64) for n in range(3)]
    sizes, spacings, contents = (np.repeat(column, often, axis=0) for column in columns)
    return sizes, spacings, contents


def _ranges(rows: np.ndarray) -> list[dict[str, float | None]]:
    found: list[dict[str, float | None]] = []
    for column in rows.T:
        known = column[np.isfinite(column)]
        three = (known.min(), np.median(known), known.max()) if known.size else (None, None, None)
        found.append({n: None if v is None else float(v) for n, v in zip(("min", "median", "max"), three)})
    return found


def numbers(counts: Mapping[float | None, int]) -> dict[str, Any]:
    """Returns the figures of numbers that were counted one by one; None counts those that are unknown."""
    known = sorted((number, often) for number, often in counts.items() if number is not None)
    told = {"known": sum(often for _, often in known), "unknown": counts.get(None, 0)}
    if not known:
        return told
    values = np.array([number for number, _ in known], np.float64)
    often = np.array([number for _, number in known], np.int64)
    quarters = np.percentile(np.repeat(values, often), (25, 50, 75))
    names = ("percentile_25_0", "median", "percentile_75_0")
    return {**told, **_of_moments(accumulators.moments(values, often)), **dict(zip(names, map(float, quarters)))}


def facts(counts: Counts) -> dict[str, Any]:
    """Returns how many records have each value of each fact, and the figures of numbers and dates."""
    found: dict[str, Any] = {}
    for (fact, value), number in _rows(counts, "facts"):
        found.setdefault(fact, {})[value] = number
    by_name: dict[str, dict[float | None, int]] = {}
    for (name, value), number in _rows(counts, "numbers"):
        by_name.setdefault(name, {})[value] = number
    found["numbers"] = {name: numbers(values) for name, values in by_name.items()}
    dates = _rows(counts, "study_dates")
    if dates:
        known = [date for (date,), _ in dates if date]
        unknown = sum(number for (date,), number in dates if not date)
        found["study_dates"] = {"first": min(known, default=None), "last": max(known, default=None), "unknown": unknown}
    reports = _rows(counts, "reports")
    if reports:
        found["reports"] = {("with text" if held else "empty"): number for (held,), number in reports}
    return found


def labels(counts: Counts, about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the figures of labels, by their kind; `labels` counts classes by number, as earlier versions did."""
    rows = _rows(counts, "labels")
    if not rows:
        return {}
    found = {"kind": about["label_kind"], **_label(rows, about)}
    if "counts" in found:
        found["patients"] = _patients(_rows(counts, "label_patients"), about)
    if about["label_kind"] in ("class", "ordinal"):
        return {"label": found, "labels": {str(parts[0]): number for parts, number in rows}}
    return {"label": found}


def _label(rows: Sequence[tuple[list[Any], int]], about: Mapping[str, Any]) -> dict[str, Any]:
    kind, names = about["label_kind"], about["class_names"]
    if kind in ("class", "ordinal"):
        counted = {parts[0]: number for parts, number in rows}
        extra = {str(n): number for n, number in counted.items() if not 0 <= n < len(names)}
        return {"counts": {**{name: counted.get(n, 0) for n, name in enumerate(names)}, **extra}}
    if kind == "multi_label":
        by_class: dict[str, Any] = {name: dict.fromkeys(_FLAGS.values(), 0) for name in names}
        for (n, flag), number in rows:
            by_class[names[n]][_FLAGS.get(flag, _FLAGS[-1])] += number
        return {"counts": by_class}
    if kind == "survival":
        events, times = _survival(rows)
        return {"unit": about["label_unit"], **events, **{name: numbers(each) for name, each in times.items()}}
    return {"unit": about["label_unit"], **numbers({parts[0]: number for parts, number in rows})}


def _survival(rows: Sequence[tuple[list[Any], int]]) -> tuple[dict[str, int], dict[str, Counter[float | None]]]:
    events = {"events": 0, "censored": 0}
    times: dict[str, Counter[float | None]] = {"time": Counter(), "time_of_events": Counter()}
    for (time, event), number in rows:
        events["events" if event else "censored"] += number
        times["time"][time] += number
        if event:
            times["time_of_events"][time] += number
    return events, times


def _patients(rows: Sequence[tuple[list[Any], int]], about: Mapping[str, Any]) -> dict[str, int]:
    """Returns how many patients have a record of each class; of several labels each, those with a yes."""
    names, found = about["class_names"], dict.fromkeys(about["class_names"], 0)
    for parts, _ in rows:
        if 0 <= parts[0] < len(names) and (len(parts) == 2 or parts[1] == 1):
            found[names[parts[0]]] += 1
    return found


def masks(counts: Counts, names: Mapping[int, str], figures: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the figures of masks, by the label's name.

    Args:
        counts: What was counted.
        names: Of the mask's values; one that is not there is named by its number.
        figures: Of intensities, by group.
    """
    voxels = {parts[0]: number for parts, number in _rows(counts, "mask_voxels")}
    if not voxels:
        return {}
    held = {parts[0]: number for parts, number in _rows(counts, "mask_records")}
    volumes: dict[int, dict[float | None, int]] = {}
    for (value, ml), number in _rows(counts, "mask_ml"):
        volumes.setdefault(value, {})[ml] = number
    found = {}
    for value in sorted({*names, *voxels} - {0}):
        found[names.get(value, str(value))] = {
            "records": held.get(value, 0),
            "voxels": voxels.get(value, 0),
            **({"ml": numbers(volumes[value])} if value in volumes else {}),
            "intensity": figures.get(f"mask {value}", {}),
        }
    return {
        "mask_voxels": {str(value): number for value, number in sorted(voxels.items())},
        "mask": found,
        FOREGROUND: figures.get(FOREGROUND, {}),
    }


def boxes(counts: Counts, names: Sequence[str]) -> dict[str, Any]:
    """Returns the figures of boxes: how many a record, and by class how many and how large (mm, axis by axis)."""
    in_records = _rows(counts, "boxes_in_records")
    if not in_records:
        return {}
    by_class: dict[str, list[tuple[list[Any], int]]] = {name: [] for name in names}
    for (value, *sides), number in _rows(counts, "boxes"):
        by_class.setdefault(names[value] if 0 <= value < len(names) else str(value), []).append((sides, number))
    return {
        "boxes": {
            "in_records": numbers({parts[0]: number for parts, number in in_records}),
            "by_class": {name: _boxes(rows) for name, rows in by_class.items()},
        }
    }


def _boxes(rows: Sequence[tuple[list[Any], int]]) -> dict[str, Any]:
    sides: list[Counter[float | None]] = [Counter() for _ in (rows[0][0] if rows else ())]
    for lengths, number in rows:
        for axis, length in zip(sides, lengths):
            axis[length] += number
    return {"boxes": sum(number for _, number in rows), "size_mm": [numbers(axis) for axis in sides]}


def subgroups(counts: Counts, about: Mapping[str, Any], sums: Mapping[str, Any]) -> dict[str, Any]:
    """Returns, of each subgroup, records, patients, labels and, by site and manufacturer, intensities."""
    found: dict[str, Any] = {name: {} for name in tallies.SUBGROUPS}
    for (fact, value), number in _rows(counts, "groups"):
        found[fact][value] = {"records": number, "patients": 0}
    for (fact, value, _), _ in _rows(counts, "group_patients"):
        found[fact][value]["patients"] += 1
    for (fact, value), rows in _by_group(counts):
        found[fact][value]["label"] = _label(rows, about)
    for text, one in sums.items():
        fact, value = tallies.parts_of(text)
        found[fact][value]["intensity"] = _of_moments(Moments.from_json(one))
    return found


def _by_group(counts: Counts) -> Iterator[tuple[tuple[str, str], list[tuple[list[Any], int]]]]:
    held: dict[tuple[str, str], list[tuple[list[Any], int]]] = {}
    for (fact, value, *label), number in _rows(counts, "group_labels"):
        held.setdefault((fact, value), []).append((label, number))
    yield from held.items()


def fingerprint(counts: Counts, looks: Mapping[str, Sequence[Values]], shares: Sequence[float]) -> dict[str, Any]:
    """Returns what nnU-Net plans a network by: intensities of the foreground, spacings and sizes.

    Intensities are of all voxels inside masks, not of a sample of each image; where there is no mask, of whole images.
    Sizes are of the part that is not 0. Source: Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z.
    """
    group = FOREGROUND if FOREGROUND in looks else "all"
    sizes, spacings, contents = _geometry(counts)
    found = {
        "foreground": "mask" if group == FOREGROUND else "whole images",
        "foreground_intensity": intensity(looks[group], shares) if group in looks else {},
        "median_size": np.median(contents, axis=0).tolist(),
        "median_relative_content_size": float(np.median(contents.prod(1) / np.maximum(sizes.prod(1), 1))),
    }
    known = np.isfinite(spacings).all(1)
    if not known.any():
        return found
    target = _target_spacing(spacings[known], contents[known])
    resampled = np.round(contents[known] * spacings[known] / target)
    return {
        **found,
        "median_spacing_mm": np.median(spacings[known], axis=0).tolist(),
        "target_spacing_mm": target.tolist(),
        "median_size_at_target_spacing": np.median(resampled, axis=0).tolist(),
    }


def _target_spacing(spacings: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Returns the median spacing; along a far coarser axis the 10th percentile, but no finer than the other axes."""
    target: np.ndarray = np.median(spacings, axis=0)
    worst = int(np.argmax(target))
    others, size = np.delete(target, worst), np.median(sizes, axis=0)
    is_coarse = target[worst] > _ANISOTROPIC * others.max()
    if len(target) == 3 and is_coarse and size[worst] * _ANISOTROPIC < np.delete(size, worst).min():
        target[worst] = max(float(np.percentile(spacings[:, worst], 10)), float(others.max()))
    return target
