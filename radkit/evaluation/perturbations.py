"""Images as they might have come from elsewhere: noisier, blurred, coarser, turned, in another contrast or window.

A perturbation takes a record's values in modality units and, where it moves things, what is drawn on them. An amount of
0 leaves a record as it is; how much an amount is does not depend on the modality, so that tests compare.
"""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from radkit import config
from radkit.errors import UserError, did_you_mean

Record = Mapping[str, Any]
_ON_THE_GRID = ("mask", "reader_masks")


@dataclass(frozen=True, eq=False)
class Perturbation:
    """One way in which images differ.

    Attributes:
        name: Unique; a column of the table of perturbed cases.
        unit: Of its amounts.
        what: What is done, in words.
        amounts: Those that are tested, rising, > 0.
        of: (record, amount, data, generator) -> the fields of the record that change.
    """

    name: str
    unit: str
    what: str
    amounts: tuple[float, ...]
    of: Callable[[Record, float, config.Data, np.random.Generator], dict[str, Any]]


def perturbed(name: str, record: Record, amount: float, data: config.Data, seed: int = 0) -> dict[str, Any]:
    """Returns a record as a perturbation changes it; the one given stays as it is.

    Args:
        name: Of `GRID`.
        record: `values` (slices, rows, columns, 1) or (rows, columns, 1) float32, `spacing_mm`, `record_uid`, and where
            there are such `mask`, `reader_masks`, `boxes` with `box_labels` and `lesion_ids`.
        amount: In the perturbation's unit, >= 0.
        data: The config's data section; a window that it names is the range of values that counts.
        seed: Of noise and of the sense of rotation; a record's are the same for all amounts.

    Returns:
        Its fields, and `references_lost`: boxes whose middle has left the image.

    Raises:
        UserError: No such perturbation, or no such amount.
    """
    chosen = find(name)
    if not (math.isfinite(amount) and amount >= 0):
        raise UserError(f"the amount of {name!r} must be a number >= 0 ({chosen.unit}), not {amount}")
    same = {**record, "references_lost": 0}
    if amount == 0:
        return same
    generator = np.random.default_rng([seed, zlib.crc32(str(record["record_uid"]).encode())])
    return {**same, **chosen.of(record, float(amount), data, generator)}


def find(name: str) -> Perturbation:
    """Returns the perturbation of a name.

    Raises:
        UserError: There is none.
    """
    known = {one.name: one for one in GRID}
    if name not in known:
        raise UserError(f"no perturbation is named {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}")
    return known[name]


def extent(values: np.ndarray, data: config.Data) -> tuple[float, float]:
    """Returns the range of values that counts: the config's window, else the image's 1st to 99th percentile."""
    if data.normalise == "window":
        return float(data.window[0]), float(data.window[1])
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    low, high = np.percentile(finite, [1, 99])
    return float(low), float(high)


def pixel(record: Record, data: config.Data) -> np.ndarray:
    """Returns how many voxels of a record one of the network's is wide, (rank,), at least 1.

    What is finer than the network sees would change nothing, and in a small image much.
    """
    size = np.array(record["values"].shape[:-1], np.float64)
    if data.kind == "radiograph":
        return np.full(size.size, max(1.0, float(np.max(size / np.array(data.image_size)))))
    if not data.spacing_mm:
        return np.ones(size.size)
    ratio = np.array(data.spacing_mm, np.float64) / np.asarray(record["spacing_mm"], np.float64)
    return np.where(np.isfinite(ratio), np.maximum(ratio, 1.0), 1.0)


def _noise(record: Record, amount: float, data: config.Data, generator: np.random.Generator) -> dict[str, Any]:
    values = record["values"]
    low, high = extent(values, data)
    noise = generator.standard_normal(values.shape, dtype=np.float32)
    return {"values": (values + noise * np.float32(amount / 100 * (high - low))).astype(np.float32)}


def _blur(record: Record, amount: float, data: config.Data, generator: np.random.Generator) -> dict[str, Any]:
    del generator
    values = record["values"]
    sigma = amount * pixel(record, data)[-2:]
    still = (0.0,) * (values.ndim - 3)
    return {"values": ndimage.gaussian_filter(values, (*still, *sigma, 0.0), mode="nearest", output=np.float32)}


def _contrast(record: Record, amount: float, data: config.Data, generator: np.random.Generator) -> dict[str, Any]:
    """Bends grey values within the range that counts; a straight change would be undone where images are normalised."""
    del generator
    values = record["values"]
    low, high = extent(values, data)
    if not high > low:
        return {"values": values}
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    inside = (values >= low) & (values <= high)
    return {"values": np.where(inside, low + (high - low) * share**amount, values).astype(np.float32)}


def _brighter(record: Record, amount: float, data: config.Data, generator: np.random.Generator) -> dict[str, Any]:
    return _contrast(record, 2.0**-amount, data, generator)


def _darker(record: Record, amount: float, data: config.Data, generator: np.random.Generator) -> dict[str, Any]:
    return _contrast(record, 2.0**amount, data, generator)


def _coarser(record: Record, amount: float, data: config.Data, generator: np.random.Generator) -> dict[str, Any]:
    """Averages over wider voxels, then interpolates back, so that references stay where they are."""
    del generator
    values = np.asarray(record["values"], np.float32)
    factors = 2.0**amount * pixel(record, data)
    for axis in (0,) if values.ndim == 4 else (0, 1):
        values = _at(_averaged(values, axis, factors[axis]), axis, values.shape[axis])
    return {"values": values}


