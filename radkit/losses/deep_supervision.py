"""A loss of masks at several resolutions at once."""

from collections.abc import Callable
from typing import Any

from keras import ops

from radkit.errors import UserError


def supervised(loss: Callable[[Any, Any], Any], mask: Any, logits: Any) -> Any:
    """Returns the loss of a network's answer, or the weighted mean of it over several resolutions, (batch,) float32.

    Args:
        loss: (mask, logits) -> (batch,).
        mask: (batch, *spatial, channels).
        logits: (batch, *spatial, classes), or a list of such, finest first. They weigh 1, 1/2, 1/4, ..., divided by the
            sum; the mask is brought to the coarser grids by its nearest voxels, so that no label is invented.

    Source: Lee et al. 2014, https://arxiv.org/abs/1409.5185; weights: Isensee et al. 2021,
    https://doi.org/10.1038/s41592-020-01008-z.
    """
    if not isinstance(logits, list | tuple):
        return loss(mask, logits)
    if not logits:
        raise UserError("a network's list of answers is empty; it must hold one at least, the finest first")
    weights = [0.5**level for level in range(len(logits))]
    # The finest answer is on the mask's own grid, or the loss refuses it.
    grids = [mask, *(nearest(mask, answer) for answer in logits[1:])]
    parts = [weight * loss(truth, answer) for weight, truth, answer in zip(weights, grids, logits)]
    return sum(parts[1:], parts[0]) / sum(weights)


def nearest(mask: Any, like: Any) -> Any:
    """Returns a mask on the grid of another tensor: each of its voxels reads the one that its centre lies in."""
    mask = ops.convert_to_tensor(mask)
    for axis in range(1, len(like.shape) - 1):
        old, new = ops.shape(mask)[axis], ops.shape(like)[axis]
        if isinstance(old, int) and old == new:
            continue
        middles = (2 * ops.arange(new, dtype="int32") + 1) * old // (2 * new)
        mask = ops.take(mask, middles, axis=axis)
    return mask
