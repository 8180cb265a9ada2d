"""Attention-based multiple-instance learning: one answer for a set of images, weighed by what each one shows.

The set is a volume's slices, or the images of an exam: `(images, rows, columns, channels)`.

Source: Ilse et al. 2018, https://arxiv.org/abs/1802.04712, eq. 8-9.
"""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError
from radkit.models import heads, slices

TASK = "classification"
RANKS = (3,)
SMALL: dict[str, Any] = {
    "backbone": "resnet",
    "backbone_settings": {"filters": (4, 8), "blocks": (1, 1)},
    "units": 4,
}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    backbone: str = "resnet18",
    backbone_settings: Mapping[str, Any] | None = None,
    units: int = 128,
    gated: bool = True,
    skip_empty: bool = False,
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a network from a set of images to logits, `(batch, num_classes)` float32.

    The layer `attention` gives the images' weights; `attention(network)` is the network that answers with them.

    Args:
        input_shape: Images, rows, columns and channels; the first three may be free.
        num_classes: As `heads.classify`.
        backbone: A 2-D backbone, as `encoders.features` knows it; all images pass the same one.
        backbone_settings: Its own settings.
        units: Width in which images are compared.
        gated: Whether the gate of eq. 9 is there, or only eq. 8's tanh.
        skip_empty: Whether images of nothing but zeros, with which sets are padded to one length, get no weight.
        head: `linear` or `coral`.
        dropout: Share of the set's features dropped in training.
    """
    inputs = keras.Input(input_shape, name="image")
    features = slices.encode(inputs, backbone, backbone_settings)
    seen = [features, slices.Present(name="present")(inputs)] if skip_empty else features
    weights = Attention(units, gated, name="attention", dtype="float32")(seen)
    x = keras.layers.Dot(axes=1, name="weighed", dtype="float32")([weights, features])
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name="attention_mil")


def attention(network: keras.Model) -> keras.Model:
    """Returns the network that answers how much each image of the set counts: (batch, images), summing to 1.

    Raises:
        UserError: The network is not of this family.
    """
    if "attention" not in [layer.name for layer in network.layers]:
        raise UserError(f"network {network.name!r} has no layer 'attention'; give one that 'attention_mil' built")
    return keras.Model(network.input, network.get_layer("attention").output, name="attention")


@keras.saving.register_keras_serializable("radkit")
class Attention(keras.layers.Layer):
    """How much each member of a set counts: weights that sum to 1.

    Input shape: `(batch, members, features)`, or with it `(batch, members)` bool: which members there are; output
    shape: `(batch, members)`.

    Args:
        units: Width of the comparison.
        gated: Whether a sigmoid gate multiplies the tanh.

    Source: Ilse et al. 2018, https://arxiv.org/abs/1802.04712, eq. 8-9.
    """

    def __init__(self, units: int, gated: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.gated = units, gated

    def build(self, input_shape: Any) -> None:
        """Makes the weights V, U and w."""
        width = (input_shape[0] if isinstance(input_shape[0], (tuple, list)) else input_shape)[-1]
        self.tanh = self.add_weight(shape=(width, self.units), initializer="glorot_uniform", name="tanh")
        self.gate = None
        if self.gated:
            self.gate = self.add_weight(shape=(width, self.units), initializer="glorot_uniform", name="gate")
        self.score = self.add_weight(shape=(self.units, 1), initializer="glorot_uniform", name="score")

    def call(self, inputs: Any) -> Any:
        """Returns the weights."""
        members, present = inputs if isinstance(inputs, (tuple, list)) else (inputs, None)
        hidden = ops.tanh(ops.matmul(members, self.tanh))
        if self.gate is not None:
            hidden = hidden * ops.sigmoid(ops.matmul(members, self.gate))
        scores = ops.matmul(hidden, self.score)[..., 0]
        if present is not None:
            scores = ops.where(present, scores, -1e9)
        return ops.softmax(scores, axis=1)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return tuple((input_shape[0] if isinstance(input_shape[0], (tuple, list)) else input_shape)[:2])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "units": self.units, "gated": self.gated}
