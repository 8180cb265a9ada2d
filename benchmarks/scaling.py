"""Whether two hosts train nearly twice as many images a second as one, and what radkit's own step loop costs.

    python -m benchmarks.scaling [--rounds 5] [--steps 12] [--images 8]

Hosts: two processes of one thread each, which sum their gradients over TCP, against one process of one thread; the
same number of images a replica, each process on a core of its own. Beside it stands what the machine gives: two such
processes at once that do not know each other, against one. And the same of CPU seconds, which other programs disturb
less: twice one host's seconds a step by each of two hosts'; it leaves out what hosts wait for each other.

Loop: `loop.run` over `loop.train_step`, with a hook, against a bare `tf.function` that computes the same loss and takes
the same optimizer's step. Both in float32, on data that is already there. Measurements are interleaved, and the median
of each round's ratio is printed: machines are shared, absolute times mean little. The loop is measured in CPU seconds;
hosts by the clock, for which two cores must be idle.

What two hosts lose is the sum of gradients: 16 MB a step to and fro, whatever the batch, so --images matters. And the
C library: threads' heaps are given back to the system after each step and taken anew, which `KEEPS_MEMORY` prevents,
here for all processes alike.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIZES, FILTERS = (128, 128), (16, 32, 64, 128, 256, 16)  # MONAI's BasicUNet, 4.0 M weights

KEEPS_MEMORY = {  # of the GNU C library; others take no notice
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(64 * 2**20),
}


def _experiment(replicas: int, images: int) -> Any:
    from radkit import config

    return config.Experiment(
        data=config.Data("scaling", kind="radiograph", mask_labels=("a",), image_size=SIZES),
        model=config.Model("basic_unet", {"filters": FILTERS}),
        task=config.Task("segmentation"),
        trainer=config.Trainer(batch_size=images * replicas, steps=100_000, deterministic=False),
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


def _dataset(images: int) -> Any:
    import tensorflow as tf

    random = np.random.default_rng(0)
    shape = (images, *SIZES, 1)
    batch = {"image": random.normal(size=shape).astype("f"), "mask": random.integers(0, 2, shape).astype("u1")}
    return tf.data.Dataset.from_tensors(batch).cache().repeat()


def _own(devices: Any, batches: Iterator[Any], images: int, clock: Callable[[], float]) -> Callable[[int], float]:
    """Returns what takes steps by radkit's loop and tells the seconds."""
    from radkit import tasks
    from trainers import loop

    experiment = _experiment(devices.num_hosts, images)
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


def _bare(devices: Any, batches: Iterator[Any], images: int, clock: Callable[[], float]) -> Callable[[int], float]:
    """Returns what takes the same steps without anything around them, and tells the seconds."""
    import tensorflow as tf

    from radkit import tasks

    experiment = _experiment(1, images)
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


def loop_against_bare(rounds: int, steps: int, images: int) -> list[float]:
    """Returns radkit's CPU seconds a step by a bare step's, of each round: one thread's, other programs left out."""
    _one_thread()
    import tensorflow as tf

    from trainers import strategy

    devices = strategy.Devices(tf.distribute.get_strategy())
    batches = itertools.repeat(next(iter(_dataset(images))))
    sides = [kind(devices, batches, images, time.process_time) for kind in (_own, _bare)]
    for take in sides:
        take(2)  # traced, and memory had
    ratios = []
    for number in range(rounds):
        # In turn first and second: what a machine does besides falls on both.
        seconds = {place: sides[place](steps) for place in ((0, 1) if number % 2 else (1, 0))}
        ratios.append(seconds[0] / seconds[1])
    return ratios


def host(addresses: str, number: int, steps: int, images: int) -> None:
    """Is one of several hosts: takes steps whenever a line comes in, and tells the seconds, by the clock and of CPU."""
    _one_thread()
    from trainers import cluster, strategy

    hosts = tuple(addresses.split(","))
    asked = cluster.Asked(hosts=hosts, host=number) if len(hosts) > 1 else cluster.NOTHING_ASKED
    devices = strategy.choose(_experiment(len(hosts), images).trainer, asked)
    take = _own(devices, devices.batches(_dataset(images)), images, time.perf_counter)
    take(2)
    print("ready", flush=True)
    for _ in sys.stdin:
        before = time.process_time()
        print(json.dumps([take(steps), time.process_time() - before]), flush=True)
    devices.gathered("done")


