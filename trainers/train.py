"""Trains a config's network on converted records, keeps the weights that validation likes best.

    radkit train --config hippocampus --input records/hippocampus --output runs/hippocampus
    radkit train --config hippocampus --input records/hippocampus --output runs/quick --minutes 4

--input is a data set's folder, or the data folder when it holds one data set. --output is the run's folder: weights,
`history.jsonl` and `history.csv`, `config.json`, `run.html` (curves, settings, how the best weights do on the
validation split), `manifest.json` (with the pseudonymous patients trained on), and `transfer.json` where
`model.weights` names weights to begin with: what of them fitted, layer by layer. Where `model.settings` of a detector
have anchors="fit", anchors are fitted to the boxes trained on, and stand in `config.json`. A run that was stopped
goes on from its last checkpoint when the same command is given again, to the same weights; a finished one is left
alone. The bar and `history.jsonl` tell the images a second and the share of the time that steps waited for them.

With --minutes as many steps are taken as fit into that time, validation and page included: steps and validations are
measured as the run goes, and the learning rate's schedule ends with it. SIGTERM, SIGUSR1 or Ctrl-C end a run after the
step it is in: its state is saved, and the same command goes on. --restarts starts one that died again. --folds trains
a run a fold. --unlabelled names records without labels (`unlabelled.method`). --tensorboard and --profile=20,30 write
what TensorBoard shows. Several hosts: give --hosts and --host, or start with Slurm, Kubernetes or TF_CONFIG. Records
and runs in a bucket (--input=gs://..., --output=gs://...) are copied into --cache, and a run is copied back after each
checkpoint.

Exit status: 0 done, or stopped as asked; 2 refused; 75 a device or another host was lost, the same command goes on.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from radkit import config, outputs, program, runs, tasks
from radkit.data import convert, pipeline, shards, splits
from radkit.errors import UserError
from trainers import anchors, checkpoints, cloud, cluster, finish, folds, lost, strategy, supervisor, training

FLAGS = program.new_flags(data_in="Data set's folder, as convert wrote it.", out="Run folder.", config=True)
cluster.define(FLAGS)
cloud.define(FLAGS)
flags.DEFINE_float(
    "minutes", None, "Time that training may take, validation and page included: trainer.minutes.", 0.0,
    flag_values=FLAGS,
)  # fmt: skip
flags.DEFINE_integer("folds", 0, "Trains so many runs, each validated on another fold.", 0, flag_values=FLAGS)
flags.DEFINE_integer("restarts", 0, "How often training is started again when it died.", 0, flag_values=FLAGS)
flags.DEFINE_string("unlabelled", None, "Data set's folder of records without labels.", flag_values=FLAGS)
flags.DEFINE_boolean("tensorboard", False, "Whether event files are written to tensorboard/.", flag_values=FLAGS)
flags.DEFINE_list("profile", [], "First and last step that are profiled into tensorboard/.", flag_values=FLAGS)
flags.DEFINE_boolean("progress", True, "Whether a bar is shown.", flag_values=FLAGS)

Options = training.Options
_FILES = (runs.ARCHITECTURE, runs.BEST, runs.HISTORY, runs.TABLE, runs.PAGE, runs.TRANSFER, runs.MANIFEST)


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], lambda values, _: _run(values, argv), argv)


def _run(values: flags.FlagValues, argv: Sequence[str]) -> int:
    program.required(values, "config", "output")
    if values["restarts"].value:
        _options(values)  # refuses first
        return supervisor.supervise(argv, values["restarts"].value)
    said = list(values["set"].value)
    if values["minutes"].value is not None:
        said.append(f"trainer.minutes={values['minutes'].value}")
    experiment = config.load(values["config"].value, said)
    options, folder = _options(values), shards.find_dataset(cloud.input_folder(values))
    if values["folds"].value:
        return _run_folds(experiment, folder, Path(values["output"].value), values)
    run = cloud.Run.of(values)
    told = _trained(experiment, folder, run, dataclasses.replace(options, saved=run.push))
    if run.push is not None:
        run.push()
    program.say(told)
    return program.DONE


def _trained(experiment: config.Experiment, folder: Path, run: cloud.Run, options: Options) -> str:
    """Trains; returns what is told of it."""
    try:
        with lost.told():
            return finish.headline(fit(experiment, folder, run.here, options), run.said)
    except training.Stopped as stopped:
        return f"train: {stopped} -> {run.said}"


def _options(values: flags.FlagValues) -> Options:
    unlabelled = values["unlabelled"].value
    return Options(
        tensorboard=values["tensorboard"].value,
        profile=_profiled(values["profile"].value),
        unlabelled=shards.find_dataset(cloud.input_folder(values, "unlabelled")) if unlabelled else None,
        progress=values["progress"].value,
        asked=cluster.asked(values),
    )


def _profiled(words: Sequence[str]) -> tuple[int, int] | None:
    if not words:
        return None
    if len(words) != 2 or not all(word.strip().isdecimal() for word in words) or not 0 < int(words[0]) <= int(words[1]):
        raise UserError(f"--profile={','.join(words)} must be the first and the last step, as --profile=20,30")
    return int(words[0]), int(words[1])


def _run_folds(experiment: config.Experiment, folder: Path, output: Path, values: flags.FlagValues) -> int:
    if values["hosts"].value or values["host"].value >= 0:
        raise UserError(
            "--folds trains on the devices of one machine, and --hosts or --host is given; leave them out, or train "
            "each fold by itself, with --set trainer.fold=0, 1, ..."
        )
    if cloud.is_remote(str(values["output"].value)):
        raise UserError(
            f"--folds writes into a folder of this machine, not {values['output'].value}; copy it there after"
        )
    named = ("unlabelled", "tpu", "tpu_zone", "tpu_project")
    passed_on = [f"--{name}={values[name].value}" for name in named if values[name].value]
    passed_on += [f"--{'' if values[name].value else 'no'}{name}" for name in ("tensorboard", "progress")]
    passed_on += [f"--profile={','.join(values['profile'].value)}"] if values["profile"].value else []
    train_one = folds.in_processes(folder, passed_on)
    with lost.told():
        number, progress = values["folds"].value, values["progress"].value
        summary = folds.run(experiment, folder, output, number, train_one, progress=progress)
    if summary is None:
        program.say(f"train: stopped; the same command goes on -> {output}")
    else:
        program.say(f"train: {folds.headline(summary, tasks.find(experiment.task.name))} -> {output / folds.PAGE}")
    return program.DONE


def fit(experiment: config.Experiment, folder: Path, run: Path, options: Options = training.USUAL) -> dict[str, Any]:
    """Trains, or goes on with, or leaves alone where it is finished, one run; returns its manifest.

    Args:
        experiment: The config.
        folder: The data set's version folder.
        run: The run's folder; a run of another config or of other records is refused.
        options: Where it runs, what it tells.

    Raises:
        UserError: The config, the records or the folder are refused, or training cannot go on.
        training.Stopped: It was asked to stop by a signal; its state is saved.
    """
    if options.saved is not None and strategy.hosts_of(experiment.trainer, options.asked) is not None:
        raise UserError(
            "several hosts need an --output that all of them see as a folder, and a bucket was named; mount it on each "
            "host (gcsfuse, mountpoint-s3), and name the folder where it is mounted"
        )
    devices = strategy.choose(experiment.trainer, options.asked)  # before TensorFlow computes anything
    pipeline.check(folder, experiment.data)
    _require_folds(experiment, folder)
    outputs.require_outside(run, folder)
    experiment = _with_anchors(experiment, folder)
    _require_profiled(experiment.trainer, options.profile)
    said = {"experiment": config.to_json(experiment), "data": shards.digest(folder)}
    if options.unlabelled is not None:
        said["unlabelled"] = shards.digest(options.unlabelled)
    strategy.require_same(devices, {"the config": str(said["experiment"]), "the records' digest": str(said["data"])})
    with checkpoints.lock(run) if devices.is_chief else contextlib.nullcontext():
        _on_chief(devices, lambda: _check(run, said))
        if not devices.same((run / runs.MANIFEST).is_file()):
            training.train(experiment, folder, run, said, options, devices)
        devices.same(0.0)  # the chief has written the manifest
        return runs.manifest(run)


def _require_folds(experiment: config.Experiment, folder: Path) -> None:
    """Refuses a run of one of so many folds where the records are dealt into another number of them."""
    trainer, wanted = experiment.trainer, experiment.data.split.folds
    if max(trainer.fold, trainer.test_fold) < 0 or not (folder / splits.FOLDS_JSON).is_file():
        return
    found = outputs.read_json(folder / splits.FOLDS_JSON)["folds"]
    if found != wanted:
        raise UserError(
            f"{folder} is dealt into {found} folds, and data.split.folds is {wanted}; set it to {found}, or convert "
            f"again with data.split.folds={wanted}"
        )


def _require_profiled(trainer: config.Trainer, profile: tuple[int, int] | None) -> None:
    """Refuses a profile of steps that are never taken; with a time the number of steps is not known."""
    if profile and not trainer.minutes and profile[0] > trainer.steps:
        raise UserError(
            f"--profile={profile[0]},{profile[1]} begins after the last step, trainer.steps={trainer.steps}; name "
            "steps that are taken"
        )


def _with_anchors(experiment: config.Experiment, folder: Path) -> config.Experiment:
    if not anchors.are_wanted(experiment):
        return experiment
    record_fields = convert.fields_of(experiment.data, shards.schema_of(folder))
    found = pipeline.opened(folder, experiment, record_fields)
    return anchors.fitted(experiment, found, tasks.find(experiment.task.name))


def _on_chief(devices: strategy.Devices, check: Callable[[], None]) -> None:
    """Does what refuses on the chief only, and refuses on all hosts."""
    told = ""
    if devices.is_chief:
        try:
            check()
        except UserError as error:
            told = str(error)
    if told := devices.gathered(told)[0]:
        raise UserError(told)


def _check(run: Path, said: dict[str, Any]) -> None:
    """Refuses a folder that is something else than this very run."""
    if run.is_dir() and any(run.iterdir()):
        if not (run / runs.CONFIG).is_file():
            raise UserError(f"--output {run} exists and is no run of radkit; name another folder")
        if differing := _differing(outputs.read_json(run / runs.CONFIG), said):
            raise UserError(
                f"--output {run} is a run with another config or other records: {'; '.join(differing[:3])}"
                f"{', ...' if len(differing) > 3 else ''}; name another folder or remove it"
            )
        checkpoints.require_places(run, _FILES, (checkpoints.STATE, runs.BOARD))
    if run.exists() and not run.is_dir():
        raise UserError(f"--output {run} is a file; name a folder that does not exist yet")


def _differing(found: Any, said: Any, where: str = "") -> list[str]:
    """Returns what two trees of settings differ in, each place with what is there and what is asked for.

    >>> _differing({"a": {"b": 1}, "data": "x"}, {"a": {"b": 2}, "data": "x"})
    ['a.b is 1, asked for is 2']
    """
    if found == said:
        return []
    if isinstance(found, dict) and isinstance(said, dict):
        names = dict.fromkeys((*said, *found))
        return [line for name in names for line in _differing(found.get(name), said.get(name), f"{where}.{name}")]
    place = where.removeprefix(".").removeprefix("experiment.")
    names = {"data": "the records' digest", "unlabelled": "the digest of --unlabelled"}
    return [f"{names.get(place, place)} is {found!r}, asked for is {said!r}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
