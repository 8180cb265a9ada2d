"""The end of a run: its page, and the manifest that says what it is made of and that it is finished."""

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

import radkit
from radkit import config, outputs, runs
from radkit.data import shards, splits
from radkit.models import weights
from radkit.tasks import task as task_module
from trainers import beginnings, hooks, validation


@dataclass(frozen=True)
class Made:
    """What a run is made of.

    Attributes:
        experiment: The config, with what was fitted to the records.
        folder: The data set's version folder.
        devices: In a line.
        precision: Keras's policy.
        patients: Pseudonyms by what was done with them, beside the splits'.
    """

    experiment: config.Experiment
    folder: Path
    devices: str
    precision: str
    patients: Mapping[str, list[str]]


def finish(training: hooks.Training, made: Made) -> None:
    """Writes the page, then the manifest; on several hosts each must call it, and the chief writes."""
    network = training.trained.network
    training.devices.same(0.0)  # the chief has written the best weights
    weights.load_own(network, training.run / runs.BEST)
    found = training.best if training.best is not None else training.validation_split.run()
    if not training.devices.is_chief:
        return
    said = manifest(training, made)
    write_page(training, made, found, said)
    outputs.write_json(training.run / runs.MANIFEST, said)


def manifest(training: hooks.Training, made: Made) -> dict[str, Any]:
    """Returns what the run's manifest says."""
    trainer, reached = made.experiment.trainer, training.reached
    devices = training.devices
    return {
        "task": made.experiment.task.name,
        "ended": training.ended,
        "steps": reached.step,
        "skipped_steps": reached.skipped,
        "seconds": round(training.seconds, 1),
        "best_step": reached.best_step,
        "best_score": reached.best,
        "select": {"figure": trainer.select, "better": validation.better(trainer.select), "value": reached.best_value},
        "averaged": training.trained.average is not None,
        "num_parameters": training.trained.network.count_params(),
        "precision": made.precision,
        "devices": made.devices,
        "num_replicas": devices.strategy.num_replicas_in_sync,
        "num_hosts": devices.num_hosts,
        "seed": trainer.seed,
        "weights_sha256": hashlib.sha256((training.run / runs.BEST).read_bytes()).hexdigest(),
        "data": shards.digest(made.folder),
        "data_provenance": outputs.read_provenance(made.folder),
        "patients": {
            **{split: splits.patients(made.folder, split, trainer) for split in ("train", "validation")},
            **made.patients,
        },
        "patients_before": beginnings.patients(training.run),
        "code": _code(),
        "versions": {name: metadata.version(name) for name in ("keras", "numpy")} | {"tensorflow": tf.__version__},
    }


def _code() -> dict[str, str]:
    """Returns radkit's version, and the digest of the files that make up a run: code is changed between versions."""
    root = Path(__file__).resolve().parent.parent
    files = [path for room in ("radkit", "trainers") for path in (root / room).rglob("*.py")]
    return {"radkit": radkit.__version__, "sha256": outputs.digest_of_files(files, root)}


def write_page(training: hooks.Training, made: Made, found: validation.Found, said: Mapping[str, Any]) -> None:
    """Writes the run's page: how it went, and how the network as it is does on the validation split.

    Args:
        training: Its network holds the weights that were scored.
        made: What the run is made of.
        found: What validation found of those weights.
        said: What the manifest says, or will say.
    """
    if importlib.util.find_spec("matplotlib") is None:
        print(f"radkit: {runs.PAGE} is left out: it needs matplotlib; pip install 'radkit[reports]'", file=sys.stderr)
        return
    from radkit.reports import run_page

    experiment = made.experiment
    page = run_page.page(
        f"{experiment.data.dataset}: training",
        said,
        config.to_json(experiment),
        runs.history(training.run),
        report(training.validation_split, found),
    )
    outputs.write_text(training.run / runs.PAGE, page)


def report(asked: validation.Validation, found: validation.Found) -> str:
    """Returns the task's own page of the validation split, with the pictures that it picks."""
    data, task = asked.cases.data, asked.cases.task
    summary = task.summary(found.cases, data)
    listed = task.listed(found.cases, summary, data)
    return task.page("validation", summary, listed, asked.shown(task.pick(listed, data)), [], data)


def architecture(network: keras.Model) -> str:
    """Returns the network without its weights, as Keras writes it."""
    return network.to_json(indent=1) + "\n"


def headline(done: Mapping[str, Any], run: Path | str) -> str:
    """Returns a finished run in one line."""
    why = {"steps": "", "time": ", as many as the time allowed", "early_stopping": ", then no better score came"}
    chosen = done.get("select", {"figure": "score"})
    value = done["best_score"] if chosen["figure"] == "score" else chosen["value"]
    return (
        f"train: {done['steps']} steps{why[done['ended']]}, best validation {chosen['figure']} "
        f"{task_module.spell(value)} at step {done['best_step']}, {done['num_parameters']:,} parameters -> {run}"
    )
