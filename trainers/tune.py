"""Searches for values of a config's fields by which validation scores best: random search, Bayes, Hyperband.

    radkit tune --config chest --input records/chest --output tuning/chest --trials 30 \\
        --vary optimizer.learning_rate=log:1e-4,1e-2 --vary "model.settings.filters=choice:(8,16),(16,32)"

A field varies as log:LOW,HIGH; uniform:LOW,HIGH; int:LOW,HIGH; logint:LOW,HIGH; or choice:A,B,... with values as
Python writes them. --space FILE.py says the same as SPACE = {"optimizer.learning_rate": "log:1e-4,1e-2"}. The first
trial is the config as it is, where its values are among those to be tried.

Each trial is a run of its own (`trials/000/`, its output in `trials/000.log`), a `radkit train` in a process of its
own. --prune cuts runs short whose validation scores fall behind. A trial that fails is listed with its reason, and the
search goes on; when the first three fail it stops. --output gets `trials.csv`, `best.py` (a config), `summary.json`,
`tune.html` and `study.db` (optuna's). The same command goes on where it was stopped; with more --trials it goes
further.

Only training and validation patients are read; the test split is not looked at: evaluate the best run once.
Needs optuna: pip install 'radkit[tune]'.

Exit status: 0 done, or stopped by a signal to be gone on with; 2 refused.
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from absl import flags

from radkit import config, outputs, program, runs
from radkit.data import pipeline, shards
from radkit.errors import UserError
from trainers import checkpoints, child_runs, tune_results, tune_space, tune_study, unlabelled

ASKED, _STUDY = "tune.json", "study.db"
_HOPELESS = 3  # trials that fail, of the first ones, after which the search stops: it is none of their values

FLAGS = program.new_flags(data_in="Data set's folder, as convert wrote it.", out="The search's folder.", config=True)
flags.DEFINE_multi_string(
    "vary", [], "A field and its values: FIELD=KIND:VALUES; may be given again.", flag_values=FLAGS
)
flags.DEFINE_string("space", None, "Python file with SPACE, fields and their KIND:VALUES.", flag_values=FLAGS)
flags.DEFINE_integer("trials", 20, "Trials in all, those of earlier commands counted.", 1, flag_values=FLAGS)
flags.DEFINE_float("hours", 0.0, "Begin no trial after so many hours; 0: no limit.", 0.0, flag_values=FLAGS)
flags.DEFINE_enum("search", "bayes", list(tune_study.SEARCHES), "How values are chosen.", flag_values=FLAGS)
flags.DEFINE_enum("prune", "none", list(tune_study.PRUNERS), "Which runs are cut short.", flag_values=FLAGS)
flags.DEFINE_string("unlabelled", None, "Data set's folder of records without labels.", flag_values=FLAGS)
flags.DEFINE_integer("seed", 0, "Of the search; the runs' is trainer.seed.", 0, flag_values=FLAGS)


@dataclass(frozen=True)
class _Job:
    experiment: config.Experiment
    folder: Path
    output: Path
    space: tune_space.Space
    asked: tune_study.Asked
    num_trials: int
    hours: float
    unlabelled: Path | None  # the data set's folder of the records without labels

    @property
    def num_evaluations(self) -> int:
        """Of a whole run."""
        trainer = self.experiment.trainer
        return -(-trainer.steps // trainer.evaluate_every)

    def said(self) -> dict[str, Any]:
        """Returns what makes it this search; more trials are still the same one."""
        space = {name: dataclasses.asdict(domain) for name, domain in self.space.items()}
        asked = dataclasses.asdict(self.asked)
        plain = config.to_json(self.experiment)
        unlabelled = shards.digest(self.unlabelled) if self.unlabelled else ""
        data = {"data": shards.digest(self.folder), "unlabelled": unlabelled}
        return {"experiment": plain, **data, "space": _plain(space), **asked}


def _plain(value: Any) -> Any:
    """Returns a value as JSON gives it back."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv)


def _run(values: flags.FlagValues, _: list[str]) -> int:
    program.required(values, "config", "output")
    job = _job(values)
    _check(job)
    with checkpoints.lock(job.output):
        _check_output(job)
        outputs.make_folder(job.output / "trials")
        outputs.write_json(job.output / ASKED, job.said())
        study = tune_study.opened(job.output / _STUDY, job.asked, job.num_evaluations)
        is_whole = _search(study, job)
        rows = tune_study.rows(study, job.space)
        if not rows:
            print("tune: stopped before a trial had ended; the same command goes on")
            return program.DONE
        summary = tune_results.write(job.output, job.experiment, job.space, rows)
    more = "" if is_whole else "; stopped, the same command goes on"
    print(f"tune: {tune_results.headline(summary)} -> {job.output / tune_results.PAGE}{more}")
    return program.DONE


def _job(values: flags.FlagValues) -> _Job:
    return _Job(
        config.load(values["config"].value, values["set"].value),
        shards.find_dataset(program.input_folder(values)),
        Path(values["output"].value),
        tune_space.read(values["space"].value, values["vary"].value),
        tune_study.Asked(values["search"].value, values["prune"].value, values["seed"].value),
        values["trials"].value,
        values["hours"].value,
        shards.find_dataset(Path(values["unlabelled"].value)) if values["unlabelled"].value else None,
    )


