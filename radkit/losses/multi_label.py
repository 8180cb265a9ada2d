"""Losses of several labels, each yes (1), no (0) or unknown (-1), which costs nothing."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from radkit.errors import UserError
from radkit.losses import focusing, settings, shapes


def binary_cross_entropy(
    label: Any, logits: Any, *, label_smoothing: float = 0.0, positive_weights: Sequence[float] = ()
) -> Any:
    """Returns the mean binary cross-entropy of the labels that are known, (batch,) float32.

    Args:
        label: (batch, labels): 1, 0 or -1.
        logits: (batch, labels).
        label_smoothing: Share of each truth moved to a half.
        positive_weights: Of each label's yes; empty: 1.
    """
    settings.shares(label_smoothing=label_smoothing)
    settings.weights(positive_weights=positive_weights)
    truth, known, logits = _compare(label, logits)
    truth = truth * (1.0 - label_smoothing) + label_smoothing / 2.0
    weights: Any = 1.0
    if len(positive_weights):
        if len(positive_weights) != int(logits.shape[-1]):
            raise UserError(f"positive_weights must be {logits.shape[-1]} numbers, one a label, not {positive_weights}")
        weights = ops.convert_to_tensor(list(positive_weights), dtype="float32")
    of_yes = ops.log_sigmoid(logits)
    return _mean(-(weights * truth * of_yes + (1.0 - truth) * (of_yes - logits)), known)


def focal(label: Any, logits: Any, *, gamma: float = 2.0, alpha: float | Sequence[float] | None = None) -> Any:
    """Returns the mean focal loss of the labels that are known, (batch,) float32.

    Args:
        label: (batch, labels): 1, 0 or -1.
        logits: (batch, labels).
        gamma: How much less a label counts that is right already; 0: binary cross-entropy.
        alpha: Weight of yes, no having 1 - alpha; or of each label's yes, no having 1; None: alike.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002.
    """
    settings.from_nought(gamma=gamma)
    settings.alpha(alpha)
    truth, known, logits = _compare(label, logits)
    return _mean(focusing.of_each(truth, logits, gamma, alpha), known)


def _compare(label: Any, logits: Any) -> tuple[Any, Any, Any]:
    label, logits = ops.cast(label, "float32"), ops.cast(logits, "float32")
    told = f"label {tuple(label.shape)} and logits {tuple(logits.shape)} must both be (batch, labels)"
    shapes.require_same(label, logits, told)
    if len(logits.shape) != 2:
        raise UserError(told)
    return ops.maximum(label, 0.0), ops.cast(label >= 0, "float32"), logits


def _mean(costs: Any, known: Any) -> Any:
    count = ops.sum(known, axis=-1)
    return ops.sum(costs * known, axis=-1) / ops.where(count > 0, count, 1.0)
