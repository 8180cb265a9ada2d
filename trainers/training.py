"""One run from its config to its manifest: what `train.fit` does once it knows that there is something to do."""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tqdm import tqdm

from radkit import config, outputs, runs, tasks
from radkit.data import convert, pipeline, shards, splits
from radkit.data.feeding import examples
from radkit.errors import Unfinished, UserError
from radkit.tasks import task as task_module
from radkit.tasks.task import Task
from trainers import (
    beginnings,
    checkpoints,
    cluster,
    finish,
    hooks,
    logs,
    loop,
    preemption,
    strategy,
    unlabelled,
    unlabelled_records,
    validation,
)
from trainers.budget import Budget

NOTHING_ASKED = cluster.Asked()


@dataclass(frozen=True)
class Options:
    """What of a run is no part of its config.

    Attributes:
        tensorboard: Whether event files are written into the run's `tensorboard/`.
        profile: First and last step that TensorFlow's profiler records; None: none.
        unlabelled: Data set's folder of the records without labels that `unlabelled.method` learns of; None: none.
        progress: Whether a bar is shown.
        asked: What the command line says of hosts and TPUs.
        saved: Called when a checkpoint is on disk, in the thread that wrote it: copies the run elsewhere.
    """

    tensorboard: bool = False
    profile: tuple[int, int] | None = None
    unlabelled: Path | None = None
    progress: bool = True
    asked: cluster.Asked = NOTHING_ASKED
    saved: Callable[[], None] | None = None


USUAL = Options()
Stopped = preemption.Stopped


@dataclass(frozen=True)
class _Records:
    """What a run learns of: its training examples, and those without labels, if it has any."""

    folder: Path
    fields: tuple[Any, ...]
    labelled: examples.Examples
    beside: unlabelled_records.Found | None

    @property
    def patients(self) -> dict[str, list[str]]:
        return {"unlabelled": list(self.beside.patients)} if self.beside else {}


@loop.as_refused()
def train(
    experiment: config.Experiment,
    folder: Path,
    run: Path,
    said: dict[str, Any],
    options: Options,
    devices: strategy.Devices,
) -> None:
    """Trains, or goes on with, a run until it is finished.

    Args:
        experiment: The config, with what was fitted to the records.
        folder: The data set's version folder.
        run: The run's folder.
        said: What becomes of it `config.json`.
        options: Where it runs, what it tells.
        devices: As `options` and the config choose them.

    Raises:
        UserError: The config or the records are refused, or training cannot go on.
        Stopped: A signal asked for it.
    """
    began = time.monotonic()
    records, task = _opened(experiment, folder, options, devices), tasks.of(experiment)
    strategy.seed(experiment.trainer)
    precision = strategy.set_precision(experiment.trainer.precision, devices)
    with devices.strategy.scope():
        trained, started = _new(experiment, task, run)
    split = validation.of_run(folder, experiment, trained.network, devices)
    if experiment.trainer.select != "score" and not devices.same((run / runs.CONFIG).is_file()):
        split.run()  # refuses a figure that is not told; its name is known to a summary only
    made = finish.Made(experiment, folder, devices.told, precision, records.patients)
    if devices.is_chief:
        # Written only now: a config that is refused leaves no folder behind that the mended one would not fit.
        outputs.make_folder(run)
        outputs.write_json(run / runs.CONFIG, said)
        outputs.write_text(run / runs.ARCHITECTURE, finish.architecture(trained.network))
        if started:
            outputs.write_json(run / runs.TRANSFER, started)
    with contextlib.ExitStack() as stack:
        stack.enter_context(pipeline.damage_named(folder, splits.physical("train", experiment.trainer)))
        notice = stack.enter_context(preemption.noticed())
        current = _resumed(trained, made, records, split, run, options, devices, began)
        stack.callback(current.board.close)
        stack.callback(current.keeper.close)
        if not current.is_over:
            _loop(current, records, task, experiment, options, notice)
        _refuse_nothing_learned(current.reached)
        finish.finish(current, made)


def _refuse_nothing_learned(reached: hooks.Reached) -> None:
    if reached.skipped == reached.step:
        raise UserError(
            f"none of the {reached.step} steps had a finite loss and gradient, so nothing was learned; lower "
            "optimizer.learning_rate, or look for constant or damaged images with radkit statistics"
        )


def _opened(experiment: config.Experiment, folder: Path, options: Options, devices: strategy.Devices) -> _Records:
    """Returns the records that are trained on; what is missing is said now, not at the first validation."""
    trainer, host, num_hosts = experiment.trainer, devices.host, devices.num_hosts
    record_fields = convert.fields_of(experiment.data, shards.schema_of(folder))
    labelled = pipeline.opened(folder, experiment, record_fields, host=host, num_hosts=num_hosts)
    there, patients = splits.physical("validation", trainer), splits.chosen(folder, "validation", trainer)
    pipeline.records(folder, there, record_fields, patients)
    loop.require_parts(trainer, devices.strategy.num_replicas_in_sync)
    unlabelled.require(experiment, options.unlabelled, devices.strategy.num_replicas_in_sync)
    beside = None
    if options.unlabelled is not None:
        held_out = {name for split in ("validation", "test") for name in splits.patients(folder, split, trainer)}
        beside = unlabelled_records.opened(
            options.unlabelled, experiment, without=held_out, host=host, num_hosts=num_hosts
        )
    return _Records(folder, record_fields, labelled, beside)


