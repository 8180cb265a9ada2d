"""ConvNeXt-T and -S, 2-D and 3-D: 7x7 depthwise convolutions, layer normalisation, GELU.

Source: Liu et al. 2022, https://arxiv.org/abs/2201.03545. Names, shapes and order of the weights are those of Keras's
applications, whose files fit. These take 0 to 255 in three channels and scale inside: `preprocessing`.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError
from radkit.models import heads, layers

TASK = "classification"
SMALL = {"depths": (1, 1, 1, 1), "filters": (4, 8, 8, 16)}
VARIANTS: dict[str, dict[str, Any]] = {
    "convnext_tiny": {"depths": (3, 3, 9, 3), "filters": (96, 192, 384, 768)},
    "convnext_small": {"depths": (3, 3, 27, 3), "filters": (96, 192, 384, 768)},
}
ALIASES = {"convnext_t": "convnext_tiny", "convnext_s": "convnext_small"}
PREPROCESSING = ("auto", "none", "keras")
_MEANS, _DEVIATIONS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's red, green and blue, of 1
_EPSILON = 1e-6


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    depths: Sequence[int] = (3, 3, 9, 3),
    filters: Sequence[int] = (96, 192, 384, 768),
    preprocessing: str = "auto",
    layer_scale: float = 1e-6,
    drop_path: float = 0.0,
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a ConvNeXt from image to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Spatial sizes and channels; what is smaller than 32 is padded.
        num_classes: Number of logits.
        depths: Blocks of each level.
        filters: Channels of each level.
        preprocessing: `none`: the image is normalised already, as radkit's are. `keras`: it is 0 to 255 in three
            channels, and ImageNet's means and deviations are taken out inside. `auto`: `keras` in 2-D with three
            channels, else `none`.
        layer_scale: By what each block's addition is scaled at first; the scales learn.
        drop_path: Share of last blocks left out of an image's way in training, earlier ones less; the paper's is 0.1.
        head: As `heads.classify`.
        dropout: Share of pooled features dropped in training.

    Raises:
        UserError: A preprocessing that is none, or one of colours where there are other channels.
    """
    inputs = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(1, at_least=2 ** (len(filters) + 1))(inputs)
    if preprocessing == "auto":
        preprocessing = "keras" if len(input_shape) == 3 and input_shape[-1] == 3 else "none"
    x = features(x, depths, filters, preprocessing, layer_scale, drop_path)[-1]
    member = _member(depths, filters)
    x = layers.global_average_pool(x, name=f"{member}_head_gap")
    x = keras.layers.LayerNormalization(epsilon=_EPSILON, dtype="float32", name=f"{member}_head_layernorm")(x)
    logits = heads.classify(x, num_classes, head=head, dropout=dropout, name=f"{member}_head_dense")
    return keras.Model(inputs, logits, name=member)


def features(
    x: Any,
    depths: Sequence[int] = (3, 3, 9, 3),
    filters: Sequence[int] = (96, 192, 384, 768),
    preprocessing: str = "none",
    layer_scale: float = 1e-6,
    drop_path: float = 0.0,
) -> list[Any]:
    """Returns the last feature maps of strides 2, 4, 8, 16 and 32, finest first; arguments as `build`.

    The stem goes from 1 to 4 in one step: at stride 2 stand the image's local means.
    """
    if len(depths) != len(filters):
        raise UserError(f"convnext has {len(filters)} levels and the depths of {len(depths)}; give as many")
    member = _member(depths, filters)
    x = _scaled(x, preprocessing, f"{member}_prestem_normalization")
    maps, done = [layers.average_pool(x, 2, padding="valid")], 0
    for level, (width, count) in enumerate(zip(filters, depths)):
        x = _downsampled(x, width, level, member)
        for block in range(count):
            rate = drop_path * done / max(1, sum(depths) - 1)
            x = _block(x, width, layer_scale, rate, f"{member}_stage_{level}_block_{block}")
            done += 1
        maps.append(x)
    return maps


def _member(depths: Sequence[int], filters: Sequence[int]) -> str:
    wanted = {"depths": tuple(depths), "filters": tuple(filters)}
    return next((name for name, found in VARIANTS.items() if found == wanted), "convnext")


