"""Small lesions planted in noise, beside what is as bright but no lesion, and how detectors learn to find them.

Lesions are ellipsoids of 3 to 10 voxels along each axis: bright ones are class 0, dark ones class 1. Bars that cross
the image, single voxels and a large ball are as bright or as dark and are none. Every second image holds no lesion.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from radkit import losses, models
from radkit.metrics import box_hits, detection_summary

SIZES = {2: (64, 64), 3: (32, 32, 32)}
BATCH = {2: 8, 3: 4}
UNSEEN = {2: 64, 3: 64}
CLASSES = ("bright", "dark")
MOST = 4
Truth = dict[str, np.ndarray]
Given = Callable[[np.ndarray, Truth], Any]


def planted(rank: int, seed: int, images: int) -> tuple[np.ndarray, Truth]:
    """Returns images and what is in them.

    Returns:
        Images, (images, *spatial, 1) float32; `boxes` (images, MOST, 2 * rank) float32, edges, 0s where there is none,
        `labels` (images, MOST) int32, -1 where there is none, and `mask` (images, *spatial, 1) uint8: class + 1.
    """
    random, sizes = np.random.default_rng(seed), SIZES[rank]
    image = random.normal(0, 0.25, (images, *sizes)).astype(np.float32)
    boxes, labels = np.zeros((images, MOST, 2 * rank), np.float32), np.full((images, MOST), -1, np.int32)
    mask = np.zeros((images, *sizes), np.uint8)
    for number in range(images):
        taken = _distract(random, image[number])
        for lesion in range(random.integers(2, MOST + 1) if number % 2 else 0):
            low, sides = _place(random, taken)
            label = random.integers(len(CLASSES))
            inside = _ellipsoid(sizes, low, sides)
            image[number][inside] += (1, -1)[label]
            mask[number][inside] = label + 1
            boxes[number, lesion], labels[number, lesion] = [*low, *(low + sides)], label
    return image[..., None], {"boxes": boxes, "labels": labels, "mask": mask[..., None]}


def _ellipsoid(sizes: Sequence[int], low: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Returns the voxels whose middles lie within it."""
    apart = [(np.arange(size) + 0.5 - start - side / 2) / (side / 2) for size, start, side in zip(sizes, low, sides)]
    return np.asarray(sum(np.square(one) for one in np.meshgrid(*apart, indexing="ij", sparse=True)) <= 1)


