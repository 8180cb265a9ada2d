"""A run's folder, as `radkit train` writes it and `evaluate` and `export` read it.

config.json      the experiment, and the digest of the records
best.weights.h5  the weights that validation liked best
state/           the newest weights, optimizer and step, to go on from
transfer.json    which weights it began with, and what of them fitted (where model.weights names some)
history.jsonl    one line an evaluation
manifest.json    what the run is made of: data, patients, digests, versions, seed (written when it is finished)
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import keras

from radkit import config, models, outputs
from radkit.errors import UserError
from radkit.models import weights
from radkit.tasks.task import Task

BEST = "best.weights.h5"
HISTORY = "history.jsonl"
MANIFEST = "manifest.json"
TRANSFER = "transfer.json"
CONFIG = "config.json"


def require(run: Path) -> None:
    """Refuses a folder that is no finished run.

    Raises:
        UserError: It is missing or was not finished.
    """
    if not run.is_dir():
        raise UserError(f"--run {run} does not exist; name the folder that radkit train wrote")
    if not (run / MANIFEST).is_file():
        raise UserError(f"--run {run} is no finished run ({MANIFEST} is missing); run radkit train again to finish it")


def experiment(run: Path) -> config.Experiment:
    """Returns a run's experiment.

    Raises:
        UserError: The file is missing, damaged or not as train wrote it, or has settings that this radkit does not.
    """
    found = _read(run / CONFIG, ("experiment",))["experiment"]
    try:
        return config.from_json(found)
    except UserError as error:
        raise UserError(
            f"{run / CONFIG}: {error}; if another version of radkit wrote it, train the run again"
        ) from error


def manifest(run: Path) -> dict[str, Any]:
    """Returns a finished run's manifest.

    Raises:
        UserError: As `experiment`.
    """
    return _read(run / MANIFEST, ("data", "patients", "weights_sha256"))


def _read(path: Path, names: tuple[str, ...]) -> dict[str, Any]:
    read = outputs.read_json(path)
    lacking = [name for name in names if not isinstance(read, dict) or name not in read]
    if lacking:
        raise UserError(f"{path} lacks {', '.join(lacking)}: it was edited or is no run's; train again")
    return dict(read)


def history(run: Path) -> list[dict[str, Any]]:
    """Returns the run's history; a line cut short by a kill is left out."""
    if not (run / HISTORY).is_file():
        return []
    lines = (run / HISTORY).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.endswith("}")]


def new_network(settings: config.Experiment, task: Task) -> keras.Model:
    """Returns the config's network with new weights, spatial sizes free.

    `model.weights` and `model.freeze` are for training to begin with: a finished run has its own weights.

    Raises:
        UserError: Unknown model or setting, or sizes that it cannot take.
    """
    data, model = settings.data, settings.model
    outputs_wanted = task.num_outputs(data)
    sizes = [data.image_size]
    if data.kind == "volume":
        sizes.append((data.size_multiple,) * len(data.image_size))
    if settings.inference.window:
        sizes.append(settings.inference.window)
    for size in sizes:  # what inference pads to must fit as well as what training cuts
        models.build(model.name, input_shape=(*size, 1), num_classes=outputs_wanted, **model.settings)
    free = (None,) * len(data.image_size)
    return models.build(model.name, input_shape=(*free, 1), num_classes=outputs_wanted, **model.settings)


def load_weights(network: keras.Model, run: Path) -> None:
    """Reads a finished run's best weights into a network made from its config.

    Raises:
        UserError: There are none, they do not fit, or they are not those that the run ended with.
    """
    path = run / BEST
    if not path.is_file():
        raise UserError(f"{run} holds no {BEST}; train first (radkit train --output {run})")
    try:
        weights.load_own(network, path)
    except (ValueError, OSError, KeyError) as error:
        raise UserError(f"{path} does not fit the network of {run / CONFIG}: {error}") from error
    if hashlib.sha256(path.read_bytes()).hexdigest() != manifest(run)["weights_sha256"]:
        raise UserError(f"{path} was changed since the run ended (see {MANIFEST}); put the run's own weights back")
