"""Overlap of what is tubular: by centre lines, so that a thin branch counts by its length and not by its volume."""

import math

import numpy as np
from numpy.typing import ArrayLike

from radkit.metrics import segmentation, surfaces, thinning


def centreline_dice(ref: ArrayLike, pred: ArrayLike) -> float:
    """Returns the centreline Dice (clDice) of two masks.

    Args:
        ref: Reference, non-zero inside, (z, y, x) or (y, x).
        pred: Prediction, the same shape.

    Returns:
        The harmonic mean of two shares: of the prediction's skeleton that lies within the reference, and of the
        reference's that lies within the prediction. 1 when both masks are empty, 0 when one is or neither skeleton
        lies within the other mask, nan when a mask that is not empty has no skeleton (of some small and compact ones
        scikit-image leaves nothing, of 4 x 4 x 4 voxels for one).

    Raises:
        UserError: Differing shapes, or shares instead of a mask.

    Example:
        >>> vessel = [[0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]
        >>> centreline_dice(vessel, [[0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 0]])
        0.5714285714285715

    Source: Shit et al. 2021, https://arxiv.org/abs/2003.07311, eq. 1-2; skeletons as scikit-image's `skeletonize` has
    them, which the paper and MetricsReloaded use.
    """
    reference, predicted = segmentation.two_masks(ref, pred)
    lines = _skeleton(reference), _skeleton(predicted)
    if lines[0] is None or lines[1] is None:
        return 1.0 if lines[0] is lines[1] else 0.0
    sensitivity, precision = _share_within(lines[0], predicted), _share_within(lines[1], reference)
    if sensitivity + precision == 0:
        return 0.0
    return 2 * sensitivity * precision / (sensitivity + precision)


def _skeleton(mask: np.ndarray) -> np.ndarray | None:
    """Returns the indices of a mask's skeleton, (n, axes); None of an empty mask."""
    held = surfaces.box(mask)
    if held is None:
        return None
    if mask.ndim == 3 and len(mask) > 1:
        # A volume of one plane is thinned otherwise, a plane of several is not: it must stay one of several.
        held = (slice(max(held[0].start - 1, 0), held[0].stop + 1), *held[1:])
    corner = [part.start for part in held]
    return surfaces.indices(thinning.skeleton(mask[held])) + corner


def _share_within(line: np.ndarray, mask: np.ndarray) -> float:
    return float(mask[tuple(line.T)].mean()) if len(line) else math.nan
