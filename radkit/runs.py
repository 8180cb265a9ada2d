"""A run's folder, as `radkit train` writes it and `evaluate` and `export` read it.

config.json        the experiment, and the digest of the records
architecture.json  the network without its weights, as Keras writes it
best.weights.h5    the weights that validation liked best (the moving average where optimizer.average asks for one)
state/             the newest weights, optimizer and step, and older ones that are kept, to go on from
transfer.json      which weights it began with, and what of them fitted (where model.weights names some)
history.jsonl      one line a validation
history.csv        the same as a table
tensorboard/       event files and profiles (where they were asked for)
run.html           curves, settings, and how the best weights do on the validation split (written at the end)
operating_points.json  from which score on a case is called yes, as `radkit evaluate` chose it on the validation split
manifest.json      what the run is made of: data, patients, digests, versions, seed, devices, the rule that chose the
                   weights, why it ended (written when it is finished)
"""

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any

import keras

from radkit import config, folder, models, outputs
from radkit.errors import UserError
from radkit.evaluation import operating
from radkit.evaluation.endpoints import OperatingPoint
from radkit.models import weights
from radkit.tasks.task import Task

BEST = "best.weights.h5"
HISTORY = "history.jsonl"
TABLE = "history.csv"
ARCHITECTURE = "architecture.json"
PAGE = "run.html"
BOARD = "tensorboard"
MANIFEST = "manifest.json"
OPERATING_POINTS = "operating_points.json"
TRANSFER = "transfer.json"
CONFIG = "config.json"


def require(run: Path) -> None:
    """Refuses a folder that is no finished run.

    Raises:
        UserError: It is missing or was not finished.
    """
    if not run.is_dir():
        raise UserError(f"--run {run} does not exist; name the folder that radkit train wrote")
    if (run / MANIFEST).is_file():
        return
    if held := sorted(path.parent for inner in ("*", "trials/*") for path in run.glob(f"{inner}/{MANIFEST}")):
        raise UserError(f"--run {run} holds {len(held)} finished runs and is none itself; name one, as --run {held[0]}")
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


def operating_points(run: Path) -> list[OperatingPoint]:
    """Returns a finished run's operating points; empty where none were chosen for its weights.

    Raises:
        UserError: The file is damaged.
    """
    path = run / OPERATING_POINTS
    if not path.is_file():
        return []
    return operating.from_json(outputs.read_json(path), manifest(run)["weights_sha256"]) or []


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
        UserError: Unknown model or setting, sizes that it cannot take, or inputs that records do not feed.
    """
    data, model = settings.data, settings.model
    outputs_wanted, own = task.num_outputs(data), _own_settings(settings)
    sizes = [data.image_size]
    if data.kind == "volume":
        sizes.append((data.size_multiple,) * len(data.image_size))
    if settings.inference.window:
        sizes.append(settings.inference.window)
    for size in sizes:  # what inference pads to must fit as well as what training cuts
        models.build(model.name, input_shape=(*size, 1), num_classes=outputs_wanted, **own)
    free = (None,) * len(data.image_size)
    network = models.build(model.name, input_shape=(*free, 1), num_classes=outputs_wanted, **own)
    _require_inputs(network, settings)
    return network


def _own_settings(settings: config.Experiment) -> dict[str, Any]:
    """Returns the network's settings, with the number of columns that `data.table` names."""
    columns, model = settings.data.table, settings.model
    asked = model.settings.get("table", len(columns))
    if asked != len(columns):
        raise UserError(
            f"model.settings.table={asked} asks for a table of {asked} columns, and data.table names {len(columns)}; "
            "name the columns in data.table, as ('age_years', 'sex'), and leave the setting out"
        )
    factory = folder.find(models.__name__, models.find(model.name)[0], "build")
    if columns and "table" not in inspect.signature(factory).parameters:
        raise UserError(
            f"data.table names {', '.join(columns)}, and model {model.name!r} takes no table; use model.name='fusion' "
            "(backbone= is its setting), or empty data.table"
        )
    return {**model.settings, "table": len(columns)} if columns else model.settings


def _require_inputs(network: keras.Model, settings: config.Experiment) -> None:
    """Refuses a network with inputs that nothing feeds."""
    taken, fed = [one.name for one in network.inputs], ["image", *(["table"] if settings.data.table else [])]
    if len(taken) != len(fed) or (len(fed) > 1 and set(taken) != set(fed)):
        raise UserError(
            f"model {settings.model.name!r} has the inputs {', '.join(sorted(taken))}; what records feed is "
            f"{' and '.join(fed)}: a network has one input, or image and table where data.table names its columns"
        )


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
