"""Evaluates a finished run on a split as a clinical test: every figure with its interval, its n and its method.

    radkit evaluate --run runs/hippocampus --input records/hippocampus --output evaluation

Writes into --output `report.html` (all of it, with pictures), `report.json` (every number), `cases.csv` and
`cases.parquet` (a row a case; of detectors `boxes.csv`, too, a row a box), `trained_on.csv` (what is known of the cases
trained on), with --readers `readers.csv`, with --robustness `robustness.csv`, `figures/` (the plots as SVG and PNG),
`summary.json` (the figures that a run is known by) and `provenance.json`. docs/evaluation.md says what is told and how.

The test split is the default: look at it once. Looks are counted in `test_looks.jsonl` in the data set's folder; a
second one is told here and in the report, which names the type of the test set, too (docs/splits.md). A run of a fold
is scored on the patients of its fold. Labels that rest on different reference standards (histology, a reader, ...) are
not mixed unless --reference_standard names them.

What is called positive is decided by an operating point: --rule chooses it on the run's validation split and stores it
in the run's folder (`operating_points.json`), where `radkit export` finds it; without --rule the stored one is taken,
and where there is none Youden's is chosen and stored.

Exit status: 0 done; 2 refused, nothing written.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from radkit import config, outputs, program, runs, tasks
from radkit.data import pipeline, shards, splits
from radkit.data.splitting import test_lock
from radkit.errors import UserError
from radkit.tasks import task as task_module
from trainers import evaluating, looks, operating_points, scoring, standards

FLAGS = program.new_flags(data_in="Data set's folder, as convert wrote it.", out="Folder to write the result into.")
flags.DEFINE_string("run", None, "Run folder, as train wrote it.", flag_values=FLAGS)
flags.DEFINE_multi_string(
    "reference_standard", [], "Only cases whose labels rest on it; may be given again.", flag_values=FLAGS
)
flags.DEFINE_boolean(
    "unrecorded", False, "Whether to go on where a look at the test set cannot be counted.", flag_values=FLAGS
)
flags.DEFINE_enum("split", "test", list(shards.SPLITS), "Which records.", flag_values=FLAGS)
flags.DEFINE_string(
    "rule",
    None,
    "Operating point, chosen on the validation split: youden, min_sensitivity=0.95, min_specificity=0.9, min_cost, of "
    "detectors fp_per_image=1.",
    flag_values=FLAGS,
)
flags.DEFINE_float(
    "cost_of_miss",
    1.0,
    "What a missed positive costs, in false alarms; not said: as much as the stored point of min_cost was chosen by.",
    flag_values=FLAGS,
    lower_bound=1e-9,
)
flags.DEFINE_multi_string(
    "against",
    [],
    "NAME=FOLDER of another model's evaluation on the same records; may be given again.",
    flag_values=FLAGS,
)
flags.DEFINE_multi_string(
    "beside", [], "NAME=FOLDER of this run's evaluation on another test set; may be given again.", flag_values=FLAGS
)
flags.DEFINE_string("readers", None, "CSV of what readers said of the cases.", flag_values=FLAGS)
flags.DEFINE_boolean(
    "robustness", False, "Whether to ask again of images with noise, blur, other contrast ...", flag_values=FLAGS
)
flags.DEFINE_integer(
    "robustness_cases", 50, "How many cases are asked again at most.", flag_values=FLAGS, lower_bound=1
)
flags.DEFINE_integer("resamples", 2000, "Draws of patients for intervals.", flag_values=FLAGS, lower_bound=100)


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
    chosen = scoring.Cases(folder, split, experiment.data, task, wanted, trainer, detailed=True)
    options = _options(values)
    others = options.settings  # what is no evaluation is refused before images are asked
    model = operating_points.Model(experiment, run)
    points = operating_points.of_run(model, folder, options.rule, options.cost_of_miss, own=own)
    if not values["cost_of_miss"].present:
        options = dataclasses.replace(options, cost_of_miss=operating_points.cost_of(points, options.cost_of_miss))
    settings = {
        "split": split,
        "weights": manifest["weights_sha256"],
        "reference_standards": sorted(wanted),
        # null where there is no number: what is no number equals nothing, itself neither.
        "operating_points": task_module.as_json([dataclasses.asdict(point) for point in points]),
        **others,
        "cost_of_miss": options.cost_of_miss,
    }
    record = outputs.provenance("evaluate", settings, shards.digest(folder))
    if not outputs.already_done(output, record):
        if split == looks.TEST and not values["unrecorded"].value:
            test_lock.require(folder)
        about = looks.About(record, own, values["unrecorded"].value)
        with outputs.staged(output, record) as aside:
            left_out = standards.left_out(there, wanted)
            evaluating.evaluate(evaluating.Asked(model, chosen, points, about, options, left_out), aside)
    operating_points.keep(model, points)
    summary = outputs.read_json(output / "summary.json")
    print(f"evaluate: {split}{looks.in_a_line(summary)}, {task.headline(summary)} -> {output / 'report.html'}")
    return program.DONE


def _options(values: flags.FlagValues) -> evaluating.Options:
    return evaluating.Options(
        rule=operating_points.parsed(values["rule"].value),
        cost_of_miss=values["cost_of_miss"].value,
        against=_named(values["against"].value, "against"),
        beside=_named(values["beside"].value, "beside"),
        readers=Path(values["readers"].value) if values["readers"].value else None,
        robustness_cases=values["robustness_cases"].value if values["robustness"].value else 0,
        resamples=values["resamples"].value,
    )


def _named(given: Sequence[str], flag: str) -> dict[str, Path]:
    """Returns name to folder from `NAME=FOLDER`, or from `FOLDER`, whose own name is taken."""
    found: dict[str, Path] = {}
    for text in given:
        name, equals, folder = text.partition("=")
        path = Path(folder if equals else text)
        name = name if equals else path.resolve().name
        if not name or name in found:
            raise UserError(f"--{flag} {text}: give each evaluation a name of its own, as --{flag} first={path}")
        found[name] = path
    return found


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


if __name__ == "__main__":
    sys.exit(main(sys.argv))
