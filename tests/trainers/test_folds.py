"""Cross-validation: runs of all folds, and what they say together."""

import csv
import dataclasses
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from radkit import config, outputs, runs, tasks
from radkit.data import shards, splits
from radkit.data.splitting import late_folds
from radkit.errors import UserError
from tests.conftest import MadeUp
from tests.reports import page_check
from trainers import checkpoints, child_runs, evaluate, folds, lost, scoring, train

FOLDS = 2
PROBABILITY = "probability yes"


@dataclasses.dataclass(frozen=True)
class Done:
    """A cross-validation."""

    made: MadeUp
    output: Path
    summary: dict


def ended(made: MadeUp) -> folds.TrainOne:
    """Returns what leaves what a finished run says of itself, and trains nothing."""

    def make(experiment: config.Experiment, run: Path) -> bool:
        run.mkdir()
        patients = {split: splits.patients(made.folder, split, experiment.trainer) for split in ("train", "validation")}
        done = {"data": shards.digest(made.folder), "patients": patients, "weights_sha256": "", "best_step": 2}
        outputs.write_json(run / runs.MANIFEST, done)
        checkpoints.add_history(run, {"step": 2, "loss": 0.7, "validation score": None})
        return True

    return make


def by_brightness(one: config.Experiment, folder: Path, run: Path) -> tuple:
    """Stands for a run's network: one that goes by the image's brightness, and by which fold's it is."""
    task = tasks.find(one.task.name)

    def answer(image: tf.Tensor, _: tf.Tensor) -> dict[str, tf.Tensor]:
        logit = tf.reduce_mean(image) / 100 + one.trainer.fold
        return task.answer(tf.stack([0.0, logit])[None], None, one.data)

    return answer, scoring.Cases(folder, "validation", one.data, task, trainer=one.trainer)


def copied(made: MadeUp, to: Path) -> MadeUp:
    shutil.copytree(made.folder, to)
    return dataclasses.replace(made, folder=to).with_trainer(steps=2, evaluate_every=2)


@pytest.fixture(scope="module")
def done(radiographs: MadeUp, tmp_path_factory: pytest.TempPathFactory) -> Done:
    base = tmp_path_factory.mktemp("folds")
    made, output = copied(radiographs, base / "records"), base / "cv"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folds, "_asked", by_brightness)
        summary = folds.run(made.experiment, made.folder, output, FOLDS, ended(made))
    assert summary is not None
    return Done(made, output, summary)


def rows(output: Path) -> list[dict[str, str]]:
    with (output / folds.CASES).open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
class TestDone:
    def test_each_patient_is_scored_once_by_the_run_that_did_not_see_it(self, done: Done) -> None:
        table, sides = rows(done.output), outputs.read_json(done.made.folder / splits.PATIENTS_JSON)
        assert {row["patient_id"] for row in table} == {*sides["train"], *sides["validation"]}
        assert len({row["record_uid"] for row in table}) == len(table) == 2 * len({r["patient_id"] for r in table})
        for fold in range(FOLDS):
            manifest = runs.manifest(folds.of_run(done.output, fold))
            here = {row["patient_id"] for row in table if row["fold"] == str(fold)}
            assert here == set(manifest["patients"]["validation"])
            assert not here & set(manifest["patients"]["train"])

    def test_each_case_and_each_picture_is_answered_by_its_own_fold(self, done: Done) -> None:
        for row in rows(done.output):
            logit = float(row["brightness"]) / 100 + int(row["fold"])
            assert float(row[PROBABILITY]) == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-4)

    def test_the_pooled_figures_are_of_all_cases(self, done: Done) -> None:
        table = rows(done.output)
        truth = np.array([int(row["label"]) for row in table])
        score = np.array([float(row[PROBABILITY]) for row in table])
        pairs = score[truth == 1][:, None] - score[truth == 0]
        expected = ((pairs > 0) + 0.5 * (pairs == 0)).mean()
        assert done.summary["num_cases"] == len(table)
        assert done.summary["figures"]["AUC"]["value"] == pytest.approx(expected, abs=1e-3)  # the table has six digits

    def test_mean_and_spread_are_over_folds(self, done: Done) -> None:
        scores = [row["score"] for row in done.summary["folds"]]
        found = done.summary["over_folds"]["score"]
        assert found["mean"] == pytest.approx(np.mean(scores))
        assert found["sd"] == pytest.approx(np.std(scores, ddof=1))
        line = folds.headline(done.summary, tasks.find("classification"))
        assert line.startswith("2 folds, AUC ")

    def test_the_pages_are_whole(self, done: Done) -> None:
        report = page_check.read((done.output / folds.REPORT).read_text())
        assert any("2 folds together" in words for _, words in report.headings)
        page = page_check.read((done.output / folds.PAGE).read_text())
        assert [words for level, words in page.headings if level == "h2"] == ["Folds", "Over folds", "Learning curves"]
        assert not done.summary["notes"]  # one evaluation a run: nothing was chosen

    def test_done_once_it_is_left_alone(self, done: Done) -> None:
        before = {path: path.stat().st_mtime_ns for path in done.output.rglob("*")}

        def none(*_: object) -> bool:
            raise AssertionError("it was trained again")

        again = folds.run(done.made.experiment, done.made.folder, done.output, FOLDS, none)
        assert again == done.summary
        assert {path: path.stat().st_mtime_ns for path in done.output.rglob("*")} == before

    def test_another_config_or_number_of_folds_is_refused(self, done: Done) -> None:
        other = done.made.with_trainer(steps=4).experiment
        for experiment, count in ((other, FOLDS), (done.made.experiment, 4)):
            with pytest.raises(UserError, match="another config"):
                folds.run(experiment, done.made.folder, done.output, count, ended(done.made))


