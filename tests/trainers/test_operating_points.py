"""Where operating points come from, and what becomes of them."""

import csv
import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest

from radkit import outputs, runs
from radkit.errors import UserError
from radkit.evaluation import operating
from radkit.evaluation.endpoints import OperatingPoint
from tests.conftest import MadeUp
from trainers import evaluate, operating_points
from trainers.operating_points import Rule


@pytest.mark.parametrize(
    ("said", "rule"),
    [
        (None, None),
        ("youden", Rule("youden")),
        ("min_cost", Rule("min_cost")),
        ("min_sensitivity=0.95", Rule("min_sensitivity", 0.95)),
        ("fp_per_image=0.5", Rule("fp_per_image", 0.5)),
    ],
)
def test_a_rule_is_read(said: str | None, rule: Rule | None) -> None:
    assert operating_points.parsed(said) == rule


def test_a_miss_costs_what_the_point_was_chosen_by() -> None:
    youden = OperatingPoint("mass", "youden", None, 0.4)
    assert operating_points.cost_of([youden, OperatingPoint("ill", "min_cost", 10.0, 0.2)], 1.0) == 10.0
    assert operating_points.cost_of([youden], 3.0) == 3.0


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("yuden", "did you mean 'youden'"),
        ("min_sensitivity", "needs a number, as --rule min_sensitivity=0.9"),
        ("youden=2", "takes no number"),
        ("min_specificity=high", "'high' is no number"),
        ("min_sensitivity=95", r"min_sensitivity must be in \[0, 1\]"),
        ("min_specificity=nan", r"min_specificity must be in \[0, 1\]"),
        ("fp_per_image=0", "fp_per_image must be above 0"),
    ],
)
def test_what_is_no_rule_is_refused(said: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        operating_points.parsed(said)


@pytest.fixture
def run(run_folders: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_folders["classification"], tmp_path / "run"))


def call(run: Path, folder: Path, output: Path, *flags: str) -> int:
    given = [f"--run={run}", f"--input={folder}", f"--output={output}", "--split=validation", "--resamples=100"]
    return evaluate.main(["evaluate", *given, *flags])


def report_of(output: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((output / "report.json").read_text())
    return found


def test_the_point_is_chosen_on_validation_kept_and_taken_again(
    radiographs: MadeUp, run: Path, tmp_path: Path, keras_alone: None
) -> None:
    assert call(run, radiographs.folder, tmp_path / "one") == 0
    (kept,) = runs.operating_points(run)
    assert (kept.rule, kept.chosen_on) == ("youden", "validation")
    with (tmp_path / "one" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    score = [float(row[f"probability {kept.name}"]) for row in rows]
    yes = [row["label"] == "1" for row in rows]
    assert kept.threshold in score
    assert kept.num_cases == len(rows)

    def youden(threshold: float) -> float:
        hit = [value >= threshold for value in score]
        return sum(h for h, y in zip(hit, yes) if y) / sum(yes) - sum(h for h, y in zip(hit, yes) if not y) / (
            len(yes) - sum(yes)
        )

    assert youden(kept.threshold) == pytest.approx(max(map(youden, score)))
    # A rule is chosen and kept in place of the one before; without a rule the kept one is taken.
    assert call(run, radiographs.folder, tmp_path / "two", "--rule=min_sensitivity=1") == 0
    (demanding,) = runs.operating_points(run)
    assert demanding.rule == "min_sensitivity"
    assert demanding.threshold <= min(s for s, y in zip(score, yes) if y)
    assert call(run, radiographs.folder, tmp_path / "three") == 0
    assert report_of(tmp_path / "three")["operating_points"] == [dataclasses.asdict(demanding)]
    changed = {**runs.manifest(run), "weights_sha256": "0" * 64}
    outputs.write_json(run / runs.MANIFEST, changed)
    assert runs.operating_points(run) == []  # they were chosen for other weights


def test_an_evaluation_that_is_refused_leaves_the_point_as_it_was(
    radiographs: MadeUp, run: Path, tmp_path: Path, keras_alone: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(run, radiographs.folder, tmp_path / "out") == 0
    before = (run / runs.OPERATING_POINTS).read_bytes()
    assert call(run, radiographs.folder, tmp_path / "out", "--rule=min_sensitivity=1") == 2
    assert "differs in settings" in capsys.readouterr().err
    assert call(run, radiographs.folder, tmp_path / "new", "--rule=min_cost", f"--against=x={tmp_path}") == 2
    assert "holds no report.json" in capsys.readouterr().err
    assert (run / runs.OPERATING_POINTS).read_bytes() == before
    assert not (tmp_path / "new").exists()


def test_of_a_task_without_calls_a_rule_is_refused(
    volumes: MadeUp, run_folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(run_folders["segmentation"], volumes.folder, tmp_path / "out", "--rule=youden") == 2
    assert "calls nothing yes or no" in capsys.readouterr().err
    assert call(run_folders["classification"], volumes.folder, tmp_path / "out", "--rule=fp_per_image=1") == 2
    assert not (tmp_path / "out").exists()


def test_a_point_without_a_threshold_is_the_same_the_second_time(
    radiographs: MadeUp, run: Path, tmp_path: Path, keras_alone: None, capsys: pytest.CaptureFixture[str]
) -> None:
    sha = runs.manifest(run)["weights_sha256"]
    name = runs.experiment(run).data.class_names[1]
    outputs.write_json(
        run / runs.OPERATING_POINTS, operating.to_json([OperatingPoint(name, "youden", None, math.nan)], sha)
    )
    assert call(run, radiographs.folder, tmp_path / "out") == 0
    assert call(run, radiographs.folder, tmp_path / "out") == 0
    assert "differs" not in capsys.readouterr().err
    (told,) = report_of(tmp_path / "out")["operating_points"]  # type: ignore[misc]
    assert told["threshold"] is None
