"""Two networks in a row as one model: a coarse look that says where, and a second look there.

The second network sees a part of fixed size around the middle of what the first one found; where it found nothing,
around the image's middle.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from radkit.errors import UserError
from radkit.inference import windows, wrapped
from radkit.models import layers


def shrunk(image: Any, factors: Sequence[int]) -> Any:
    """Returns the image's means over cells of `factors` voxels; its sizes must be multiples of them."""
    if max(factors) == 1:
        return image
    return ops.average_pool(image, tuple(factors), strides=tuple(factors), padding="valid")


def starts(found: Any, factors: Sequence[int], sizes: Sequence[Any], part: Sequence[int]) -> Any:
    """Returns where parts begin that have in their middle what was found, (batch, rank) int32.

    Args:
        found: (batch, *spatial) bool, on a grid that is coarser by `factors`.
        factors: One an axis.
        sizes: Of the finer grid.
        part: Sizes of the parts; they lie within the image.
    """
    rank, begins = len(part), []
    for axis in range(rank):
        others = tuple(a for a in range(1, rank + 1) if a != axis + 1)
        along = ops.cast(ops.any(found, axis=others), "int32")
        length = ops.shape(along)[1]
        first = ops.cast(ops.argmax(along, axis=1), "int32")
        last = length - 1 - ops.cast(ops.argmax(ops.flip(along, axis=1), axis=1), "int32")
        # Nothing found: 0 and the last voxel, whose middle is the image's.
        begin = (first + last + 1) * factors[axis] // 2 - part[axis] // 2
        begins.append(ops.clip(begin, 0, sizes[axis] - part[axis]))
    return ops.stack(begins, axis=1)


def cut(image: Any, begins: Any, part: Sequence[int]) -> Any:
    """Returns each image's part from its own beginning on, (batch, *part, channels)."""
    channels, rank = image.shape[-1], len(part)

    def one(given: tuple[Any, Any]) -> Any:
        values, begin = given
        return ops.slice(values, (*(begin[axis] for axis in range(rank)), 0), (*part, channels))

    return ops.map(one, (image, begins))


def paste(whole: Any, parts: Any, begins: Any) -> Any:
    """Returns `whole` with each image's part put in at its own beginning."""
    rank = len(parts.shape) - 2

    def one(given: tuple[Any, Any, Any]) -> Any:
        values, part, begin = given
        return ops.slice_update(values, (*(begin[axis] for axis in range(rank)), 0), part)

    return ops.map(one, (whole, parts, begins))


