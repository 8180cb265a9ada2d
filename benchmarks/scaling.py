"""Whether two hosts train nearly twice as many images a second as one, and what radkit's own step loop costs.

    python -m benchmarks.scaling [--rounds 5] [--steps 12]

Hosts: two processes of one thread each, which sum their gradients over TCP, against one process of one thread; the
same number of images a replica. Loop: `loop.run` over `loop.train_step`, with a hook, against a bare `tf.function`
that computes the same loss and takes the same optimizer's step. Both in float32, on data that is already there.
Measurements are interleaved, and the median of each round's ratio is printed: machines are shared, absolute times mean
little. The loop is measured in CPU seconds; hosts by the clock, for which two cores must be idle.
"""

import argparse
import itertools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
A_REPLICA, SIZES, FILTERS = 4, (128, 128), (16, 32, 64, 128, 256, 16)  # MONAI's BasicUNet, 4.0 M weights


def _experiment(replicas: int) -> Any:
    from radkit import config

    return config.Experiment(
        data=config.Data("scaling", kind="radiograph", mask_labels=("a",), image_size=SIZES),
        model=config.Model("basic_unet", {"filters": FILTERS}),
        task=config.Task("segmentation"),
        trainer=config.Trainer(batch_size=A_REPLICA * replicas, steps=100_000, deterministic=False),
    )


def _trained(devices: Any, experiment: Any) -> Any:
    import keras

    from radkit import models
    from trainers import loop

    keras.utils.set_random_seed(0)
    with devices.strategy.scope():
        network = models.build(
            experiment.model.name, input_shape=(*SIZES, 1), num_classes=2, **experiment.model.settings
        )
        return loop.new(network, experiment)


def _dataset() -> Any:
    import tensorflow as tf

    random = np.random.default_rng(0)
    shape = (A_REPLICA, *SIZES, 1)
    batch = {"image": random.normal(size=shape).astype("f"), "mask": random.integers(0, 2, shape).astype("u1")}
    return tf.data.Dataset.from_tensors(batch).cache().repeat()


def _own(devices: Any, batches: Iterator[Any], clock: Callable[[], float]) -> Callable[[int], float]:
    """Returns what takes steps by radkit's loop and tells the seconds."""
    from radkit import tasks
    from trainers import loop

    experiment = _experiment(devices.num_hosts)
    trained = _trained(devices, experiment)
    step = loop.train_step(devices.strategy, trained, loop.losses_of(tasks.of(experiment)), experiment)
    taken, seen = itertools.count(), list[float]()

    def take(steps: int) -> float:
        first = next(taken) * steps
        started = clock()
        loop.run(
            step, batches, first_step=first, num_steps=first + steps, hooks=[lambda _, told: seen.append(told["loss"])]
        )
        return clock() - started

    return take


def _bare(devices: Any, batches: Iterator[Any], clock: Callable[[], float]) -> Callable[[int], float]:
    """Returns what takes the same steps without anything around them, and tells the seconds."""
    import tensorflow as tf

    from radkit import tasks

    experiment = _experiment(1)
    trained, task = _trained(devices, experiment), tasks.of(experiment)
    network, optimizer = trained.network, trained.optimizer
    weights = [weight.value for weight in network.trainable_variables]

    @tf.function
    def step(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(task.loss(batch, network(batch["image"], training=True)))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, weights), experiment.optimizer.clip_norm)
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    def take(steps: int) -> float:
        started = clock()
        for _ in range(steps):
            float(step(next(batches)))
        return clock() - started

    return take


def _one_thread() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def loop_against_bare(rounds: int, steps: int) -> list[float]:
    """Returns radkit's CPU seconds a step by a bare step's, of each round: one thread's, other programs left out."""
    _one_thread()
    import tensorflow as tf

    from trainers import strategy

    devices = strategy.Devices(tf.distribute.get_strategy())
    batches = itertools.repeat(next(iter(_dataset())))
    sides = [kind(devices, batches, time.process_time) for kind in (_own, _bare)]
    for take in sides:
        take(2)  # traced, and memory had
    ratios = []
    for number in range(rounds):
        # In turn first and second: what a machine does besides falls on both.
        seconds = {place: sides[place](steps) for place in ((0, 1) if number % 2 else (1, 0))}
        ratios.append(seconds[0] / seconds[1])
    return ratios


def host(addresses: str, number: int, steps: int) -> None:
    """Is one of several hosts: takes steps whenever a line comes in, and tells the seconds."""
    _one_thread()
    from trainers import cluster, strategy

    hosts = tuple(addresses.split(","))
    asked = cluster.Asked(hosts=hosts, host=number) if len(hosts) > 1 else cluster.NOTHING_ASKED
    devices = strategy.choose(_experiment(len(hosts)).trainer, asked)
    take = _own(devices, devices.batches(_dataset()), time.perf_counter)
    take(2)
    print("ready", flush=True)
    for _ in sys.stdin:
        print(json.dumps(take(steps)), flush=True)
    devices.gathered("done")


class _Hosts:
    """Hosts that were started, and take steps when asked."""

    def __init__(self, number: int, steps: int) -> None:
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
        addresses = ",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
        for one in sockets:
            one.close()
        words = [sys.executable, "-m", "benchmarks.scaling", f"--steps={steps}", f"--hosts={addresses}"]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._running = [
            subprocess.Popen(
                [*words, f"--host={place}"], cwd=ROOT, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )
            for place in range(number)
        ]  # fmt: skip
        self._images = A_REPLICA * number * steps
        for process in self._running:
            if process.stdout is None or process.stdout.readline().strip() != "ready":
                raise SystemExit("a host did not start; run it alone to see why: " + " ".join([*words, "--host=0"]))

    def images_per_s(self) -> float:
        """Returns what all hosts together train, while the slowest is at it."""
        for one in self._running:
            assert one.stdin is not None
            one.stdin.write("\n")
            one.stdin.flush()
        return self._images / max(float(one.stdout.readline()) for one in self._running if one.stdout)

    def end(self) -> None:
        """Lets them leave."""
        for one in self._running:
            assert one.stdin is not None
            one.stdin.close()
        for one in self._running:
            one.wait(60)


def two_against_one(rounds: int, steps: int) -> list[float]:
    """Returns two hosts' images a second by one host's, of each round."""
    one, two = _Hosts(1, steps), _Hosts(2, steps)
    ratios = []
    for number in range(rounds):
        rates = {place: (one, two)[place].images_per_s() for place in ((0, 1) if number % 2 else (1, 0))}
        ratios.append(rates[1] / rates[0])
    one.end()
    two.end()
    return ratios


def main() -> None:
    """Measures both, or is a host of the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="A measurement's.")
    parser.add_argument("--hosts", help=argparse.SUPPRESS)
    parser.add_argument("--host", type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.hosts:
        host(flags.hosts, flags.host, flags.steps)
        return
    for what, measured, bar in (
        ("two hosts, images/s by one host's", two_against_one(flags.rounds, flags.steps), "at least 1.7"),
        (
            "radkit's loop, CPU seconds a step by a bare step's",
            loop_against_bare(flags.rounds, flags.steps),
            "at most 1.02",
        ),
    ):
        told = " ".join(f"{ratio:.3f}" for ratio in measured)
        print(f"{what}: {statistics.median(measured):.3f} (wanted: {bar}; rounds: {told})", flush=True)


if __name__ == "__main__":
    main()
