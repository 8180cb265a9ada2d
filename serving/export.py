"""Writes a finished run as a SavedModel that answers on raw images, for TensorFlow Serving or `radkit serve`.

    radkit export --run runs/hippocampus --output models/hippocampus

Writes `<output>/<version>/` (the next whole number, or --version): signature `serving_default` with the inputs `image`
(batch, *spatial, 1) float32 in modality units, `spacing_mm` (batch, rank) float32 and, where the config has data.table,
`table` (batch, columns) float32; the task's answer as outputs;
and signature `records`, which tells how the records were made that it was trained on. Preprocessing of records is
inside the graph, every size is free. `assets/model.json` says what it is and which patients it was
trained on. The export is kept only if it is deterministic and answers as the network in this process does.

Exit status: 0 done; 2 refused, nothing written.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from radkit import config, outputs, program, runs, tasks
from radkit.data import clinical
from radkit.errors import UserError
from radkit.tasks import task as task_module
from serving import signatures

FLAGS = program.new_flags(data_in=None, out="Model folder; the version folder is made below it.")
flags.DEFINE_string("run", None, "Run folder, as train wrote it.", flag_values=FLAGS)
flags.DEFINE_integer("version", None, "Version number; the next free one if not given.", flag_values=FLAGS)

# The served answer may differ from the one in this process by this share of its range.
TOLERANCE = 1e-5


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv)


def _run(values: flags.FlagValues, _: list[str]) -> int:
    program.required(values, "run", "output")
    run, models_folder = Path(values["run"].value), Path(values["output"].value)
    runs.require(run)
    target = _target(models_folder, values["version"].value)
    manifest = runs.manifest(run)
    record = outputs.provenance("export", {"weights": manifest["weights_sha256"]}, manifest["data"])
    if not outputs.already_done(target, record):
        with outputs.staged(target, record) as aside:
            export(run, aside)
    size = sum(p.stat().st_size for p in target.rglob("*") if p.is_file())
    print(f"export: {size / 2**20:.1f} MiB, checked against the run -> {target}")
    return program.DONE


def _target(folder: Path, version: int | None) -> Path:
    if version is not None and version < 1:
        raise UserError(f"--version must be at least 1, not {version}")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file; name a folder")
    found = [int(p.name) for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []
    return folder / str(max(found, default=0) + 1 if version is None else version)


def export(run: Path, folder: Path) -> None:
    """Writes a run's SavedModel into a folder and checks it.

    Raises:
        UserError: It does not answer as the network does.
    """
    experiment = runs.experiment(run)
    task, data = tasks.find(experiment.task.name), experiment.data
    # Weights are float32 whatever the training's precision was; so is the served graph.
    keras.mixed_precision.set_global_policy("float32")
    network = runs.new_network(experiment, task)
    runs.load_weights(network, run)
    answer_images = task_module.answering(network, task, data, experiment.inference)
    served = tf.Module()
    served.variables_kept = [v.value for v in network.variables]
    served.answer = answer_images
    served.described = tf.saved_model.Asset(_describe(run, experiment, folder))
    served.told = _telling(experiment)
    tf.saved_model.save(
        served, str(folder), signatures={signatures.DEFAULT: answer_images, signatures.RECORDS: served.told}
    )
    (folder / "model.json").unlink()  # SavedModel keeps its own copy under assets/
    _check(folder, answer_images, data)


def _telling(experiment: config.Experiment) -> Any:
    """Returns the function that tells the data section: clients set images on the records' grid by it."""
    data = json.dumps(config.to_json(experiment)["data"], sort_keys=True)

    # An input, though none is needed: there is no call without one.
    @tf.function(
        input_signature=[tf.TensorSpec([None, len(experiment.data.image_size)], tf.float32, name="spacing_mm")]
    )
    def told(spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"data": tf.fill(tf.shape(spacing_mm)[:1], data)}

    return told


def _describe(run: Path, experiment: config.Experiment, folder: Path) -> str:
    path = folder / "model.json"
    manifest = runs.manifest(run)
    outputs.write_json(path, {"experiment": config.to_json(experiment), "run": manifest})
    return str(path)


def _check(folder: Path, answer_images: Any, data: config.Data) -> None:
    loaded = tf.saved_model.load(str(folder))
    served = loaded.signatures["serving_default"]
    for given in _golden(data):
        expected = answer_images(*given.values())
        first, second = (served(**given) for _ in range(2))
        for name, value in expected.items():
            if not np.array_equal(first[name].numpy(), second[name].numpy()):
                raise UserError(
                    f"the export gave two different answers ({name}) to the same image; nothing was written"
                )
            if not _equal(first[name].numpy(), value.numpy()):
                raise UserError(f"the export's {name} differs from the run's; nothing was written")


def _golden(data: config.Data) -> list[dict[str, tf.Tensor]]:
    """Made-up images: of the training size, and of odd sizes beyond and below it; two at once. Of a table, half."""
    random = np.random.default_rng(0)
    rank = len(data.image_size)
    spacing = tf.constant([data.spacing_mm or (1.0,) * rank] * 2, tf.float32)
    sizes = [data.image_size, tuple(s + 5 for s in data.image_size), tuple(max(1, s - 7) for s in data.image_size)]
    table = np.array([[clinical.SCALES[name][0] for name in data.table], [np.nan] * len(data.table)], np.float32)
    beside = {"spacing_mm": spacing, **({"table": tf.constant(table)} if data.table else {})}
    return [{"image": tf.constant(random.normal(100, 30, (2, *size, 1)), tf.float32), **beside} for size in sizes]


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if a.dtype.kind == "f":
        return bool(np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE))
    return bool(np.array_equal(a, b))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
