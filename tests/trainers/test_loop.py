"""The step loop: the same weights on one device and on several, and a stop when a loss is no number."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import config, models, tasks
from radkit.errors import UserError
from tests.conftest import MadeUp
from trainers import adam, loop

# Logical devices must be named before TensorFlow starts, so the comparison has a process of its own.
ON_TWO_DEVICES = """
import sys
import keras, numpy as np, tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from pathlib import Path
from radkit import config, models, tasks
from trainers import checkpoints, loop, strategy

clip_norm, folder, norm = float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
experiment = config.Experiment(
    data=config.Data(dataset="x", mask_labels=("a",)), model=config.Model("unet"), task=config.Task("segmentation"),
    optimizer=config.Optimizer(learning_rate=1e-2, warmup_steps=1))
random = np.random.default_rng(0)
batches = [{"image": random.normal(size=(4, 8, 8, 8, 1)).astype("f"),
            "mask": random.integers(0, 2, (4, 8, 8, 8, 1)).astype("u1")} for _ in range(5)]

def weights(name):
    keras.utils.set_random_seed(1)
    devices = strategy.choose(config.Trainer(strategy=name, steps=5, batch_size=4))
    with devices.scope():
        network = models.build("unet", input_shape=(8, 8, 8, 1), num_classes=2, filters=(4, 8), norm=norm)
        optimizer = loop.new_optimizer(experiment)
        optimizer.build(network.trainable_variables)
        state = checkpoints.State(folder / name, network, optimizer)
    assert (state.step, state.best) == (0, -np.inf)
    step = loop.train_step(devices, network, optimizer, tasks.find("segmentation"), clip_norm=clip_norm, batch_size=4)
    dataset = tf.data.Dataset.from_generator(
        lambda: batches, output_signature={"image": tf.TensorSpec((4, 8, 8, 8, 1), tf.float32),
                                           "mask": tf.TensorSpec((4, 8, 8, 8, 1), tf.uint8)})
    losses = [float(step(batch)) for batch in devices.experimental_distribute_dataset(dataset)]
    state.save(5, 0.5)
    assert (state.step, state.best) == (5, 0.5)
    return devices.num_replicas_in_sync, losses, [np.array(w) for w in network.get_weights()]

one, losses, expected = weights("one")
two, losses_of_two, found = weights("mirrored")
assert (one, two) == (1, 2), (one, two)
np.testing.assert_allclose(losses_of_two, losses, rtol=1e-5)
# Keras sums the moments of several replicas in another order than the one operation of a single replica does.
bound = 1e-5 if norm == "instance" else 2e-4
for a, b in zip(expected, found):
    np.testing.assert_allclose(b, a, rtol=bound, atol=bound * np.abs(a).max())
