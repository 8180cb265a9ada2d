"""Writes finished runs as a SavedModel that answers on raw images, for TensorFlow Serving or `radkit serve`.

    radkit export --run runs/hippocampus --output models/hippocampus --evaluation evaluation
    radkit export --run runs/fold0 --run runs/fold1 --run runs/fold2 --output models/hippocampus

Writes `<output>/<version>/` (the next whole number, or --version) with the signatures `serving_default` (images in
modality units), `stored` (stored values with slope and intercept), `examples` (serialized records), `classify` or
`regress` where the task has such, and `records`, which tells how the records were made that it was trained on.
Preprocessing, windows, flips, what is done to the answer, checks of the input and operating points
(`operating_points.json` of the run) are inside the graph; every size is free. `assets/` holds the model card, the
labels and model.json (what it is, and which patients it was trained on), `assets.extra/` requests to warm a server up.

Several --run of one config but seed and fold make one export that answers their mean probability. With --weights
kernels take half or a quarter of the room; answers may then change by --tolerance, on made-up images and, where --input
names records, on their validation split.

An export is kept only if it gives the same answer twice, and as the network in this process does: as a SavedModel, in a
process without keras, and through a server.

Exit status: 0 done; 2 refused, nothing written.
"""

import contextlib
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import flags

from radkit import config, outputs, program, runs
from radkit.data import shards
from radkit.errors import UserError
from radkit.tasks import task as task_module
from serving import accuracy, card, gate, operating, quantised, signatures, sources, traced, warm_up

_LARGEST = (1 << 63) - 1  # as a version's number in a request
FLAGS = program.new_flags(
    data_in="Data set's folder, to hold --weights to its validation split.",
    out="Model folder; the version folder is made below it.",
)
flags.DEFINE_multi_string(
    "run", [], "Run folder, as train wrote it; several of one config make one export.", flag_values=FLAGS
)
flags.DEFINE_integer("version", None, "Version number; the next free one if not given.", flag_values=FLAGS)
flags.DEFINE_string("evaluation", None, "Folder that evaluate wrote: its figures for the card.", flag_values=FLAGS)
flags.DEFINE_string("intended_use", "", "What it is for, in words, for the card.", flag_values=FLAGS)
flags.DEFINE_enum("weights", quantised.FLOAT32, list(quantised.WAYS), "How kernels are stored.", flag_values=FLAGS)
flags.DEFINE_float(
    "tolerance",
    0.01,
    "By how much --weights may change an answer: a probability, the share of voxels, the share of data.label_range.",
    flag_values=FLAGS,
    lower_bound=0.0,
)


@dataclass(frozen=True)
class Options:
    """How an export is made.

    Attributes:
        name: The model's, as servers call it.
        told: What is told of it beside the runs.
        tolerance: By how much stored weights may change an answer.
        records: Data set that they are held to; None: made-up images alone.
    """

    name: str
    told: card.Told = field(default_factory=card.Told)
    tolerance: float = 0.01
    records: Path | None = None


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv)


def _run(values: flags.FlagValues, _: list[str]) -> int:
    program.required(values, "run", "output")
    folders, models_folder = [Path(run) for run in values["run"].value], Path(values["output"].value)
    sources.require(folders)
    target = _target(models_folder, values["version"].value)
    evaluation = Path(values["evaluation"].value) if values["evaluation"].value else None
    _require_used(values)
    records = shards.find_dataset(program.input_folder(values)) if values["input"].value else None
    told = card.Told(values["intended_use"].value, evaluation, values["weights"].value)
    options = Options(models_folder.resolve().name, told, values["tolerance"].value, records)
    record = _provenance(folders, options)
    if not outputs.already_done(target, record):
        with outputs.staged(target, record) as aside:
            export(folders, aside, options)
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"export: {size / 2**20:.1f} MiB, checked against the run -> {target}")
    return program.DONE


def _require_used(values: flags.FlagValues) -> None:
    """Refuses flags that change nothing: who gives records believes that the export is held to them."""
    if values["weights"].value != quantised.FLOAT32:
        return
    unused = [f"--{name}" for name in ("input", "tolerance") if values[name].present]
    if unused:
        others = ", ".join(way for way in quantised.WAYS if way != quantised.FLOAT32)
        raise UserError(
            f"{' and '.join(unused)} would change nothing: only --weights={others} are held to it; leave it out"
        )


