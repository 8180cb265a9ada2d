"""What an export is made of: one finished run, or several of one config whose answers are averaged."""

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from radkit import config, runs, tasks
from radkit.errors import UserError
from radkit.inference import ensembles, wrapped
from radkit.tasks.task import Task
from serving import operating

# By which runs of one ensemble may differ: what was drawn, and which patients were held back.
_MAY_DIFFER = ("seed", "fold", "repeat", "test_fold")
# What is averaged: the task's probabilities, or its numbers as they are.
_AVERAGED = {
    "classification": "softmax",
    "segmentation": "softmax",
    "multi_label": "sigmoid",
    "ordinal": "sigmoid",
    "regression": "linear",
}
_LEAST = 1e-37  # whose logarithm float32 has


@dataclass(frozen=True)
class Source:
    """Runs, and the network that they are together.

    Attributes:
        folders: The runs' folders.
        manifests: Of each run.
        experiment: Of the first run.
        task: The config's.
        networks: With the runs' weights.
        points: Operating points of a single run.
        left_out: Why a run's operating points are not in the export; empty: they are, or there are none.
    """

    folders: tuple[Path, ...]
    manifests: tuple[dict[str, Any], ...]
    experiment: config.Experiment
    task: Task
    networks: tuple[keras.Model, ...]
    points: operating.Points | None
    left_out: str

    @property
    def weights(self) -> list[str]:
        """The SHA-256 of each run's weights."""
        return [str(manifest["weights_sha256"]) for manifest in self.manifests]


def require(folders: Sequence[Path]) -> config.Experiment:
    """Returns the config of runs that one export can be made of.

    Raises:
        UserError: One is no finished run, is given twice, or differs from the first in more than seed and fold.
    """
    for folder in folders:
        runs.require(folder)
    experiments = [runs.experiment(folder) for folder in folders]
    if len(folders) == 1:
        return experiments[0]
    said = [runs.manifest(folder)["weights_sha256"] for folder in folders]
    if len(set(said)) < len(said):
        raise UserError("two of the runs given with --run have the same weights; name each run once")
    for folder, other in zip(folders[1:], experiments[1:]):
        differs = _differing(_comparable(experiments[0]), _comparable(other))
        if differs:
            raise UserError(
                f"--run {folder} differs from {folders[0]} in {', '.join(differs)}; runs of an ensemble may differ in "
                f"trainer.{', trainer.'.join(_MAY_DIFFER)} only"
            )
    if experiments[0].task.name not in _AVERAGED:
        raise UserError(
            f"answers of {experiments[0].task.name} runs cannot be averaged: boxes of two networks are not of the same "
            "places; export one --run"
        )
    return experiments[0]


def _comparable(experiment: config.Experiment) -> dict[str, Any]:
    neutral = {name: getattr(config.Trainer(), name) for name in _MAY_DIFFER}
    return config.to_json(dataclasses.replace(experiment, trainer=dataclasses.replace(experiment.trainer, **neutral)))


def _differing(first: Any, second: Any, name: str = "") -> list[str]:
    if isinstance(first, dict) and isinstance(second, dict):
        keys = sorted({*first, *second})
        return [one for key in keys for one in _differing(first.get(key), second.get(key), f"{name}.{key}".strip("."))]
    return [] if first == second else [name]


def read(folders: Sequence[Path]) -> Source:
    """Returns runs with their networks.

    Raises:
        UserError: As `require`; weights or operating points do not fit, or weights are no finite numbers.
    """
    experiment = require(folders)
    task = tasks.find(experiment.task.name)
    manifests = tuple(runs.manifest(folder) for folder in folders)
    networks = []
    for folder in folders:
        networks.append(runs.new_network(experiment, task))
        runs.load_weights(networks[-1], folder)
        _require_numbers(networks[-1], folder)
    points, left_out = _points(folders, manifests, experiment)
    return Source(tuple(folders), manifests, experiment, task, tuple(networks), points, left_out)


def _require_numbers(network: keras.Model, folder: Path) -> None:
    """Refuses weights that answer nan to everything: an answer of nan equals itself, and a mask of it is empty."""
    for variable in network.variables:
        values = np.asarray(variable.value)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise UserError(
                f"--run {folder}: its weights hold nan or infinite numbers ({variable.path}), by which nothing can be "
                "answered; train again"
            )


def _points(
    folders: Sequence[Path], manifests: Sequence[dict[str, Any]], experiment: config.Experiment
) -> tuple[operating.Points | None, str]:
    there = any((folder / operating.FILE).is_file() for folder in folders)
    if len(folders) > 1:
        return None, "operating points of single runs are not those of their mean" if there else ""
    found = operating.read(folders[0], manifests[0]["weights_sha256"], experiment.data, experiment.task.name)
    return (
        found,
        "operating points were chosen for other weights; evaluate the run again" if there and not found else "",
    )


def network(source: Source) -> wrapped.Network:
    """Returns the one network that is asked: a single run's own, or one that answers the mean.

    Of an ensemble what the task makes of the logits is averaged, not the logits: these are the mean's.
    """
    if len(source.networks) == 1:
        single: wrapped.Network = source.networks[0]
        return single
    averaged = _AVERAGED[source.experiment.task.name]
    layer = ensembles.Ensemble(source.networks, activation=averaged)

    def mean(image: Any, training: bool = False) -> tf.Tensor:
        del training  # It is inference.
        found = layer.call(image)
        if averaged == "softmax":
            return tf.math.log(tf.maximum(found, _LEAST))
        if averaged == "sigmoid":
            inner = tf.clip_by_value(found, _LEAST, 1.0 - 2.0**-24)
            return tf.math.log(inner) - tf.math.log1p(-inner)
        return found

    asked: wrapped.Network = tf.autograph.experimental.do_not_convert(mean)
    return asked


def told(source: Source) -> list[dict[str, Any]]:
    """Returns what the runs say of themselves."""
    return copy.deepcopy(list(source.manifests))
