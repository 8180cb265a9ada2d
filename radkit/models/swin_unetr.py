"""Swin UNETR, 2-D and 3-D: a transformer over shifted windows as encoder, a residual convolutional decoder.

Source: Hatamizadeh et al. 2022, https://arxiv.org/abs/2201.01266; the encoder is that of Liu et al. 2021,
https://arxiv.org/abs/2103.14030. `filters=48` is the paper's, of 62.19 million weights.
"""

from collections.abc import Sequence
from typing import Any

import keras

from radkit.errors import UserError
from radkit.models import layers
from radkit.models.layers import decoding, windows

TASK = "segmentation"
SMALL: dict[str, Any] = {"filters": 4, "depths": (2,), "heads": (2,), "window": 4}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    filters: int = 24,
    depths: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    window: int | Sequence[int] = 7,
    mlp_ratio: float = 4.0,
    norm: str = "instance",
    drop_path: float = 0.0,
    deep_supervision: bool = False,
) -> keras.Model:
    """Returns a Swin UNETR from image to logits, `(batch, *spatial, num_classes)` float32; or a list, finest first.

    Args:
        input_shape: Spatial sizes and channels; sizes that 2 ** (stages + 1) does not divide are padded, the answer
            cropped.
        num_classes: Channels of the output, background included.
        filters: Channels at stride 2; they double from stage to stage.
        depths: Blocks of each stage; every second one's windows are shifted.
        heads: Of each stage's attention; they divide its channels.
        window: Cells a side of a window, one number or one an axis.
        mlp_ratio: How many times wider a block's hidden layer is.
        norm: Of the decoder: `instance`, `batch`, `group` or `none`.
        drop_path: Share of images that skip a block in training, of the last block; it rises from 0.
        deep_supervision: Whether coarser levels of the decoder answer too; the output is then a list.

    Raises:
        UserError: Not as many heads as stages, or heads that do not divide the channels.
    """
    _check(filters, depths, heads)
    inputs = keras.Input(input_shape, name="image")
    x = layers.PadToMultiple(2 ** (len(depths) + 1))(inputs)
    states = _encoded(x, filters, depths, heads, window, mlp_ratio, drop_path)
    # As the reference: all skip connections but the coarsest pass a block.
    skips = [_residual(x, filters, norm), *(_residual(one, one.shape[-1], norm) for one in states[:-2]), states[-2]]
    x = _residual(states[-1], states[-1].shape[-1], norm)
    answers: list[Any] = []
    for level, skip in reversed(list(enumerate(skips))):
        width = skip.shape[-1]
        x = keras.layers.Concatenate()([layers.deconvolve(x, width), skip])
        x = _residual(x, width, norm)
        if level == 0 or deep_supervision:
            name = f"logits_{level}" if level else "logits"
            answers.insert(0, decoding.logits(x, num_classes, inputs, factor=2**level, name=name))
    return keras.Model(inputs, answers if deep_supervision else answers[0], name="swin_unetr")


def _check(filters: int, depths: Sequence[int], heads: Sequence[int]) -> None:
    if not depths or len(depths) != len(heads):
        raise UserError(f"swin_unetr has {len(depths)} depths and {len(heads)} heads; give one of each a stage")
    for stage, number in enumerate(heads):
        channels = filters * 2**stage
        if channels % number:
            raise UserError(
                f"swin_unetr's stage {stage + 1} has {channels} channels, which {number} heads do not divide; "
                "change filters or heads"
            )


def _encoded(
    x: Any, filters: int, depths: Sequence[int], heads: Sequence[int], window: Any, mlp_ratio: float, drop_path: float
) -> list[Any]:
    """Returns the grid at strides 2, 4, ...: patches, and what each stage makes of them, normalised, coarsest last."""
    x = layers.convolve(x, filters, 2, 2, bias=True, initializer="glorot_uniform", name="patches")
    states, done, total = [_normalized(x, "patches_out", learned=False)], 0, max(1, sum(depths) - 1)
    for stage, (depth, number) in enumerate(zip(depths, heads), 1):
        for block in range(depth):
            attend = windows.WindowAttention(number, window, bool(block % 2), name=f"stage{stage}_block{block}_attend")
            x = _block(x, attend, mlp_ratio, drop_path * done / total, f"stage{stage}_block{block}")
            done += 1
        width = 2 * x.shape[-1]
        x = _normalized(windows.SpaceToChannels(name=f"stage{stage}_merge")(x), f"stage{stage}_merge_norm")
        x = keras.layers.Dense(width, use_bias=False, name=f"stage{stage}_reduce")(x)
        states.append(_normalized(x, f"stage{stage}_out", learned=False))
    return states


def _block(x: Any, attend: keras.layers.Layer, mlp_ratio: float, drop_path: float, name: str) -> Any:
    """Returns attention and a hidden layer, each added to what it was given."""
    x = _added(x, attend(_normalized(x, f"{name}_norm1")), drop_path)
    y = _normalized(x, f"{name}_norm2")
    y = keras.layers.Dense(int(mlp_ratio * x.shape[-1]), activation="gelu", name=f"{name}_mlp1")(y)
    return _added(x, keras.layers.Dense(x.shape[-1], name=f"{name}_mlp2")(y), drop_path)


def _added(x: Any, y: Any, drop_path: float) -> Any:
    if drop_path:
        y = keras.layers.Dropout(drop_path, noise_shape=(None, *(1 for _ in y.shape[1:])))(y)
    return keras.layers.Add()([x, y])


def _normalized(x: Any, name: str, learned: bool = True) -> Any:
    return keras.layers.LayerNormalization(epsilon=1e-5, center=learned, scale=learned, name=name)(x)


def _residual(x: Any, width: int, norm: str) -> Any:
    """Returns two convolutions with a shortcut."""
    shortcut, bias = x, norm == "none"
    if x.shape[-1] != width:
        shortcut = layers.normalize(layers.convolve(x, width, 1, bias=bias), norm)
    y = layers.normalize(layers.convolve(x, width, 3, bias=bias), norm, "leaky_relu")
    y = layers.normalize(layers.convolve(y, width, 3, bias=bias), norm)
    return layers.activate(keras.layers.Add()([y, shortcut]), "leaky_relu")
