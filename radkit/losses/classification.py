"""Losses of exclusive classes against logits. A label of -1 is unknown and costs nothing."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from radkit.errors import UserError
from radkit.losses import focusing, settings, shapes


def cross_entropy(label: Any, logits: Any, label_smoothing: float = 0.0) -> Any:
    """Returns softmax cross-entropy, (batch,) float32.

    Args:
        label: (batch,) integers 0 .. classes - 1, or -1: unknown.
        logits: (batch, classes).
        label_smoothing: Share of each target spread evenly over the classes.
    """
    settings.shares(label_smoothing=label_smoothing)
    truth, known, log_probabilities = _compare(label, logits)
    truth = truth * (1.0 - label_smoothing) + label_smoothing / int(truth.shape[-1])
    return -ops.sum(truth * log_probabilities, axis=-1) * known


def focal(label: Any, logits: Any, *, gamma: float = 2.0, alpha: float | Sequence[float] | None = None) -> Any:
    """Returns focal loss, (batch,) float32.

    Args:
        label: (batch,) integers 0 .. classes - 1, or -1: unknown.
        logits: (batch, classes).
        gamma: How much less an example counts that is right already; 0: cross-entropy.
        alpha: Weight of all classes but the first, which has 1 - alpha; or one a class; None: alike.

    Source: Lin et al. 2017, https://arxiv.org/abs/1708.02002.
    """
    settings.from_nought(gamma=gamma)
    settings.alpha(alpha)
    truth, known, log_probabilities = _compare(label, logits)
    return ops.sum(focusing.of_one(truth, log_probabilities, gamma, alpha), axis=-1) * known


def cost_sensitive(
    label: Any,
    logits: Any,
    costs: Sequence[Sequence[float]] = (),
    *,
    cost_weight: float = 1.0,
    cross_entropy_weight: float = 1.0,
    label_smoothing: float = 0.0,
) -> Any:
    """Returns cross-entropy plus the cost that the network's probabilities are expected to bring, (batch,) float32.

    Args:
        label: (batch,) integers 0 .. classes - 1, or -1: unknown.
        logits: (batch, classes).
        costs: `costs[true][called]`, as of the metric `expected_cost`; usually 0 where both are the same. Empty: the
            squared distance of the classes, which is for degrees.
        cost_weight: Of the expected cost in the sum.
        cross_entropy_weight: Of cross-entropy in the sum; 0: the expected cost alone.
        label_smoothing: Of cross-entropy.

    Source: Galdran et al. 2020, https://arxiv.org/abs/2010.00291, eq. 2-3.
    """
    settings.from_nought(cost_weight=cost_weight, cross_entropy_weight=cross_entropy_weight)
    truth, known, log_probabilities = _compare(label, logits)
    classes = int(truth.shape[-1])
    table = [[float((a - b) ** 2) for b in range(classes)] for a in range(classes)] if not len(costs) else costs
    if len(table) != classes or not all(settings.is_row(row) and len(row) == classes for row in table):
        raise UserError(f"costs must be {classes} rows of {classes} numbers, costs[true][called], not {costs}")
    of_calls = ops.matmul(truth, ops.convert_to_tensor([list(row) for row in table], dtype="float32"))
    expected = ops.sum(of_calls * ops.exp(log_probabilities), axis=-1) * known
    return cross_entropy_weight * cross_entropy(label, logits, label_smoothing) + cost_weight * expected


def _compare(label: Any, logits: Any) -> tuple[Any, Any, Any]:
    """Returns the truth, (batch, classes), which labels are known, (batch,), and logarithms of probabilities."""
    label, logits = ops.cast(label, "int32"), ops.cast(logits, "float32")
    label = shapes.one_an_example(label, logits)
    truth = ops.one_hot(label, int(logits.shape[-1]), dtype="float32")
    return truth, ops.cast(label >= 0, "float32"), ops.log_softmax(logits, axis=-1)