class _Host:
    """A host in a process of its own, which takes steps when asked."""

    def __init__(self, addresses: Sequence[str], number: int, core: int, steps: int, images: int) -> None:
        words = [sys.executable, "-m", "benchmarks.scaling", f"--steps={steps}", f"--images={images}"]
        self._words = [*words, f"--hosts={','.join(addresses)}", f"--host={number}"]
        self._process = subprocess.Popen(
            self._words, cwd=ROOT, env={**os.environ, **KEEPS_MEMORY, "TF_CPP_MIN_LOG_LEVEL": "2"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if hasattr(os, "sched_setaffinity"):  # Linux
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(self._process.pid, {cores[core % len(cores)]})

    def require_ready(self) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise SystemExit("a host did not start; run it alone to see why: " + " ".join(self._words))

    def begin(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def seconds(self) -> tuple[float, float]:
        """Returns by the clock and of CPU what the steps took."""
        assert self._process.stdout is not None
        wall, cpu = json.loads(self._process.stdout.readline())
        return wall, cpu

    def leave(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> None:
        """Returns when it has ended; all is measured by then, so one that TensorFlow holds at its end is killed."""
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _free_addresses(number: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


def _taken(hosts: Sequence[_Host]) -> tuple[float, float]:
    """Returns the clock's seconds until the slowest is done, and the mean of CPU seconds."""
    for one in hosts:
        one.begin()
    found = [one.seconds() for one in hosts]
    return max(wall for wall, _ in found), statistics.mean(cpu for _, cpu in found)


def two_against_one(rounds: int, steps: int, images: int) -> dict[str, list[float]]:
    """Returns, of each round, two hosts' images a second by one host's, and beside it what the machine gives."""
    both = _free_addresses(2)
    together = [_Host(both, number, number, steps, images) for number in range(2)]
    apart = [_Host(_free_addresses(1), 0, number, steps, images) for number in range(2)]
    for one in (*together, *apart):
        one.require_ready()
    sides = {"one": apart[:1], "apart": apart, "together": together}
    ratios: dict[str, list[float]] = {"together": [], "apart": [], "together, CPU": [], "apart, CPU": []}
    for number in range(rounds):
        names = list(sides) if number % 2 else list(sides)[::-1]
        wall, cpu = zip(*(_taken(sides[name]) for name in names), strict=True)
        walls, cpus = dict(zip(names, wall)), dict(zip(names, cpu))
        for name in ("together", "apart"):
            ratios[name].append(2 * walls["one"] / walls[name])
            ratios[f"{name}, CPU"].append(2 * cpus["one"] / cpus[name])
    for one in (*together, *apart):
        one.leave()
    for one in (*together, *apart):
        one.wait()
    return ratios


def main() -> None:
    """Measures both, or is a host of the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="A measurement's.")
    parser.add_argument("--images", type=int, default=8, help="Of a replica's part of a batch.")
    parser.add_argument("--hosts", help=argparse.SUPPRESS)
    parser.add_argument("--host", type=int, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.hosts:
        host(flags.hosts, flags.host, flags.steps, flags.images)
        return
    hosts = two_against_one(flags.rounds, flags.steps, flags.images)
    loop = loop_against_bare(flags.rounds, flags.steps, flags.images)
    for what, measured, bar in (
        ("two hosts, images/s by one host's", hosts["together"], "at least 1.7"),
        ("what the machine gives: two that do not know each other", hosts["apart"], "2 where two cores are idle"),
        ("two hosts by CPU seconds", hosts["together, CPU"], "at least 1.7"),
        ("what the machine gives by CPU seconds", hosts["apart, CPU"], "2"),
        ("radkit's loop, CPU seconds a step by a bare step's", loop, "at most 1.02"),
    ):
        told = " ".join(f"{ratio:.3f}" for ratio in measured)
        print(f"{what}: {statistics.median(measured):.3f} (wanted: {bar}; rounds: {told})", flush=True)


if __name__ == "__main__":
    main()
