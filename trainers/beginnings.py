"""What a run begins with: weights from elsewhere, layers that do not learn, and whose images the weights have seen."""

import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import keras

from radkit import config, outputs, runs
from radkit.errors import UserError
from radkit.models import weights
from trainers import checkpoints


def start(network: keras.Model, experiment: config.Experiment, run: Path) -> dict[str, Any]:
    """Gives a new network the weights that the config names, prints what fitted, and keeps layers from learning.

    A run that goes on has weights of its own, and gets none.

    Args:
        network: Not yet given to an optimizer.
        experiment: `model.weights` and `model.freeze` are read; that frozen weights are random is said on stderr.
        run: Its folder; need not be there yet.

    Returns:
        What `transfer.json` holds; empty where nothing was loaded now.

    Raises:
        UserError: The weights cannot be had or nothing of them fits, a pattern matches no layer, or no layer is left to
            learn.
    """
    model = experiment.model
    weights.freeze(network, model.freeze, "model.freeze")
    if not network.trainable_variables:
        raise UserError(f"model.freeze={model.freeze} leaves no layer that learns; freeze fewer")
    if checkpoints.has_whole(run):
        return {}
    if not model.weights:
        _say_random(list(model.freeze), "model.weights names none to begin with")
        return {}
    report = weights.load(network, model.weights, model.name)
    print(report.text())
    new = [row.layer for row in report.of("new")]
    frozen = [name for name in new if any(fnmatchcase(name, pattern) for pattern in model.freeze)]
    _say_random(frozen, f"nothing of {model.weights} fits them")
    return {**report.to_json(), "patients": _seen(model.weights)}


def _say_random(frozen: list[str], why: str) -> None:
    """Tells of layers that keep the weights that they drew: a run does not show it."""
    if frozen:
        told = f"{', '.join(frozen[:4])}{', ...' if len(frozen) > 4 else ''}"
        print(f"radkit: model.freeze keeps {told} at random weights: {why}", file=sys.stderr)


def shares(network: keras.Model, experiment: config.Experiment) -> list[float]:
    """Returns each trainable weight's share of the learning rate, as `optimizer.rates` say it.

    Args:
        network: After `start`.
        experiment: `optimizer.rates` are read.

    Raises:
        UserError: A pattern matches no layer, or moves nothing.
    """
    rates = experiment.optimizer.rates
    for pattern in rates:
        if -1.0 not in weights.shares(network, {**rates, pattern: -1.0}):
            raise UserError(
                f"optimizer.rates: {pattern!r} moves no weight: its layers do not learn (model.freeze="
                f"{experiment.model.freeze}), or a later pattern matches them, too, and counts; leave it out"
            )
    return weights.shares(network, rates)


def _seen(source: str) -> list[str]:
    """Returns the patients that an earlier run, and those before it, learned from or were chosen on."""
    if not source.startswith(weights.RUN):
        return []
    manifest = runs.manifest(Path(source.partition("?")[0].removeprefix(weights.RUN)))
    own = [patient for split in manifest["patients"].values() for patient in split]
    return sorted({*own, *manifest.get("patients_before", ())})


def patients(run: Path) -> list[str]:
    """Returns the pseudonymous patients whom the weights that a run began with have seen."""
    path = run / runs.TRANSFER
    return list(outputs.read_json(path)["patients"]) if path.is_file() else []