def _averaged(values: np.ndarray, axis: int, factor: float) -> np.ndarray:
    """Returns means over equal parts of an axis, each about `factor` voxels wide; voxels on an edge count in part."""
    size = values.shape[axis]
    count = max(1, round(size / factor))
    edges = np.linspace(0.0, size, count + 1)
    moved = np.moveaxis(values, axis, 0).astype(np.float64)
    sums = np.concatenate([np.zeros_like(moved[:1]), np.cumsum(moved, axis=0)])
    below = np.minimum(np.floor(edges).astype(int), size - 1)
    share = (edges - below).reshape(-1, *[1] * (moved.ndim - 1))
    cumulated = sums[below] + moved[below] * share
    return np.moveaxis(np.diff(cumulated, axis=0) * (count / size), 0, axis)


def _at(values: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Returns an axis interpolated linearly to another number of voxels of the same extent, float32; edges are held."""
    count = values.shape[axis]
    places = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    low = np.floor(places).astype(int)
    share = (places - low).reshape([-1 if a == axis else 1 for a in range(values.ndim)])
    high = np.minimum(low + 1, count - 1)
    between = np.take(values, low, axis) * (1 - share) + np.take(values, high, axis) * share
    return between.astype(np.float32)


def _narrower(record: Record, amount: float, data: config.Data, generator: np.random.Generator) -> dict[str, Any]:
    del generator
    values = record["values"]
    low, high = extent(values, data)
    cut = min(amount, 100.0) / 200 * (high - low)
    return {"values": np.clip(values, low + cut, high - cut).astype(np.float32)}


def _turned(record: Record, amount: float, data: config.Data, generator: np.random.Generator) -> dict[str, Any]:
    del data
    angle = math.radians(amount) * generator.choice((-1, 1))
    spacing = _in_plane(record)
    changed = {"values": _rotated(record["values"], angle, spacing, order=1)}
    for name in _ON_THE_GRID:
        if name in record:
            changed[name] = _rotated(record[name], angle, spacing, order=0)
    return {**changed, **_turned_boxes(record, angle, spacing)}


def _in_plane(record: Record) -> np.ndarray:
    """Returns the spacing of rows and columns, (2,); where nobody knows it, pixels are taken to be square."""
    spacing = np.asarray(record["spacing_mm"], np.float64)[-2:]
    return spacing if np.all(np.isfinite(spacing) & (spacing > 0)) else np.ones(2)


def _rotation(angle: float, spacing: np.ndarray) -> np.ndarray:
    """Returns where a step of indices (row, column) goes, (2, 2)."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn * spacing[None, :] / spacing[:, None]


def _rotated(values: np.ndarray, angle: float, spacing: np.ndarray, order: int) -> np.ndarray:
    """Returns each plane turned about its middle; beyond its edge the edge is held, of images and masks alike."""
    back = _rotation(-angle, spacing)
    middle = (np.array(values.shape[-3:-1]) - 1) / 2
    planes = values.reshape(-1, *values.shape[-3:-1])
    turned = [
        ndimage.affine_transform(plane, back, middle - back @ middle, order=order, mode="nearest") for plane in planes
    ]
    return np.stack(turned).reshape(values.shape)


def _turned_boxes(record: Record, angle: float, spacing: np.ndarray) -> dict[str, Any]:
    """Returns the boxes of what fills its box as an ellipse does, turned; a box's corners would give one too large.

    Source: Kalra et al. 2021, https://doi.org/10.1109/ICCV48922.2021.00350.
    """
    if "boxes" not in record:
        return {}
    rank = record["values"].ndim - 1
    boxes = np.asarray(record["boxes"], np.float64).reshape(-1, 2, rank)
    size = np.array(record["values"].shape[-3:-1], np.float64)
    middles, halves = boxes.mean(1)[:, -2:], np.diff(boxes, axis=1)[:, 0, -2:] / 2
    turn = _rotation(angle, spacing)
    middles = size / 2 + (middles - size / 2) @ turn.T
    halves = np.sqrt(halves**2 @ (turn**2).T)
    kept = np.all((middles >= 0) & (middles < size), axis=1)
    boxes[:, 0, -2:], boxes[:, 1, -2:] = middles - halves, middles + halves
    boxes[..., -2:] = np.clip(boxes[..., -2:], 0, size)
    changed: dict[str, Any] = {
        "boxes": boxes.reshape(-1, 2 * rank)[kept].astype(np.float32),
        "references_lost": int(np.sum(~kept)),
    }
    for name in ("box_labels", "lesion_ids"):
        if name in record:
            changed[name] = np.asarray(record[name])[kept]
    return changed


_OF_RANGE = "% of the grey values' range"
GRID = (
    Perturbation("noise", _OF_RANGE, "Gaussian noise, its standard deviation in percent", (2.0, 5.0, 10.0), _noise),
    Perturbation(
        "blur",
        "pixels of the network's image",
        "a Gaussian filter in plane, its standard deviation in pixels",
        (0.5, 1.0, 2.0),
        _blur,
    ),
    Perturbation(
        "brighter contrast",
        "halvings of gamma",
        "grey values bent upwards, by gamma below 1",
        (0.25, 0.5, 1.0),
        _brighter,
    ),
    Perturbation(
        "darker contrast",
        "doublings of gamma",
        "grey values bent downwards, by gamma above 1",
        (0.25, 0.5, 1.0),
        _darker,
    ),
    Perturbation(
        "coarser spacing",
        "doublings of the spacing",
        "wider voxels than the network's, interpolated back: slices of volumes, rows and columns of radiographs",
        (0.5, 1.0, 2.0),
        _coarser,
    ),
    Perturbation(
        "rotation",
        "degrees",
        "turned in plane, half of the records to either side, references with them",
        (5.0, 10.0, 20.0),
        _turned,
    ),
    Perturbation(
        "narrower window", _OF_RANGE, "grey values clipped, equally much at both ends", (10.0, 20.0, 40.0), _narrower
    ),
)
