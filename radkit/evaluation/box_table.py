"""Boxes of all cases as one table, `boxes.csv`: a row a box, found or reference; and back to cases."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.evaluation import boxes
from radkit.evaluation.cases import Cases

_AXES = ("slice", "row", "column")
_REFERENCE, _FOUND = "reference", "found"


def columns(rank: int) -> list[str]:
    """Returns the table's columns.

    Args:
        rank: 2 of images, 3 of volumes.
    """
    axes = _AXES[3 - rank :]
    edges = [f"{axis}_{side}" for side in ("low", "high") for axis in axes]
    return ["record_uid", "patient_id", "what", "number", "class", "score", "hit", *edges, *[f"{a}_mm" for a in axes]]


def rows(cases: Cases, rank: int) -> list[dict[str, Any]]:
    """Returns all boxes, case by case, the reference's first.

    Args:
        cases: With boxes and `record_uid`.
        rank: 2 of images, 3 of volumes.

    Returns:
        record_uid, patient_id; what (`reference` or `found`), number (its place in the case's list), class (its number;
        -2 a region to ignore), score and hit (of found ones: the number of the reference that it hits, -1 none, -2 it
        does not count); low and high edges in voxels, and the size of a voxel in mm, axis by axis. Numbers keep all
        digits.
    """
    listed = []
    for row in cases.rows:
        image = boxes.image_of(row)
        hits = image.hits()
        for place, (edges, label) in enumerate(zip(np.asarray(image.reference), np.asarray(image.labels))):
            listed.append(_row(row, _REFERENCE, place, (int(label), None, None), edges, rank))
        told = zip(np.asarray(image.found), np.asarray(image.found_labels), np.asarray(image.scores), hits)
        for place, (edges, label, score, hit) in enumerate(told):
            listed.append(_row(row, _FOUND, place, (int(label), float(score), int(hit)), edges, rank))
    return listed


def joined(cases: Cases, table: Iterable[Mapping[str, Any]], rank: int) -> Cases:
    """Returns cases with their boxes, as `rows` wrote them.

    Args:
        cases: As `cases.csv` lists them.
        table: Rows of `boxes.csv`; values may be text.
        rank: 2 of images, 3 of volumes.

    Raises:
        UserError: A box of a record that no case is of, two cases of one record, or a row that is no box.
    """
    uids = cases.words("record_uid").tolist()
    if len(set(uids)) < len(uids):
        raise UserError("two cases have the same record_uid, so it is not known whose boxes are whose")
    of: dict[str, list[Mapping[str, Any]]] = {uid: [] for uid in uids}
    for number, row in enumerate(table, 1):
        if row.get("record_uid") not in of:
            raise UserError(f"row {number} of boxes.csv is of a record that no case is of; take both from one folder")
        of[str(row["record_uid"])].append(row)
    return Cases([{**row, **_lists(of[uid], rank)} for uid, row in zip(uids, cases.rows)])


def _row(
    case: Mapping[str, Any],
    what: str,
    place: int,
    told: tuple[int, float | None, int | None],
    edges: np.ndarray,
    rank: int,
) -> dict[str, Any]:
    if len(edges) != 2 * rank:
        raise UserError(f"a box of {len(edges)} edges is none of {rank} axes")
    spacing = [float(size) for size in case["spacing_mm"]]
    held = [case["record_uid"], case["patient_id"], what, place, *told, *edges.tolist(), *spacing]
    return dict(zip(columns(rank), held))


def _lists(rows_of: Sequence[Mapping[str, Any]], rank: int) -> dict[str, list[Any]]:
    names = columns(rank)
    edges, sizes = names[7 : 7 + 2 * rank], names[7 + 2 * rank :]
    try:
        known = [row for row in rows_of if row["what"] == _REFERENCE]
        found = [row for row in rows_of if row["what"] == _FOUND]
        if len(known) + len(found) < len(rows_of):
            raise UserError(f"column 'what' of boxes.csv is {_REFERENCE} or {_FOUND}, nothing else")
        return {
            "reference": [[float(row[edge]) for edge in edges] for row in known],
            "labels": [int(row["class"]) for row in known],
            "found": [[float(row[edge]) for edge in edges] for row in found],
            "scores": [float(row["score"]) for row in found],
            "found_labels": [int(row["class"]) for row in found],
            "spacing_mm": [_size(rows_of[0][size]) for size in sizes] if rows_of else [math.nan] * rank,
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"a row of boxes.csv is no box of {rank} axes ({error}); it needs {', '.join(names)}"
        ) from error


def _size(told: Any) -> float:
    return math.nan if told in ("", None) else float(told)
