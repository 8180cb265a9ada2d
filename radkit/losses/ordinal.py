"""Losses of ordered classes: one logit a step of the scale."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from radkit.errors import UserError
from radkit.losses import focusing, settings, shapes


def coral(label: Any, logits: Any, step_weights: Sequence[float] = ()) -> Any:
    """Returns the summed binary cross-entropy of "more than class k", (batch,) float32.

    Args:
        label: (batch,) integers 0 .. classes - 1, or -1: unknown, which costs nothing.
        logits: (batch, steps): of "more than class 0", "more than class 1", ... From the model's setting `head="coral"`
            there are classes - 1, which share their weights and so are in order; a linear head has one more, of more
            than the last class, which is never true.
        step_weights: One a logit; empty: alike.

    Source: Cao et al. 2020, https://arxiv.org/abs/1901.07884, eq. 4.
    """
    settings.weights(step_weights=step_weights)
    label, logits = ops.cast(label, "int32"), ops.cast(logits, "float32")
    label = shapes.one_an_example(label, logits)
    steps = int(logits.shape[-1])
    more = ops.cast(label[..., None] > ops.arange(steps, dtype="int32"), "float32")
    costs = focusing.binary(more, logits)
    if len(step_weights):
        if len(step_weights) != steps:
            raise UserError(f"step_weights must be {steps} numbers, one a logit, not {tuple(step_weights)}")
        costs = costs * ops.convert_to_tensor(list(step_weights), dtype="float32")
    return ops.sum(costs, axis=-1) * ops.cast(label >= 0, "float32")