class TestStopped:
    def test_it_goes_on_with_the_fold_that_was_stopped(self, radiographs: MadeUp, tmp_path: Path) -> None:
        made, asked = copied(radiographs, tmp_path / "records"), []

        def stopped(experiment: config.Experiment, run: Path) -> bool:
            asked.append((experiment.trainer.fold, run.name))
            return experiment.trainer.fold < 1

        for _ in range(2):
            assert folds.run(made.experiment, made.folder, tmp_path / "cv", 3, stopped) is None
        assert asked == [(0, "fold0"), (1, "fold1")] * 2
        assert not (tmp_path / "cv" / folds.SUMMARY).exists()

    def test_nested_the_test_fold_is_left_out(self, radiographs: MadeUp, tmp_path: Path) -> None:
        made, asked = copied(radiographs, tmp_path / "records"), []
        split = dataclasses.replace(made.experiment.data.split, folds=3)
        data = dataclasses.replace(made.experiment.data, split=split)
        trainer = dataclasses.replace(made.experiment.trainer, fold=0, test_fold=1)
        experiment = dataclasses.replace(made.experiment, data=data, trainer=trainer)

        def stopped(one: config.Experiment, _: Path) -> bool:
            asked.append((one.trainer.fold, one.trainer.test_fold))
            return one.trainer.fold < 2

        with pytest.raises(UserError, match=r"trainer\.fold=0 names one"):
            folds.run(experiment, made.folder, tmp_path / "cv", 3, stopped)
        experiment = dataclasses.replace(experiment, trainer=dataclasses.replace(trainer, fold=-1))
        assert folds.run(experiment, made.folder, tmp_path / "cv", 3, stopped) is None
        assert asked == [(0, 1), (2, 1)]

    @pytest.mark.parametrize(
        ("count", "settings", "message"),
        [(1, {}, "2 or more"), (3, {"strategy": "multi_worker"}, "one machine"), (99, {}, "too few for 99 folds")],
    )
    def test_what_cannot_be_is_refused_before_a_folder_is_made(
        self, radiographs: MadeUp, tmp_path: Path, count: int, settings: dict, message: str
    ) -> None:
        experiment = radiographs.with_trainer(**settings).experiment
        with pytest.raises(UserError, match=message):
            folds.run(experiment, radiographs.folder, tmp_path / "cv", count, ended(radiographs))
        assert not (tmp_path / "cv").exists()


def test_an_undefined_fold_is_counted_and_left_out() -> None:
    rows = [{"score": score, "figures": {"AUC": score}} for score in (0.5, math.nan, 0.9)]
    found = folds.over_folds(rows)["AUC"]
    assert found["mean"] == pytest.approx(0.7)
    assert (found["least"], found["most"], found["undefined"]) == (0.5, 0.9, 1)
    alone = folds.over_folds([{"score": math.nan, "figures": {}}])["score"]
    assert math.isnan(alone["mean"])
    assert math.isnan(alone["sd"])


