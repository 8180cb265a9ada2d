"""The step: what it computes and leaves alone; the loop: what it tells, and when it ends."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import config, models, tasks
from radkit.errors import UserError
from radkit.tasks import task as task_module
from trainers import loop

ONE = tf.distribute.get_strategy()


def experiment(optimizer: config.Optimizer | None = None, **trainer: Any) -> config.Experiment:
    section = optimizer or config.Optimizer(name="sgd", learning_rate=1.0, momentum=0.0, weight_decay=0.0,
                                            clip_norm=0.0, warmup_steps=0, schedule="constant")  # fmt: skip
    return config.Experiment(
        config.Data("x"), config.Model("x"), config.Task("classification"), optimizer=section,
        trainer=config.Trainer(**{"batch_size": 4, "steps": 10, **trainer}),
    )  # fmt: skip


def network(dropout: float = 0.0) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = image = keras.Input((6,))
    x = keras.layers.Dense(5, activation="tanh")(x)
    x = keras.layers.LayerNormalization()(keras.layers.Dropout(dropout)(x))
    return keras.Model(image, keras.layers.Dense(3, dtype="float32")(x))


def losses(model: keras.Model, given: Mapping[str, tf.Tensor], number: tf.Tensor) -> tf.Tensor:
    del number
    return tf.nn.sparse_softmax_cross_entropy_with_logits(given["label"], model(given["image"], training=True))


def batch(seed: int = 0, **more: Any) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(seed)
    image, label = random.normal(size=(4, 6)).astype("f"), random.integers(0, 3, 4)
    return {"image": tf.constant(image), "label": tf.constant(label), **more}


def at(number: int = 0) -> tf.Tensor:
    return tf.constant(number, tf.int64)


def made(said: config.Experiment, loss: loop.Losses = losses, **more: Any) -> tuple[loop.Trained, loop.Step]:
    trained = loop.new(network(more.pop("dropout", 0.0)), said)
    return trained, loop.train_step(ONE, trained, loss, said, **more)


def values(trained: loop.Trained) -> dict[str, list[bytes]]:
    return {name: [one.numpy().tobytes() for one in part] for name, part in trained.parts().items()}


def gradients(given: Mapping[str, tf.Tensor], weight: Any = 0.25) -> tuple[float, list[np.ndarray]]:
    """Returns the loss and the gradients of a new network, without the trainer."""
    model = network()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(losses(model, given, at()) * weight)
    return float(loss), [g.numpy() for g in tape.gradient(loss, [v.value for v in model.trainable_variables])]


def moves(step: loop.Step, trained: loop.Trained, given: Any) -> tuple[dict[str, float], list[np.ndarray]]:
    before = [weight.numpy() for weight in trained.network.trainable_variables]
    told = {name: float(value) for name, value in step(given, at()).items()}
    return told, [old - weight.numpy() for old, weight in zip(before, trained.network.trainable_variables)]


@pytest.mark.parametrize("clip_norm", [1e-3, 0.0])
def test_the_gradient_is_clipped_as_a_whole(clip_norm: float) -> None:
    said = experiment()
    said = dataclasses.replace(said, optimizer=dataclasses.replace(said.optimizer, clip_norm=clip_norm))
    trained, step = made(said)
    loss, expected = gradients(batch())
    norm = np.sqrt(sum(np.square(one).sum() for one in expected))
    factor = min(1.0, clip_norm / norm) if clip_norm else 1.0
    told, moved = moves(step, trained, batch())
    assert told["loss"] == pytest.approx(loss, rel=1e-5)
    assert told["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    assert (told["is_finite"], told["learning_rate"], told["scale"]) == (1.0, 1.0, 1.0)
    for one, other in zip(moved, expected, strict=True):
        np.testing.assert_allclose(one, factor * other, atol=1e-5 * factor * norm + 1e-7)


@pytest.mark.parametrize("weight", [(3.0, 0.5, 1.0, 1.0), (2.0, 0.5, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)])
def test_a_loss_is_divided_by_how_many_examples_have_a_weight(weight: tuple[float, ...]) -> None:
    trained, step = made(experiment())
    loss, expected = gradients(batch(), np.array(weight, "f") / max(1, np.count_nonzero(weight)))
    told, moved = moves(step, trained, batch(weight=tf.constant(weight)))
    assert told["loss"] == pytest.approx(loss, rel=1e-5)
    for one, other in zip(moved, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("parts", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_a_batch_in_parts_moves_the_weights_as_the_whole(parts: int) -> None:
    weight = tf.constant([1.0, 0.5, 2.0, 0.0])
    (_, expected), (_, moved) = (
        moves(*reversed(made(experiment(accumulate=count))), batch(weight=weight)) for count in (1, parts)
    )
    for one, other in zip(moved, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_parts_of_a_batch_draw_their_own() -> None:
    keras.utils.set_random_seed(0)
    image = keras.Input((64,))
    model = keras.Model(image, keras.layers.Dense(1, use_bias=False)(keras.layers.Dropout(0.5)(image)))
    said = experiment(accumulate=2, batch_size=2)
    trained = loop.new(model, said)
    step = loop.train_step(ONE, trained, lambda model, given, _: model(given["image"], training=True)[:, 0], said)
    _, (moved,) = moves(step, trained, {"image": tf.ones((2, 64))})
    # An input that both parts keep is twice itself in each; one that a single part keeps shows that they differ.
    assert set(np.unique(np.round(moved, 4))) == {0.0, 1.0, 2.0}


def test_batch_norms_count_each_part_of_a_batch() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization(momentum=0.5)])
    said = experiment(accumulate=2)
    trained = loop.new(model, said)
    step = loop.train_step(ONE, trained, lambda model, given, _: model(given["image"], training=True)[:, 0], said)
    step({"image": tf.constant([[1.0], [3.0], [5.0], [7.0]])}, at())
    mean, variance = (float(weight.numpy()[0]) for weight in model.non_trainable_variables[:2])
    assert mean == pytest.approx(0.5 * (0.5 * 2.0) + 0.5 * 6.0)
    assert variance == pytest.approx(0.5 * (0.5 * 1.0 + 0.5 * 1.0) + 0.5 * 1.0)


@pytest.mark.parametrize(
    ("what", "clip_norm"), [("loss", 1.0), ("gradient", 1.0), ("gradient", 0.0), ("statistic", 0.0)]
)
def test_a_step_that_is_not_finite_changes_nothing(what: str, clip_norm: float) -> None:
    section = config.Optimizer(learning_rate=0.1, warmup_steps=0, clip_norm=clip_norm, average=0.9)
    said = experiment(section)
    model = network(0.5)

    @tf.custom_gradient
    def spoiled(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        return x, lambda upstream: upstream * float("nan")

    def bad(model: keras.Model, given: Any, number: tf.Tensor) -> tf.Tensor:
        found = losses(model, given, number)
        if what == "statistic":
            model.layers[-2].gamma.assign(model.layers[-2].gamma + given["fault"])
            return found
        return spoiled(found) if what == "gradient" else found + given["fault"]

    trained = loop.new(model, said)
    good = loop.train_step(ONE, trained, losses, said)
    assert float(good(batch(), at())["is_finite"]) == 1.0
    before = values(trained)
    step = loop.train_step(ONE, trained, bad, said)
    told = step(batch(fault=tf.constant(float("inf"))), at(1))
    assert float(told["is_finite"]) == 0.0
    assert values(trained) == before
    good(batch(), at(1))
    after = values(trained)
    assert {name for name in before if before[name] != after[name]} == {"network", "optimizer", "average"}


def test_the_same_step_draws_the_same_whatever_came_before() -> None:
    told = {}
    for first in (0, 2):
        _, step = made(experiment(config.Optimizer(learning_rate=0.0, weight_decay=0.0)), dropout=0.5)
        told[first] = [float(step(batch(), at(number))["loss"]) for number in range(first, 4)]
    assert told[0][2:] == told[2]
    assert len(set(told[0])) == 4


def test_a_part_that_does_not_divide_is_refused() -> None:
    with pytest.raises(UserError, match=r"batch_size is 4, .* trainer\.accumulate = 3 equal parts on each of 1"):
        made(experiment(accumulate=3))


def test_what_is_left_to_the_device_is_done_within_the_step() -> None:
    _, step = made(experiment(), change=lambda one: {**one, "image": 2.0 * one["image"]})
    expected, _ = gradients({**batch(), "image": 2.0 * batch()["image"]})
    assert float(step(batch(), at())["loss"]) == pytest.approx(expected, rel=1e-5)


def test_weights_that_a_loss_does_not_reach_stay() -> None:
    trained, step = made(experiment(), lambda model, given, _: tf.reduce_sum(model.layers[1](given["image"]), -1))
    _, moved = moves(step, trained, batch())
    assert np.abs(moved[0]).max() > 0
    assert np.abs(moved[-1]).max() == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adamw", "sgd", "lamb"])
def test_xla_moves_the_weights_alike(name: str) -> None:
    found = []
    for xla in (False, True):
        section = config.Optimizer(name=name, learning_rate=0.1, warmup_steps=0, average=0.9)
        trained, step = made(experiment(section, xla=xla))
        told = [float(step(batch(number), at(number))["loss"]) for number in range(4)]
        assert float(step(batch(image=tf.fill((4, 6), float("nan"))), at(4))["is_finite"]) == 0.0
        found.append([told, *(one.numpy() for part in trained.parts().values() for one in part)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_tasks_loss_of_what_the_network_answers() -> None:
    task = tasks.find("segmentation")
    keras.utils.set_random_seed(0)
    model = models.build("unet", input_shape=(8, 8, 1), num_classes=3, filters=(4, 8))
    random = np.random.default_rng(0)
    given = {
        "image": tf.constant(random.normal(size=(2, 8, 8, 1)), tf.float32),
        "mask": tf.constant(random.integers(0, 3, (2, 8, 8, 1)), tf.uint8),
    }
    expected = task.loss(given, model(given["image"], training=True))
    np.testing.assert_allclose(loop.losses_of(task)(model, given, at()), expected)


def figures(loss: float = 1.0) -> dict[str, tf.Tensor]:
    finite = bool(np.isfinite(loss))
    return {"loss": tf.constant(loss), "is_finite": tf.constant(finite), "gradient_norm": tf.constant(1.0)}


def test_hooks_hear_of_every_step_until_the_last() -> None:
    heard: list[tuple[int, int, float]] = []

    def step(given: int, number: tf.Tensor) -> dict[str, tf.Tensor]:
        return figures(given + float(number))

    reached = loop.run(
        step, iter(range(100, 200)), first_step=10, num_steps=13,
        hooks=[lambda n, told: heard.append((0, n, told["loss"])), lambda n, told: heard.append((1, n, told["loss"]))],
    )  # fmt: skip
    assert reached == 13
    assert heard == [(hook, 11 + place, 110.0 + 2 * place) for place in range(3) for hook in (0, 1)]


def test_a_hook_ends_training_after_all_hooks_heard() -> None:
    heard: list[int] = []
    reached = loop.run(
        lambda given, number: figures(), iter(range(9)), first_step=0, num_steps=9,
        hooks=[lambda n, _: n == 3, lambda n, _: heard.append(n)],
    )  # fmt: skip
    assert reached == 3
    assert heard == [1, 2, 3]


def test_the_end_may_change_while_training_runs() -> None:
    ends = [100]
    hooks = [lambda n, _: ends.append(5) if n == 2 else None]
    batches = iter(range(100))
    assert loop.run(lambda a, b: figures(), batches, first_step=0, num_steps=lambda: ends[-1], hooks=hooks) == 5
    assert next(batches) == 5


@pytest.mark.parametrize("per_execution", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_several_steps_at_once_are_told_one_by_one(per_execution: int) -> None:
    found = []
    for count in (1, per_execution):
        trained, step = made(experiment(config.Optimizer(learning_rate=0.1)), dropout=0.3)
        heard: list[tuple[int, float]] = []
        hook = lambda n, told, heard=heard: heard.append((n, told["loss"]))  # noqa: E731
        batches = iter([batch(seed) for seed in range(9)])
        assert loop.run(step, batches, first_step=1, num_steps=8, hooks=[hook], per_execution=count) == 8
        assert len(list(batches)) == 2
        found.append((heard, values(trained)))
    assert found[0] == found[1]


@pytest.mark.parametrize("per_execution", [1, 2])
def test_what_a_loss_refuses_while_it_is_traced_is_told_as_it_was_said(per_execution: int) -> None:
    def refused(*_: Any) -> tf.Tensor:
        raise UserError("gamma must be a number from 0 on, not -1")

    _, step = made(experiment(), refused)
    with pytest.raises(UserError, match=r"^gamma must be a number from 0 on, not -1$"), loop.as_refused():
        loop.run(step, iter([batch()] * 2), first_step=0, num_steps=2, hooks=[], per_execution=per_execution)


def test_what_is_no_refusal_stays_what_it_is() -> None:
    def failed() -> None:
        try:
            raise UserError("mended")
        except UserError:
            raise KeyError("other") from None

    for error, raised in ((KeyError, failed), (UserError, lambda: loop.require_parts(config.Trainer(), 3))):
        with pytest.raises(error), loop.as_refused():
            raised()


def test_executions_begin_at_their_multiples_whatever_the_plan() -> None:
    """A plan that grows while single steps are taken must not have steps told that are not the weights'."""
    total, taken, heard = 7, 0, []

    def step(given: int, number: tf.Tensor) -> dict[str, tf.Tensor]:
        nonlocal taken
        taken += 1
        return figures()

    def hook(number: int, told: Mapping[str, Any]) -> None:
        nonlocal total
        heard.append((number, taken))
        total = 13 if number >= 5 else 7

    tf.config.run_functions_eagerly(True)
    try:
        assert (
            loop.run(step, iter(range(20)), first_step=0, num_steps=lambda: total, hooks=[hook], per_execution=4) == 13
        )
    finally:
        tf.config.run_functions_eagerly(False)
    assert [pair for pair in heard if pair[0] % 4 == 0] == [(4, 4), (8, 8), (12, 12)]


