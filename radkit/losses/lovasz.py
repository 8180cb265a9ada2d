"""The Lovasz extension of the Jaccard index: a loss whose minimum is that of intersection over union itself."""

from typing import Any

from keras import ops

from radkit.losses import masks
from radkit.losses.masks import Activation


def lovasz(mask: Any, logits: Any, *, background: bool = False, activation: Activation = "softmax") -> Any:
    """Returns Lovasz-softmax loss, the mean over the classes that are there, (batch,) float32.

    Args:
        mask: (batch, *spatial, 1) integers, or (batch, *spatial, classes) 0 or 1; 255: unlabelled.
        logits: (batch, *spatial, classes).
        background: Whether class 0 is scored.
        activation: `softmax` or `sigmoid`.

    Source: Berman et al. 2018, https://arxiv.org/abs/1705.08790, algorithm 1; each image for itself.
    """
    compared = masks.compare(mask, logits, activation, background)
    truth, found = _in_rows(compared.scored_truth), _in_rows(compared.scored)
    # An unlabelled voxel has neither truth nor answer: its error of 0 sorts behind all others and adds nothing.
    errors = ops.abs(truth - found)
    order = ops.argsort(ops.stop_gradient(-errors), axis=-1)
    falling, truth = ops.take_along_axis(errors, order, axis=-1), ops.take_along_axis(truth, order, axis=-1)
    costs = ops.sum(falling * ops.stop_gradient(_steps(truth)), axis=-1)
    there = ops.cast(ops.any(truth > 0, axis=-1), "float32")
    count = ops.sum(there, axis=-1)
    return ops.sum(costs * there, axis=-1) / ops.where(count > 0, count, 1.0)


def _in_rows(values: Any) -> Any:
    """Returns (batch, classes, voxels) of (batch, *spatial, classes)."""
    flat = ops.reshape(values, (ops.shape(values)[0], -1, int(values.shape[-1])))
    return ops.transpose(flat, (0, 2, 1))


def _steps(truth: Any) -> Any:
    """Returns by how much each further error lowers the Jaccard index; truth (..., voxels), largest errors first."""
    total = ops.sum(truth, axis=-1, keepdims=True)
    both = total - ops.cumsum(truth, axis=-1)
    either = total + ops.cumsum(1.0 - truth, axis=-1)
    lost = 1.0 - both / either
    return ops.concatenate([lost[..., :1], lost[..., 1:] - lost[..., :-1]], axis=-1)
