"""Trains a config's network on converted records, keeps the weights that validation likes best.

    radkit train --config hippocampus --input records/hippocampus --output runs/hippocampus

--input is a data set's folder, or the data folder when it holds one data set. --output is the run's folder: weights,
`history.jsonl`, `config.json`, `manifest.json` (with the pseudonymous patients trained on), and `transfer.json` where
`model.weights` names weights to begin with: what of them fitted, layer by layer. Where `model.settings` of a detector
have anchors="fit", anchors are fitted to the boxes trained on, and stand in `config.json`. A run that was stopped
goes on from its last checkpoint when the same command is given again; a finished one is left alone. The bar and
`history.jsonl` tell the images a second and the share of the time that steps waited for them.

Exit status: 0 done; 2 refused.
"""

import hashlib
import math
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import tensorflow as tf
from absl import flags
from tqdm import tqdm

from radkit import config, outputs, program, runs, tasks
from radkit.data import convert, pipeline, shards, splits
from radkit.errors import UserError
from radkit.models import weights
from radkit.tasks import task as task_module
from trainers import anchors, beginnings, checkpoints, loop, scoring, strategy

FLAGS = program.new_flags(data_in="Data set's folder, as convert wrote it.", out="Run folder.", config=True)


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv)


def _run(values: flags.FlagValues, _: list[str]) -> int:
    program.required(values, "config", "output")
    experiment = config.load(values["config"].value, values["set"].value)
    folder = shards.find_dataset(program.input_folder(values))
    pipeline.check(folder, experiment.data)
    run = Path(values["output"].value)
    if anchors.are_wanted(experiment):
        record_fields = convert.fields_of(experiment.data, shards.schema_of(folder))
        found = pipeline.opened(folder, experiment, record_fields)
        experiment = anchors.fitted(experiment, found, tasks.find(experiment.task.name))
    said = {"experiment": config.to_json(experiment), "data": shards.digest(folder)}
    with checkpoints.lock(run):
        _check(run, said)
        if not (run / runs.MANIFEST).is_file():
            _train(experiment, folder, run, said)
    done = runs.manifest(run)
    print(
        f"train: {experiment.trainer.steps} steps, best validation score {task_module.spell(done['best_score'])} "
        f"at step {done['best_step']}, {done['num_parameters']:,} parameters -> {run}"
    )
    return program.DONE


def _check(run: Path, said: dict[str, Any]) -> None:
    """Refuses a folder that is something else than this very run."""
    if run.is_dir() and any(run.iterdir()):
        if not (run / runs.CONFIG).is_file():
            raise UserError(f"--output {run} exists and is no run of radkit; name another folder")
        if outputs.read_json(run / runs.CONFIG) != said:
            raise UserError(
                f"--output {run} is a run with another config or other records; name another folder or remove it"
            )
    if run.exists() and not run.is_dir():
        raise UserError(f"--output {run} is a file; name a folder that does not exist yet")


def _train(experiment: config.Experiment, folder: Path, run: Path, said: dict[str, Any]) -> None:
    trainer = experiment.trainer
    record_fields = convert.fields_of(experiment.data, shards.schema_of(folder))
    # What is missing is said now, not at the first evaluation.
    found = pipeline.opened(folder, experiment, record_fields)
    validation = splits.physical("validation", trainer), splits.chosen(folder, "validation", trainer)
    pipeline.records(folder, validation[0], record_fields, validation[1])
    task = tasks.of(experiment)
    strategy.seed(trainer)
    precision = strategy.set_precision(trainer.precision)
    devices = strategy.choose(trainer)
    with devices.scope():
        network = runs.new_network(experiment, task)
        started = beginnings.start(network, experiment, run)
        optimizer = loop.new_optimizer(experiment, weights.shares(network, experiment.optimizer.rates))
        optimizer.build(network.trainable_variables)
        # Written only now: a config that is refused leaves no folder behind that the mended one would not fit.
        outputs.make_folder(run)
        outputs.write_json(run / runs.CONFIG, said)
        if started:
            outputs.write_json(run / runs.TRANSFER, started)
        state = checkpoints.State(run, network, optimizer)
    checkpoints.cut_history(run, state.step)
    step = loop.train_step(
        devices,
        network,
        optimizer,
        task,
        clip_norm=experiment.optimizer.clip_norm,
        batch_size=trainer.batch_size,
        change=lambda batch: pipeline.on_device(batch, experiment),
    )
    with pipeline.damage_named(folder, splits.physical("train", trainer)):
        dataset = pipeline.training(folder, experiment, record_fields, first_step=state.step, found=found)
        batches = loop.Watched(iter(devices.experimental_distribute_dataset(dataset)), trainer.batch_size)
        score = _scoring(folder, experiment, network)
        label = f"train {experiment.data.dataset}"
        with tqdm(total=trainer.steps, initial=state.step, desc=label, unit="step", mininterval=0.5) as bar:
            hooks = [_show(bar, batches), _evaluate(run, network, state, score, trainer, batches)]
            loop.run(step, batches, first_step=state.step, num_steps=trainer.steps, hooks=hooks)
    _finish(run, experiment, folder, network, precision)


