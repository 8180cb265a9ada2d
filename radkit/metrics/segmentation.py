"""Figures of masks: overlap of each label, distances of surfaces, volumes."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError
from radkit.metrics import inputs, surface_elements, surfaces

_SHARE = 0.95


def segmentation_metrics(ref: ArrayLike, pred: ArrayLike, spacing: Sequence[float], tau: float) -> dict[str, float]:
    """Returns how two masks agree: overlap, distances of their surfaces, volumes.

    Surfaces are those of voxels (`surfaces`), as MetricsReloaded has them, or pieces with an area between voxels
    (`surface_elements`; contours with a length in (y, x)), as DeepMind's surface-distance has them: keys with surfel.
    Directed means from each point of one surface to the nearest of the other.

    Args:
        ref: Reference, non-zero inside, (z, y, x) or (y, x).
        pred: Prediction, the same shape.
        spacing: Voxel size in mm, in the order of the axes.
        tau: Tolerance of the normalised surface distance in mm; a point exactly so far away is within.

    Returns:
        - dice, jaccard.
        - hd: Hausdorff distance. hd95: the larger one of the two directed 95th percentiles (linear between ranks, as
          numpy has it), not the percentile of both together. hd95_surfel: the same by area, without interpolation.
        - assd: mean of both directions' distances together. masd: mean of the two directed means.
        - nsd_voxel, nsd_surfel: share of both surfaces (of voxels, of area) within tau of the other.
        - volume_ref_ml, volume_pred_ml: nan of (y, x).

        Distances in mm. Both masks empty: overlap and nsd 1, distances 0; one empty: overlap and nsd 0, distances inf.

    Raises:
        UserError: Differing shapes, shares instead of a mask, or a spacing or tau that is none.

    Example:
        >>> found = segmentation_metrics([[0, 1, 1, 1]], [[1, 1, 1, 0]], spacing=[1, 2], tau=1)
        >>> found["hd"], found["jaccard"], found["nsd_voxel"]
        (2.0, 0.5, 0.6666666666666666)

    Source: Maier-Hein et al. 2024, https://doi.org/10.1038/s41592-023-02151-z; Nikolov et al. 2021,
    https://doi.org/10.2196/26151.
    """
    reference, predicted = two_masks(ref, pred)
    voxel_ml = _voxel_ml(spacing, reference.ndim)
    if not 0 <= tau < math.inf:
        raise UserError(f"tau must be a distance >= 0 in mm, not {tau!r}; name the deviation that would not matter")
    box_ref, box_pred = surfaces.box(reference), surfaces.box(predicted)
    held = surfaces.union(box_ref or box_pred or (), box_pred or box_ref or ())
    reference, predicted = reference[held], predicted[held]
    if box_ref is None or box_pred is None:
        found = _of_empty(is_alike=box_ref is box_pred)
    else:
        found = {**_overlap(reference, predicted), **_voxel_distances(reference, predicted, spacing, tau)}
        found |= _element_distances(reference, predicted, spacing, tau)
    n_ref, n_pred = int(np.count_nonzero(reference)), int(np.count_nonzero(predicted))
    return found | {"volume_ref_ml": voxel_ml * n_ref, "volume_pred_ml": voxel_ml * n_pred}


def _of_empty(is_alike: bool) -> dict[str, float]:
    overlaps = dict.fromkeys(("dice", "jaccard", "nsd_voxel", "nsd_surfel"), 1.0 if is_alike else 0.0)
    distances = dict.fromkeys(("hd", "hd95", "assd", "masd", "hd95_surfel"), 0.0 if is_alike else math.inf)
    return overlaps | distances


def _overlap(ref: np.ndarray, pred: np.ndarray) -> dict[str, float]:
    both, either = int(np.count_nonzero(ref & pred)), int(np.count_nonzero(ref | pred))
    return {"dice": 2 * both / (both + either), "jaccard": both / either}


def _voxel_distances(ref: np.ndarray, pred: np.ndarray, spacing: Sequence[float], tau: float) -> dict[str, float]:
    ours, theirs = surfaces.border_voxels(ref), surfaces.border_voxels(pred)
    grid = ref.shape, spacing
    directed = surfaces.nearest(ours, theirs, *grid), surfaces.nearest(theirs, ours, *grid)
    n = len(ours) + len(theirs)
    return {
        "hd": max(float(distances.max()) for distances in directed),
        "hd95": max(float(np.percentile(distances, 100 * _SHARE)) for distances in directed),
        "assd": sum(float(distances.sum()) for distances in directed) / n,
        "masd": sum(float(distances.mean()) for distances in directed) / 2,
        "nsd_voxel": sum(int(np.count_nonzero(distances <= tau)) for distances in directed) / n,
    }


def _element_distances(ref: np.ndarray, pred: np.ndarray, spacing: Sequence[float], tau: float) -> dict[str, float]:
    ours, our_sizes = surface_elements.elements(ref, spacing)
    theirs, their_sizes = surface_elements.elements(pred, spacing)
    grid = [size + 1 for size in ref.shape], spacing
    directed = (
        (surfaces.nearest(ours, theirs, *grid), our_sizes),
        (surfaces.nearest(theirs, ours, *grid), their_sizes),
    )
    within = sum(float(sizes[distances <= tau].sum()) for distances, sizes in directed)
    return {
        "nsd_surfel": within / float(our_sizes.sum() + their_sizes.sum()),
        "hd95_surfel": max(_percentile(distances, sizes) for distances, sizes in directed),
    }


def _percentile(distances: np.ndarray, sizes: np.ndarray) -> float:
    """Returns the least distance within which 95 % of a surface's area lies."""
    order = np.lexsort((sizes, distances))
    reached = np.cumsum(sizes[order]) / sizes[order].sum()
    place = min(int(np.searchsorted(reached, _SHARE)), len(order) - 1)
    return float(distances[order[place]])


