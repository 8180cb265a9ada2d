"""What a step does on so many replicas, written to a file: logical devices must be named before TensorFlow starts.

python -m tests.trainers.on_replicas REPLICAS PRECISION OUTPUT.npz CASE...
"""

import sys
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from radkit import config
from radkit.models.layers import normalization
from radkit.tasks import streams
from trainers import loop, randomness

STEPS, BATCH, BAD = 20, 8, 3  # BAD: the step at which an example is no number
RULES = {"adamw": 3e-3, "sgd": 1e-2, "lamb": 3e-3}
CASES = (*RULES, "accumulated", "several")


def experiment(case: str) -> config.Experiment:
    """Returns what a case trains by."""
    name = case if case in RULES else "adamw"
    optimizer = config.Optimizer(
        name=name, learning_rate=RULES[name], weight_decay=0.01, warmup_steps=3, clip_norm=0.5, average=0.9
    )
    trainer = config.Trainer(steps=STEPS, batch_size=BATCH, seed=7, accumulate=2 if case == "accumulated" else 1)
    return config.Experiment(
        config.Data("x"), config.Model("x"), config.Task("classification"), optimizer=optimizer, trainer=trainer
    )


def network(case: str, dropout: float = 0.0) -> keras.Model:
    """Returns a small classifier; of a batch in parts it has no batch norm, whose statistics are the part's."""
    keras.utils.set_random_seed(1)
    x = image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(6, 3, use_bias=False)(x)
    x = normalization.layer("instance" if case == "accumulated" else "batch")(x)
    x = keras.layers.Activation("tanh")(x)
    x = keras.layers.Dropout(dropout)(x)
    x = keras.layers.Conv2D(8, 3, strides=2)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("tanh")(x))
    return keras.Model(image, keras.layers.Dense(3, dtype="float32")(x))


STREAM = streams.classification(config.Data("x", class_names=("a", "b", "c")))


def losses(model: keras.Model, batch: Any, number: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Returns the cross-entropy of each example, and the sums of the accuracy."""
    del number
    logits = model(batch["image"], training=True)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(batch["label"], logits), STREAM.sums(batch, logits)


def batches(steps: int = STEPS) -> Iterator[dict[str, np.ndarray]]:
    """Yields weighted examples; every third batch is ragged: its last three examples are there to fill it only."""
    random = np.random.default_rng(0)
    for step in range(steps):
        label = random.integers(0, 3, BATCH)
        image = (random.normal(size=(BATCH, 8, 8, 1)) + label[:, None, None, None]).astype("f")
        weight = random.uniform(0.5, 2.0, BATCH).astype("f")
        weight[BATCH - (3 if step % 3 == 2 else 0) :] = 0
        yield {"image": image, "label": label, "weight": weight}


def distributed(devices: Any, found: list[dict[str, np.ndarray]]) -> Iterator[Any]:
    """Yields batches as a strategy deals them to its replicas."""
    specs = {name: tf.TensorSpec(value.shape, value.dtype) for name, value in found[0].items()}
    return iter(
        devices.experimental_distribute_dataset(tf.data.Dataset.from_generator(lambda: found, output_signature=specs))
    )


def made(devices: Any, case: str, dropout: float = 0.0) -> tuple[loop.Trained, loop.Step]:
    """Returns a network and its step."""
    with devices.scope():
        trained = loop.new(network(case, dropout), experiment(case))
    return trained, loop.train_step(devices, trained, losses, experiment(case))


def values(trained: loop.Trained) -> dict[str, list[np.ndarray]]:
    """Returns all that a checkpoint would hold."""
    return {name: [np.array(one.numpy()) for one in part] for name, part in trained.parts().items()}


def weights(devices: Any, case: str) -> dict[str, np.ndarray]:
    """Returns what stands in the network, its average and the losses after all steps."""
    trained, step = made(devices, case)
    told: list[float] = []
    accuracy: list[float] = []
    reached = loop.run(
        step, distributed(devices, list(batches())), first_step=0, num_steps=STEPS,
        hooks=[
            lambda _, figures: told.extend((figures["loss"], figures["gradient_norm"])),
            lambda _, figures: accuracy.append(STREAM.figures(figures["sums"])["accuracy"]),
        ],
        per_execution=6 if case == "several" else 1,
    )  # fmt: skip
    assert reached == STEPS
    assert len(set(accuracy)) > 2
    found = {
        "told": np.array(told),
        "accuracy": np.array(accuracy),
        "scale": np.array(0 if not trained.scale else trained.scale.value.numpy()),
    }
    for name in ("network", "average"):
        found |= {f"{name}/{place}": value for place, value in enumerate(values(trained)[name])}
    return found


def touched(devices: Any) -> dict[str, np.ndarray]:
    """Returns, for a NaN in each example in turn, how many variables it changed (the loss scale is not counted)."""
    trained, step = made(devices, "adamw", dropout=0.2)
    given = list(batches(BATCH + BAD))
    for place in range(BATCH):
        given[BAD + place]["image"][place, 2, 3] = np.nan
    changed, scales = [], []
    for number, batch in enumerate(distributed(devices, given)):
        before = values(trained)
        told = step(batch, tf.constant(number, tf.int64))
        after = values(trained)
        assert bool(told["is_finite"]) == (number < BAD), number
        scales.append(float(told["scale"]))
        differ = [
            one.tobytes() != other.tobytes()
            for part in before
            for one, other in zip(before[part], after[part], strict=True)
            if part != "scale"
        ]
        changed.append(sum(differ))
    return {"changed": np.array(changed), "scales": np.array(scales)}


def drawn(devices: Any) -> dict[str, np.ndarray]:
    """Returns the seeds of each replica at steps 4, 5 and again 4, (3, replicas, 2)."""
    trained, _ = made(devices, "adamw", dropout=0.5)

    @tf.function
    def seeds(number: tf.Tensor) -> tf.Tensor:
        def on_replica() -> tf.Tensor:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return randomness.drawn(trained.network, 7, number, replica)[0][1]

        return tf.stack(devices.experimental_local_results(devices.run(on_replica)))

    found = [seeds(tf.constant(number, tf.int64)).numpy() for number in (4, 5, 4)]
    return {"seeds": np.stack(found)}


def strategy(replicas: int) -> Any:
    """Returns the strategy of so many replicas; one is TensorFlow's default."""
    if replicas == 1:
        return tf.distribute.get_strategy()
    names = [device.name for device in tf.config.list_logical_devices("CPU")]
    assert len(names) == replicas
    return tf.distribute.MirroredStrategy(names)


def found(replicas: int, cases: list[str]) -> dict[str, np.ndarray]:
    """Returns all that was asked for: cases of `CASES`, "touched", "drawn"."""
    devices = strategy(replicas)
    asked = {"touched": touched, "drawn": drawn}
    parts = {case: asked[case](devices) if case in asked else weights(devices, case) for case in cases}
    return {f"{case}/{name}": value for case, part in parts.items() for name, value in part.items()}


def main(argv: list[str]) -> None:
    """See the module's docstring."""
    replicas, precision, output, *cases = int(argv[1]), *argv[2:]
    logical = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
    keras.config.set_dtype_policy(precision)
    np.savez(output, **found(replicas, cases))


if __name__ == "__main__":
    main(sys.argv)