def _distract(random: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Adds what is no lesion; returns the voxels that it takes."""
    sizes, axes = np.array(image.shape), image.ndim
    taken = np.zeros(image.shape, bool)
    shapes = []
    for _ in range(2):
        low = random.integers(0, sizes - 3)
        shapes.append(tuple(slice(start, start + random.integers(2, 4)) for start in low))
        along = random.integers(axes)
        shapes[-1] = (*shapes[-1][:along], slice(None), *shapes[-1][along + 1 :])  # a bar crosses the image
        shapes.append(tuple(random.integers(0, sizes)))  # a single voxel
    sides = random.integers(16, 21, axes)
    shapes.append(_ellipsoid(image.shape, random.integers(-sides // 2, sizes - sides // 2), sides))
    for shape in shapes:
        new = np.zeros_like(taken)
        new[shape] = True
        image[new & ~taken] += random.choice([-1, 1])
        taken |= new
    return taken


def _place(random: np.random.Generator, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns low edges and sides of a box in free space, which is taken then, with 2 voxels around it."""
    while True:
        side = random.integers(3, 11)
        sides = np.clip(side + random.integers(-1, 2, taken.ndim), 3, 10)
        low = random.integers(0, np.array(taken.shape) - sides + 1)
        around = tuple(slice(max(0, start - 2), start + side + 2) for start, side in zip(low, sides))
        if not taken[around].any():
            taken[around] = True
            return low, sides


def measured(truth: Truth, boxes: Sequence[np.ndarray], scores: Sequence[np.ndarray]) -> tuple[float, float]:
    """Returns mAP50, and the sensitivity at 1 false positive an image (a hit: IoU of 0.1).

    Args:
        truth: As `planted` has it.
        boxes: Of each image all places' boxes, (places, 2 * rank).
        scores: Likewise, (places, classes).
    """
    images = []
    for number, (of_image, sure) in enumerate(zip(boxes, scores)):
        found = [suppressed(of_image, sure[:, label]) for label in range(len(CLASSES))]
        kept = np.concatenate(found)
        of_class = np.repeat(range(len(CLASSES)), [len(one) for one in found])
        given = (truth["boxes"][number], truth["labels"][number])
        spacing = (1.0,) * (of_image.shape[-1] // 2)
        images.append(box_hits.Boxes(str(number), *given, of_image[kept], sure[kept, of_class], of_class, spacing))
    figures = detection_summary.of(images, CLASSES, resamples=0)["figures"]
    return figures["mAP50"]["value"], figures["sensitivity at 1 FP/image"]["value"]


def suppressed(boxes: np.ndarray, scores: np.ndarray, iou: float = 0.1, least: float = 0.02, most: int = 30) -> Any:
    """Returns the numbers of the boxes that greedy suppression leaves, best first.

    Lesions do not touch; and in 3-D boxes of 3 voxels that are 1 apart along each axis have an IoU of 0.17.
    """
    axes, kept = boxes.shape[-1] // 2, []
    order = np.argsort(-scores, kind="stable")[:1000]
    order = order[scores[order] >= least]
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(best)
        low, high = np.maximum(boxes[order, :axes], boxes[best, :axes]), np.minimum(boxes[order], boxes[best])[:, axes:]
        shared = np.maximum(high - low, 0).prod(-1)
        volumes = (boxes[..., axes:] - boxes[..., :axes]).prod(-1)
        order = order[shared <= iou * (volumes[order] + volumes[best] - shared)]
    return np.array(kept, int)


def learnt(
    name: str, settings: dict[str, Any], rank: int, given: Given | None = None, **training: Any
) -> tuple[float, float]:
    """Trains a detector as `trained` does; returns `measured` of images never seen."""
    network = trained(name, settings, rank, given=given, **training)
    truth, outputs = answered(network, rank, given)
    return measured(truth, list(outputs["boxes"]), list(outputs["scores"]))


def trained(
    name: str,
    settings: dict[str, Any],
    rank: int,
    *,
    steps: int,
    rate: float,
    seed: int = 0,
    loss_settings: dict[str, Any] | None = None,
    given: Given | None = None,
) -> keras.Model:
    """Returns a detector that has learned by its own loss on images that it saw once.

    Args:
        name: Of the factory.
        settings: Of the factory.
        rank: 2 or 3.
        steps: Batches.
        rate: The highest learning rate; it rises during a tenth of the steps and falls to 0.
        seed: Of the weights.
        loss_settings: Of the loss.
        given: What the network is asked with, of images and truth; None: the images.
    """
    keras.utils.set_random_seed(seed)
    network = models.build(name, input_shape=(*SIZES[rank], 1), num_classes=len(CLASSES), **settings)
    schedule = keras.optimizers.schedules.CosineDecay(rate / 10, steps, warmup_target=rate, warmup_steps=steps // 10)
    optimizer = keras.optimizers.Adam(schedule, global_clipnorm=10.0)
    optimizer.build(network.trainable_variables)
    step = _compiled(network, optimizer, loss_of(name, loss_settings))
    for number in range(steps):
        image, truth = planted(rank, 1000 * (seed + 1) + number, BATCH[rank])
        asked = given(image, truth) if given else image
        step(tf.nest.map_structure(tf.constant, asked), tf.nest.map_structure(tf.constant, truth))
    return network


def answered(network: keras.Model, rank: int, given: Given | None = None) -> tuple[Truth, dict[str, np.ndarray]]:
    """Returns what is in images never seen, and what a detector answers for them."""
    answer = tf.function(lambda asked: network(asked, training=False), autograph=False)
    unseen, truth = planted(rank, 9, UNSEEN[rank])
    parts: list[dict[str, tf.Tensor]] = []
    for first in range(0, len(unseen), BATCH[rank]):
        here = slice(first, first + BATCH[rank])
        of_part = {key: value[here] for key, value in truth.items()}
        asked = given(unseen[here], of_part) if given else unseen[here]
        parts.append(answer(tf.nest.map_structure(tf.constant, asked)))
    return truth, {key: np.concatenate([part[key].numpy() for part in parts]) for key in parts[0]}


def loss_of(name: str, settings: dict[str, Any] | None = None) -> losses.Loss:
    """Returns the loss that a detector learns by, unless it is told otherwise."""
    own = importlib.import_module(f"{models.__name__}.{models.find(name)[0]}")
    return losses.chosen("detection", own.LOSS, {**getattr(own, "LOSS_SETTINGS", {}), **(settings or {})})


def _compiled(network: keras.Model, optimizer: keras.optimizers.Optimizer, loss: losses.Loss) -> Any:
    @tf.function(autograph=False)
    def step(asked: Any, truth: dict[str, tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(loss(truth, network(asked, training=True)))
        gradients = tape.gradient(cost, [variable.value for variable in network.trainable_variables])
        optimizer.apply(gradients, network.trainable_variables)
        return cost

    return step
