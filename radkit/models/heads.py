"""What stands behind the features: from pooled features to logits."""

from typing import Any

import keras
from keras import ops

from radkit.errors import UserError, did_you_mean
from radkit.models import layers

HEADS = ("linear", "coral")


def classify(x: Any, num_classes: int, *, head: str = "linear", dropout: float = 0.0, name: str = "predictions") -> Any:
    """Returns logits, float32, of feature maps or of pooled features.

    Args:
        x: (batch, *spatial, channels), which is averaged over space, or (batch, channels).
        num_classes: Number of classes, of labels, or of regressed numbers.
        head: `linear`: one logit a class, (batch, num_classes), for binary (1 or 2), multi-class, multi-label and
            regression alike: the loss tells them apart. `coral`: ordered classes, (batch, num_classes - 1): logits of
            "more than class k".
        dropout: Share of features dropped in training.
        name: Of the last layer.

    Raises:
        UserError: No such head, too few classes for it, or a share that is none.
    """
    _check(num_classes, head, dropout)
    if len(x.shape) > 2:
        x = layers.global_average_pool(x, name="avg_pool")
    if dropout:
        x = keras.layers.Dropout(dropout, dtype="float32")(x)
    if head == "coral":
        return CoralLogits(num_classes, name=name, dtype="float32")(x)
    return keras.layers.Dense(num_classes, dtype="float32", name=name)(x)


def _check(num_classes: int, head: str, dropout: float) -> None:
    if head not in HEADS:
        raise UserError(f"heads has no {head!r}{did_you_mean(head, list(HEADS))}; there are: {', '.join(HEADS)}")
    least = 2 if head == "coral" else 1
    if num_classes < least:
        raise UserError(f"head {head!r} needs at least {least} classes, not {num_classes}")
    if not 0 <= dropout < 1:
        raise UserError(f"dropout is {dropout}; a share of at least 0 and below 1 was expected")


@keras.saving.register_keras_serializable("radkit")
class CoralLogits(keras.layers.Layer):
    """One weight vector and a threshold for each step of an ordered scale.

    Input shape: `(batch, features)`; output shape: `(batch, num_classes - 1)`, logits of "more than class k". They fall
    from step to step because the thresholds do.

    Args:
        num_classes: Number of ordered classes, two or more.

    Source: Cao et al. 2020, https://arxiv.org/abs/1901.07884.
    """

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the weights, and thresholds that start in order."""
        steps = self.num_classes - 1
        self.kernel = self.add_weight(shape=(input_shape[-1], 1), initializer="glorot_uniform", name="kernel")
        start = keras.initializers.Constant([(steps - k) / steps for k in range(steps)])
        self.bias = self.add_weight(shape=(steps,), initializer=start, name="bias")

    def call(self, inputs: Any) -> Any:
        """Returns the logits."""
        return ops.matmul(inputs, self.kernel) + self.bias

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return (input_shape[0], self.num_classes - 1)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "num_classes": self.num_classes}
