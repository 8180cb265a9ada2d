"""How well masks fit: overlap, distances of surfaces, volumes, lesions as connected parts; label by label."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from radkit.evaluation.cases import Cases
from radkit.evaluation.measures import Measure
from radkit.metrics import box_hits, detection, segmentation, weighted_numbers

TOLERANCE_MM = 2.0  # of the normalised surface distance
LEAST_IOU = box_hits.LEAST_IOU  # from which on a part hits a lesion, as of boxes
DIAGONAL, KNOWN = "diagonal_mm", "known_voxels"
_CM2, _ML = 100.0, 1000.0  # in mm2, mm3
_BOTH_EMPTY = "a case without it in both masks counts 1"
_TO_WORST = "infinite where one mask is empty: set to the image's diagonal"


def size_unit(rank: int) -> str:
    """Returns what a mask's size is told in: `mL` of volumes, `cm2` of radiographs."""
    return "mL" if rank == 3 else "cm2"


def size_column(side: str, label: str, rank: int) -> str:
    """Returns the column of a label's size.

    >>> size_column("ref", "liver", 3)
    'ref_ml liver'
    """
    return f"{side}_{size_unit(rank).lower()} {label}".rstrip()


def detail(
    reference: np.ndarray, found: np.ndarray, known: np.ndarray, spacing_mm: Sequence[float], labels: Sequence[str]
) -> dict[str, Any]:
    """Returns what an evaluation tells of one case beside its overlaps.

    Args:
        reference: Label of each voxel, 1, 2, ..., integers, (z, y, x) or (y, x).
        found: The same of the prediction.
        known: Where somebody said what is there, bool, the same shape.
        spacing_mm: Voxel size in the order of the axes; nan where nobody says: distances and sizes are nan then.
        labels: Names of mask values 1, 2, ...

    Returns:
        known_voxels; diagonal_mm (from corner to corner of the image); of each label `ref_voxels`, `pred_voxels`,
        `hd95_mm`, `assd_mm`, `nsd` (surface elements), `ref_ml`, `pred_ml` (`_cm2` of an image), `parts`,
        `parts_found` and `parts_hit` (connected parts by corners; a hit is an IoU of at least 0.1, one to one), each
        followed by a blank and the label. Of radiographs the size of all labels together, too.
    """
    spacing = np.asarray(spacing_mm, np.float64)
    one = float(spacing.prod()) / (_ML if reference.ndim == 3 else _CM2)
    told: dict[str, Any] = {
        KNOWN: int(np.count_nonzero(known)),
        DIAGONAL: float(np.sqrt(((np.array(reference.shape) * spacing) ** 2).sum())),
    }
    if reference.ndim == 2:
        told[size_column("ref", "", 2)] = int(np.count_nonzero(reference * known)) * one
        told[size_column("pred", "", 2)] = int(np.count_nonzero(found * known)) * one
    for value, label in enumerate(labels, 1):
        told |= _of_label((reference == value) & known, (found == value) & known, spacing, one, label)
    return told


def _of_label(
    reference: np.ndarray, found: np.ndarray, spacing: np.ndarray, one: float, label: str
) -> dict[str, float | int]:
    rank = reference.ndim
    n_ref, n_pred = int(np.count_nonzero(reference)), int(np.count_nonzero(found))
    apart = {"hd95": math.nan, "assd": math.nan, "nsd_surfel": math.nan}
    if np.isfinite(spacing).all():
        apart = segmentation.segmentation_metrics(reference, found, spacing.tolist(), TOLERANCE_MM)
    parts = detection.lesion_detection(reference, found, iou_threshold=LEAST_IOU)
    return {
        f"ref_voxels {label}": n_ref,
        f"pred_voxels {label}": n_pred,
        f"hd95_mm {label}": apart["hd95"],
        f"assd_mm {label}": apart["assd"],
        f"nsd {label}": apart["nsd_surfel"],
        size_column("ref", label, rank): n_ref * one,
        size_column("pred", label, rank): n_pred * one,
        f"parts {label}": int(parts["n_ref"]),
        f"parts_found {label}": int(parts["n_pred"]),
        f"parts_hit {label}": int(parts["tp"]),
    }


