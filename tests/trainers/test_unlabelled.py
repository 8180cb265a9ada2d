"""Learning of records without labels: the losses by hand, and that they help where labels are few."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import config, tasks
from radkit.errors import UserError
from trainers import averages, loop, unlabelled

Arrays = tuple[np.ndarray, np.ndarray]
CLASSES = config.Data("d", kind="radiograph", image_size=(12, 12), label="l", class_names=("no", "yes"))
MASKS = config.Data("d", kind="radiograph", image_size=(16, 16), mask_labels=("m",))


def experiment(data: config.Data, **settings: Any) -> config.Experiment:
    return config.Experiment(
        data=data,
        model=config.Model("resnet"),
        task=config.Task("classification" if data.label else "segmentation"),
        optimizer=config.Optimizer(learning_rate=3e-3, warmup_steps=1, schedule="constant"),
        trainer=config.Trainer(batch_size=16),
        unlabelled=config.Unlabelled(**settings),
    )


@pytest.fixture(scope="module")
def classifier() -> tuple[keras.Model, averages.Average]:
    """A linear classifier, and a teacher with other weights."""
    inputs = keras.Input((2, 2, 1))
    network = keras.Model(inputs, keras.layers.Dense(2, name="dense")(keras.layers.Flatten()(inputs)))
    random = np.random.default_rng(0)
    network.set_weights([random.normal(0, 1, (4, 2)), random.normal(0, 1, 2)])
    teacher = averages.Average(network, 0.9)
    network.set_weights([random.normal(0, 1, (4, 2)), random.normal(0, 1, 2)])
    return network, teacher


def batch(**more: Any) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(1)
    given = {
        "image": random.normal(0, 1, (4, 2, 2, 1)).astype(np.float32),
        "label": np.array([0, 1, 1, 0]),
        "unlabelled_image": random.normal(0, 1, (6, 2, 2, 1)).astype(np.float32),
        "unlabelled_draw": np.arange(6),
    }
    return {name: tf.constant(value) for name, value in {**given, **more}.items()}


def found(classifier: Any, given: dict[str, tf.Tensor], step: int = 10**6, **settings: Any) -> np.ndarray:
    network, teacher = classifier
    made = experiment(CLASSES, **settings)
    costs, sums = unlabelled.losses(made, tasks.of(made), teacher)(network, given, tf.constant(step, tf.int64))
    assert float(sums["known"]) == np.count_nonzero(given.get("weight", np.ones(4)))  # of those with labels alone
    return costs.numpy()


def softmax(logits: tf.Tensor) -> np.ndarray:
    exponents = np.exp(np.asarray(logits, np.float64))
    return exponents / exponents.sum(-1, keepdims=True)


def own_loss(network: keras.Model, given: dict[str, tf.Tensor]) -> np.ndarray:
    chances = softmax(network(given["image"]))
    return -np.log(chances[np.arange(4), given["label"].numpy()])


def test_a_mean_teacher_adds_the_squared_difference_of_probabilities(classifier: Any) -> None:
    given, (network, teacher) = batch(), classifier
    images = given["unlabelled_image"]
    apart = ((softmax(network(images)) - softmax(teacher.answer(images))) ** 2).sum(-1).mean()
    assert apart > 0.05
    told = found(classifier, given, method="mean_teacher", noise=0.0, weight=3.0)
    np.testing.assert_allclose(told, own_loss(network, given) + 3.0 * apart, rtol=1e-5)


def test_pseudo_labels_are_those_that_the_teacher_is_sure_of(classifier: Any) -> None:
    given, (network, teacher) = batch(), classifier
    taught, told = (softmax(one(given["unlabelled_image"])) for one in (teacher.answer, network))
    threshold = float(np.median(taught.max(-1)))
    sure, classes = taught.max(-1) >= threshold, taught.argmax(-1)
    assert 0 < sure.sum() < 6
    extra = (-np.log(told[np.arange(6), classes]) * sure).mean()
    got = found(classifier, given, method="pseudo_labels", noise=0.0, threshold=threshold)
    np.testing.assert_allclose(got, own_loss(network, given) + extra, rtol=1e-4)


def test_pseudo_masks_leave_out_voxels_that_the_teacher_is_unsure_of() -> None:
    made = experiment(MASKS, method="pseudo_labels", threshold=0.8)
    taught = tf.constant([[[[4.0, 0.0], [0.0, 4.0]], [[0.5, 0.0], [0.0, 0.5]]]])
    task, seen = tasks.of(made), {}
    spied = dataclasses.replace(task, loss=lambda given, told: seen.update(given) or task.loss(given, told))
    unlabelled._of_pseudo_labels(spied, made.unlabelled, {}, taught, taught)
    assert seen["mask"].numpy()[0, ..., 0].tolist() == [[0, 1], [255, 255]]


def test_the_weight_rises(classifier: Any) -> None:
    given, own = batch(), own_loss(classifier[0], batch())
    settings = {"method": "mean_teacher", "noise": 0.0, "ramp_steps": 100}
    whole = found(classifier, given, 100, **settings)[0] - own[0]
    for step, share in ((0, np.exp(-5.0)), (50, np.exp(-1.25)), (99, np.exp(-5e-4)), (10**6, 1.0)):
        np.testing.assert_allclose(found(classifier, given, step, **settings)[0] - own[0], whole * share, rtol=1e-3)
    without = found(classifier, given, 0, **{**settings, "ramp_steps": 0})[0] - own[0]
    np.testing.assert_allclose(without, whole, rtol=1e-4)


def test_weights_of_labelled_examples_do_not_weigh_the_others(classifier: Any) -> None:
    weight = np.array([0.5, 2.0, 0.0, 4.0], np.float32)
    settings = {"method": "mean_teacher", "noise": 0.0}
    plain, own = found(classifier, batch(), **settings), own_loss(classifier[0], batch())
    told = found(classifier, batch(weight=weight), **settings)
    np.testing.assert_allclose((told * weight).sum(), (own * weight).sum() + 3 * (plain - own)[0], rtol=1e-5)


def test_noise_is_the_students_and_follows_the_examples_number(classifier: Any) -> None:
    made, given = experiment(CLASSES, noise=0.5), batch()
    images = {"image": given["unlabelled_image"], "draw": given["unlabelled_draw"]}
    whole = unlabelled._noised(images, made).numpy()
    half = unlabelled._noised({name: value[3:] for name, value in images.items()}, made).numpy()
    np.testing.assert_array_equal(whole[3:], half)
    added = whole - images["image"].numpy()
    assert len(np.unique(added.round(6))) == added.size
    assert 0.3 < added.std() < 0.7
    other = dataclasses.replace(made, trainer=dataclasses.replace(made.trainer, seed=1))
    assert np.abs(unlabelled._noised(images, other).numpy() - whole).min() > 0


def test_the_teacher_is_no_way_for_gradients_and_is_not_changed(classifier: Any) -> None:
    network, teacher = classifier
    made = experiment(CLASSES, method="mean_teacher")
    before = [variable.numpy() for variable in teacher.variables]
    with tf.GradientTape() as tape:
        tape.watch([variable.value for variable in teacher.variables[1:]])
        loss, _ = unlabelled.losses(made, tasks.of(made), teacher)(network, batch(), tf.constant(9, tf.int64))
    assert tape.gradient(loss, [variable.value for variable in teacher.variables[1:]]) == [None, None]
    for variable, value in zip(teacher.variables, before):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.slow
def test_a_network_that_answers_at_several_resolutions_and_counts_its_batch_learns() -> None:
    """Also compiled, as on a TPU."""
    inputs = keras.Input((8, 8, 1))
    fine = keras.layers.BatchNormalization()(keras.layers.Conv2D(3, 3, padding="same")(inputs))
    answers = [keras.layers.Conv2D(2, 1)(one) for one in (fine, keras.layers.AveragePooling2D(2)(fine))]
    network = keras.Model(inputs, answers)
    teacher, random = averages.Average(network, 0.9), np.random.default_rng(0)
    given = {
        "image": tf.constant(random.normal(0, 1, (2, 8, 8, 1)).astype(np.float32)),
        "mask": tf.constant(random.integers(0, 2, (2, 8, 8, 1)).astype(np.uint8)),
        "unlabelled_image": tf.constant(random.normal(0, 1, (4, 8, 8, 1)).astype(np.float32)),
        "unlabelled_draw": tf.range(4, dtype=tf.int64),
    }
    for method in ("mean_teacher", "pseudo_labels"):
        made = experiment(dataclasses.replace(MASKS, image_size=(8, 8)), method=method)
        of_batch = unlabelled.losses(made, tasks.of(made), teacher)
        told = tf.function(lambda batch, of=of_batch: of(network, batch, tf.constant(5, tf.int64))[0], jit_compile=True)
        before, compiled = network.get_weights(), told(given)
        network.set_weights(before)  # the batch was counted: the teacher would answer by other statistics
        np.testing.assert_allclose(compiled, of_batch(network, given, tf.constant(5, tf.int64))[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "folder", "replicas", "told"),
    [
        ({}, "more", 1, "--unlabelled more is of a config that learns of such records, and unlabelled.method is"),
        ({"method": "mean_teacher"}, "", 1, "name their data set with --unlabelled, or set it to 'none'"),
        (
            {"method": "mean_teacher", "batch_size": 6},
            "more",
            4,
            "unlabelled.batch_size is 6, which does not divide by",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], folder: str, replicas: int, told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        unlabelled.require(experiment(CLASSES, **settings), Path(folder) if folder else None, replicas)
    unlabelled.require(experiment(CLASSES), None, replicas)


def test_the_teacher_is_the_runs_one_average() -> None:
    assert unlabelled.decay(experiment(CLASSES, method="mean_teacher", average=0.7)) == 0.7
    assert unlabelled.decay(experiment(CLASSES)) == 0.0


def bars(count: int, seed: int, least: float) -> Arrays:
    """Returns noise with an upright or a lying bar of a contrast from `least` to 2, and which it is."""
    random = np.random.default_rng(seed)
    lies, image = random.integers(0, 2, count), random.normal(0, 0.45, (count, 12, 12, 1))
    for one, bar in zip(image, lies):
        across, along, contrast = random.integers(1, 10), random.integers(0, 5), random.uniform(least, 2.0)
        view = one if bar else one.swapaxes(0, 1)
        view[across : across + 2, along : along + 7] += contrast
    return image.astype(np.float32), lies


def discs(count: int, seed: int, least: float) -> Arrays:
    """Returns noise with a disc of a contrast from `least` to 2, and its mask."""
    random = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(16), np.arange(16), indexing="ij"), -1)
    middles, radii = random.uniform(4, 12, (count, 1, 1, 2)), random.uniform(2.5, 4.5, (count, 1, 1))
    mask = (np.linalg.norm(grid - middles, axis=-1) < radii)[..., None].astype(np.uint8)
    image = random.normal(0, 0.25, mask.shape) + mask * random.uniform(least, 2.0, (count, 1, 1, 1))
    return image.astype(np.float32), mask


def of_bars() -> keras.Model:
    inputs = keras.Input((12, 12, 1))
    x = keras.layers.Conv2D(12, 5, padding="same", activation="relu")(inputs)
    x = keras.layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.GlobalMaxPooling2D()(x)))


def of_discs() -> keras.Model:
    inputs = x = keras.Input((16, 16, 1))
    for _ in range(3):
        x = keras.layers.Conv2D(12, 3, padding="same", activation="relu")(x)
    return keras.Model(inputs, keras.layers.Conv2D(2, 1)(x))


def trained(made: config.Experiment, network: keras.Model, labelled: dict[str, np.ndarray], more: np.ndarray) -> None:
    """Trains with the loop's own step for 300 steps; the network ends with the average's weights."""
    asked = dataclasses.replace(made, optimizer=dataclasses.replace(made.optimizer, average=0.95))
    made = dataclasses.replace(made, trainer=dataclasses.replace(made.trainer, batch_size=len(labelled["image"])))
    trains = loop.new(network, asked)
    task, random = tasks.of(made), np.random.default_rng(made.trainer.seed)
    learns = made.unlabelled.method != "none"
    losses = unlabelled.losses(made, task, trains.average) if learns else loop.losses_of(task)
    step = loop.train_step(tf.distribute.get_strategy(), trains, losses, made)
    for number in range(300):
        given = {name: tf.constant(value) for name, value in labelled.items()}
        if learns:
            given["unlabelled_image"] = tf.constant(more[random.integers(0, len(more), 32)])
            given["unlabelled_draw"] = tf.range(number * 32, number * 32 + 32, dtype=tf.int64)
        assert step(given, tf.constant(number, tf.int64))["is_finite"]
    network.set_weights([variable.numpy() for variable in trains.average.variables[1:]])


METHODS = ({}, {"method": "mean_teacher", "weight": 5.0}, {"method": "pseudo_labels", "threshold": 0.8})


def with_seed(data: config.Data, settings: dict[str, Any], seed: int) -> config.Experiment:
    keras.utils.set_random_seed(seed)
    more = {"batch_size": 32, "noise": 0.3, "ramp_steps": 100, "average": 0.95} if settings else {}
    made = experiment(data, **settings, **more)
    return dataclasses.replace(made, trainer=dataclasses.replace(made.trainer, seed=seed))


@pytest.mark.slow
def test_few_labels_of_classes_go_further_with_unlabelled_images() -> None:
    """Sixteen labelled images, all of high contrast; the mistakes on images of any contrast at least halve."""
    mistakes = []
    images, truth = bars(1000, 7, 0.5)
    for settings in METHODS:
        wrong = []
        for seed in range(2):
            few, classes = bars(200, 1000 + seed, 1.6)
            chosen = np.concatenate([np.where(classes == kind)[0][:8] for kind in (0, 1)])
            network, made = of_bars(), with_seed(CLASSES, settings, seed)
            trained(made, network, {"image": few[chosen], "label": classes[chosen]}, bars(600, 100 + seed, 0.5)[0])
            wrong.append(float((network.predict(images, verbose=0).argmax(-1) != truth).mean()))
        mistakes.append(float(np.mean(wrong)))
    alone, with_teacher, with_pseudo = mistakes
    assert alone > 0.01, mistakes
    assert max(with_teacher, with_pseudo) < 0.5 * alone, mistakes


@pytest.mark.slow
def test_few_masks_go_further_with_unlabelled_images() -> None:
    """Four labelled images, all of high contrast; the Dice of images of any contrast rises by 0.05 and more."""
    dice = []
    images, truth = discs(100, 7, 0.4)
    for settings in METHODS:
        scores = []
        for seed in range(2):
            few, masks = discs(4, 200 + seed, 1.6)
            network, made = of_discs(), with_seed(MASKS, settings, seed)
            trained(made, network, {"image": few, "mask": masks}, discs(300, 300 + seed, 0.4)[0])
            mask = network.predict(images, verbose=0).argmax(-1)
            both = (mask * truth[..., 0]).sum((1, 2))
            scores.append(float((2 * both / (mask.sum((1, 2)) + truth[..., 0].sum((1, 2)))).mean()))
        dice.append(float(np.mean(scores)))
    alone, with_teacher, with_pseudo = dice
    assert min(with_teacher, with_pseudo) > alone + 0.05, dice
