"""Squeeze and excitation: channels weighed by what the whole image shows."""

from typing import Any

import keras

from radkit.models.layers import blocks, convolutions, pooling


def squeeze_and_excite(x: Any, squeezed: int, *, activation: str = "relu", name: str | None = None) -> Any:
    """Returns a tensor with each channel scaled by a number between 0 and 1 that depends on all channels' means.

    Args:
        x: (batch, *spatial, channels), two or three spatial axes.
        squeezed: Channels between the two 1x1 convolutions.
        activation: Between the two, as `blocks.activate`.
        name: What the layers' names begin with: `<name>se_squeeze`, `_reshape`, `_reduce`, `_expand`, `_excite`, which
            are the names of Keras's EfficientNet.

    Source: Hu et al. 2018, https://arxiv.org/abs/1709.01507.
    """
    channels, ones = x.shape[-1], (1,) * (len(x.shape) - 2)

    def called(part: str) -> str | None:
        return None if name is None else f"{name}se_{part}"

    means = pooling.global_average_pool(x, name=called("squeeze"))
    means = keras.layers.Reshape((*ones, channels), name=called("reshape"))(means)
    share = convolutions.convolve(means, squeezed, 1, bias=True, name=called("reduce"))
    share = blocks.activate(share, activation)
    share = blocks.activate(convolutions.convolve(share, channels, 1, bias=True, name=called("expand")), "sigmoid")
    return keras.layers.Multiply(name=called("excite"))([x, share])
