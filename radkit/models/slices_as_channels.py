"""2.5-D: neighbouring slices as the channels of a 2-D network, `(slices, rows, columns, channels)`.

A backbone classifies the volume by its middle slices; a segmenter marks the middle slice, or every slice, each seen
with its neighbours.

Source: Roth et al. 2014, https://arxiv.org/abs/1406.2639 (2.5-D).
"""

from collections.abc import Mapping
from typing import Any

import keras

from radkit import folder, models
from radkit.errors import UserError
from radkit.models import encoders, heads, layers
from radkit.models import slices as sets

TASK = "classification"
RANKS = (3,)
SMALL: dict[str, Any] = {"network": "resnet", "network_settings": {"filters": (4, 8), "blocks": (1, 1)}}
ANSWERS = ("middle", "every")


def build(
    input_shape: tuple[int | None, ...],
    num_classes: int,
    network: str = "resnet18",
    network_settings: Mapping[str, Any] | None = None,
    slices: int = 0,
    answer: str = "middle",
    head: str = "linear",
    dropout: float = 0.0,
) -> keras.Model:
    """Returns a network from a volume to logits, float32.

    They are `(batch, num_classes)` of a backbone; of a segmenter `(batch, rows, columns, num_classes)`, or of every
    slice `(batch, slices, rows, columns, num_classes)`.

    Args:
        input_shape: Slices, rows, columns and channels; the first three may be free.
        num_classes: As `heads.classify`, or channels of a segmenter's output.
        network: A 2-D backbone, as `encoders.features` knows it, or a segmenter.
        network_settings: Its own settings.
        slices: How many the 2-D network sees: the one in question and those around it, the ends repeated where they
            are lacking. 0: as many as the input has for its middle one; 3 where that number is free, or for every one.
        answer: Of a segmenter: `middle` or `every`.
        head: Of a backbone: `linear` or `coral`.
        dropout: Of a backbone: share of the features dropped in training.

    Raises:
        UserError: No such answer, or every slice's of a backbone.
    """
    segments = folder.find(models.__name__, models.find(network)[0], "TASK") == "segmentation"
    if answer not in ANSWERS:
        raise UserError(f"slices_as_channels has no answer {answer!r}; there are: {', '.join(ANSWERS)}")
    if answer == "every" and not segments:
        raise UserError(f"answer='every' needs a segmenter, and {network!r} is none; for slices one by one, and one "
                        "answer, there are attention_mil and recurrent")  # fmt: skip
    count = slices or (3 if answer == "every" else input_shape[0] or 3)
    inputs = keras.Input(input_shape, name="image")
    x = sets.Neighbours(count, answer == "every", name="slices_as_channels")(inputs)
    if not segments:
        x = layers.PadToMultiple(1, 32, name="at_least")(x)
        x = encoders.features(network, x, **dict(network_settings or {}))[-1]
        return keras.Model(
            inputs, heads.classify(x, num_classes, head=head, dropout=dropout), name="slices_as_channels"
        )
    segmenter = models.build(network, input_shape=x.shape[1:], num_classes=num_classes, **dict(network_settings or {}))
    logits = segmenter(x)
    if answer == "every":
        logits = sets.BatchToImages(name="volume", dtype="float32")([logits, inputs])
    return keras.Model(inputs, logits, name="slices_as_channels")
