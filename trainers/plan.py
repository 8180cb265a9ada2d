"""Plans a segmentation network from a data set's statistics: patch, batch, pooling, spacing, by nnU-Net's rules.

    radkit plan --input records/hippocampus --memory_gib 8 --output plan.py
    radkit train --config plan.py --input records/hippocampus --output runs/planned

--input is a data set's folder with the `statistics.json` that `radkit statistics` wrote (or --statistics names it).
--output is the config file: readable Python, with the reason of each choice; another file is not overwritten.
--memory_gib is what training may take in all. The prediction is printed, and --measure takes two steps in a process of
their own and prints what they took. Cached images (trainer.cache_gib) come on top.

Exit status: 0 done; 2 refused.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import flags

from radkit import config, models, outputs, program, tasks
from radkit.data import shards
from radkit.errors import UserError
from radkit.planning import fingerprint, memory, search, written
from radkit.planning.topology import Topology
from trainers import loop, strategy

FLAGS = program.new_flags(data_in="Data set's folder, as convert wrote it.", out="Config file to write, as plan.py.")
flags.DEFINE_string("statistics", None, "statistics.json, if not in the data set's folder.", flag_values=FLAGS)
flags.DEFINE_float("memory_gib", 8.0, "What training may take in all, GiB.", flag_values=FLAGS)
flags.DEFINE_integer("steps", 2000, "Steps of training.", flag_values=FLAGS)
flags.DEFINE_enum(
    "precision", "auto", ["auto", "float32", "mixed_bfloat16"], "In which memory is predicted.", flag_values=FLAGS
)
flags.DEFINE_bool(
    "low_resolution", False, "Plans for images made so coarse that a patch covers 25 %.", flag_values=FLAGS
)
flags.DEFINE_bool("measure", False, "Takes a step in a process of its own, prints its memory.", flag_values=FLAGS)


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv)


def _run(values: flags.FlagValues, _: list[str]) -> int:
    program.required(values, "input", "output")
    output, budget_gib, steps = Path(values["output"].value), values["memory_gib"].value, values["steps"].value
    if output.suffix != ".py" or output.is_dir():
        raise UserError(f"--output {output} must be a Python file, as plan.py")
    if not 0 < budget_gib < math.inf or steps < 1:
        raise UserError(f"--memory_gib and --steps must be above 0 and finite, not {budget_gib:g} and {steps}")
    folder = shards.find_dataset(program.input_folder(values))
    data, seen = _read(folder, values["statistics"].value)
    precision = strategy.set_precision(values["precision"].value)
    plan = _plan(seen, data, int(budget_gib * memory.GIB), steps, low_resolution=values["low_resolution"].value)
    planned = written.experiment(plan, data, steps)
    _write(output, written.text(plan, planned, budget_gib=budget_gib, precision=precision))
    network = plan.network
    print(
        f"plan: patch {_spell(network.patch)}, batch {plan.batch_size}, {len(network.strides)} levels, "
        f"predicted memory {plan.memory.spell()} -> {output}"
    )
    if values["measure"].value:
        print(f"plan: measured memory {measured(planned, precision) / memory.GIB:.2f} GiB")
    return program.DONE


def _read(folder: Path, statistics: str | None) -> tuple[config.Data, fingerprint.Fingerprint]:
    """Returns the data set's own section and its fingerprint."""
    if not (folder / "data.json").is_file():
        raise UserError(f"{folder} has no data.json; convert the data set with radkit")
    data = config.data_from_json(outputs.read_json(folder / "data.json"))
    if not data.mask_labels:
        raise UserError("radkit plan plans segmentation, and data.mask_labels of the data set names no label")
    path = Path(statistics or folder / "statistics.json")
    if not path.is_file():
        raise UserError(f"{path} does not exist; run radkit statistics --input {folder} first, or name --statistics")
    found = outputs.read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path} is not what radkit statistics writes")
    return data, fingerprint.read(found, is_volume=data.kind == "volume", num_classes=len(data.mask_labels) + 1)


def _plan(
    seen: fingerprint.Fingerprint, data: config.Data, budget_bytes: int, steps: int, *, low_resolution: bool
) -> search.Plan:
    def predict(network: Topology, batch: int) -> memory.Prediction:
        guess = search.Plan(network, batch, memory.Prediction(0, 0, 0), seen, batch)
        return step_memory(written.experiment(guess, data, steps))

    plan = search.find(seen, budget_bytes, predict)
    if not low_resolution:
        return plan
    if not plan.wants_low_resolution:
        raise UserError(
            "--low_resolution is for patches that cover less than 25 % of the median image; "
            f"{_spell(plan.network.patch)} covers {plan.coverage:.0%}: plan without it"
        )
    seen = search.low_resolution(plan)
    return search.find(seen, budget_bytes, predict)


def step_memory(experiment: config.Experiment) -> memory.Prediction:
    """Returns the memory that training an experiment takes, predicted from its step's graph at `data.image_size`."""
    policy = keras.config.dtype_policy()
    keras.backend.clear_session()  # one network after the other: what the last one traced is let go
    keras.config.set_dtype_policy(policy)  # which clearing sets back to float32
    step, batch, variables = _step(experiment)
    return memory.predict(step.get_concrete_function(batch, tf.TensorSpec((), tf.int64)), variables)


def _step(experiment: config.Experiment) -> tuple[Any, dict[str, tf.TensorSpec], list[Any]]:
    """Returns the very step that train takes, what its batch is, and its variables."""
    data, trainer, task = experiment.data, experiment.trainer, tasks.of(experiment)
    network = models.build(
        experiment.model.name,
        input_shape=(*(None,) * len(data.image_size), 1),
        num_classes=task.num_outputs(data),
        **experiment.model.settings,
    )
    trained = loop.new(network, experiment)
    step = loop.train_step(tf.distribute.get_strategy(), trained, loop.losses_of(task), experiment)
    shape = (trainer.batch_size, *data.image_size, 1)
    batch = {"image": tf.TensorSpec(shape, tf.float32), "mask": tf.TensorSpec(shape, tf.uint8)}
    return step, batch, [variable for part in trained.parts().values() for variable in part]


def measured(experiment: config.Experiment, precision: str) -> int:
    """Returns the most memory, in bytes, that a fresh process takes for two steps of an experiment (Linux)."""
    done = subprocess.run(
        [sys.executable, "-m", "trainers.plan_measure", precision],
        input=json.dumps(config.to_json(experiment)),
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UserError(
            f"the measured step failed (status {done.returncode}): {said[-1] if said else 'out of memory?'}"
        )
    return int(done.stdout.split()[-1])


def take_steps(experiment: config.Experiment, count: int = 2) -> None:
    """Trains on noise for some steps; what `measured` looks at."""
    step, batch, _ = _step(experiment)
    numbers = tf.random.Generator.from_seed(0)
    for number in range(count):
        image, mask = batch["image"].shape, batch["mask"].shape
        classes = len(experiment.data.mask_labels) + 1
        given = {
            "image": numbers.normal(image),
            "mask": tf.cast(numbers.uniform(mask, 0, classes, tf.int32), tf.uint8),
        }
        float(step(given, tf.constant(number, tf.int64))["loss"])


def _write(output: Path, text: str) -> None:
    if output.exists():
        if output.read_text(encoding="utf-8", errors="replace") != text:
            raise UserError(f"--output {output} exists and is another file; remove it or name another")
        return
    outputs.make_folder(output.parent)
    outputs.write_text(output, text)


def _spell(sizes: Sequence[float]) -> str:
    return " x ".join(f"{size:g}" for size in sizes)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