def _check(job: _Job) -> None:
    """Refuses what no trial could be right with."""
    pipeline.check(job.folder, job.experiment.data)
    tune_space.check(job.experiment, job.space)
    outputs.require_outside(job.output, job.folder)
    _check_unlabelled(job)
    if job.experiment.trainer.strategy == "multi_worker":
        raise UserError("trainer.strategy='multi_worker': radkit tune trains on the devices of one machine; set 'auto'")
    if job.asked.prune == "none":
        return
    if job.num_evaluations < 3:
        raise UserError(
            f"--prune={job.asked.prune} compares runs at their evaluations, and trainer.steps="
            f"{job.experiment.trainer.steps} with evaluate_every={job.experiment.trainer.evaluate_every} has "
            f"{job.num_evaluations}; it needs 3 or more: lower evaluate_every, or --prune=none"
        )
    if job.experiment.trainer.minutes:
        raise UserError(
            f"--prune={job.asked.prune} compares runs at the same step, and with trainer.minutes their schedules end "
            "at different ones; set trainer.steps instead, or --prune=none"
        )
    for name in ("trainer.steps", "trainer.evaluate_every", "trainer.minutes"):
        if name in job.space:
            raise UserError(
                f"--prune={job.asked.prune} compares runs at the same evaluation, and --vary {name} moves these; take "
                "--prune=none, or leave the field as it is"
            )


def _check_unlabelled(job: _Job) -> None:
    """Refuses records without labels, or methods that need them, that no trial or not each could be right with."""
    varied = job.space.get("unlabelled.method")
    methods = varied.values if varied else (job.experiment.unlabelled.method,)
    learning = [method for method in methods if method != "none"]
    if job.unlabelled is not None and not learning:
        learning = ["none"]
    for method in learning:
        settings = dataclasses.replace(job.experiment.unlabelled, method=method)
        unlabelled.require(dataclasses.replace(job.experiment, unlabelled=settings), job.unlabelled)


def _check_output(job: _Job) -> None:
    """Refuses a folder that is something else than this very search."""
    output = job.output
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file; name a folder that does not exist yet")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if not (output / ASKED).is_file():
        raise UserError(f"--output {output} exists and is no search of radkit tune; name another folder")
    found, said = outputs.read_json(output / ASKED), job.said()
    differing = [name for name in said if found.get(name) != said[name]]
    if differing:
        raise UserError(
            f"--output {output} is a search that differs in {', '.join(differing)}; only --trials and --hours may "
            "change: name another folder or remove it"
        )
    files = (tune_results.TRIALS, tune_results.BEST, tune_results.SUMMARY, tune_results.PAGE, _STUDY)
    checkpoints.require_places(output, files, ("trials",))


def _search(study: optuna.Study, job: _Job) -> bool:
    """Trains until all trials have ended; returns whether they have, and it was not stopped before."""
    if current := tune_space.current(job.experiment, job.space):
        tune_study.begin_with(study, current, job.space)
    ends = time.monotonic() + job.hours * 3600 if job.hours else float("inf")
    for trial, values in tune_study.trials(study, job.space, job.asked, job.num_trials):
        print(f"tune: trial {trial.number} of {job.num_trials}: {_spelt(values)}", flush=True)
        if not _try(study, trial, values, job):
            return len(tune_study.rows(study, job.space)) >= job.num_trials
        row = tune_study.rows(study, job.space)[-1]
        print(f"tune: trial {trial.number} {row.state}: {row.why or _score(row)}", flush=True)
        _stop_when_all_fail(study, job)
        if time.monotonic() > ends:
            return len(tune_study.rows(study, job.space)) >= job.num_trials
    return True


def _try(study: optuna.Study, trial: optuna.Trial, values: dict[str, Any], job: _Job) -> bool:
    """Trains one trial and keeps how it ended; returns False when the search was stopped, to be gone on with."""
    run = tune_results.of_trial(job.output, trial.number)

    def is_hopeless(lines: list[dict[str, Any]]) -> bool:
        return tune_study.is_hopeless(study, trial, [tune_results.score_of(line) for line in lines])

    def watch() -> bool:
        # The last evaluation is no reason to cut a run short: it is over.
        return is_hopeless(runs.history(run)[: job.num_evaluations - 1])

    try:
        experiment = tune_space.applied(job.experiment, values)
    except UserError as error:  # a combination that the config's checks refuse
        tune_study.tell(study, trial, None, why=str(error))
        return True
    log = run.with_name(f"{run.name}.log")
    learns = job.unlabelled is not None and experiment.unlabelled.method != "none"
    more = [f"--unlabelled={job.unlabelled}"] if learns else []
    ended = child_runs.train(experiment, job.folder, run, flags=more, log=log, watch=watch)
    if ended.how == "stopped":
        return False
    if ended.how == "failed":
        tune_study.tell(study, trial, None, why=ended.why)
    # What came between two looks is judged, too: how a search goes does not depend on when it looked.
    elif ended.how == "cut" or is_hopeless(runs.history(run)[:-1]):
        tune_study.tell_cut(study, trial)
    else:
        done = runs.manifest(run)
        why = "" if done["best_score"] is not None else "its validation score is undefined"
        tune_study.tell(study, trial, done["best_score"], step=done["best_step"], why=why)
    return not ended.is_asked


def _stop_when_all_fail(study: optuna.Study, job: _Job) -> None:
    rows = tune_study.rows(study, job.space)
    if len(rows) == _HOPELESS and all(row.state == "failed" for row in rows):
        raise UserError(
            f"the first {_HOPELESS} trials failed, the last one: {rows[-1].why}; see {job.output / 'trials'}/*.log, "
            "mend the config, and name another --output"
        )


def _spelt(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items()
    )


def _score(row: tune_study.Row) -> str:
    """Returns the score in words; that of a figure of which less is better is negative."""
    return "no score" if row.score is None else f"validation score {row.score:.4f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv))