def multilabel_dice(ref: ArrayLike, pred: ArrayLike, labels: Iterable[int]) -> dict[int, float]:
    """Returns the Dice coefficient of each label.

    Args:
        ref: Reference label of each voxel, integers, (z, y, x) or (y, x).
        pred: Predicted labels, the same shape.
        labels: The labels to score; name the background only if it is to be scored.

    Returns:
        Label -> 2 |both| / (|ref| + |pred|); 1 when neither holds the label, 0 when only one does.

    Raises:
        UserError: Differing shapes, or values that are no whole numbers.

    Example:
        >>> multilabel_dice([[0, 1, 1]], [[0, 0, 1]], [1, 2])
        {1: 0.6666666666666666, 2: 1.0}

    Source: Dice 1945, https://doi.org/10.2307/1932409.
    """
    reference, predicted = inputs.masks(ref, pred)
    return {int(label): dice(reference == label, predicted == label) for label in labels}


def dice(ref: np.ndarray, pred: np.ndarray) -> float:
    """Returns the Dice coefficient of two bool masks of one shape; 1 when both are empty."""
    total = int(np.count_nonzero(ref)) + int(np.count_nonzero(pred))
    return 2 * int(np.count_nonzero(ref & pred)) / total if total else 1.0


def volume_metrics(ref: ArrayLike, pred: ArrayLike, spacing: Sequence[float]) -> dict[str, float]:
    """Returns two masks' volumes and how they compare.

    Args:
        ref: Reference, non-zero inside, (z, y, x) or (y, x).
        pred: Prediction, the same shape.
        spacing: Voxel size in mm, in the order of the axes.

    Returns:
        ref_ml, pred_ml (nan for (y, x), which has no volume), relative_difference (pred - ref) / ref,
        absolute_ratio |pred - ref| / ref (both nan when ref is empty) and volumetric_similarity
        1 - |pred - ref| / (pred + ref) (1 when both are empty, 0 when one is).

    Raises:
        UserError: Differing shapes, or a spacing that does not fit them.

    Source: Taha and Hanbury 2015, https://doi.org/10.1186/s12880-015-0068-x.
    """
    reference, predicted = two_masks(ref, pred)
    voxel_ml = _voxel_ml(spacing, reference.ndim)
    n_ref, n_pred = int(np.count_nonzero(reference)), int(np.count_nonzero(predicted))
    relative = (n_pred - n_ref) / n_ref if n_ref else math.nan
    total = n_ref + n_pred
    return {
        "ref_ml": n_ref * voxel_ml,
        "pred_ml": n_pred * voxel_ml,
        "relative_difference": relative,
        "absolute_ratio": abs(relative),
        "volumetric_similarity": 1 - abs(n_pred - n_ref) / total if total else 1.0,
    }


def two_masks(ref: ArrayLike, pred: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns two bool masks of one shape; refuses what is no mask."""
    first, second = inputs.masks(ref, pred)
    return first != 0, second != 0


def _voxel_ml(spacing: Sequence[float], rank: int) -> float:
    sizes = inputs.numbers("spacing", spacing)
    if sizes.shape != (rank,) or not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise UserError(f"spacing must be {rank} sizes > 0 in mm, one an axis, not {spacing}")
    return float(sizes.prod()) / 1000 if rank == 3 else math.nan
