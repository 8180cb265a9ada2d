"""What a run saves while it trains, so that a stopped one goes on where it was."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from radkit import outputs, runs
from radkit.errors import UserError


@contextlib.contextmanager
def lock(run: Path) -> Iterator[None]:
    """Keeps a run's folder to this process while the block runs; a killed process leaves no lock behind.

    Raises:
        UserError: Another process trains there.
    """
    run = run.resolve()
    made = [folder for folder in run.parents if not folder.exists()]
    outputs.make_folder(run.parent)
    path = run.with_name(f".{run.name}.lock")
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"--output {run} is being trained by another process; wait or name another") from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            for folder in made:  # innermost first; one that holds the run stays
                with contextlib.suppress(OSError):
                    folder.rmdir()


class State:
    """Model, optimizer, step and dropout's seeds, saved together so that a stopped run goes on where it was."""

    def __init__(self, folder: Path, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        self._step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self._best = tf.Variable(float("-inf"), dtype=tf.float64, trainable=False)
        # Keras leaves the states of its seed generators out of what it shows to a checkpoint.
        seeds = [v.value for v in network.variables if v.path.endswith("seed_generator_state")]
        checkpoint = tf.train.Checkpoint(
            model=network, optimizer=optimizer, step=self._step, best=self._best, seeds=seeds
        )
        self._manager = tf.train.CheckpointManager(checkpoint, str(folder / "state"), max_to_keep=2)
        if self._manager.latest_checkpoint:
            self._manager.restore_or_initialize()

    @property
    def step(self) -> int:
        """Steps taken."""
        return int(self._step.read_value())  # of all replicas: a mirrored variable is no number

    @property
    def best(self) -> float:
        """Best validation score so far."""
        return float(self._best.read_value())

    def save(self, step: int, best: float) -> None:
        """Saves all of it."""
        self._step.assign(step)
        self._best.assign(best)
        self._manager.save(checkpoint_number=step)


def save_weights(network: keras.Model, path: Path) -> None:
    """Writes weights through a temporary file and a rename."""
    # HDF5 takes the process down when the disk is full; beside the weights it writes some pages a layer.
    outputs.require_space(path.parent, 4 * network.count_params() + 16384 * (len(network.layers) + 16))
    aside = path.with_name(f"incomplete.{os.getpid()}.weights.h5")
    try:
        network.save_weights(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def add_history(run: Path, line: Mapping[str, Any]) -> None:
    """Appends one line to the run's history."""
    with (run / runs.HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def cut_history(run: Path, step: int) -> None:
    """Leaves out the lines after a step: a resumed run writes them again."""
    kept = [line for line in runs.history(run) if line["step"] <= step]
    outputs.write_text(run / runs.HISTORY, "".join(json.dumps(line) + "\n" for line in kept))