@pytest.mark.parametrize(("loss", "what"), [(float("nan"), "loss"), (float("inf"), "loss")])
@pytest.mark.parametrize("per_execution", [1, 4])
def test_so_many_bad_steps_in_a_row_give_training_up(loss: float, what: str, per_execution: int) -> None:
    losses = iter([1.0, loss, loss, 0.5, loss, loss, loss, 0.1])
    heard: list[tuple[int, bool]] = []
    with pytest.raises(UserError, match=rf"the {what} is {loss} at step 17, the 3\. step in a row .*learning_rate"):
        loop.run(
            lambda given, number: figures(next(losses)), iter(range(9)), first_step=10, num_steps=18, bad_steps=3,
            hooks=[lambda n, told: heard.append((n, bool(told["is_finite"])))], per_execution=per_execution,
        )  # fmt: skip
    assert heard == [(11, True), (12, False), (13, False), (14, True), (15, False), (16, False)]


def test_a_gradient_that_is_not_finite_is_called_so() -> None:
    told = {**figures(), "is_finite": tf.constant(False), "gradient_norm": tf.constant(float("nan"))}
    with pytest.raises(UserError, match="the gradient is nan at step 1"):
        loop.run(lambda given, number: told, iter(range(9)), first_step=0, num_steps=9, hooks=[], bad_steps=1)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def takes(self, seconds: float) -> "Clock":
        self.now += seconds
        return self


