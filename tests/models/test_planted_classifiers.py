"""Each family of classifiers finds a planted finding, in 2-D and 3-D, from whatever it begins with."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import models

SIZES = {2: (32, 32), 3: (16, 16, 16)}
BACKBONE = {"backbone": "resnet", "backbone_settings": {"filters": (8, 16), "blocks": (1, 1)}}
FAMILIES: dict[str, dict[str, Any]] = {
    "resnet": {"filters": (8, 16), "blocks": (1, 1)},
    "resnet18_v2": {"filters": (8, 16), "blocks": (1, 1)},
    "se_resnet": {"depth": 18, "filters": (8, 16), "blocks": (1, 1)},
    "vgg": {"filters": (8, 8, 16, 16, 16), "depth": 11, "wide": 32, "norm": "batch"},
    "densenet": {"blocks": (2, 2), "growth": 8, "filters": 8},
    "inception": {"width": 0.25, "padding": "same"},
    "csp_darknet": {"filters": 8, "depth": 1},
    "efficientnet": {"width": 0.2, "depth": 0.1},
    "convnext": {"depths": (1, 1), "filters": (16, 32), "layer_scale": 0.1},
    "attention_mil": {**BACKBONE, "units": 16},
    "recurrent": {**BACKBONE, "units": 16},
    "slices_as_channels": {"network": "resnet", "network_settings": BACKBONE["backbone_settings"]},
    "fusion": {**BACKBONE, "table": 2, "table_units": (8,), "units": (16,)},
    "mlp": {"units": (32, 32)},
}
LONG = (("attention_mil", 3), ("recurrent", 3), ("fusion", 3))  # a backbone for each slice takes its time
CASES = [
    pytest.param(name, rank, marks=[pytest.mark.long] * ((name, rank) in LONG))
    for name in FAMILIES
    for rank in models.ranks(name)
]
STEPS = 120
Inputs = np.ndarray | dict[str, np.ndarray]


def planted(name: str, rank: int, seed: int, images: int) -> tuple[Inputs, np.ndarray]:
    """Returns what a network of that name takes, and the label that is hidden in it."""
    random = np.random.default_rng(seed)
    if name == "mlp":
        return table_of_signs(random, images)
    image, label = noise_and_ball(random, rank, images)
    if name != "fusion":
        return image, label
    table = random.normal(size=(images, 2)).astype(np.float32)
    table[:, 0] += 0.5 * np.sign(table[:, 0])
    return {"image": image, "table": table}, label * (table[:, 0] > 0)


def noise_and_ball(random: np.random.Generator, rank: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and in half of the images a ball that is brighter, at any place."""
    image = random.normal(size=(images, *SIZES[rank], 1))
    label = np.arange(images) % 2
    grid = np.stack(np.meshgrid(*map(np.arange, SIZES[rank]), indexing="ij"), -1)
    centre = random.uniform(5, np.array(SIZES[rank]) - 5, (images, rank))
    inside = ((grid - centre.reshape(images, *(1,) * rank, rank)) ** 2).sum(-1) < 25
    image[..., 0] += 2 * inside * label.reshape(images, *(1,) * rank)
    return image.astype(np.float32), label.astype(np.float32)


def table_of_signs(random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Five values, of which two are of one sign or not, which no sum of them tells; the others mean nothing."""
    table = random.normal(size=(rows, 5))
    table += 0.5 * np.sign(table)
    return table.astype(np.float32), (table[:, 0] * table[:, 1] > 0).astype(np.float32)


def area_under_curve(score: np.ndarray, label: np.ndarray) -> float:
    above = score[label == 1][:, None] > score[label == 0][None]
    return float(above.mean())


def compiled_step(network: keras.Model, optimizer: keras.optimizers.Optimizer) -> tf.types.experimental.GenericFunction:
    @tf.function
    def step(inputs: Any, label: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            logits = network(inputs, training=True)[:, 0]
            loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(label, logits))
        gradients = tape.gradient(loss, [v.value for v in network.trainable_variables])
        optimizer.apply(gradients, network.trainable_variables)

    return step


def scores(network: keras.Model, inputs: Inputs, parts: int = 4) -> np.ndarray:
    answer = tf.function(lambda part: network(part, training=False))
    split = [
        tf.nest.map_structure(lambda value, n=number: np.split(value, parts)[n], inputs) for number in range(parts)
    ]
    return np.concatenate([np.array(answer(part))[:, 0] for part in split])


def test_every_family_is_among_them() -> None:
    families = {models.find(name)[0] for name in models.names("classification")}
    assert {models.find(name)[0] for name in FAMILIES} == families


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), CASES)
def test_a_planted_finding_is_found_from_two_seeds(name: str, rank: int) -> None:
    shape = (*SIZES[rank], 1) if rank else (5,)
    network = models.build(name, input_shape=shape, num_classes=1, **FAMILIES[name])
    optimizer = keras.optimizers.Adam(5e-3)
    optimizer.build(network.trainable_variables)
    at_first = [np.array(variable) for variable in optimizer.variables]
    step = compiled_step(network, optimizer)
    unseen, truth = planted(name, rank, 1, 256)
    for seed in (0, 1):
        keras.utils.set_random_seed(seed)
        network.set_weights(models.build(name, input_shape=shape, num_classes=1, **FAMILIES[name]).get_weights())
        for variable, value in zip(optimizer.variables, at_first):
            variable.assign(value)
        for number in range(STEPS):
            inputs, label = planted(name, rank, 1000 * (seed + 1) + number, 32)
            step(tf.nest.map_structure(tf.constant, inputs), tf.constant(label))
        assert area_under_curve(scores(network, unseen), truth) >= 0.99, f"seed {seed}"
