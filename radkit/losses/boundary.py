"""Losses that know how far from the true edge a mistake is. Distances are in voxels.

They cost a distance transform of every mask and step; use them on patches, and beside an overlap loss.
"""

from typing import Any

from keras import ops

from radkit.losses import distances, masks, segmentation, settings
from radkit.losses.masks import Activation, Compared


def boundary(mask: Any, logits: Any, *, background: bool = False, activation: Activation = "softmax") -> Any:
    """Returns boundary loss, the mean of probability times signed distance to the true edge, (batch,) float32.

    Below 0 for good answers. A class that is absent (or everywhere) has no edge and costs nothing: combine it with an
    overlap loss, as `dice_and_boundary` does.

    Args:
        mask: (batch, *spatial, 1) integers, or (batch, *spatial, classes) 0 or 1; 255: unlabelled.
        logits: (batch, *spatial, classes).
        background: Whether class 0 is scored.
        activation: `softmax` or `sigmoid`.

    Source: Kervadec et al. 2019, https://arxiv.org/abs/1812.07032, eq. 7.
    """
    return _boundary(masks.compare(mask, logits, activation, background))


def _boundary(compared: Compared) -> Any:
    way = distances.signed(compared.scored_truth > 0.5)
    return ops.mean(_mean_of_known(compared.scored * way, compared), axis=-1)


def dice_and_boundary(
    mask: Any,
    logits: Any,
    smooth: float = 1.0,
    *,
    boundary_weight: float = 0.01,
    background: bool = False,
    activation: Activation = "softmax",
) -> Any:
    """Returns soft Dice plus a share of boundary loss, (batch,) float32.

    Args:
        mask: As of `boundary`.
        logits: As of `boundary`.
        smooth: As of `radkit.losses.segmentation.dice`.
        boundary_weight: Of boundary loss in the sum; it is in voxels, Dice from 0 to 1.
        background: Whether class 0 is scored.
        activation: `softmax` or `sigmoid`.
    """
    settings.from_nought(boundary_weight=boundary_weight)
    overlap = segmentation.dice(mask, logits, smooth, background=background, activation=activation)
    return overlap + boundary_weight * boundary(mask, logits, background=background, activation=activation)


def hausdorff(
    mask: Any, logits: Any, *, alpha: float = 2.0, background: bool = False, activation: Activation = "softmax"
) -> Any:
    """Returns the mean squared error weighted by distances to the true and to the answered edge, (batch,) float32.

    Args:
        mask: (batch, *spatial, 1) integers, or (batch, *spatial, classes) 0 or 1; 255: unlabelled.
        logits: (batch, *spatial, classes).
        alpha: Exponent of the distances.
        background: Whether class 0 is scored.
        activation: `softmax` or `sigmoid`.

    Source: Karimi and Salcudean 2019, https://arxiv.org/abs/1904.10030, eq. 8.
    """
    settings.from_nought(alpha=alpha)
    compared = masks.compare(mask, logits, activation, background)
    truth, found = compared.scored_truth, compared.scored
    way = sum(distances.to_edge(part > 0.5) ** alpha for part in (truth, ops.stop_gradient(found)))
    return ops.mean(_mean_of_known(ops.square(truth - found) * way, compared), axis=-1)


def _mean_of_known(values: Any, compared: Compared) -> Any:
    """Returns (batch, classes): the mean over the labelled voxels of what is 0 elsewhere."""
    known = compared.known if compared.known.shape[-1] == 1 else compared.known[..., compared.first :]
    count = ops.sum(known, axis=compared.space)
    return ops.sum(values, axis=compared.space) / ops.where(count > 0, count, 1.0)
