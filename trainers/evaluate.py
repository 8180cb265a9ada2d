"""Scores a finished run on a split: figures with intervals over patients, a table of cases, a page with pictures.

    radkit evaluate --run runs/hippocampus --input records/hippocampus --output evaluation

Writes `summary.json`, `cases.csv`, `report.html` and `provenance.json` into --output. The test split is the default:
look at it once. Looks are counted in `test_looks.jsonl` in the data set's folder; a second one is told here and in the
report, which names the type of the test set, too (docs/splits.md). A run of a fold is scored on the patients of its
fold. Labels that rest on different reference standards (histology, a reader, ...) are not mixed unless
--reference_standard names them.

Exit status: 0 done; 2 refused, nothing written.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from radkit import config, outputs, program, runs, tasks
from radkit.data import pipeline, shards, splits
from radkit.data.splitting import test_lock
from radkit.errors import UserError
from radkit.tasks import task as task_module
from trainers import looks, scoring, standards, strategy

FLAGS = program.new_flags(data_in="Data set's folder, as convert wrote it.", out="Folder to write the result into.")
flags.DEFINE_string("run", None, "Run folder, as train wrote it.", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "reference_standard", [], "Only cases whose labels rest on it; may be given again.", flag_values=FLAGS
)
flags.DEFINE_boolean(
    "unrecorded", False, "Whether to go on where a look at the test set cannot be counted.", flag_values=FLAGS
)
flags.DEFINE_enum("split", "test", list(shards.SPLITS), "Which records.", flag_values=FLAGS)


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv)


def _run(values: flags.FlagValues, _: list[str]) -> int:
    program.required(values, "run", "output")
    run, split, output = Path(values["run"].value), values["split"].value, Path(values["output"].value)
    runs.require(run)
    experiment = runs.experiment(run)
    folder = shards.find_dataset(program.input_folder(values))
    pipeline.check(folder, experiment.data)
    manifest = runs.manifest(run)
    own = manifest["data"] == shards.digest(folder)
    trainer = experiment.trainer if own else config.Trainer()  # other records have no folds that the run knows
    _refuse_known(manifest, folder, split, trainer)
    task = tasks.find(experiment.task.name)
    there = standards.of_split(folder, split, experiment.data, task, trainer)
    wanted = standards.choose(there, values["reference_standard"].value)
    chosen = scoring.Cases(folder, split, experiment.data, task, wanted, trainer)
    settings = {"split": split, "weights": manifest["weights_sha256"], "reference_standards": sorted(wanted)}
    record = outputs.provenance("evaluate", settings, shards.digest(folder))
    if not outputs.already_done(output, record):
        if split == looks.TEST and not values["unrecorded"].value:
            test_lock.require(folder)
        with outputs.staged(output, record) as aside:
            _evaluate(experiment, run, chosen, aside, looks.About(record, own, values["unrecorded"].value))
    summary = outputs.read_json(output / "summary.json")
    print(f"evaluate: {split}{looks.in_a_line(summary)}, {task.headline(summary)} -> {output / 'report.html'}")
    return program.DONE


def _refuse_known(manifest: dict[str, Any], folder: Path, split: str, trainer: config.Trainer) -> None:
    """Refuses records of patients that the run has learned from: converted anew, they fall into other splits."""
    before = shards.SPLITS[: shards.SPLITS.index(split)]
    learned_of = (*before, "unlabelled") if before else ()
    known = {patient for name in learned_of for patient in manifest["patients"].get(name, ())}
    known.update(manifest.get("patients_before", ()) if before else ())  # of the run whose weights it began with
    patients = splits.patients(folder, split, trainer)
    if met := known.intersection(patients):
        raise UserError(
            f"{len(met)} of the {len(patients)} patients of split {split!r} are among those that the run was "
            "trained or chosen on, its figures would be too good; name the records it was trained on, or other patients"
        )


def _evaluate(
    experiment: config.Experiment, run: Path, chosen: scoring.Cases, output: Path, about: looks.About
) -> None:
    data, task = experiment.data, chosen.task
    strategy.seed(experiment.trainer)
    # Figures are computed in float32 whatever the training's precision was: as the export answers.
    strategy.set_precision("float32")
    network = runs.new_network(experiment, task)
    runs.load_weights(network, run)
    answer_images = task_module.answering(network, task, data, experiment.inference)
    cases = scoring.cases(answer_images, chosen, progress=True)
    summary = {
        **task.summary(cases, data),
        "reference_standards": dict(Counter(c["reference_standard"] for c in cases)),
        **looks.told(chosen, about),  # the figures are there now, and are seen next
    }
    listed = task.listed(cases, summary, data)
    pictures = scoring.shown(answer_images, task.pick(listed, data), chosen)
    title = f"{data.dataset}: {looks.of_fold(chosen)}{_resting_on(summary['reference_standards'])}"
    page = task.page(title, summary, listed, pictures, runs.history(run), data)
    outputs.write_json(output / "summary.json", task_module.as_json(summary))
    outputs.write_csv(output / "cases.csv", list(listed[0]), [_row(case) for case in listed])
    outputs.write_text(output / "report.html", page)


def _resting_on(counts: dict[str, int]) -> str:
    told = [name.replace("_", " ") for name in sorted(counts) if name != standards.NOT_TOLD]
    return f", reference standard: {' and '.join(told)}" if told else ""


def _row(case: Mapping[str, Any]) -> list[Any]:
    return [f"{value:.6g}" if isinstance(value, float) else value for value in case.values()]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
