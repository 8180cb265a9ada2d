"""A network's answer to an image of any size, window by window, blended.

Windows are spread evenly along each axis, so that neighbours share at least `overlap` of a side; where several see a
voxel their answers are averaged, by default with a Gaussian's weights, as borders of a window are known less well.

Source: Isensee et al. 2021, https://doi.org/10.1038/s41592-020-01008-z.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from radkit.inference import windows, wrapped
from radkit.models import layers


def apply(
    network: wrapped.Network,
    image: Any,
    window: Sequence[int],
    *,
    overlap: float = 0.5,
    batch_size: int = 1,
    blending: str = "gaussian",
    activation: str = "linear",
    labels: bool = False,
    padding_value: float = 0.0,
) -> Any:
    """Returns the blended answers to windows of an image.

    Args:
        network: From (windows, *window, channels) to (windows, *window, classes).
        image: (batch, *spatial, channels) of any size; what is smaller than the window is padded around, and the
            answer is cut back.
        window: Sides in voxels.
        overlap: Share of a window that its neighbour sees, too; from 0 to below 1.
        batch_size: Windows at once.
        blending: `gaussian` or `constant`.
        activation: What is averaged: the network's output as it is (`linear`), its `softmax` or `sigmoid`.
        labels: Whether the answer is the class with the highest value. On TensorFlow no tensor of all classes at the
            image's size is made then.
        padding_value: What surrounds an image that is smaller than the window.

    Returns:
        (batch, *spatial, classes) float32, or with `labels` (batch, *spatial) int32.

    Raises:
        UserError: A setting that makes no sense.
    """
    windows.check(window, overlap, batch_size, len(image.shape) - 2)
    windows.check_blending(blending)
    wrapped.check_activation(activation)

    def answer(cut: Any) -> Any:
        return wrapped.activate(ops.cast(wrapped.answer(network, cut), "float32"), activation)

    def finish(blended: Any) -> Any:
        return ops.cast(ops.argmax(blended, axis=-1), "int32") if labels else blended

    # Zeros of what is left when the value is taken out are the value.
    padded = layers.PadToMultiple(1, at_least=tuple(window), dtype="float32")(
        ops.cast(image, "float32") - padding_value
    )
    found = _blend()(
        lambda cut, training: answer(cut),
        padded + padding_value,
        tuple(window),
        overlap=overlap,
        batch_size=batch_size,
        blending=blending,
        finish=finish,
    )
    if labels:
        return layers.CropLike(dtype="int32")([found[..., None], image])[..., 0]
    return layers.CropLike(dtype="float32")([found, image])


def _blend() -> Callable[..., Any]:
    if keras.backend.backend() == "tensorflow":
        from radkit.inference import strips

        return strips.blend
    return blend


def blend(
    network: wrapped.Network,
    image: Any,
    window: Sequence[int],
    *,
    overlap: float,
    batch_size: int,
    blending: str,
    finish: Callable[[Any], Any],
) -> Any:
    """Returns the same as `strips.blend`, by adding windows into the whole answer: for backends with fixed sizes."""
    batch, *sizes, channels = image.shape
    places = [windows.starts(size, side, overlap) for size, side in zip(sizes, window)]
    grid = np.stack(np.meshgrid(*places, indexing="ij"), -1).reshape(-1, len(window))
    shares = [windows.shares(size, side, overlap, blending) for size, side in zip(sizes, window)]
    numbers = np.stack(np.meshgrid(*[np.arange(len(one)) for one in places], indexing="ij"), -1).reshape(grid.shape)
    lacking = -len(grid) % batch_size  # the last batch is filled with windows that count nothing
    counts = ops.convert_to_tensor(np.r_[np.ones(len(grid)), np.zeros(lacking)].astype(np.float32))
    grid, numbers = (
        ops.convert_to_tensor(np.pad(of, [(0, lacking), (0, 0)]).astype(np.int32)) for of in (grid, numbers)
    )
    tables = [ops.convert_to_tensor(share) for share in shares]

    def add(turn: Any, total: Any) -> Any:
        which = [turn * batch_size + inside for inside in range(batch_size)]
        begins = [(0, *(grid[one, axis] for axis in range(len(window))), 0) for one in which]
        cut = [ops.slice(image, begin, (batch, *window, channels)) for begin in begins]
        found = wrapped.answer(network, ops.concatenate(cut))
        for inside, (one, begin) in enumerate(zip(which, begins)):
            part = found[inside * batch : (inside + 1) * batch] * counts[one]
            for axis, table in enumerate(tables, 1):
                part *= ops.reshape(table[numbers[one, axis - 1]], [-1 if axis == a else 1 for a in range(part.ndim)])
            total = ops.slice_update(total, begin, ops.slice(total, begin, part.shape) + part)
        return total

    classes = wrapped.answer(network, keras.KerasTensor((batch * batch_size, *window, channels))).shape[-1]
    turns = len(grid) // batch_size
    return finish(ops.fori_loop(0, turns, add, ops.zeros((batch, *sizes, classes))))


@keras.saving.register_keras_serializable("radkit")
class SlidingWindow(keras.layers.Layer):
    """A network's answer to an image of any size; see `apply` for the settings.

    Input shape: `(batch, *spatial, channels)`, any size.
    Output shape: `(batch, *spatial, classes)` float32, or with `labels` `(batch, *spatial)` int32.

    Args:
        network: A segmenter that takes images as large as the window.
        window: Sides in voxels.
        overlap: Share of a window that its neighbour sees, too.
        batch_size: Windows at once.
        blending: `gaussian` or `constant`.
        activation: `linear`, `softmax` or `sigmoid`.
        labels: Whether the answer is a map of labels.
        padding_value: What surrounds an image that is smaller than the window.
    """

    def __init__(
        self,
        network: keras.Model,
        window: Sequence[int],
        *,
        overlap: float = 0.5,
        batch_size: int = 1,
        blending: str = "gaussian",
        activation: str = "linear",
        labels: bool = False,
        padding_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        # Images come as they are, and sums are float32, whatever the network computes in.
        super().__init__(**{"dtype": "float32", "autocast": False, "trainable": False, **kwargs})
        windows.check(window, overlap, batch_size, len(network.input_shape) - 2)
        windows.check_blending(blending)
        wrapped.require_segmenter(network, "a sliding window's network")
        wrapped.require_sizes(network, window, "a sliding window's network")
        self.network, self.window = network, tuple(window)
        self.settings: dict[str, Any] = {
            "overlap": overlap,
            "batch_size": batch_size,
            "blending": blending,
            "activation": wrapped.check_activation(activation),
            "labels": labels,
            "padding_value": padding_value,
        }
        self.labels = labels
        self.supports_jit = keras.backend.backend() != "tensorflow"
        self._compiled: Callable[[Any], Any] | None = None

    def call(self, inputs: Any) -> Any:
        """Returns the blended answer."""
        if keras.backend.backend() != "tensorflow":
            return self._blended(inputs)
        if self._compiled is None:
            self._compiled = _compiled(self._blended, len(self.window), inputs.shape[-1])
        return self._compiled(ops.cast(inputs, "float32"))

    def _blended(self, image: Any) -> Any:
        return apply(self.network, image, self.window, **self.settings)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        """Returns the output's shape and type."""
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype="int32" if self.labels else "float32")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        if self.labels:
            return tuple(input_shape[:-1])
        return (*input_shape[:-1], wrapped.answer_shape(self.network)[-1])

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        network = wrapped.written(self.network)
        return {**super().get_config(), "network": network, "window": self.window, **self.settings}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "SlidingWindow":
        """Returns the layer."""
        return cls(**wrapped.read(config, "network"))


def _compiled(function: Callable[[Any], Any], rank: int, channels: int) -> Callable[[Any], Any]:
    """Returns the function as one graph for images of every size."""
    import tensorflow as tf

    spec = tf.TensorSpec([None] * (rank + 1) + [channels], tf.float32, name="image")
    found: Callable[[Any], Any] = tf.function(function, input_signature=[spec], autograph=False)
    return found


def sliding_window(network: keras.Model, window: Sequence[int], **settings: Any) -> keras.Model:
    """Returns a model that answers images of any size through windows; the settings are `SlidingWindow`'s.

    Example:
        >>> from radkit import models
        >>> network = models.build("unet", input_shape=(16, 16, 1), num_classes=2, filters=(4, 8))
        >>> sliding_window(network, (16, 16), overlap=0.25).output_shape
        (None, None, None, 2)
    """
    inputs = wrapped.input_of([network], free=True)
    return keras.Model(inputs, SlidingWindow(network, window, **settings)(inputs), name="sliding_window")
