"""Searches, with a stand-in for training whose score depends on the config; and one with real runs."""

import csv
import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from radkit import config, outputs, runs
from radkit.data import shards
from tests.conftest import MadeUp
from tests.reports import page_check
from trainers import child_runs, tune, tune_results

RATE = "--vary=optimizer.learning_rate=log:1e-5,1"
FILTERS = "--vary=model.settings.filters=choice:(4,8),(8,16)"


def score_of(experiment: config.Experiment, step: int) -> float:
    """Best at a learning rate of 0.01, of more filters, and after more steps."""
    off = abs(math.log10(experiment.optimizer.learning_rate) + 2)
    more = 0.05 * (experiment.model.settings["filters"] == (8, 16))
    return (0.9 - 0.1 * off + more) * step / experiment.trainer.steps


def stand_in(asked: list[config.Experiment], stop_at: int = -1) -> Callable[..., child_runs.Ended]:
    """Returns what trains as `child_runs.train` would; the n-th call is stopped before it has ended."""

    def train(
        experiment: config.Experiment,
        folder: Path,
        run: Path,
        *,
        flags: Sequence[str],
        log: Path,
        watch: Callable[[], bool],
    ) -> child_runs.Ended:
        asked.append(experiment)
        assert not flags
        if len(asked) == stop_at:
            return child_runs.Ended("stopped")
        if experiment.optimizer.learning_rate > 0.5:
            return child_runs.Ended("failed", "the loss is no number at step 3")
        run.mkdir(parents=True, exist_ok=True)
        trainer = experiment.trainer
        (run / runs.HISTORY).unlink(missing_ok=True)
        for step in range(trainer.evaluate_every, trainer.steps + 1, trainer.evaluate_every):
            line = {"step": step, "loss": 1.0 / step, "validation score": score_of(experiment, step)}
            with (run / runs.HISTORY).open("a") as file:
                file.write(json.dumps(line) + "\n")
            if watch():
                return child_runs.Ended("cut")
        done = {"best_score": line["validation score"], "best_step": line["step"]}
        needed = {"data": shards.digest(folder), "patients": {}, "weights_sha256": ""}
        outputs.write_json(run / runs.MANIFEST, {**done, **needed})
        return child_runs.Ended("finished")

    return train


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[config.Experiment]:
    found: list[config.Experiment] = []
    monkeypatch.setattr(child_runs, "train", stand_in(found))
    return found


def call(made: MadeUp, output: Path, *flags: str) -> int:
    said = [f"--config={made.config_file(output.parent)}", f"--input={made.folder}", f"--output={output}"]
    return tune.main(["tune", *said, *flags])


def rows(output: Path) -> list[dict[str, str]]:
    with (output / tune_results.TRIALS).open() as file:
        return list(csv.DictReader(file))


def tuned(made: MadeUp) -> MadeUp:
    """Returns the data set with a config of nine evaluations."""
    return made.with_trainer(steps=9, evaluate_every=1)


