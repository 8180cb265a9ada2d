"""Answers to mirrored images averaged with that to the image itself."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError
from radkit.inference import wrapped


def apply(network: wrapped.Network, image: Any, axes: Sequence[bool], *, activation: str = "linear") -> Any:
    """Returns the mean of the answers to the image and all its mirror images, each turned back.

    Args:
        network: To a map, (batch, *spatial, classes), or to one answer an image, (batch, classes).
        image: (batch, *spatial, channels).
        axes: Per spatial axis whether it is mirrored; k of them are 2 to the k answers, asked for one by one.
        activation: What is averaged: the output as it is (`linear`), its `softmax` or `sigmoid`.

    Returns:
        As the network's answer, float32.

    Raises:
        UserError: Not one value per axis.
    """
    check(axes, len(image.shape) - 2)
    wrapped.check_activation(activation)
    turned = [axis for axis, chosen in enumerate(axes, 1) if chosen]

    def part(number: Any) -> Any:
        chosen = [number // 2**bit % 2 for bit in range(len(turned))]
        answer = wrapped.answer(network, mirrored(image, turned, chosen))
        answer = wrapped.activate(ops.cast(answer, "float32"), activation)
        return mirrored(answer, turned, chosen) if len(answer.shape) == len(image.shape) else answer

    number = 2 ** len(turned)
    return _sum(part, number) / number


def check(axes: Sequence[bool], rank: int) -> None:
    """Refuses another number of values than axes.

    Raises:
        UserError: It is another.
    """
    if len(axes) != rank:
        raise UserError(f"flips must be {rank} values, one per spatial axis, not {tuple(axes)}")


def mirrored(image: Any, axes: Sequence[int], chosen: Sequence[Any]) -> Any:
    """Returns the image mirrored along those of the axes whose value is 1; values may be tensors."""
    if all(isinstance(one, int) for one in chosen):
        wanted = [axis for axis, one in zip(axes, chosen) if one]
        return ops.flip(image, axis=wanted) if wanted else image
    import tensorflow as tf

    along = [tf.constant(False)] * len(image.shape)
    for axis, one in zip(axes, chosen):
        along[axis] = one > 0
    return tf.ensure_shape(tf.raw_ops.Reverse(tensor=image, dims=tf.stack(along)), image.shape)


def _sum(part: Any, number: int) -> Any:
    """Returns the sum of parts 0, 1, ...; on TensorFlow the network stands once in the graph and asks one by one."""
    if keras.backend.backend() != "tensorflow":
        return sum(part(one) for one in range(1, number)) + part(0) if number > 1 else part(0)
    import tensorflow as tf

    shape: list[Any] = []

    def body(one: Any, total: Any) -> tuple[Any, Any]:
        found = part(one)
        shape[:] = found.shape
        return one + 1, total + found

    free = (tf.TensorShape([]), tf.TensorShape(None))
    start = (tf.constant(0), tf.zeros([]))
    _, total = tf.while_loop(lambda one, _: one < number, body, start, free, parallel_iterations=1)
    return tf.ensure_shape(total, shape)


@keras.saving.register_keras_serializable("radkit")
class Flips(keras.layers.Layer):
    """A network's answers to an image and its mirror images, averaged; see `apply`.

    Input shape: the network's. Output shape: the network's, float32.

    Args:
        network: Any segmenter or classifier.
        axes: Per spatial axis whether it is mirrored.
        activation: `linear`, `softmax` or `sigmoid`.
    """

    def __init__(
        self, network: keras.Model, axes: Sequence[bool], *, activation: str = "linear", **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": "float32", "autocast": False, "trainable": False, **kwargs})
        check(axes, len(network.input_shape) - 2)
        self.network, self.axes = network, tuple(axes)
        self.activation = wrapped.check_activation(activation)
        self.supports_jit = keras.backend.backend() != "tensorflow"

    def call(self, inputs: Any) -> Any:
        """Returns the mean answer."""
        return apply(self.network, inputs, self.axes, activation=self.activation)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return wrapped.output_shape(self.network, input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        own = {"network": wrapped.written(self.network), "axes": self.axes, "activation": self.activation}
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Flips":
        """Returns the layer."""
        return cls(**wrapped.read(config, "network"))


def flipped(network: keras.Model, axes: Sequence[bool], **settings: Any) -> keras.Model:
    """Returns a model that averages a network's answers to an image and its mirror images.

    Example:
        >>> from radkit import models
        >>> network = models.build("unet", input_shape=(None, None, 1), num_classes=2, filters=(4, 8))
        >>> flipped(network, (True, True)).output_shape
        (None, None, None, 2)
    """
    inputs = wrapped.input_of([network], free=False)
    return keras.Model(inputs, Flips(network, axes, **settings)(inputs), name="flips")
