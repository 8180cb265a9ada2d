"""Which of a detector's places count in its loss: thousands of easy background places would outweigh a few boxes.

All take `matched` of `radkit.boxes.assigning`, (batch, places) int32, and return weights, (batch, places) float32: 1
for a place that counts, else 0.
"""

from typing import Any

from keras import ops

from radkit.boxes.assigning import BACKGROUND, fewer
from radkit.errors import UserError

_NOT_THERE = -1e30


def balanced(matched: Any, order: Any, *, number: int = 256, share: float = 0.5) -> Any:
    """Returns weights of a fixed number of places, at most a share of them positive ones, the rest background.

    Args:
        matched: See above.
        order: (batch, places) float, finite: those of the highest are taken. `shuffled` gives a random one; each
            place's loss takes the hardest.
        number: Places an image; fewer where there are no more.
        share: The most of them that answer for a box.

    Raises:
        UserError: No number above 0, or a share that is none.

    Source: Ren et al. 2015, https://arxiv.org/abs/1506.01497, section 3.1.3; the hardest: Shrivastava et al. 2016,
    https://arxiv.org/abs/1604.03540.
    """
    if number < 1 or not 0 < share <= 1:
        raise UserError(f"a sample of number={number}, share={share}: a number above 0 and a share up to 1 is expected")
    positive, background = matched >= 0, matched == BACKGROUND
    most = max(1, int(number * share))
    weights = _first(positive, order, most, most)
    left = number - ops.sum(weights, axis=-1, keepdims=True)
    return weights + _first(background, order, number, left)


def hard_negatives(matched: Any, losses: Any, *, ratio: float = 3.0, least: int = 16, most: int = 4096) -> Any:
    """Returns weights of all positive places and of the background places that cost most.

    Args:
        matched: See above.
        losses: (batch, places), what each place would cost were it background.
        ratio: Background places for each positive one.
        least: Background places at least, so that an image without boxes teaches something, too.
        most: Background places at most.

    Raises:
        UserError: `least` below 1 or above `most`, or a ratio below 0.

    Source: Liu et al. 2016 (SSD), https://arxiv.org/abs/1512.02325, section 2.2; `least` is ours.
    """
    if not 1 <= least <= most or ratio < 0:
        raise UserError(
            f"hard negatives with ratio={ratio}, least={least}, most={most}: 1 <= least <= most and a ratio from 0 on "
            "are expected"
        )
    positive = ops.cast(matched >= 0, "float32")
    wanted = ops.maximum(ops.sum(positive, axis=-1, keepdims=True) * ratio, float(least))
    return positive + _first(matched == BACKGROUND, losses, most, wanted)


def shuffled(values: Any) -> Any:
    """Returns a random order without a random number: bits of what the network says, mixed with the place's number.

    The same answers give the same order, and as the network learns it changes from step to step.

    Args:
        values: (batch, places) float, say a logit of each place.

    Returns:
        (batch, places) float32, whole numbers from 0 to 2^24 - 1.
    """
    values = ops.stop_gradient(ops.cast(values, "float32"))
    bits = ops.cast(ops.clip(values, -1e3, 1e3) * 2.0**20, "int32")
    mixed = bits + ops.arange(ops.shape(values)[1], dtype="int32") * 0x1E3779B1
    for factor, shift in ((0x45D9F3B, 16), (0x2C1B3C6D, 13), (0x297A2D39, 15)):  # sums and products run over, as meant
        mixed = ops.bitwise_xor(mixed, ops.right_shift(mixed, shift)) * factor
    return ops.cast(ops.bitwise_and(ops.right_shift(mixed, 4), 0xFFFFFF), "float32")


def _first(among: Any, order: Any, most: int, wanted: Any) -> Any:
    """Returns 1 for the places that come first in an order, (batch, places) float32.

    Args:
        among: (batch, places) bool, those that may be taken.
        order: (batch, places), the highest first.
        most: How many can be wanted.
        wanted: How many are: a number, or (batch, 1).
    """
    order = ops.where(among, ops.stop_gradient(ops.cast(order, "float32")), _NOT_THERE)
    batch, places = ops.shape(order)
    found, index = ops.top_k(order, fewer(most, places))
    rank = ops.arange(ops.shape(index)[1], dtype="float32")
    taken = ops.logical_and(found > _NOT_THERE, rank < ops.cast(wanted, "float32"))
    starts = ops.arange(batch, dtype="int32")[:, None] * places
    flat = ops.reshape(ops.cast(index, "int32") + starts, (-1, 1))
    weights = ops.scatter(flat, ops.reshape(ops.cast(taken, "float32"), (-1,)), (batch * places,))
    return ops.reshape(weights, (batch, places))
