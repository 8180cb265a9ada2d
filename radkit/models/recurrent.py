"""Recurrent network over images in order: a volume's slices, or a patient's exams, `(images, rows, columns, channels)`.

Source: Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735 (LSTM); Cho et al. 2014,
https://arxiv.org/abs/1406.1078 (GRU).
"""

from collections.abc import Mapping
from typing import Any

import keras

from radkit.errors import UserError, did_you_mean
from radkit.models import heads, slices

TASK = "classification"
RANKS = (3,)
SMALL: dict[str, Any] = {
    "backbone": "resnet",
    "backbone_settings": {"filters": (4, 8), "blocks": (1, 1)},
    "units": 4,
}
CELLS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    backbone: str = "resnet18",
    backbone_settings: Mapping[str, Any] | None = None,
    cell: str = "lstm",
    units: int = 128,
    depth: int = 1,
    both_directions: bool = True,
    skip_empty: bool = False,
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a network from images in order to logits, `(batch, num_classes)` float32.

    Args:
        input_shape: Images, rows, columns and channels; the first three may be free.
        num_classes: As `heads.classify`.
        backbone: A 2-D backbone, as `encoders.features` knows it; all images pass the same one.
        backbone_settings: Its own settings.
        cell: `lstm` or `gru`.
        units: Width of a cell's state, of each direction.
        depth: Recurrent layers; the last one's final states are what is answered from.
        both_directions: Whether images are also read from the last to the first. Not for exams that are to be answered
            before the next is made.
        skip_empty: Whether images of nothing but zeros, with which sets are padded to one length, are passed over.
        head: `linear` or `coral`.
        dropout: Share of the final states dropped in training.

    Raises:
        UserError: No such cell, or no layer.
    """
    if cell not in CELLS:
        raise UserError(f"recurrent has no cell {cell!r}{did_you_mean(cell, CELLS)}; there are: {', '.join(CELLS)}")
    if depth < 1:
        raise UserError(f"recurrent has depth {depth}; give 1 or more")
    inputs = keras.Input(input_shape, name="image")
    x = slices.encode(inputs, backbone, backbone_settings)
    present = slices.Present(name="present")(inputs) if skip_empty else None
    for level in range(depth):
        name = f"{cell}_{level + 1}"
        layer = CELLS[cell](units, return_sequences=level < depth - 1, dtype="float32", name=name)
        if both_directions:
            layer = keras.layers.Bidirectional(layer, dtype="float32", name=f"{name}_both")
        x = layer(x) if present is None else layer(x, mask=present)
    return keras.Model(inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name="recurrent")
