"""U-Nets find a planted ball, in two and three dimensions, from two seeds."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import models


def planted(rank: int, seed: int, images: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Returns noise with a brighter ball in each image, and the ball's mask."""
    random = np.random.default_rng(seed)
    side = {2: 32, 3: 16}[rank]
    grid = np.stack(np.meshgrid(*[np.arange(side)] * rank, indexing="ij"), -1)
    centre = random.uniform(side * 0.3, side * 0.7, (images, *(1,) * rank, rank))
    mask = np.linalg.norm(grid - centre, axis=-1) < random.uniform(side * 0.25, side * 0.35, (images, *(1,) * rank))
    return (mask + random.normal(0, 0.1, mask.shape))[..., None].astype(np.float32), mask


PLANTED = [
    ("unet", {"filters": (8, 16)}),
    ("attention_unet", {"filters": (8, 16)}),
    ("residual_unet", {"filters": (8, 16)}),
    ("nnunet", {"filters": (8, 16)}),
    ("nnunet_residual", {"filters": (8, 16), "repeats": (1, 1)}),
    ("basic_unet", {"filters": (8, 8, 8, 8, 8, 8)}),
    ("monai_unet", {"filters": (8, 16)}),
    ("segresnet", {"blocks_down": (1, 1), "blocks_up": (1,)}),
]


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(("name", "settings"), PLANTED, ids=[name for name, _ in PLANTED])
def test_a_planted_ball_is_found(name: str, settings: dict[str, Any], rank: int) -> None:
    shape = (*planted(rank, 0)[0].shape[1:-1], 1)
    network = models.build(name, input_shape=shape, num_classes=2, **settings)
    optimizer = keras.optimizers.Adam(1e-2)
    optimizer.build(network.trainable_variables)

    @tf.function
    def step(image: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = network(image, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(mask, logits))
        optimizer.apply(tape.gradient(loss, [v.value for v in network.trainable_variables]))
        return loss

    for seed in (1, 2):
        keras.utils.set_random_seed(seed)
        network.set_weights(models.build(name, input_shape=shape, num_classes=2, **settings).get_weights())
        for variable in optimizer.variables[2:]:
            variable.assign(tf.zeros_like(variable))
        optimizer.iterations.assign(0)
        for number in range({2: 40, 3: 80}[rank]):
            image, mask = planted(rank, 100 * seed + number)
            step(tf.constant(image), tf.constant(mask.astype(np.int32)))
        image, mask = planted(rank, 9, images=16)
        found = np.array(network(image)).argmax(-1) == 1
        assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) >= 0.95
