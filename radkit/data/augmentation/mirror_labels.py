"""Left and right change places: what labels become when an image is mirrored."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from radkit import config


def swap(
    example: Mapping[str, tf.Tensor], mirrored: tf.Tensor, settings: config.Augment, data: config.Data
) -> dict[str, tf.Tensor]:
    """Returns the example with the names of `settings.swap_labels` exchanged where it was mirrored from left to right.

    Args:
        example: `mask`, `box_labels` and `label` are changed where they are there.
        mirrored: (rank,) bool: the axes that were flipped.
        settings: `swap_labels` and `swap_axis`.
        data: Names the labels.
    """
    result = dict(example)
    if not settings.swap_labels:
        return result
    flipped = mirrored[settings.swap_axis]
    if "mask" in example:
        other = _exchanged(example["mask"], ("", *data.mask_labels), settings.swap_labels)
        result["mask"] = tf.where(flipped, other, example["mask"])
    if "box_labels" in example:
        other = _exchanged(example["box_labels"], data.box_labels, settings.swap_labels)
        result["box_labels"] = tf.where(flipped, other, example["box_labels"])
    if "label" in example and data.label_kind == "class":
        other = _exchanged(example["label"], data.class_names, settings.swap_labels)
        result["label"] = tf.where(flipped, other, example["label"])
    if "label" in example and data.label_kind == "multi_label":
        order = [number for _, number in sorted(_places(data.class_names, settings.swap_labels).items())]
        result["label"] = tf.where(flipped, tf.gather(example["label"], order), example["label"])
    return result


def _places(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[int, int]:
    """Returns which name's place each name goes to."""
    partners = {one: other for pair in pairs for one, other in (pair, pair[::-1])}
    return {place: names.index(partners.get(name, name)) for place, name in enumerate(names)}


def _exchanged(values: tf.Tensor, names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> tf.Tensor:
    result = values
    for old, new in _places(names, pairs).items():
        if old != new:
            result = tf.where(values == tf.cast(old, values.dtype), tf.cast(new, values.dtype), result)
    return result
