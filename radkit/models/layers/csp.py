"""Cross-stage partial blocks: half of the channels goes through the convolutions, the other half passes them.

Source: Wang et al. 2019, https://arxiv.org/abs/1911.11929; as Ge et al. 2021 (YOLOX), https://arxiv.org/abs/2107.08430,
have them.
"""

from typing import Any

import keras

from radkit.models.layers import pooling
from radkit.models.layers.blocks import normalize
from radkit.models.layers.convolutions import Sizes, convolve

EPSILON = 1e-3


def convolved(
    x: Any, filters: int, size: Sizes = 3, strides: Sizes = 1, *, norm: str, activation: str, name: str
) -> Any:
    """Returns convolution, normalisation and activation; zeros on both sides alike."""
    x = convolve(x, filters, size, strides, bias=norm == "none", padding="symmetric", name=f"{name}_conv")
    epsilon = EPSILON if norm == "batch" else None
    return normalize(x, norm, activation, epsilon=epsilon, name=None if norm == "none" else f"{name}_norm")


def csp_block(
    x: Any, filters: int, depth: int, *, shortcut: bool = True, norm: str = "batch", activation: str = "silu", name: str
) -> Any:
    """Returns a map of as many places.

    Args:
        x: (batch, *spatial, channels).
        filters: Channels of what is returned; each half has half of them.
        depth: Pairs of a 1 x 1 and a 3 x 3 convolution.
        shortcut: Whether each pair's input is added to what it gives.
        norm: As `normalize` knows it.
        activation: Likewise.
        name: Its layers' names begin so.
    """
    style: Any = {"norm": norm, "activation": activation}
    half = max(1, filters // 2)
    passed = convolved(x, half, 1, **style, name=f"{name}_pass")
    x = convolved(x, half, 1, **style, name=f"{name}_enter")
    for number in range(depth):
        y = convolved(x, half, 1, **style, name=f"{name}_{number}_narrow")
        y = convolved(y, half, 3, **style, name=f"{name}_{number}_wide")
        x = keras.layers.Add(name=f"{name}_{number}_add")([x, y]) if shortcut else y
    both = keras.layers.Concatenate(name=f"{name}_both")([x, passed])
    return convolved(both, filters, 1, **style, name=f"{name}_leave")


def pooled_pyramid(x: Any, filters: int, *, norm: str = "batch", activation: str = "silu", name: str) -> Any:
    """Returns a map joined with its maxima over 5, 9 and 13 places an axis.

    Arguments as `csp_block`. Maxima of 5 of maxima of 5 are those of 9.

    Source: He et al. 2014, https://arxiv.org/abs/1406.4729.
    """
    x = convolved(x, max(1, x.shape[-1] // 2), 1, norm=norm, activation=activation, name=f"{name}_enter")
    found = [x]
    for _ in range(3):
        found.append(pooling.max_pool(found[-1], 5, 1))
    both = keras.layers.Concatenate(name=f"{name}_all")(found)
    return convolved(both, filters, 1, norm=norm, activation=activation, name=f"{name}_leave")