def _scaled(x: Any, preprocessing: str, name: str) -> Any:
    if preprocessing not in PREPROCESSING:
        raise UserError(f"convnext has no preprocessing {preprocessing!r}; there are {', '.join(PREPROCESSING)}")
    if preprocessing in ("auto", "none"):
        return x
    if x.shape[-1] != 3:
        raise UserError(f"preprocessing 'keras' is of 3 channels, not {x.shape[-1]}; set preprocessing='none'")
    means, variances = [255 * mean for mean in _MEANS], [(255 * deviation) ** 2 for deviation in _DEVIATIONS]
    return keras.layers.Normalization(axis=-1, mean=means, variance=variances, name=name)(x)


def _downsampled(x: Any, width: int, level: int, member: str) -> Any:
    if level == 0:
        x = layers.convolve(x, width, 4, 4, bias=True, padding="valid", name=f"{member}_stem_conv")
        return _normalize(x, f"{member}_stem_layernorm")
    x = _normalize(x, f"{member}_downsampling_layernorm_{level - 1}")
    return layers.convolve(x, width, 2, 2, bias=True, padding="valid", name=f"{member}_downsampling_conv_{level - 1}")


def _normalize(x: Any, name: str) -> Any:
    return keras.layers.LayerNormalization(epsilon=_EPSILON, name=name)(x)


def _block(inputs: Any, width: int, layer_scale: float, rate: float, name: str) -> Any:
    x = DepthwiseConvolution(7, name=f"{name}_depthwise_conv")(inputs)
    x = _normalize(x, f"{name}_layernorm")
    x = keras.layers.Dense(4 * width, name=f"{name}_pointwise_conv_1")(x)
    x = layers.activate(x, "gelu", name=f"{name}_gelu")
    x = keras.layers.Dense(width, name=f"{name}_pointwise_conv_2")(x)
    x = LayerScale(layer_scale, name=f"{name}_layer_scale")(x)
    if rate:
        shape = (None, *(1,) * (len(x.shape) - 1))
        x = keras.layers.Dropout(rate, noise_shape=shape, name=f"{name}_stochastic_depth")(x)
    return keras.layers.Add()([inputs, x])


@keras.saving.register_keras_serializable("radkit")
class DepthwiseConvolution(keras.layers.Layer):
    """Convolves each channel by itself, with a constant and `same` padding; in 3-D slice of the kernel by slice.

    The kernel is kept as a grouped convolution's, which Keras's ConvNeXt has, and computed as a depthwise one: the
    grouped one is slow on processors.

    Input shape: `(batch, *spatial, channels)`, two or three spatial axes; the output's is the same.

    Args:
        size: Of the kernel along each axis, odd.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the kernel, (*size, 1, channels), and the constant."""
        channels, rank = input_shape[-1], len(input_shape) - 2
        start = keras.initializers.TruncatedNormal(stddev=self.size ** (-rank / 2))
        self.kernel = self.add_weight(shape=(*(self.size,) * rank, 1, channels), initializer=start, name="kernel")
        self.bias = self.add_weight(shape=(channels,), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:
        """Returns the inputs convolved."""
        kernel = ops.swapaxes(self.kernel, -1, -2)
        if len(inputs.shape) == 4:
            return ops.depthwise_conv(inputs, kernel, padding="same") + self.bias
        shape, around = ops.shape(inputs), self.size // 2
        padded = ops.pad(inputs, [[0, 0], [around, around], [0, 0], [0, 0], [0, 0]])
        total: Any = ops.reshape(self.bias, (1, 1, 1, 1, -1))
        for tap in range(self.size):
            slices = ops.reshape(padded[:, tap : tap + shape[1]], (-1, *shape[2:]))
            convolved = ops.depthwise_conv(slices, kernel[tap], padding="same")
            total = total + ops.reshape(convolved, (-1, *shape[1:]))
        return total

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "size": self.size}


@keras.saving.register_keras_serializable("radkit")
class LayerScale(keras.layers.Layer):
    """Scales each channel by a number that learns and begins near 0, so that a block begins as identity.

    Input shape: `(batch, *spatial, channels)`; the output's is the same.

    Args:
        start: The numbers' first value.

    Source: Touvron et al. 2021, https://arxiv.org/abs/2103.17239.
    """

    def __init__(self, start: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the scales, one a channel."""
        start = keras.initializers.Constant(self.start)
        self.gamma = self.add_weight(shape=(input_shape[-1],), initializer=start, name="gamma")

    def call(self, inputs: Any) -> Any:
        """Returns the inputs scaled."""
        return inputs * self.gamma

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "start": self.start}