def _scoring(folder: Path, experiment: config.Experiment, network: Any) -> Callable[[], float]:
    """Returns the function that scores the network as it is on the validation split."""
    data, task = experiment.data, tasks.find(experiment.task.name)
    answer_images = task_module.answering(network, task, data, experiment.inference)
    cases = scoring.Cases(folder, "validation", data, task, trainer=experiment.trainer)

    def score() -> float:
        found = scoring.cases(answer_images, cases, progress=False)
        return float(task.score(found, data) if task.score else task.summary(found, data)["score"])

    return score


def _show(bar: Any, batches: loop.Watched) -> Callable[[int, float], None]:
    def hook(_: int, loss: float) -> None:
        speed = batches.figures()
        told = {"images/s": f"{speed['images_per_s']:.4g}", "waiting": f"{speed['waiting_share']:.0%}"}
        bar.set_postfix(loss=f"{loss:.3f}", **told, refresh=False)
        bar.update()

    return hook


def _evaluate(
    run: Path,
    network: Any,
    state: checkpoints.State,
    score: Callable[[], float],
    trainer: config.Trainer,
    batches: loop.Watched,
) -> Callable[[int, float], None]:
    """Returns the hook that scores the validation split, keeps the best weights and saves the state."""
    losses: list[float] = []
    started = time.monotonic()

    def hook(step: int, loss: float) -> None:
        losses.append(loss)
        if step % trainer.evaluate_every and step != trainer.steps:
            return
        speed = batches.figures()
        found = score()
        known = -math.inf if math.isnan(found) else found
        # Of equal ones the newest, as while no score is defined (one class only, say): they learned longer.
        if known >= state.best:
            checkpoints.save_weights(network, run / runs.BEST)
        line = {"step": step, "loss": sum(losses) / len(losses), "validation score": task_module.as_json(found)}
        checkpoints.add_history(run, {**line, **speed, "seconds": round(time.monotonic() - started, 1)})
        losses.clear()
        state.save(step, max(state.best, known))
        batches.restart()

    return hook


def _finish(run: Path, experiment: config.Experiment, folder: Path, network: Any, precision: str) -> None:
    history = runs.history(run)
    scored = [line for line in history if line["validation score"] is not None]
    best = max(reversed(scored), key=lambda line: line["validation score"]) if scored else history[-1]
    trainer = experiment.trainer
    digest = hashlib.sha256((run / runs.BEST).read_bytes()).hexdigest()
    outputs.write_json(
        run / runs.MANIFEST,
        {
            "task": experiment.task.name,
            "best_step": best["step"],
            "best_score": best["validation score"],
            "num_parameters": network.count_params(),
            "precision": precision,
            "seed": trainer.seed,
            "weights_sha256": digest,
            "data": shards.digest(folder),
            "patients": {split: splits.patients(folder, split, trainer) for split in ("train", "validation")},
            "patients_before": beginnings.patients(run),
            "versions": {name: metadata.version(name) for name in ("keras", "numpy")} | {"tensorflow": tf.__version__},
        },
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv))