def test_images_a_second_and_the_share_of_waiting() -> None:
    clock = Clock()
    waits = iter([50.0, 1.0, 3.0, 7.0, 1.0])

    def slow() -> Iterator[int]:
        for wait in waits:
            clock.takes(wait)
            yield 0

    watched = loop.Watched(slow(), batch_size=8, clock=clock)
    for _ in range(3):
        next(watched)
        clock.takes(2.0)
    # Three steps of 2 s, and waits of 1 and 3 s: the first wait, of 50 s, is the pipeline's start.
    assert watched.figures() == {"images_per_s": 2.4, "waiting_share": 0.4}
    clock.takes(1000.0)  # a validation
    watched.restart()
    for _ in range(2):
        next(watched)
        clock.takes(1.0)
    assert watched.figures() == {"images_per_s": 1.6, "waiting_share": 0.8}
    with pytest.raises(StopIteration):
        next(watched)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_figures_of_training_come_as_sums_that_add_up(accumulate: int) -> None:
    data, task = config.Data("x", class_names=("a", "b", "c")), tasks.find("classification")
    stream = task_module.stream_of(task, data)
    assert stream is not None
    trained, step = made(experiment(accumulate=accumulate), loop.losses_of(task, data))
    answers = trained.network(batch()["image"], training=True)
    bad = {**batch(1), "image": batch(1)["image"] * np.nan}
    heard: list[Mapping[str, Any]] = []
    loop.run(
        step, iter([batch(), bad]), first_step=0, num_steps=2, hooks=[lambda _, told: heard.append(told) and None],
        per_execution=2,
    )  # fmt: skip
    right = (np.argmax(answers, -1) == batch()["label"].numpy()).sum()
    assert heard[0]["sums"] == {"known": 4.0, "right": right}
    assert stream.figures(heard[0]["sums"]) == {"accuracy": right / 4}
    assert not heard[1]["is_finite"]