def measures(labels: Sequence[str]) -> list[Measure]:
    """Returns the figures of a segmentation.

    Args:
        labels: Names of mask values 1, 2, ...
    """
    whole = f"mean over cases of the mean over labels; {_BOTH_EMPTY}"
    found = [_mean("mean Dice", f"Dice coefficient, {whole}", "dice", leads=True)]
    for label in labels:
        if len(labels) > 1:
            words = f"Dice coefficient, mean over cases; {_BOTH_EMPTY}"
            found.append(_mean(f"Dice, {label}", words, f"dice {label}", leads=True))
        found += _of_surfaces(label) + _of_emptiness(label)
    return found


def _of_surfaces(label: str) -> list[Measure]:
    largest = "the larger of both directed 95th percentiles of distances between voxel surfaces"
    share = f"share of both surfaces' elements within {TOLERANCE_MM:g} mm of the other"
    left_out = "cases of unknown voxel size are left out"
    pooled = "mean of both directions' distances together"
    return [
        _mean(f"HD95, {label}", f"{largest}, mean over cases; {_TO_WORST}; {left_out}", f"hd95_mm {label}", "mm", True),
        _mean(f"ASSD, {label}", f"{pooled}, mean over cases; {_TO_WORST}; {left_out}", f"assd_mm {label}", "mm"),
        _mean(f"NSD, {label}", f"{share} (surface Dice), mean over cases; {_BOTH_EMPTY}; {left_out}", f"nsd {label}"),
    ]


def _of_emptiness(label: str) -> list[Measure]:
    one = (
        "share of cases in which one of both masks is empty: these have Dice and NSD 0, and distances set to the worst"
    )
    words = f"mean over the cases that hold it in the reference: a model earns nothing with what is not there ({label})"

    def there(cases: Cases) -> np.ndarray:
        return known(cases) & (cases.numbers(f"ref_voxels {label}") > 0)

    def only_one(cases: Cases) -> np.ndarray:
        sizes = [cases.numbers(f"{side}_voxels {label}") > 0 for side in ("ref", "pred")]
        return np.asarray(sizes[0] ^ sizes[1], np.float64)

    dice = functools.partial(_worst_set, f"dice {label}")
    return [
        Measure(f"Dice where present, {label}", words, _averaged(dice, there), there),
        Measure(f"missed or invented, {label}", one, _averaged(only_one, known), known, better="lower"),
    ]


def known(cases: Cases) -> np.ndarray:
    """Returns in which cases any voxel was labelled, (n,) bool; all where the table does not say."""
    return np.asarray(cases.numbers(KNOWN) > 0) if cases.has(KNOWN) else np.ones(len(cases), bool)


def num_at_worst(cases: Cases, column: str) -> int:
    """Returns in how many cases a distance is infinite, and so is set to the diagonal."""
    return int((np.isinf(cases.numbers(column)) & known(cases)).sum())


def _mean(name: str, words: str, column: str, unit: str = "", leads: bool = False) -> Measure:
    def counts(cases: Cases) -> np.ndarray:
        return known(cases) & ~np.isnan(cases.numbers(column))

    better = "lower" if unit else "higher"
    values = functools.partial(_worst_set, column)
    return Measure(name, words, _averaged(values, counts), counts, unit, better, leads)


def _worst_set(column: str, cases: Cases) -> np.ndarray:
    """Returns a column, infinite distances set to the image's diagonal."""
    values = cases.numbers(column)
    return np.where(np.isposinf(values), cases.numbers(DIAGONAL), values)


def _averaged(
    values: Callable[[Cases], np.ndarray], counts: Callable[[Cases], np.ndarray]
) -> Callable[[Cases, np.ndarray], np.ndarray]:
    def of(cases: Cases, weights: np.ndarray) -> np.ndarray:
        kept = counts(cases)
        return weighted_numbers.mean(values(cases)[kept], weights[:, kept])

    return of