class _Cascade(keras.layers.Layer):
    """What both kinds share: two networks, the part's size, how much coarser the first one looks."""

    def __init__(
        self,
        first: keras.Model,
        second: keras.Model,
        size: Sequence[int],
        *,
        factor: int | Sequence[int] = 1,
        hand_on: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": "float32", "autocast": False, "trainable": False, **kwargs})
        rank = len(first.input_shape) - 2
        windows.check_sizes("factor", (factor,) * rank if isinstance(factor, int) else factor, rank)
        self.factor = (factor,) * rank if isinstance(factor, int) else tuple(factor)
        windows.check_sizes("size", size, rank)
        wrapped.require_segmenter(first, "a cascade's first network")
        channels = first.input_shape[-1] + (wrapped.answer_shape(first)[-1] or 0 if hand_on else 0)
        if second.input_shape[-1] != channels:
            raise UserError(
                f"the second network must take {channels} channels (hand_on={hand_on}), not {second.input_shape[-1]}"
            )
        wrapped.require_sizes(second, size, "a cascade's second network")
        self.first, self.second, self.size, self.hand_on = first, second, tuple(size), hand_on

    def _looked(self, image: Any) -> tuple[Any, Any, Any]:
        """Returns the first answer at the padded image's size, the second network's answer, and where it looked."""
        image = ops.cast(image, "float32")
        padded = layers.PadToMultiple(self.factor, at_least=self.size, dtype="float32")(image)
        coarse = ops.cast(wrapped.answer(self.first, shrunk(padded, self.factor)), "float32")
        begins = starts(ops.argmax(coarse, axis=-1) > 0, self.factor, ops.shape(padded)[1:-1], self.size)
        whole = coarse if max(self.factor) == 1 else layers.Resize(self.factor, dtype="float32")(coarse)
        seen = ops.concatenate([padded, ops.softmax(whole)], -1) if self.hand_on else padded
        return whole, wrapped.answer(self.second, cut(seen, begins, self.size)), begins

    def get_config(self) -> dict[str, Any]:
        """Returns what rebuilds the layer."""
        networks = {"first": wrapped.written(self.first), "second": wrapped.written(self.second)}
        own = {"size": self.size, "factor": self.factor, "hand_on": self.hand_on}
        return {**super().get_config(), **networks, **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "_Cascade":
        """Returns the layer."""
        return cls(**wrapped.read(config, "first", "second"))


@keras.saving.register_keras_serializable("radkit")
class CoarseToFine(_Cascade):
    """A coarse segmentation, done again at full resolution around what it found.

    Input shape: `(batch, *spatial, channels)`, any size. Output shape: `(batch, *spatial, classes)` float32: the second
    network's logits within its part, the first one's elsewhere.

    Args:
        first: Segmenter that sees the image `factor` times coarser (cells' means).
        second: Segmenter of parts, with as many classes.
        size: Of the parts, in voxels of the image; what the first one finds beyond keeps its answer.
        factor: One number, or one an axis.
        hand_on: Whether the second also sees the first one's probabilities, as further channels.
    """

    def call(self, inputs: Any) -> Any:
        """Returns the logits."""
        whole, parts, begins = self._looked(inputs)
        return layers.CropLike(dtype="float32")([paste(whole, ops.cast(parts, "float32"), begins), inputs])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return (*input_shape[:-1], wrapped.answer_shape(self.second)[-1])


@keras.saving.register_keras_serializable("radkit")
class SegmentThenClassify(_Cascade):
    """A classifier that sees the part of an image around what a segmenter found.

    Input shape: `(batch, *spatial, channels)`, any size. Output shape: `(batch, classes)`: the classifier's logits.

    Args:
        first: Segmenter.
        second: Classifier of parts.
        size: Of the parts, in voxels of the image.
        factor: How much coarser the segmenter sees the image; one number, or one an axis.
        hand_on: Whether the classifier also sees the segmenter's probabilities, as further channels.
    """

    def call(self, inputs: Any) -> Any:
        """Returns the logits."""
        return ops.cast(self._looked(inputs)[1], "float32")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the output's shape."""
        return (input_shape[0], *wrapped.answer_shape(self.second)[1:])


def coarse_to_fine(first: keras.Model, second: keras.Model, size: Sequence[int], **settings: Any) -> keras.Model:
    """Returns one model that segments coarsely and then finely; the settings are `CoarseToFine`'s.

    Raises:
        UserError: The networks do not fit one another.

    Example:
        >>> from radkit import models
        >>> small = models.build("unet", input_shape=(None, None, 1), num_classes=2, filters=(4, 8))
        >>> fine = models.build("unet", input_shape=(32, 32, 1), num_classes=2, filters=(4, 8))
        >>> coarse_to_fine(small, fine, (32, 32), factor=4).output_shape
        (None, None, None, 2)
    """
    classes = [wrapped.answer_shape(network)[-1] for network in (first, second)]
    if classes[0] != classes[1]:
        raise UserError(f"networks of a cascade must know the same classes, not {classes[0]} and {classes[1]}")
    wrapped.require_segmenter(second, "a cascade's second network")
    inputs = wrapped.input_of([first], free=True)
    layer = CoarseToFine(first, second, size, **settings)
    return keras.Model(inputs, layer(inputs), name="coarse_to_fine")


def segment_then_classify(first: keras.Model, second: keras.Model, size: Sequence[int], **settings: Any) -> keras.Model:
    """Returns one model that classifies what a segmenter finds; the settings are `SegmentThenClassify`'s.

    Raises:
        UserError: The networks do not fit one another.
    """
    if len(wrapped.answer_shape(second)) != 2:
        raise UserError(f"a classifier must answer (batch, classes), not {wrapped.answer_shape(second)}")
    inputs = wrapped.input_of([first], free=True)
    layer = SegmentThenClassify(first, second, size, **settings)
    return keras.Model(inputs, layer(inputs), name="segment_then_classify")