print("equal", len(losses))
"""


@pytest.mark.parametrize(
    ("norm", "clip_norm"),
    [
        ("instance", 0.05),
        pytest.param("instance", 0.0, marks=pytest.mark.slow),
        pytest.param("batch", 0.05, marks=pytest.mark.slow),
    ],
)
def test_two_devices_give_the_weights_of_one(norm: str, clip_norm: float, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ON_TWO_DEVICES, str(clip_norm), str(tmp_path), norm],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == "equal 5", done.stderr[-3000:]


def new(made: MadeUp, clip_norm: float) -> tuple[keras.Model, keras.Optimizer, object]:
    keras.utils.set_random_seed(0)
    network = models.build("unet", input_shape=(8, 12, 12, 1), num_classes=3, filters=(4, 8))
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(network.trainable_variables)
    task = tasks.find("segmentation")
    step = loop.train_step(
        tf.distribute.get_strategy(), network, optimizer, task, clip_norm=clip_norm, batch_size=2
    )  # fmt: skip
    return network, optimizer, step


def batch(value: float = 1.0) -> dict[str, tf.Tensor]:
    random = np.random.default_rng(0)
    mask = random.integers(0, 3, (2, 8, 12, 12, 1)).astype(np.uint8)
    return {"image": tf.constant(value * random.normal(size=mask.shape), tf.float32), "mask": tf.constant(mask)}


@pytest.mark.parametrize("clip_norm", [1e-3, 1e9, 0.0])
def test_the_gradient_is_clipped_as_a_whole(volumes: MadeUp, clip_norm: float) -> None:
    network, _, step = new(volumes, clip_norm)
    before = network.get_weights()
    with tf.GradientTape() as tape:
        losses = tasks.find("segmentation").loss(batch(), network(batch()["image"], training=True))
        loss = tf.reduce_sum(losses) / 2
    gradients = [g.numpy() for g in tape.gradient(loss, [v.value for v in network.trainable_variables])]
    norm = np.sqrt(sum(np.square(g).sum() for g in gradients))
    factor = min(1.0, clip_norm / norm) if clip_norm else 1.0
    assert float(step(batch())) == pytest.approx(float(loss), rel=1e-5)
    for old, new_, gradient in zip(before, network.get_weights(), gradients):
        np.testing.assert_allclose(old - new_, factor * gradient, atol=1e-5 * factor * norm + 1e-7)


@pytest.mark.parametrize("clip_norm", [1.0, 0.0])
def test_a_gradient_that_is_no_number_shows_in_the_loss(
    volumes: MadeUp, clip_norm: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, optimizer, _ = new(volumes, clip_norm)

    @tf.custom_gradient
    def spoiled(x: tf.Tensor) -> tuple:
        return x, lambda upstream: upstream * float("nan")

    task = tasks.find("segmentation")
    bad = dataclasses.replace(task, loss=lambda one, logits: task.loss(one, spoiled(logits)))
    step = loop.train_step(
        tf.distribute.get_strategy(), network, optimizer, bad, clip_norm=clip_norm, batch_size=2
    )  # fmt: skip
    assert np.isnan(float(step(batch())))


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_before_any_hook(loss: float) -> None:
    losses = iter([1.0, 0.5, loss, 0.1])
    seen: list[int] = []
    with pytest.raises(UserError, match=rf"is {loss} at step 13; lower optimizer\.learning_rate"):
        loop.run(
            lambda _: next(losses), iter(range(9)), first_step=10, num_steps=20, hooks=[lambda n, _: seen.append(n)]
        )
    assert seen == [11, 12]


@pytest.mark.parametrize(("steps", "warmup"), [(100, 20), (10, 0), (5, 50), (1, 20), (2, 1)])
def test_the_learning_rate_rises_and_falls_to_zero(steps: int, warmup: int, volumes: MadeUp) -> None:
    experiment = dataclasses.replace(
        volumes.with_trainer(steps=steps).experiment,
        optimizer=config.Optimizer(learning_rate=0.5, warmup_steps=warmup),
    )
    schedule = loop.new_optimizer(experiment)._learning_rate
    rates = np.array([float(schedule(step)) for step in range(steps + 1)])
    top = int(rates.argmax())
    assert rates.max() == pytest.approx(0.5)
    assert top == min(warmup, steps - 1)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) < 0).all()
    assert rates[-1] == pytest.approx(0.0, abs=1e-7)


def test_the_weight_of_an_example_multiplies_its_loss(volumes: MadeUp) -> None:
    network, _, step = new(volumes, 0.0)
    losses = tasks.find("segmentation").loss(batch(), network(batch()["image"], training=True))
    expected = float(tf.reduce_sum(losses * [3.0, 0.5]) / 2)
    assert float(step({**batch(), "weight": tf.constant([3.0, 0.5])})) == pytest.approx(expected, rel=1e-5)


def test_what_is_left_to_the_device_is_done_within_the_step(volumes: MadeUp) -> None:
    network, optimizer, _ = new(volumes, 0.0)
    task = tasks.find("segmentation")
    losses = task.loss(batch(), network(batch(2.0)["image"], training=True))
    changed = loop.train_step(
        tf.distribute.get_strategy(), network, optimizer, task, clip_norm=0.0, batch_size=2,
        change=lambda one: {**one, "image": 2.0 * one["image"]},
    )  # fmt: skip
    assert float(changed(batch())) == pytest.approx(float(tf.reduce_sum(losses) / 2), rel=1e-4)


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


class TestRates:
    """Each weight moves by its own share of the learning rate."""

    def moved(self, shares: tuple[float, ...], decay: float) -> list[np.ndarray]:
        settings = config.Optimizer(learning_rate=0.1, weight_decay=decay, warmup_steps=0)
        experiment = config.Experiment(
            data=config.Data("x"), model=config.Model("unet"), task=config.Task("segmentation"), optimizer=settings
        )
        variables = [keras.Variable(np.full(3, 2.0, np.float32)) for _ in range(2)]
        optimizer = loop.new_optimizer(experiment, shares)
        optimizer.build(variables)
        optimizer.apply([tf.constant([1.0, -3.0, 0.5])] * 2, variables)
        return [np.asarray(variable) - 2.0 for variable in variables]

    @pytest.mark.parametrize("decay", [0.0, 0.5])
    def test_shares_scale_the_step_and_the_decay(self, decay: float) -> None:
        whole, alike = self.moved((), decay)
        slow, same = self.moved((0.1, 1.0), decay)
        np.testing.assert_allclose(alike, whole)
        np.testing.assert_allclose(slow, 0.1 * whole, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(same, whole, rtol=1e-6)
        # AdamW's first step is the rate against the gradient's sign; the decay is the rate times its share.
        np.testing.assert_allclose(whole, -0.1 * np.sign([1, -3, 0.5]) - 0.1 * decay * 2.0, rtol=1e-4, atol=1e-6)

    def test_no_shares_are_plain_adamw(self) -> None:
        experiment = config.Experiment(
            data=config.Data("x"), model=config.Model("unet"), task=config.Task("segmentation")
        )
        assert type(loop.new_optimizer(experiment, (1.0, 1.0))) is adam.AdamW
