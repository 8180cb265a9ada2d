"""A problem that no threshold solves, planted so that segmenters may be seen to learn, and their learning of it.

A large ball is to be found, and small ones of the same brightness beside it are not; noise hides both from whoever
looks at single voxels.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from radkit import models

SIZES = {2: (64, 64), 3: (32, 32, 32)}
BATCH = {2: 8, 3: 2}
UNSEEN = {2: 24, 3: 8}


def planted(rank: int, seed: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns images of one channel, and where in each the large ball is."""
    random = np.random.default_rng(seed)
    side, ones = SIZES[rank][0], (1,) * rank
    grid = np.stack(np.meshgrid(*map(np.arange, SIZES[rank]), indexing="ij"), -1)

    def balls(least: float, most: float, radius: tuple[float, float]) -> np.ndarray:
        centre = random.uniform(side * least, side * most, (images, *ones, rank))
        return ((grid - centre) ** 2).sum(-1) < (side * random.uniform(*radius, (images, *ones))) ** 2

    mask = balls(0.3, 0.7, (0.2, 0.3))
    others = np.any([balls(0, 1, (0.05, 0.07)) for _ in range(3)], axis=0)
    image = (mask | others) + random.normal(0, 0.3, mask.shape)
    return image[..., None].astype(np.float32), mask


def mean_dice(found: np.ndarray, mask: np.ndarray) -> float:
    """Returns the mean over images of their Dice coefficients."""
    space = tuple(range(1, mask.ndim))
    return float((2 * (found & mask).sum(space) / (found.sum(space) + mask.sum(space))).mean())


def learnt(
    name: str, settings: dict[str, Any], rank: int, seeds: tuple[int, ...], steps: int, rate: float
) -> Iterator[float]:
    """Trains a network from each seed on images that it sees once; yields its mean Dice on images never seen."""
    shape = (*SIZES[rank], 1)
    network = models.build(name, input_shape=shape, num_classes=2, **settings)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(network.trainable_variables)
    at_first = [np.array(variable) for variable in optimizer.variables]
    step = compiled_step(network, optimizer)
    answer = tf.function(lambda part: network(part, training=False))
    unseen, mask = planted(rank, 9, UNSEEN[rank])
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        network.set_weights(models.build(name, input_shape=shape, num_classes=2, **settings).get_weights())
        for variable, value in zip(optimizer.variables, at_first):
            variable.assign(value)
        for number in range(steps):
            step(*map(tf.constant, planted(rank, 1000 * (seed + 1) + number, BATCH[rank])))
        logits = np.concatenate([np.array(answer(part)) for part in np.split(unseen, len(unseen) // BATCH[rank])])
        yield mean_dice(logits.argmax(-1) == 1, mask)


def compiled_step(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> tf.types.experimental.GenericFunction:
    @tf.function
    def step(image: tf.Tensor, mask: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = network(image, training=True)
            loss = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.cast(mask, tf.int32), logits)
            loss = tf.reduce_mean(loss)
        gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
        optimizer.apply(gradients, network.trainable_variables)

    return step