def _new(experiment: config.Experiment, task: Task, run: Path) -> tuple[loop.Trained, Any]:
    """Returns what is trained, and which weights it began with; called in the strategy's scope."""
    network = runs.new_network(experiment, task)
    started = beginnings.start(network, experiment, run)
    total = None
    if experiment.trainer.minutes:
        total = tf.Variable(experiment.trainer.steps, dtype=tf.int64, trainable=False, name="total")
    averaged = dataclasses.replace(experiment.optimizer, average=unlabelled.decay(experiment))
    shares = beginnings.shares(network, experiment)
    asked = dataclasses.replace(experiment, optimizer=averaged)
    return loop.new(network, asked, shares=shares, total=total), started


def _resumed(
    trained: loop.Trained,
    made: finish.Made,
    records: _Records,
    split: validation.Validation,
    run: Path,
    options: Options,
    devices: strategy.Devices,
    began: float,
) -> hooks.Training:
    """Returns the run where its newest checkpoint left it, or at its beginning."""
    experiment = made.experiment
    keeper = checkpoints.Keeper(run, trained.parts(), experiment.trainer, devices.is_chief, options.saved)
    reached = hooks.Reached.of(keeper.restore())
    require_one_checkpoint(devices, reached.step)
    if devices.is_chief:
        checkpoints.cut_history(run, reached.step, reached.lines)
    tells_board = options.tensorboard and devices.is_chief
    return hooks.Training(
        run=run,
        trainer=experiment.trainer,
        trained=trained,
        keeper=keeper,
        devices=devices,
        stream=task_module.stream_of(tasks.of(experiment), experiment.data),
        batches=_batches(records, experiment, devices, reached.step),
        validation_split=split,
        reached=reached,
        board=logs.Board(run / runs.BOARD if tells_board else None),
        drawn_names=experiment.data.box_labels if tells_board else None,
        budget=_budget(experiment.trainer, reached, devices, began),
        started=began,
        rehearse=lambda current, found: finish.write_page(current, made, found, finish.manifest(current, made)),
    )


def require_one_checkpoint(devices: strategy.Devices, step: int) -> None:
    """Refuses hosts that restored different checkpoints: they would train on, each from other weights.

    Raises:
        Unfinished: It names the steps.
    """
    steps = devices.gathered(str(step))
    if len(set(steps)) > 1:
        raise Unfinished(
            f"the hosts found different checkpoints to go on from, of the steps {', '.join(steps)} in the order of "
            "hosts; --output must be one folder that all of them see: start all again once they see the same files"
        )


def _batches(
    records: _Records, experiment: config.Experiment, devices: strategy.Devices, first_step: int
) -> loop.Watched:
    dataset = pipeline.training(
        records.folder,
        experiment,
        records.fields,
        first_step,
        host=devices.host,
        num_hosts=devices.num_hosts,
        found=records.labelled,
    )
    if records.beside is not None:
        dataset = unlabelled_records.beside(dataset, records.beside, first_step)
    return loop.Watched(devices.batches(dataset), experiment.trainer.batch_size)


def _budget(trainer: config.Trainer, reached: hooks.Reached, devices: strategy.Devices, began: float) -> Budget | None:
    if not trainer.minutes:
        return None
    return Budget(
        60.0 * trainer.minutes,
        first_step=reached.step,
        guess=trainer.steps,
        every=trainer.evaluate_every,
        spent=reached.seconds + time.monotonic() - began,
        again=reached.step > 0,
        burst=trainer.steps_per_execution,
        same=devices.same,
    )


def _loop(
    current: hooks.Training,
    records: _Records,
    task: Task,
    experiment: config.Experiment,
    options: Options,
    notice: preemption.Notice,
) -> None:
    """Takes the steps that are left.

    Raises:
        Stopped: A signal asked for it.
    """
    trainer, first_step = experiment.trainer, current.reached.step
    change = unlabelled_records.on_device if records.beside is not None else pipeline.on_device
    step = loop.train_step(
        current.devices.strategy,
        current.trained,
        _losses(current.trained, task, experiment),
        experiment,
        change=lambda batch: change(batch, experiment),
    )
    hooks.follow(current)
    with (
        _bar(current, experiment, options) as bar,
        hooks.profiled(current.run / runs.BOARD, options.profile, first_step, trainer.steps_per_execution) as profile,
    ):
        loop.run(
            step,
            current.batches,
            first_step=first_step,
            num_steps=lambda: current.total,
            hooks=[
                hooks.count(current),
                profile,
                hooks.show(current, bar),
                hooks.tell_board(current),
                hooks.validate(current),
                preemption.hook(notice, current.devices, every=trainer.steps_per_execution),
            ],
            bad_steps=trainer.bad_steps,
            per_execution=trainer.steps_per_execution,
        )
    if not current.is_over:
        current.save(wait=True)
        raise Stopped(preemption.told(current.reached.step, notice.reason))


def _losses(trained: loop.Trained, task: Task, experiment: config.Experiment) -> loop.Losses:
    if experiment.unlabelled.method == "none" or trained.average is None:
        return loop.losses_of(task, experiment.data)
    return unlabelled.losses(experiment, task, trained.average)


def _bar(current: hooks.Training, experiment: config.Experiment, options: Options) -> Any:
    return tqdm(
        total=current.total,
        initial=current.reached.step,
        desc=f"train {experiment.data.dataset}",
        unit="step",
        mininterval=0.5,
        disable=not (options.progress and current.devices.is_chief),
    )
