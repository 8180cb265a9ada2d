"""Tells, without a TPU, whether a config trains on one, and what is in the way.

    radkit check-tpu --config hippocampus
    radkit check-tpu --config hippocampus --input records/hippocampus --cores 8

The input pipeline and the step that `radkit train` takes are made for one core's part of the batch, all sizes fixed,
and XLA compiles the step as for a TPU. Named are leaves of the batch without a fixed shape or of text, operations that
XLA does not have, types that TPUs lack, and sizes that are known only while the step runs: each with its layer, the
line of code, and what to do. Printed with them: what a core computes, its memory by estimate, and what would be slow.

Without --input the records are made up; with it they are those of a data set's folder, which tells the sizes of what
augment.where="device" sends, and fits anchors. --cores is how many share a batch; left out, as many of 8 as divide it.
--memory_gib is a core's: 8 (TPU v2), 16 (v3, v5e), 32 (v4, v6e), 95 (v5p). --compile=false leaves out the longest part,
XLA's own passes, which take some ten seconds or minutes.

Exit status: 0 it fits; 1 it does not, and each reason is listed; 2 refused.
"""

import contextlib
import dataclasses
import math
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from absl import flags

from radkit import config, program, quiet, runs, tasks
from radkit.data import convert, pipeline, shards
from radkit.errors import UserError
from radkit.models import weights
from radkit.planning import memory
from trainers import anchors, beginnings, loop, strategy, tpu_records, tpu_rules, unlabelled, unlabelled_records
from trainers.tpu_rules import Offence

FLAGS = program.new_flags(data_in="Data set's folder; left out: made-up records.", out=None, config=True)
flags.DEFINE_integer("cores", 0, "Cores that share a batch; 0: as many of 8 as divide it.", flag_values=FLAGS)
flags.DEFINE_float("memory_gib", 16.0, "Memory of a core, GiB.", flag_values=FLAGS)
flags.DEFINE_bool("compile", True, "Whether XLA compiles the step to the end.", flag_values=FLAGS)

_MOST_CORES = 8  # of a host
_LANES, _SUBLANES = 128, 8  # a TPU holds its numbers in tiles of 8 x 128


@dataclass(frozen=True)
class Checked:
    """What was found of a config.

    Attributes:
        cores: That share a batch.
        batch_size: Of each.
        precision: In which the step was made.
        batch: A core's part of it, by leaf.
        operations: Of the step's graph.
        memory: Of a core, by estimate; None: there was no step to look at.
        padding: By which its tensors grow in tiles, at the least.
        offences: Refusals first.
    """

    cores: int
    batch_size: int
    precision: str
    batch: Mapping[str, Any]
    operations: int
    memory: memory.Prediction | None
    padding: float
    offences: tuple[Offence, ...]

    @property
    def fits(self) -> bool:
        """Whether nothing is refused."""
        return not any(one.is_refused for one in self.offences)


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv)


def _run(values: flags.FlagValues, _: list[str]) -> int:
    program.required(values, "config")
    cores, memory_gib = values["cores"].value, values["memory_gib"].value
    if cores < 0 or not memory_gib > 0:  # nan is neither
        raise UserError(f"--cores must be 0 or more and --memory_gib above 0, not {cores} and {memory_gib:g}")
    experiment = config.load(values["config"].value, values["set"].value)
    folder = shards.find_dataset(program.input_folder(values)) if values["input"].value else None
    strategy.seed(experiment.trainer)
    with quiet.held_back():
        found = check(experiment, folder, cores=cores, memory_gib=memory_gib, compiles=values["compile"].value)
    program.say(told(values["config"].value, found))
    return program.DONE if found.fits else program.QUARANTINED


@loop.as_refused()
def check(
    experiment: config.Experiment,
    folder: Path | None = None,
    *,
    cores: int = 0,
    memory_gib: float = 16.0,
    compiles: bool = True,
) -> Checked:
    """Returns what stands between a config and a TPU.

    Args:
        experiment: The config.
        folder: The data set's version folder; None: records are made up.
        cores: That share a batch; 0: as many of 8 as divide it.
        memory_gib: Of a core.
        compiles: Whether XLA compiles the step to the end.

    Raises:
        UserError: The config cannot be trained with at all.
    """
    found = [] if cores else _of_idle_cores(experiment)
    cores = cores or _dividing(experiment)
    found += _of_settings(experiment, cores)
    precision = _precision(experiment.trainer.precision)
    with _policy(precision), tempfile.TemporaryDirectory() as aside:
        one = _of_one_core(experiment, cores)
        size = one.trainer.batch_size
        one, batch = _fed(one, folder, Path(aside))
        of_batch = tpu_rules.of_batch(batch)
        if any(offence.is_refused for offence in of_batch):  # such a step cannot be traced
            return Checked(cores, size, precision, batch, 0, None, 1.0, _sorted([*found, *of_batch]))
        network, step, variables = _step(one)
        names = {layer.name for layer in _layers(network)}
        arguments = (dict(batch), tf.TensorSpec([], tf.int64))
        found += [*of_batch, *tpu_rules.of_step(step, arguments, names, compiles=compiles), *_of_channels(network)]
        traced = step.get_concrete_function(*arguments)
        held, operations = memory.predict(traced, variables), list(tpu_rules.operations(traced.graph))
        padding = _padding(operations)
    found += _of_memory(held, padding, memory_gib)
    return Checked(cores, size, precision, batch, len(operations), held, padding, _sorted(found))


