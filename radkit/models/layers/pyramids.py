"""Pyramids: a backbone's maps, each with what coarser (and finer) ones know, all of one width."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError
from radkit.models.layers.blocks import activate, normalize
from radkit.models.layers.convolutions import convolve
from radkit.models.layers.sizes import Resize


def feature_pyramid(
    maps: Sequence[Any], filters: int = 256, *, extra: int = 0, norm: str = "none", name: str = "fpn"
) -> list[Any]:
    """Returns as many maps as it is given and `extra` coarser ones, finest first, each of `filters` channels.

    Args:
        maps: (batch, *spatial, channels), finest first; each is halved, or not, along each axis to make the next.
        filters: Channels of all that is returned.
        extra: Coarser maps, each a convolution of stride 2 of the one before: of axes of one place stride 1.
        norm: After the last convolution of each map, as `normalize` knows it; `none`: nothing.
        name: Its layers' names begin so.

    Source: Lin et al. 2017, https://arxiv.org/abs/1612.03144; the coarser maps: https://arxiv.org/abs/1708.02002.
    """
    lateral = [_lateral(x, filters, f"{name}_lateral{level}") for level, x in enumerate(maps)]
    for level in range(len(lateral) - 2, -1, -1):
        enlarged = Resize(method="nearest")([lateral[level + 1], lateral[level]])
        lateral[level] = keras.layers.Add()([lateral[level], enlarged])
    found = [_smooth(x, filters, 1, norm, f"{name}_output{level}") for level, x in enumerate(lateral)]
    return _extended(found, filters, extra, norm, name)


def path_aggregation(
    maps: Sequence[Any], filters: int = 256, *, extra: int = 0, norm: str = "none", name: str = "pan"
) -> list[Any]:
    """Returns what `feature_pyramid` does, with a second way from fine to coarse behind it.

    Source: Liu et al. 2018, https://arxiv.org/abs/1803.01534.
    """
    found = feature_pyramid(maps, filters, norm=norm, name=f"{name}_down")
    for level in range(1, len(found)):
        finer, same = found[level - 1], found[level]
        strides = tuple(_step(a, b) for a, b in zip(_sizes(maps, level - 1), _sizes(maps, level)))
        halved = _smooth(finer, filters, strides, norm, f"{name}_halve{level}")
        # Sizes that strides do not divide: rounded up here as by the backbone, or not as there.
        joined = keras.layers.Add()([Resize(method="nearest")([halved, same]), same])
        found[level] = _smooth(activate(joined, "relu"), filters, 1, norm, f"{name}_output{level}")
    return _extended(found, filters, extra, norm, name)


def separate_maps(
    maps: Sequence[Any], filters: int = 256, *, extra: int = 0, norm: str = "none", name: str = "extra"
) -> list[Any]:
    """Returns the maps as they are, which know nothing of coarser ones, and `extra` coarser ones; arguments as above.

    Each coarser one is a convolution of one place to half of `filters` and one of stride 2 to all of them. Where there
    is no normalisation, the finest map is brought to one length at each place, as `ScaledToLength` does: its
    values are much larger than those of the others.

    Source: Liu et al. 2016 (SSD), https://arxiv.org/abs/1512.02325, sections 2.1 and 3.1.
    """
    if extra < 0:
        raise UserError(f"a pyramid with {extra} extra maps; 0 or more were expected")
    x, found = maps[-1], list(maps)
    for number in range(extra):
        strides = tuple(1 if size == 1 else 2 for size in x.shape[1:-1])
        for width, size, step in ((max(filters // 2, 1), 1, 1), (filters, 3, strides)):
            of_layer = f"{name}{number}_{'narrow' if size == 1 else 'halve'}"
            x = convolve(x, width, size, step, bias=norm == "none", name=of_layer)
            x = normalize(x, norm, "relu", name=f"{of_layer}_norm")
        found.append(x)
    if norm == "none":
        found[0] = ScaledToLength(name=f"{name}_length")(found[0])
    return found


@keras.saving.register_keras_serializable("radkit")
class ScaledToLength(keras.layers.Layer):
    """Gives the channels of each place one length, times a learned factor a channel.

    Input shape: `(batch, *spatial, channels)`; the output's is the same.

    Args:
        scale: What the factors begin with.

    Source: Liu et al. 2015 (ParseNet), https://arxiv.org/abs/1506.04579, section 3.3.
    """

    def __init__(self, scale: float = 20.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the factors."""
        start = keras.initializers.Constant(self.scale)
        self.factors = self.add_weight(shape=(input_shape[-1],), initializer=start, name="factors")

    def call(self, inputs: Any) -> Any:
        """Returns the inputs scaled."""
        x = ops.cast(inputs, "float32")  # squares overflow in float16
        length = ops.rsqrt(ops.sum(ops.square(x), axis=-1, keepdims=True) + 1e-6)
        return ops.cast(x * length * ops.cast(self.factors, "float32"), inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        return {**super().get_config(), "scale": self.scale}


def _sizes(maps: Sequence[Any], level: int) -> tuple[int | None, ...]:
    return tuple(maps[level].shape[1:-1])


def _step(finer: int | None, coarser: int | None) -> int:
    return 1 if finer is not None and finer == coarser else 2


def _lateral(x: Any, filters: int, name: str) -> Any:
    return convolve(x, filters, 1, bias=True, initializer="glorot_uniform", name=name)


def _smooth(x: Any, filters: int, strides: Any, norm: str, name: str) -> Any:
    x = convolve(x, filters, 3, strides, bias=norm == "none", initializer="glorot_uniform", name=name)
    return x if norm == "none" else normalize(x, norm, name=f"{name}_norm")


def _extended(found: list[Any], filters: int, extra: int, norm: str, name: str) -> list[Any]:
    if extra < 0:
        raise UserError(f"a pyramid with {extra} extra maps; 0 or more were expected")
    for number in range(extra):
        before = found[-1] if number == 0 else activate(found[-1], "relu")
        strides = tuple(1 if size == 1 else 2 for size in before.shape[1:-1])
        found.append(_smooth(before, filters, strides, norm, f"{name}_extra{number}"))
    return found