def assert_as_evaluated(made: MadeUp, output: Path, summary: dict, folder: Path) -> None:
    """Holds a fold against what `radkit evaluate` says of its run."""
    said = [f"--run={folds.of_run(output, 1)}", f"--input={made.folder}", f"--output={folder / 'evaluated'}"]
    assert evaluate.main(["evaluate", *said, "--split=validation"]) == 0
    with (folder / "evaluated" / "cases.csv").open() as file:
        alone = list(csv.DictReader(file))
    together = [row for row in rows(output) if row["fold"] == "1"]
    for one, other in zip(alone, together, strict=True):
        names = set(one).intersection(other) - {"name"}  # an evaluation takes the time for more
        assert names > {"patient_id", "record_uid"}
        assert {name: one[name] for name in names} == {name: other[name] for name in names}
    assert summary["folds"][1]["score"] == outputs.read_json(folder / "evaluated" / "summary.json")["score"]


def failing(monkeypatch: pytest.MonkeyPatch, *, is_lost: bool) -> None:
    how = child_runs.Ended("failed", "ended so", is_lost=is_lost)
    monkeypatch.setattr(child_runs, "train", lambda *_, **__: how)


def test_a_fold_that_died_may_be_started_again_and_a_refused_one_is_not(
    radiographs: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = copied(radiographs, tmp_path / "records")
    said = [f"--config={made.config_file(tmp_path)}", f"--input={made.folder}", f"--output={tmp_path / 'cv'}"]
    failing(monkeypatch, is_lost=True)
    with pytest.raises(SystemExit) as left:  # --restarts goes by the status
        train.main(["train", *said, "--folds=2"])
    assert left.value.code == lost.STATUS
    failing(monkeypatch, is_lost=False)
    assert train.main(["train", *said, "--folds=2"]) == 2
    assert train.main(["train", *said, "--folds=2", "--hosts=a,b", "--host=0"]) == 2
    assert "--folds trains on the devices of one machine" in capsys.readouterr().err


@pytest.mark.parametrize("progress", [True, False])
def test_a_bar_is_shown_where_it_is_asked_for(
    progress: bool,
    radiographs: MadeUp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    keras_alone: None,
) -> None:
    made = copied(radiographs, tmp_path / "records")
    monkeypatch.setattr(folds, "_asked", by_brightness)
    monkeypatch.setattr(folds, "in_processes", lambda *_: ended(made))
    said = [f"--config={made.config_file(tmp_path)}", f"--input={made.folder}", f"--output={tmp_path / 'cv'}"]
    assert train.main(["train", *said, "--folds=2", f"--progress={progress}"]) == 0
    assert ("case/s" in capsys.readouterr().err) == progress


def test_a_signal_to_a_fold_that_ends_of_itself_begins_no_other(
    radiographs: MadeUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, trained = copied(radiographs, tmp_path / "records"), []

    def train_one(experiment: config.Experiment, folder: Path, run: Path, **_: object) -> child_runs.Ended:
        trained.append(run)
        return child_runs.Ended("finished", is_asked=True)

    monkeypatch.setattr(child_runs, "train", train_one)
    assert folds.run(made.experiment, made.folder, tmp_path / "cv", 2, folds.in_processes(made.folder)) is None
    assert trained == [folds.of_run(tmp_path / "cv", 0)]


@pytest.mark.slow
def test_runs_of_segmentation_in_processes_of_their_own(volumes: MadeUp, tmp_path: Path, keras_alone: None) -> None:
    made = copied(volumes, tmp_path / "records").with_trainer(steps=4, evaluate_every=2)
    for shard in (made.folder).glob("*test*"):
        shard.write_bytes(b"\xff" * shard.stat().st_size)  # whoever reads it fails
    output = tmp_path / "cv"
    summary = folds.run(made.experiment, made.folder, output, 2, folds.in_processes(made.folder))
    assert summary is not None
    assert "kinder" in summary["notes"][0]
    table = rows(output)
    assert summary["num_cases"] == len(table)
    assert_as_evaluated(made, output, summary, tmp_path)
    wrong = made.with_trainer(seed=-4).experiment
    with pytest.raises(UserError, match="ended with status 2, as told above"):
        folds.run(wrong, made.folder, tmp_path / "wrong", 2, folds.in_processes(made.folder))


def test_a_run_of_one_of_other_folds_than_the_records_have_is_refused(radiographs: MadeUp, tmp_path: Path) -> None:
    made = copied(radiographs, tmp_path / "records").with_trainer(fold=0)
    late_folds.require(made.folder, made.experiment.data, 2)
    split = dataclasses.replace(made.experiment.data.split, folds=3)
    three = dataclasses.replace(made.experiment, data=dataclasses.replace(made.experiment.data, split=split))
    with pytest.raises(UserError, match=r"is dealt into 2 folds, and data\.split\.folds is 3; set it to 2"):
        train.fit(three, made.folder, tmp_path / "run", train.Options(progress=False))
    assert not (tmp_path / "run").exists()