def told(name: str, found: Checked) -> str:
    """Returns what was found, as the verb prints it."""
    lines = [f"cores: {found.cores}, batch of {found.batch_size} on each, {found.precision}"]
    leaves = ", ".join(f"{leaf} {_spelled(spec)}" for leaf, spec in found.batch.items())
    lines.append(f"batch: {leaves}")
    if found.memory is not None:
        on_core, own = _on_core(found.memory, found.padding), found.memory
        lines.append(
            f"memory: at least {on_core / memory.GIB:.2f} GiB a core by estimate (weights and optimizer "
            f"{own.variables / memory.GIB:.2f}, step {own.step / memory.GIB:.2f}, times {found.padding:.1f} in tiles)"
        )
        lines.append(f"step: {found.operations:,} operations")
    lines += [offence.spell() for offence in found.offences]
    refused = sum(offence.is_refused for offence in found.offences)
    reasons = f"{refused} reason{'s' if refused > 1 else ''}"
    return "\n".join([*lines, f"check-tpu: {name} {'fits' if found.fits else f'does not fit a TPU, for {reasons}'}"])


def _spelled(spec: Any) -> str:
    if not isinstance(spec, tf.TensorSpec) or spec.shape.rank is None:
        return f"of {type(spec).__name__}"
    sizes = " x ".join("?" if size is None else str(size) for size in spec.shape)
    return f"{sizes} {spec.dtype.name}"


def _sorted(found: Iterable[Offence]) -> tuple[Offence, ...]:
    return tuple(sorted(found, key=lambda one: not one.is_refused))


def _dividing(experiment: config.Experiment) -> int:
    """Returns how many of a host's cores can share a batch."""
    trainer = experiment.trainer
    sizes = [trainer.batch_size, *([experiment.unlabelled.batch_size] if _has_teacher(experiment) else [])]
    fitting = [cores for cores in (2, 4, _MOST_CORES) if not any(n % (cores * trainer.accumulate) for n in sizes)]
    return max(fitting, default=1)


def _of_settings(experiment: config.Experiment, cores: int) -> list[Offence]:
    """Returns what the settings alone tell."""
    trainer, found = experiment.trainer, []
    sizes = {"trainer.batch_size": trainer.batch_size}
    if _has_teacher(experiment):
        sizes["unlabelled.batch_size"] = experiment.unlabelled.batch_size
    parts = cores * trainer.accumulate
    for name, size in sizes.items():
        if size % parts:
            why = f"it does not divide by {cores} cores"
            why += f" and trainer.accumulate={trainer.accumulate} parts on each" if trainer.accumulate > 1 else ""
            found.append(Offence(f"{name}={size}", "", why, f"make it a multiple of {parts}"))
    if trainer.precision == "mixed_float16":
        why = "TPUs have no float16, and radkit train refuses it there"
        found.append(Offence("trainer.precision=mixed_float16", "", why, "set mixed_bfloat16 or auto"))
    if trainer.strategy not in ("auto", "tpu"):
        why = "it asks for other devices"
        found.append(Offence(f"trainer.strategy={trainer.strategy}", "", why, "set trainer.strategy=tpu", False))
    return found


def _of_idle_cores(experiment: config.Experiment) -> list[Offence]:
    """Returns advice where not all cores of a host can share a batch."""
    if (cores := _dividing(experiment)) == _MOST_CORES:
        return []
    said, parts = f"trainer.batch_size={experiment.trainer.batch_size}", _MOST_CORES * experiment.trainer.accumulate
    why = f"it is for {cores} of a host's cores, which are often {_MOST_CORES}"
    return [Offence(said, "", why, f"make it a multiple of {parts} to use them all", False)]


def _precision(asked: str) -> str:
    """Returns the precision in which a TPU trains: bfloat16, unless another is asked for."""
    return "mixed_bfloat16" if asked == "auto" else asked


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Sets Keras's policy in the block."""
    kept = keras.mixed_precision.global_policy()
    keras.backend.clear_session()  # one network after the other: what the last one traced is let go
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(kept)


