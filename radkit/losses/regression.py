"""Losses of a number. A label that is no number (nan) is unknown and costs nothing."""

from typing import Any

from keras import ops

from radkit.errors import UserError
from radkit.losses import settings, shapes


def squared(label: Any, logits: Any) -> Any:
    """Returns the squared error, (batch,) float32.

    Args:
        label: (batch,) float.
        logits: (batch, 1), or (batch,): the number itself.
    """
    error, known = _error(label, logits)
    return ops.square(error) * known


def absolute(label: Any, logits: Any) -> Any:
    """Returns the absolute error, (batch,) float32; arguments as of `squared`."""
    error, known = _error(label, logits)
    return ops.abs(error) * known


def huber(label: Any, logits: Any, delta: float = 1.0) -> Any:
    """Returns Huber's loss, (batch,) float32: half the square near 0, linear from `delta` on.

    Args:
        label: (batch,) float.
        logits: (batch, 1), or (batch,).
        delta: Where it becomes linear.

    Source: Huber 1964, https://doi.org/10.1214/aoms/1177703732.
    """
    settings.above_nought(delta=delta)
    error, known = _error(label, logits)
    size = ops.abs(error)
    inside = ops.minimum(size, delta)
    return (0.5 * ops.square(inside) + delta * (size - inside)) * known


def _error(label: Any, logits: Any) -> tuple[Any, Any]:
    label, logits = ops.cast(label, "float32"), ops.cast(logits, "float32")
    if len(logits.shape) == 1:
        logits = logits[:, None]
    if logits.shape[-1] != 1:
        raise UserError(f"logits of a number must be (batch, 1) or (batch,), not {tuple(logits.shape)}")
    label = shapes.one_an_example(label, logits)
    known = ops.isfinite(label)
    error = logits[:, 0] - ops.where(known, label, 0.0)
    return error, ops.cast(known, "float32")
