"""One of several hosts, as a process of its own: trains 20 steps, scores, and writes down what came of it.

    python -m tests.trainers.one_host OUTPUT HOSTS HOST [RECORDS]

HOSTS are addresses, parted by commas; one alone is a host that trains alone.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from radkit import config, models, tasks
from radkit.tasks import task as task_module
from trainers import cluster, loop, scoring, strategy

STEPS, BATCH, SIZES = 20, 8, (16, 16)
DATA = config.Data("x", kind="radiograph", mask_labels=("a",), image_size=SIZES)
# What each optimizer, clipping, batch norm of all replicas together, and a batch in parts make of the same batches.
CASES = {
    "adamw": ("batch", 1, config.Optimizer(learning_rate=1e-2, warmup_steps=1, clip_norm=0.05)),
    "sgd": ("instance", 2, config.Optimizer(name="sgd", learning_rate=1e-2, warmup_steps=1, clip_norm=0.5)),
}


def batches(host: int, num_hosts: int) -> Iterator[dict[str, np.ndarray]]:
    """Yields a host's share of the same batches; the last three examples fill it up, of weight 0."""
    random = np.random.default_rng(0)
    share = slice(host * BATCH // num_hosts, (host + 1) * BATCH // num_hosts)
    weight = np.array([1.0, 2.0, 0.5, 1.0, 3.0, 0.0, 0.0, 0.0], np.float32)
    for _ in range(STEPS):
        image = random.normal(size=(BATCH, *SIZES, 1)).astype(np.float32)
        image[weight == 0] = image[0]  # what fills a batch up; batch norms see it, the loss does not
        mask = random.integers(0, 2, (BATCH, *SIZES, 1)).astype(np.uint8)
        yield {"image": image[share], "mask": mask[share], "weight": weight[share]}


def trained(devices: strategy.Devices, case: str) -> tuple[keras.Model, list[float]]:
    """Returns a network after some steps, and the loss of each."""
    norm, accumulate, optimizer = CASES[case]
    experiment = config.Experiment(
        data=DATA, model=config.Model("unet"), task=config.Task("segmentation"), optimizer=optimizer,
        trainer=config.Trainer(steps=STEPS, batch_size=BATCH, accumulate=accumulate, precision="float32"),
    )  # fmt: skip
    keras.utils.set_random_seed(1)
    with devices.strategy.scope():
        network = models.build("unet", input_shape=(*SIZES, 1), num_classes=2, filters=(4, 8), norm=norm)
        parts = loop.new(network, experiment)
    step = loop.train_step(devices.strategy, parts, loop.losses_of(tasks.of(experiment)), experiment)
    given = list(batches(devices.host, devices.num_hosts))
    signature = {name: tf.TensorSpec(value.shape, value.dtype) for name, value in given[0].items()}
    dataset = tf.data.Dataset.from_generator(lambda: iter(given), output_signature=signature).repeat()
    taken = devices.batches(dataset)
    return network, [float(step(next(taken), tf.constant(n, tf.int64))["loss"]) for n in range(STEPS)]


def scored(devices: strategy.Devices, folder: Path) -> list[dict[str, object]]:
    """Returns the cases of a network with its first weights on a data set's records."""
    data = config.data_from_json(json.loads((folder / "data.json").read_text()))
    task = tasks.find("segmentation")
    keras.utils.set_random_seed(2)
    with devices.strategy.scope():
        network = models.build("unet", input_shape=(None,) * 3 + (1,), num_classes=task.num_outputs(data), filters=(4,))
    chosen = scoring.Cases(folder, "train", data, task)
    return scoring.cases(task_module.answering(network, task, data), chosen, progress=False, devices=devices)


def main(output: Path, hosts: str, host: int, records: str = "") -> None:
    """Trains, scores, writes."""
    asked = cluster.NOTHING_ASKED if "," not in hosts else cluster.Asked(hosts=tuple(hosts.split(",")), host=host)
    devices = strategy.choose(config.Trainer(batch_size=BATCH, strategy="auto"), asked)
    told = {
        "gathered": devices.gathered("é" * 3 * host),
        "same": devices.same(0.1 + host),
        "replicas": devices.strategy.num_replicas_in_sync,
        "told": devices.told,
    }
    arrays = {}
    for case in CASES:
        network, told[f"losses {case}"] = trained(devices, case)
        arrays |= {f"{case} {place} {v.path}": np.asarray(v.value) for place, v in enumerate(network.variables)}
    if records:
        told["cases"] = scored(devices, Path(records))
    np.savez(output / f"{host}.npz", **arrays)
    (output / f"{host}.json").write_text(json.dumps(told))
    assert devices.gathered("") == [""] * devices.num_hosts  # none leaves while another still needs it


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
