"""Losses of tubes: overlap of centrelines, so that a vessel stays in one piece."""

from typing import Any

from keras import ops

from radkit.losses import masks, segmentation, settings
from radkit.losses.masks import Activation, Compared


def cl_dice(
    mask: Any,
    logits: Any,
    smooth: float = 1.0,
    *,
    iterations: int = 3,
    background: bool = False,
    activation: Activation = "softmax",
) -> Any:
    """Returns soft centreline Dice loss, (batch,) float32; the classes' voxels count together.

    Args:
        mask: (batch, *spatial, 1) integers, or (batch, *spatial, classes) 0 or 1. Voxels of 255, unlabelled, are of no
            tube.
        logits: (batch, *spatial, classes).
        smooth: Added to both sides of precision and sensitivity.
        iterations: Voxels that are peeled off: at least the radius of the thickest tube.
        background: Whether class 0 is scored.
        activation: `softmax` or `sigmoid`.

    Source: Shit et al. 2021, https://arxiv.org/abs/2003.07311, algorithm 1-2.
    """
    settings.from_nought(smooth=smooth)
    settings.counts(iterations=iterations)
    return _cl_dice(masks.compare(mask, logits, activation, background), smooth, iterations)


def _cl_dice(compared: Compared, smooth: float, iterations: int) -> Any:
    truth, found, axes = compared.scored_truth, compared.scored, (*compared.space, -1)
    of_truth, of_found = skeleton(truth, iterations), skeleton(found, iterations)
    precision = masks.quotient(ops.sum(of_found * truth, axis=axes) + smooth, ops.sum(of_found, axis=axes) + smooth)
    sensitivity = masks.quotient(ops.sum(of_truth * found, axis=axes) + smooth, ops.sum(of_truth, axis=axes) + smooth)
    return 1.0 - 2.0 * precision * sensitivity / (precision + sensitivity + _NEVER_NOUGHT)


_NEVER_NOUGHT = 1e-4  # of the harmonic mean's denominator; MONAI's figure, so that the two agree


def dice_and_cl_dice(
    mask: Any,
    logits: Any,
    smooth: float = 1.0,
    *,
    share: float = 0.5,
    iterations: int = 3,
    background: bool = False,
    activation: Activation = "softmax",
) -> Any:
    """Returns a mean of soft Dice and soft centreline Dice loss, (batch,) float32.

    Args:
        mask: As of `cl_dice`.
        logits: As of `cl_dice`.
        smooth: Of both.
        share: Of centreline Dice; Dice has the rest.
        iterations: As of `cl_dice`.
        background: Whether class 0 is scored.
        activation: `softmax` or `sigmoid`.

    Source: Shit et al. 2021, https://arxiv.org/abs/2003.07311, eq. 4.
    """
    settings.shares(share=share)
    overlap = segmentation.dice(mask, logits, smooth, background=background, activation=activation)
    lines = cl_dice(mask, logits, smooth, iterations=iterations, background=background, activation=activation)
    return (1.0 - share) * overlap + share * lines


def skeleton(values: Any, iterations: int) -> Any:
    """Returns the soft centreline of (batch, *spatial, channels) from 0 to 1: what each opening of it loses."""
    found = ops.relu(values - _dilated(_eroded(values)))
    for _ in range(iterations):
        values = _eroded(values)
        lost = ops.relu(values - _dilated(_eroded(values)))
        found = found + ops.relu(lost - found * lost)
    return found


def _eroded(values: Any) -> Any:
    """Returns the least of each voxel and its neighbours along the axes."""
    rank = len(values.shape) - 2
    least = -_pooled(-values, (3,) + (1,) * (rank - 1))
    for axis in range(1, rank):
        least = ops.minimum(least, -_pooled(-values, tuple(3 if a == axis else 1 for a in range(rank))))
    return least


def _dilated(values: Any) -> Any:
    """Returns the largest of each voxel and all around it, corners too."""
    return _pooled(values, (3,) * (len(values.shape) - 2))


def _pooled(values: Any, sizes: tuple[int, ...]) -> Any:
    """Returns the largest value in a window around each voxel.

    A volume is pooled in its slices and then across them: where several voxels are the largest, which is the rule after
    an erosion, TensorFlow's pooling in 3-D gives each of them the whole gradient.
    """
    if len(sizes) == 2:
        return _pooled_2d(values, sizes)
    batch, slices, rows, columns, channels = (ops.shape(values)[axis] for axis in range(5))
    if sizes[1:] != (1, 1):
        flat = ops.reshape(values, (batch * slices, rows, columns, channels))
        values = ops.reshape(_pooled_2d(flat, sizes[1:]), (batch, slices, rows, columns, channels))
    if sizes[0] != 1:
        flat = ops.reshape(values, (batch, slices, rows * columns, channels))
        values = ops.reshape(_pooled_2d(flat, (sizes[0], 1)), (batch, slices, rows, columns, channels))
    return values


def _pooled_2d(values: Any, sizes: tuple[int, ...]) -> Any:
    return ops.max_pool(values, sizes, strides=1, padding="same", data_format="channels_last")
