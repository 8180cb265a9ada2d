"""Several networks' answers averaged, as one model."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError
from radkit.inference import wrapped


@keras.saving.register_keras_serializable("radkit")
class Ensemble(keras.layers.Layer):
    """The weighted mean of networks' answers, which are asked one after the other.

    Input shape: the networks'. Output shape: the networks', float32.

    Args:
        networks: Two or more with outputs of one shape.
        activation: What is averaged: outputs as they are (`linear`), their `softmax` or `sigmoid`.
        weights: One number from 0 on a network; none: each counts alike.

    Raises:
        UserError: No networks, or another number of weights.
    """

    def __init__(
        self,
        networks: Sequence[keras.Model],
        *,
        activation: str = "linear",
        weights: Sequence[float] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", "autocast": False, "trainable": False, **kwargs})
        if not networks:
            raise UserError("an ensemble needs networks; none were given")
        if weights and (len(weights) != len(networks) or min(weights) < 0 or not sum(weights) > 0):
            raise UserError(f"weights must be {len(networks)} numbers from 0 on, not all 0, and are {tuple(weights)}")
        shapes = [wrapped.answer_shape(network) for network in networks]
        if len({(len(shape), shape[-1]) for shape in shapes}) > 1:
            raise UserError(
                f"networks of an ensemble must have outputs of one number of channels and axes, not {shapes}"
            )
        self.networks, self.weighted = list(networks), tuple(weights)
        self.activation = wrapped.check_activation(activation)

    def call(self, inputs: Any) -> Any:
        """Returns the mean answer."""
        counts = self.weighted or (1.0,) * len(self.networks)
        total: Any = 0.0
        for network, count in zip(self.networks, counts):
            answer = ops.cast(wrapped.answer(network, inputs), "float32")
            total = total + wrapped.activate(answer, self.activation) * (count / sum(counts))
        return total

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return wrapped.output_shape(self.networks[0], input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        networks = [wrapped.written(network) for network in self.networks]
        own = {"networks": networks, "activation": self.activation, "weights": self.weighted}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Ensemble":
        """Returns the layer."""
        return cls(**wrapped.read(config, "networks"))


def ensemble(networks: Sequence[keras.Model], **settings: Any) -> keras.Model:
    """Returns one model of several, as those of a cross-validation's folds; the settings are `Ensemble`'s.

    Example:
        >>> from radkit import models
        >>> folds = [models.build("unet", input_shape=(8, 8, 1), num_classes=2, filters=(4, 8)) for _ in range(3)]
        >>> ensemble(folds, activation="softmax").output_shape
        (None, 8, 8, 2)
    """
    layer = Ensemble(networks, **settings)
    inputs = wrapped.input_of(layer.networks, free=False)
    return keras.Model(inputs, layer(inputs), name="ensemble")
