"""Truth and logits that do not go together, refused: broadcast against one another they would give some number, too."""

from typing import Any

from keras import ops

from radkit.errors import UserError


def require_same(truth: Any, logits: Any, told: str) -> None:
    """Refuses tensors of other shapes; sizes that only the running graph knows go with all.

    Args:
        truth: Any tensor.
        logits: Any tensor.
        told: What the message says of the two.

    Raises:
        UserError: Their shapes differ.
    """
    ours, theirs = tuple(truth.shape), tuple(logits.shape)
    if len(ours) != len(theirs) or any(None not in pair and pair[0] != pair[1] for pair in zip(ours, theirs)):
        raise UserError(told)


def one_an_example(label: Any, logits: Any) -> Any:
    """Returns labels as (batch,).

    Args:
        label: A tensor, (batch,) or (batch, 1).
        logits: (batch, classes).

    Raises:
        UserError: They have other shapes.
    """
    told = f"label {tuple(label.shape)} and logits {tuple(logits.shape)} must be (batch,) and (batch, classes)"
    if len(logits.shape) != 2:
        raise UserError(told)
    if len(label.shape) == 2 and label.shape[1] == 1:
        label = ops.squeeze(label, axis=1)
    require_same(label, logits[:, 0], told)
    return label
