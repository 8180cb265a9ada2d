"""Two examples of a batch made one: mixup blends them, cutmix puts a box of one into the other.

Source: Zhang et al. 2018, https://arxiv.org/abs/1710.09412; Yun et al. 2019, https://arxiv.org/abs/1905.04899.
"""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from scipy import special

from radkit import config
from radkit.data.augmentation import draws
from radkit.errors import UserError

_QUANTILES = 513  # of the Beta distribution, between which shares are interpolated


@tf.autograph.experimental.do_not_convert
def mix(
    batch: Mapping[str, tf.Tensor], seed: tf.Tensor, settings: config.Augment, data: config.Data
) -> dict[str, tf.Tensor]:
    """Returns the batch with each example mixed with the one before it.

    Args:
        batch: `image` (batch, *size, 1) float32; `mask` and `label` where they are there. Examples are in a random
            order, so that the one before is any other.
        seed: (2,) int32, of the batch.
        settings: `mixup`, `cutmix` and their chances; where both are drawn for an example, either is as likely.
        data: The config's data section.

    Returns:
        The batch; with a label also `mixed_label`, the other example's, and `mixed_share`, (batch,) float32: how much
        of the example's own label holds, 1 where nothing was mixed. A mask is cut as its image is.

    Raises:
        UserError: The batch holds something that cannot be mixed.
    """
    if not (settings.mixup or settings.cutmix):
        return dict(batch)
    _refuse(batch, settings)
    del data
    size = batch["image"].shape[0]
    blended, cut = _chosen(seed, size, settings)
    own = tf.where(blended, _beta(seed, "mixup", size, settings.mixup), 1.0)
    outside = _outside(seed, batch["image"].shape[1:-1].as_list(), size, settings) | ~_column(cut, batch["image"])
    other = tf.roll(batch["image"], 1, axis=0)
    image = other + _column(own, other) * (batch["image"] - other)
    result = {**batch, "image": tf.where(_column(blended, other), image, tf.where(outside, batch["image"], other))}
    if "mask" in batch:
        result["mask"] = tf.where(outside, batch["mask"], tf.roll(batch["mask"], 1, axis=0))
    if "label" in batch:
        # Counted, not computed: what is really there of the example's own image.
        kept = tf.reduce_mean(tf.cast(outside, tf.float32), axis=list(range(1, outside.shape.rank)))
        result["mixed_label"] = tf.roll(batch["label"], 1, axis=0)
        result["mixed_share"] = tf.where(blended, own, kept)
    return result


def _refuse(batch: Mapping[str, tf.Tensor], settings: config.Augment) -> None:
    if settings.mixup and "label" not in batch:
        raise UserError("augment.mixup mixes labels, and the batch has none; set data.label, or augment.mixup=0")
    for name in ("boxes", "points", "event"):
        if name in batch:
            raise UserError(
                f"augment.mixup and augment.cutmix cannot mix {name!r}, which the batch holds; set them to 0"
            )


def _chosen(seed: tf.Tensor, size: int, settings: config.Augment) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns which examples are blended and which are cut, (batch,) bool each; none is both."""
    chances = settings.chances
    blended = draws.uniform(draws.key(seed, "mixup happens"), [size]) < (chances.mixup if settings.mixup else 0.0)
    cut = draws.uniform(draws.key(seed, "cutmix happens"), [size]) < (chances.cutmix if settings.cutmix else 0.0)
    first = draws.uniform(draws.key(seed, "mixup or cutmix"), [size]) < 0.5
    return blended & (first | ~cut), cut & (~first | ~blended)


def _beta(seed: tf.Tensor, name: str, size: int, parameter: float) -> tf.Tensor:
    """Returns (batch,) draws from the Beta distribution with both parameters alike."""
    if not parameter:
        return tf.ones([size])
    table = special.betaincinv(parameter, parameter, np.linspace(0, 1, _QUANTILES)).astype(np.float32)
    place = draws.uniform(draws.key(seed, name), [size]) * (_QUANTILES - 1)
    low = tf.minimum(tf.cast(place, tf.int32), _QUANTILES - 2)
    share = place - tf.cast(low, tf.float32)
    return tf.gather(table, low) * (1.0 - share) + tf.gather(table, low + 1) * share


def _outside(seed: tf.Tensor, sizes: list[int], batch: int, settings: config.Augment) -> tf.Tensor:
    """Returns which voxels stay the example's own, (batch, *size, 1) bool: those outside a box at random."""
    kept = _beta(seed, "cutmix", batch, settings.cutmix)
    side = tf.pow(tf.maximum(1.0 - kept, 0.0), 1.0 / len(sizes))
    middles = draws.uniform(draws.key(seed, "cutmix middles"), [batch, len(sizes)])
    inside = tf.ones([batch] + [1] * (len(sizes) + 1), tf.bool)
    for axis, extent in enumerate(sizes):
        place = (tf.range(extent, dtype=tf.float32) + 0.5) / extent
        within = tf.abs(place[None] - middles[:, axis, None]) < side[:, None] / 2
        inside &= tf.reshape(within, [batch, *[extent if a == axis else 1 for a in range(len(sizes))], 1])
    return ~inside


def _column(values: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    return tf.reshape(values, [-1] + [1] * (like.shape.rank - 1))