def _target(folder: Path, version: int | None) -> Path:
    if version is not None and not 1 <= version <= _LARGEST:
        raise UserError(f"--version must be at least 1 and at most {_LARGEST}, not {version}")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file; name a folder")
    there = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    # Others' digits are no number of a version, nor is what a server cannot hold.
    found = [int(name) for name in there if name.isascii() and name.isdecimal() and int(name) <= _LARGEST]
    chosen = max(found, default=0) + 1 if version is None else version
    if chosen > _LARGEST:
        raise UserError(f"--output {folder} holds version {_LARGEST}, the largest there can be; name one by --version")
    return folder / str(chosen)


def _provenance(folders: Sequence[Path], options: Options) -> dict[str, Any]:
    manifests = [runs.manifest(folder) for folder in folders]
    points = [folder / operating.FILE for folder in folders if (folder / operating.FILE).is_file()]
    told = options.told
    settings: dict[str, Any] = {
        "weights": [manifest["weights_sha256"] for manifest in manifests],
        "configs": [hashlib.sha256((folder / runs.CONFIG).read_bytes()).hexdigest() for folder in folders],
        "stored_as": told.weights,
        "operating_points": [hashlib.sha256(path.read_bytes()).hexdigest() for path in points],
        "evaluation": outputs.read_provenance(told.evaluation) if told.evaluation else None,
        "intended_use": told.intended_use,
    }
    if told.weights != quantised.FLOAT32:
        checked = shards.digest(options.records) if options.records else None
        settings |= {"tolerance": options.tolerance, "held_to": checked}
    return outputs.provenance("export", settings, manifests[0]["data"])


def export(folders: Sequence[Path], folder: Path, options: Options) -> None:
    """Writes the SavedModel of some runs into a folder and checks it.

    Raises:
        UserError: The runs do not belong together, or it does not answer as their network does.
    """
    # A GPU rounds otherwise than the machines that answer; where TensorFlow has begun already it stays.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    # Weights are float32 whatever the training's precision was; so is the served graph.
    keras.mixed_precision.set_global_policy("float32")
    source = sources.read(folders)
    if source.left_out:
        print(f"export: {source.left_out}; exported without")
    kept = quantised.keep(source.networks, options.told.weights)
    functions = traced.functions(source, kept)
    golden = gate.golden(source.experiment.data, set(functions))
    told = _held(source, functions, golden, options) if kept else options.told
    said = card.made(source, told)
    _save(source, kept, functions, folder)
    _describe(source, said, folder)
    warm_up.write(folder, options.name, golden)
    gate.check(folder, functions, golden)


def _held(source: sources.Source, functions: Any, golden: gate.Golden, options: Options) -> card.Told:
    """Returns what is told of an export, with what its stored weights change."""
    experiment, task = source.experiment, source.task
    whole = task_module.answering(sources.network(source), task, experiment.data, experiment.inference)
    found = functions[signatures.DEFAULT]
    change = accuracy.Change(accuracy.of_golden(found, whole, golden, experiment.data))
    if options.records is not None:
        on = accuracy.of_records(found, whole, options.records, experiment, task)
        change = accuracy.Change(change.golden, *on)
    accuracy.require(change, options.told.weights, options.tolerance)
    return card.Told(options.told.intended_use, options.told.evaluation, options.told.weights, change)


def _save(source: sources.Source, kept: quantised.Kept | None, functions: dict[str, Any], folder: Path) -> None:
    served = tf.Module()
    served.variables_kept = kept.variables if kept else [v.value for one in source.networks for v in one.variables]
    served.functions = dict(functions)
    tf.saved_model.save(served, str(folder), signatures=functions)
    traced.name_methods(str(folder), set(functions))


def _describe(source: sources.Source, said: dict[str, Any], folder: Path) -> None:
    assets = folder / "assets"
    card.write(said, card.labels(source), assets)
    own = {"experiment": config.to_json(source.experiment), "run": source.manifests[0]}
    outputs.write_json(
        assets / "model.json", own | ({"runs": list(source.manifests)} if len(source.folders) > 1 else {})
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv))