class TestSearch:
    def test_the_best_config_is_a_file_that_trains(
        self, volumes: MadeUp, tmp_path: Path, asked: list, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = tmp_path / "tuning"
        assert call(volumes, output, RATE, FILTERS, "--trials=7") == 0
        summary = outputs.read_json(output / "summary.json")
        assert summary["as_configured"]["score"] == pytest.approx(0.9)  # trial 0: a rate of 0.01, fewer filters
        assert summary["best"]["score"] > 0.9
        best = config.load(str(output / "best.py"))
        assert score_of(best, 6) == pytest.approx(summary["best"]["score"])
        assert best == asked[summary["best"]["trial"]]
        assert asked[0] == volumes.experiment
        assert "7 trials" in capsys.readouterr().out
        table = rows(output)
        assert [row["trial"] for row in table] == [str(number) for number in range(7)]
        assert {one.model.settings["filters"] for one in asked} == {(4, 8), (8, 16)}
        assert summary["split"] == "validation"
        page = page_check.read((output / "tune.html").read_text())
        headings = [words for level, words in page.headings if level == "h2"]
        assert headings == ["Score", "What was varied", "Courses", "Trials"]
        assert len(page.images) == 3
        assert "test split was not looked at" in (output / "tune.html").read_text()

    def test_a_trial_that_fails_is_listed_and_the_search_goes_on(
        self, volumes: MadeUp, tmp_path: Path, asked: list
    ) -> None:
        output = tmp_path / "tuning"
        assert call(volumes, output, "--vary=optimizer.learning_rate=choice:0.01,0.6", FILTERS, "--trials=8") == 0
        failed = [row for row in rows(output) if row["state"] == "failed"]
        assert failed
        assert all(row["why"] == "the loss is no number at step 3" and not row["score"] for row in failed)
        assert outputs.read_json(output / "summary.json")["trials"]["failed"] == len(failed)

    def test_when_the_first_three_fail_it_stops(
        self, volumes: MadeUp, tmp_path: Path, asked: list, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(volumes, tmp_path / "tuning", "--vary=optimizer.learning_rate=log:0.6,1") == 2
        assert "the first 3 trials failed, the last one: the loss is no number" in capsys.readouterr().err
        assert len(asked) == 3

    def test_a_combination_that_the_config_refuses_is_a_failed_trial(
        self, volumes: MadeUp, tmp_path: Path, asked: list
    ) -> None:
        vary = ["--vary=augment.elastic_mm=uniform:0,9", "--vary=augment.elastic_spacing_mm=uniform:10,60"]
        assert call(volumes, tmp_path / "tuning", *vary, "--trials=12", "--search=random") == 0
        failed = [row for row in rows(tmp_path / "tuning") if row["state"] == "failed"]
        assert all("fold" in row["why"] for row in failed)
        assert len(asked) == 12 - len(failed)
        assert failed

    @pytest.mark.parametrize(
        "prune", ["hyperband", *(pytest.param(name, marks=pytest.mark.slow) for name in ("median", "halving"))]
    )
    def test_runs_that_fall_behind_are_cut_short(
        self, prune: str, volumes: MadeUp, tmp_path: Path, asked: list
    ) -> None:
        output = tmp_path / "tuning"
        assert call(tuned(volumes), output, RATE, "--trials=14", "--search=random", f"--prune={prune}") == 0
        table = rows(output)
        cut = [row for row in table if row["state"] == "cut short"]
        finished = [row for row in table if row["state"] == "finished"]
        assert cut
        assert finished
        assert max(map(score_whole, cut)) <= max(map(score_whole, finished))
        assert all(len(runs.history(tune_results.of_trial(output, int(row["trial"])))) < 9 for row in cut)


def score_whole(row: dict[str, str]) -> float:
    return 0.9 - 0.1 * abs(math.log10(float(row["optimizer.learning_rate"])) + 2)


class TestResumed:
    @pytest.mark.parametrize(("prune", "trials"), [("hyperband", 6), pytest.param("none", 14, marks=pytest.mark.slow)])
    def test_a_stopped_search_goes_on_as_if_it_had_not_been(
        self,
        prune: str,
        trials: int,
        volumes: MadeUp,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        asked: list,
    ) -> None:
        made, flags = tuned(volumes), [RATE, FILTERS, f"--trials={trials}", f"--prune={prune}"]
        assert call(made, tmp_path / "whole", *flags) == 0
        for stop_at in (3, 2):  # of those of one process
            monkeypatch.setattr(child_runs, "train", stand_in([], stop_at))
            assert call(made, tmp_path / "stopped", *flags) == 0
        monkeypatch.setattr(child_runs, "train", stand_in([]))
        assert call(made, tmp_path / "stopped", *flags) == 0
        for name in (tune_results.TRIALS, tune_results.BEST, tune_results.SUMMARY, tune_results.PAGE):
            assert (tmp_path / "stopped" / name).read_text() == (tmp_path / "whole" / name).read_text(), name

    def test_more_trials_go_further_and_the_same_ones_train_nothing(
        self, volumes: MadeUp, tmp_path: Path, asked: list, capsys: pytest.CaptureFixture[str]
    ) -> None:
        output = tmp_path / "tuning"
        assert call(volumes, output, RATE, "--trials=2", "--hours=1e-9") == 0
        assert len(asked) == 1
        assert "stopped, the same command goes on" in capsys.readouterr().out
        for trials, trained in ((2, 2), (2, 2), (3, 3)):
            assert call(volumes, output, RATE, f"--trials={trials}") == 0
            assert len(asked) == trained
        assert "stopped" not in capsys.readouterr().out

    @pytest.mark.parametrize(("trials", "said"), [(3, "; stopped, the same command goes on"), (1, "tune.html\n")])
    def test_a_signal_to_a_trial_that_ends_of_itself_ends_the_search(
        self,
        trials: int,
        said: str,
        volumes: MadeUp,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        asked: list[config.Experiment] = []
        ends = stand_in(asked)
        monkeypatch.setattr(child_runs, "train", lambda *a, **k: dataclasses.replace(ends(*a, **k), is_asked=True))
        assert call(volumes, tmp_path / "tuning", RATE, f"--trials={trials}") == 0
        assert len(asked) == 1
        assert said in capsys.readouterr().out


class TestRefused:
    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            ([], "nothing is to vary"),
            (["--vary=optimizer.learning_rat=log:1,2"], "learning_rat"),
            ([RATE, "--prune=hyperband"], "has 2; it needs 3 or more"),
            ([RATE, "--prune=median", "--set=trainer.steps=9", "--vary=trainer.evaluate_every=int:1,3"], "moves these"),
            ([RATE, "--set=data.mask_labels=('core','shell')"], "the records in"),
            ([RATE, "--set=trainer.strategy=multi_worker"], "one machine"),
            ([RATE, "--trials=0"], "trials"),
            ([RATE, "--set=unlabelled.method=mean_teacher"], "name their data set with --unlabelled"),
            (["--vary=unlabelled.method=choice:'none','pseudo_labels'"], "'pseudo_labels' learns of records without"),
            ([RATE, "--unlabelled={records}"], "unlabelled.method is 'none'; set it to"),
            ([RATE, "--output={records}/tuning"], "lies within the records"),
        ],
    )
    def test_what_no_trial_could_be_right_with(
        self,
        flags: list[str],
        message: str,
        volumes: MadeUp,
        tmp_path: Path,
        asked: list,
        capsys: pytest.CaptureFixture,
    ) -> None:
        given = [flag.replace("{records}", str(volumes.folder)) for flag in flags]
        assert call(volumes, tmp_path / "tuning", *given) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "tuning").exists()
        assert not (volumes.folder / "tuning").exists()
        assert not asked

    def test_folders_that_are_something_else(
        self, volumes: MadeUp, tmp_path: Path, asked: list, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert call(volumes, tmp_path / "tuning", RATE, "--trials=1") == 0
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("x")
        (tmp_path / "file").write_text("x")
        for name, flags, message in (
            ("tuning", [RATE, "--seed=1"], "differs in seed"),
            ("tuning", [FILTERS], "differs in space"),
            ("tuning", [RATE, "--set=trainer.steps=9"], "differs in experiment"),
            ("mine", [RATE], "is no search"),
            ("file", [RATE], "is a file"),
        ):
            assert call(volumes, tmp_path / name, *flags) == 2
            assert message in capsys.readouterr().err
        assert len(asked) == 1


@pytest.mark.slow
def test_real_runs_are_compared_and_the_test_split_is_not_looked_at(volumes: MadeUp, tmp_path: Path) -> None:
    records = tmp_path / "records"
    for path in volumes.folder.rglob("*"):
        if path.is_file():
            target = records / path.relative_to(volumes.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    for shard in shards.split_files(records, "test"):
        shard.write_bytes(b"\xff" * shard.stat().st_size)  # whoever reads it fails
    before = {path: path.read_bytes() for path in records.rglob("*") if path.is_file()}
    made = dataclasses.replace(volumes, folder=records).with_trainer(steps=4, evaluate_every=2)
    output = tmp_path / "tuning"
    assert call(made, output, "--vary=optimizer.learning_rate=log:1e-4,1e-1", "--trials=2") == 0
    assert outputs.read_json(output / "summary.json")["trials"] == {"finished": 2}
    for number in range(2):
        manifest = runs.manifest(tune_results.of_trial(output, number))
        assert rows(output)[number]["score"] == f"{manifest['best_score']:.6g}"
    assert {path: path.read_bytes() for path in records.rglob("*") if path.is_file()} == before