def _of_one_core(experiment: config.Experiment, cores: int) -> config.Experiment:
    """Returns the experiment as one core sees it: its part of the batch, one step, compiled."""
    trainer = experiment.trainer
    size = max(1, trainer.batch_size // cores)
    accumulate = trainer.accumulate if size % trainer.accumulate == 0 else 1
    alone = dataclasses.replace(
        trainer, batch_size=size, accumulate=accumulate, strategy="one", xla=True, steps_per_execution=1
    )
    beside = experiment.unlabelled
    if _has_teacher(experiment):  # without one its batch is none, and must stay as it is
        beside = dataclasses.replace(beside, batch_size=max(1, beside.batch_size // cores))
    return dataclasses.replace(experiment, trainer=alone, unlabelled=beside)


def _fed(
    experiment: config.Experiment, folder: Path | None, aside: Path
) -> tuple[config.Experiment, Mapping[str, tf.TypeSpec]]:
    """Returns the experiment, its anchors fitted where it asks for them, and what its input pipeline feeds."""
    if folder is None:
        folder, experiment = aside, tpu_records.write(experiment, aside)
    pipeline.check(folder, experiment.data)
    record_fields = convert.fields_of(experiment.data, shards.schema_of(folder))
    found = pipeline.opened(folder, experiment, record_fields)
    if anchors.are_wanted(experiment):
        with contextlib.redirect_stdout(None):  # how well they fit is told by train
            experiment = anchors.fitted(experiment, found, tasks.find(experiment.task.name))
    dataset = pipeline.training(folder, experiment, record_fields, found=found)
    if _has_teacher(experiment):  # the same records once more, whose labels are not looked at
        dataset = unlabelled_records.beside(dataset, unlabelled_records.opened(folder, experiment))
    return experiment, dataset.element_spec


def _has_teacher(experiment: config.Experiment) -> bool:
    return experiment.unlabelled.method != "none"


def _step(experiment: config.Experiment) -> tuple[keras.Model, Any, list[Any]]:
    """Returns the network, the very step that train takes, compiled by XLA, and all variables that it changes."""
    task = tasks.of(experiment)
    network = runs.new_network(experiment, task)
    weights.freeze(network, experiment.model.freeze, "model.freeze")
    shares = beginnings.shares(network, experiment)
    averaged = dataclasses.replace(experiment.optimizer, average=unlabelled.decay(experiment))
    trained = loop.new(network, dataclasses.replace(experiment, optimizer=averaged), shares=shares)
    losses, change = loop.losses_of(task), pipeline.on_device
    if _has_teacher(experiment) and trained.average is not None:
        losses, change = unlabelled.losses(experiment, task, trained.average), unlabelled_records.on_device
    step = loop.train_step(
        tf.distribute.get_strategy(), trained, losses, experiment, change=lambda batch: change(batch, experiment)
    )
    return network, step, [variable for part in trained.parts().values() for variable in part]


def _layers(network: keras.Model) -> list[Any]:
    return list(network._flatten_layers(include_self=False))  # those within layers, too


def _of_channels(network: keras.Model) -> list[Offence]:
    """Returns advice on channels that a TPU pads."""
    kernels = [layer.kernel for layer in _layers(network) if getattr(layer, "kernel", None) is not None]
    # As few as 8 and below are outputs of the network: they are what they are.
    widths = sorted({int(k.shape[-1]) for k in kernels if k.shape[-1] > _SUBLANES and k.shape[-1] % _LANES})
    if not widths:
        return []
    said = ", ".join(map(str, widths[:8])) + (", ..." if len(widths) > 8 else "")
    why = f"channels are padded to multiples of {_LANES}, or of {_SUBLANES} where a core has {_LANES} examples"
    return [Offence("channels", said, why, "up to there, more of them cost no time on a TPU", False)]


def _padding(operations: Iterable[Any]) -> float:
    """Returns by how much tensors grow in tiles, all together, whichever two axes lie in the tiles."""
    own = padded = 0
    for operation in operations:
        for tensor in operation.outputs:
            if tensor.dtype.is_floating and tensor.shape.rank and tensor.shape.is_fully_defined():
                own += math.prod(tensor.shape) * tensor.dtype.size
                padded += tiled(tuple(tensor.shape)) * tensor.dtype.size
    return padded / own if own else 1.0


def tiled(shape: tuple[int, ...]) -> int:
    """Returns how many numbers a tensor takes in tiles of 8 x 128, its axes laid out in the best order.

    >>> tiled((2, 96, 96, 24)), tiled((1, 128)), tiled((3,)), tiled((0, 5))
    (589824, 1024, 128, 0)
    """
    count = math.prod(shape)
    grown = [_grown(size, _LANES) for size in shape]
    if len(shape) < 2 or not count:
        return round(count * min(grown, default=1.0))
    pairs = ((a, b) for a in range(len(shape)) for b in range(len(shape)) if a != b)
    return round(count * min(grown[lane] * _grown(shape[other], _SUBLANES) for lane, other in pairs))


def _grown(size: int, multiple: int) -> float:
    return -(-size // multiple) * multiple / size if size else 1.0


def _on_core(held: memory.Prediction, padding: float) -> float:
    """Returns a core's memory in bytes: weights, slots and the step's tensors, without the program on the host."""
    return (held.variables + held.step) * padding


def _of_memory(held: memory.Prediction, padding: float, memory_gib: float) -> list[Offence]:
    gib = _on_core(held, padding) / memory.GIB
    if gib <= memory_gib:
        return []
    why = f"it takes at least {gib:.2f} GiB by estimate, and a core has {memory_gib:g} (--memory_gib)"
    return [Offence("memory", "", why, "lower trainer.batch_size or data.image_size, or raise trainer.accumulate")]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
