"""A detector's boxes as a radiologist can use them: on the image as acquired, in the patient, and in a report."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radkit.boxes import masks, places
from radkit.data import resample
from radkit.dicom import annotations
from radkit.dicom.annotations import Box, Measurement
from radkit.dicom.volumes import Volume
from radkit.errors import UserError

_SIDE, _NUMBER = "longest side of the box", "number of boxes"
_MOST_SEGMENTS = 255
# What a report says of a finding at the model's operating point.
CALL, CALLS = "call at the operating point", {True: "positive", False: "negative"}


class BoxesError(UserError):
    """What the model gave are no boxes."""


def told(
    answer: Mapping[str, np.ndarray], names: Sequence[str], volume: Volume, grid: resample.Grid
) -> list[dict[str, Any]]:
    """Returns what `answer.json` says of each box, the surest first.

    `label`, `score`; `low` and `high`: edges in voxels of the image as acquired, in the order slice, row, column (of
    a radiograph row, column), voxel k reaching from k to k + 1; `centre_lps_mm`: x, y, z of its middle in the patient;
    `sides_mm`, along the same axes as `low`. The last two are None where the headers do not say where the image lies,
    or how large its pixels are. Where the model has an operating point, `called`: whether the score reaches it.

    Args:
        answer: Outputs for a batch of one: `boxes`, `scores`, `labels`, `count`, and perhaps `called`.
        names: Of classes 0, 1, ...
        volume: The image as acquired.
        grid: Of the image that was sent, made from that of `volume`.

    Raises:
        BoxesError: Outputs of another shape, or with numbers that cannot be.
    """
    edges, scores, labels = _checked(answer, names)
    rank = edges.shape[1] // 2
    moved = _moved(edges, volume, grid)
    known = np.isfinite(volume.spacing_mm)
    placed = places.to_mm(moved, volume.affine)
    called = _called(answer, len(edges))
    found = []
    for number, (label, score) in enumerate(zip(labels, scores)):
        if not _is_there(moved[number]):
            continue
        found.append(
            {
                "label": names[label],
                "score": float(score),
                "low": moved[number, :rank].tolist(),
                "high": moved[number, rank:].tolist(),
                "centre_lps_mm": placed.centres[number].tolist() if known.all() else None,
                "sides_mm": placed.sides_mm[number].tolist() if known[3 - rank :].all() else None,
                **({"called": called[number]} if called else {}),
            }
        )
    return found


def _called(answer: Mapping[str, np.ndarray], count: int) -> list[bool]:
    if "called" not in answer:
        return []
    called = answer["called"].reshape(-1)[:count].tolist()
    if len(called) != count or not set(called) <= {0, 1}:
        raise BoxesError(f"the model gave {len(called)} calls for {count} boxes, or some that are neither 0 nor 1")
    return [bool(one) for one in called]


def drawn(
    answer: Mapping[str, np.ndarray], names: Sequence[str], volume: Volume, grid: resample.Grid
) -> tuple[np.ndarray, list[str]]:
    """Returns what a network of masks drew within its boxes, on the image as acquired; see `told` for the arguments.

    Returns:
        (slices, rows, columns) uint8: k where the box is that `told` has as its k-th; where two lie, the surer one. Of
        more than 255 boxes the surest. And what each value is called: the class and k, as "nodule 3".

    Raises:
        BoxesError: Masks that do not go with the boxes.
    """
    edges, _, labels = _checked(answer, names)
    there = np.flatnonzero([_is_there(box) for box in _moved(edges, volume, grid)])[:_MOST_SEGMENTS]
    drawings, rank = answer["masks"], edges.shape[1] // 2
    if drawings.ndim != 2 + rank or drawings.shape[:2] != answer["boxes"].shape[:2] or not np.isfinite(drawings).all():
        raise BoxesError(f"the model gave masks of shape {drawings.shape} for boxes of shape {answer['boxes'].shape}")
    numbered = masks.filled(drawings[0, there], edges[there], grid.shape[3 - rank :])
    named = [f"{names[labels[row]]} {number}" for number, row in enumerate(there, 1)]
    return resample.mask_back(numbered.reshape(grid.shape), grid, volume.stored.shape), named


def _moved(edges: np.ndarray, volume: Volume, grid: resample.Grid) -> np.ndarray:
    return places.moved(edges, grid.source, volume.stored.shape[3 - edges.shape[1] // 2 : 3])


def _is_there(box: np.ndarray) -> bool:
    """Returns whether a box has room in the image as acquired; one that was found beside it has none."""
    rank = len(box) // 2
    return bool((box[rank:] > box[:rank]).all())


def _checked(answer: Mapping[str, np.ndarray], names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    lacking = [name for name in ("scores", "labels", "count") if name not in answer]
    if lacking:
        raise BoxesError(f"the model gave boxes without {', '.join(lacking)}")
    count, boxes = int(answer["count"].ravel()[0]), answer["boxes"]
    scores, labels = (answer[name].reshape(-1)[:count] for name in ("scores", "labels"))
    if boxes.ndim != 3 or boxes.shape[0] != 1 or boxes.shape[2] not in (4, 6) or not 0 <= count <= boxes.shape[1]:
        raise BoxesError(f"the model gave {count} boxes of shape {boxes.shape}; (1, n, 4) or (1, n, 6) was expected")
    edges = boxes[0, :count].astype(np.float64)
    if len(scores) != count or len(labels) != count:
        raise BoxesError(f"the model gave {count} boxes with {len(scores)} scores and {len(labels)} labels")
    if not (np.isfinite(edges).all() and np.isfinite(scores).all() and ((labels >= 0) & (labels < len(names))).all()):
        raise BoxesError(f"a box of the model has an edge or score that is no number, or none of {len(names)} classes")
    if (edges[:, edges.shape[1] // 2 :] < edges[:, : edges.shape[1] // 2]).any() or (scores < 0).any():
        raise BoxesError("a box of the model ends before it begins, or has a score below 0")
    return edges, scores, labels


def measured(found: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Measurement]:
    """Returns what a report says: of each class the number of boxes, of each box its probability and longest side."""
    number, side = annotations.code_of(_NUMBER), annotations.code_of(_SIDE)
    said = []
    for name in names:
        count = sum(one["label"] == name for one in found)
        said.append(Measurement(_NUMBER, float(count), "1", finding=name, code=number))
    for place, one in enumerate(found, 1):
        about = {"finding": one["label"], "lesion_id": _lesion_id(one, place)}
        said.append(Measurement("probability", one["score"], "1", **about))
        if "called" in one:
            said.append(Measurement(CALL, math.nan, "", text=CALLS[one["called"]], **about))
        if one["sides_mm"] and all(map(math.isfinite, one["sides_mm"])):
            said.append(Measurement(_SIDE, max(one["sides_mm"]), "mm", code=side, **about))
    return said


def placed(found: Sequence[Mapping[str, Any]]) -> list[Box]:
    """Returns boxes as a report's coordinates, each of the lesion that `measured` says it is; one slice on images."""
    return [
        Box(
            tuple([0.0] * (3 - len(one["low"])) + one["low"]),
            tuple([1.0] * (3 - len(one["high"])) + one["high"]),
            one["label"],
            _lesion_id(one, place),
        )
        for place, one in enumerate(found, 1)
    ]


def _lesion_id(one: Mapping[str, Any], place: int) -> str:
    return f"{one['label']} {place}"
