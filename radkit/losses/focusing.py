"""The focal loss of single answers: those that are right already count less.

Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002.
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from radkit.errors import UserError

_LEAST = 1e-12  # below it a root's slope would be infinite


def power(values: Any, exponent: float) -> Any:
    """Returns values from 0 on to a power whose slope is finite everywhere."""
    if exponent == 0:
        return ops.ones_like(values)
    return ops.power(ops.maximum(values, 0.0 if exponent >= 1 else _LEAST), exponent)


def of_one(
    truth: Any, log_probabilities: Any, gamma: float, alpha: float | Sequence[float] | None, no_background: bool = False
) -> Any:
    """Returns what each of exclusive classes costs, 0 but for the true one; same shape as `truth`.

    Args:
        truth: (..., classes) float32, 1 for the true class.
        log_probabilities: As truth.
        gamma: The exponent.
        alpha: Weight of all classes but the first, which has 1 - alpha; or of each class; or None.
        no_background: Whether the first class is none that alpha's 1 - alpha is for.
    """
    classes = int(truth.shape[-1])
    costs = -power(-ops.expm1(log_probabilities), gamma) * log_probabilities * truth
    if alpha is None:
        return costs
    if isinstance(alpha, int | float):
        alpha = [alpha] * classes if no_background else [1.0 - alpha] + [alpha] * (classes - 1)
    return costs * _one_a_class(alpha, classes)


def of_each(truth: Any, logits: Any, gamma: float, alpha: float | Sequence[float] | None) -> Any:
    """Returns what each of several yes-or-no answers costs; same shape as `truth`.

    Args:
        truth: (..., classes) float32, 1 yes, 0 no.
        logits: As truth.
        gamma: The exponent.
        alpha: Weight of yes, no having 1 - alpha; or of each class's yes, no having 1; or None.
    """
    # log(1 - p of the truth): no rounding of p near 1 gets into it.
    log_wrong = ops.log_sigmoid(-logits * (truth * 2.0 - 1.0))
    costs = ops.exp(gamma * log_wrong) * binary(truth, logits)
    if alpha is None:
        return costs
    if isinstance(alpha, int | float):
        return costs * (truth * alpha + (1.0 - truth) * (1.0 - alpha))
    return costs * (truth * _one_a_class(alpha, int(truth.shape[-1])) + 1.0 - truth)


def of_quality(truth: Any, logits: Any, gamma: float) -> Any:
    """Returns what each of several answers costs that should tell how good a box is; same shape as `truth`.

    Args:
        truth: (..., classes) float32, 0 to 1: 0 where there is no box, else how well the one that is answered fits.
        logits: As truth.
        gamma: The exponent of how far the answer is off.

    Source: Li et al. 2020, https://arxiv.org/abs/2006.04388, equation 5.
    """
    return power(ops.abs(truth - ops.sigmoid(logits)), gamma) * binary(truth, logits)


def binary(truth: Any, logits: Any) -> Any:
    """Returns the cross-entropy of yes-or-no answers; same shape as `truth`."""
    return logits - logits * truth - ops.log_sigmoid(logits)


def _one_a_class(alpha: Sequence[float], classes: int) -> Any:
    if len(alpha) != classes:
        raise UserError(f"alpha must be one number, or {classes}, one a scored class, not {tuple(alpha)}")
    return ops.convert_to_tensor(list(alpha), dtype="float32")
