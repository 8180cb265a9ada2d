"""Labels of different reference standards are not mixed unless a person says so."""

import csv
import dataclasses
import json
from collections import Counter
from pathlib import Path

import pytest

from radkit import tasks
from radkit.errors import UserError
from tests import conftest
from tests.conftest import MadeUp
from trainers import evaluate, standards

MIXED = Counter({"histology": 3, "reader": 4, standards.NOT_TOLD: 1})


@pytest.mark.parametrize(
    ("there", "asked", "chosen"),
    [
        (Counter({"histology": 2}), [], {"histology"}),
        (Counter({standards.NOT_TOLD: 2}), [], {standards.NOT_TOLD}),
        (MIXED, ["reader"], {"reader"}),
        (MIXED, ["reader", "histology"], {"reader", "histology"}),
        (Counter(), [], set()),
    ],
)
def test_one_standard_is_taken_several_only_by_name(there: Counter[str], asked: list[str], chosen: set[str]) -> None:
    assert standards.choose(there, asked) == chosen


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([], "rest on different reference standards: histology 3, not_told 1, reader 4"),
        (["follow_up"], "no case of the split rests on it"),
        (["histolgy"], "did you mean 'histology'"),
    ],
)
def test_mixed_or_absent_standards_are_refused_with_counts(asked: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        standards.choose(MIXED, asked)


def test_what_is_not_scored_is_counted_by_its_reason() -> None:
    assert standards.left_out(MIXED, {"reader"}) == {
        "whose labels rest on histology": 3,
        "whose labels rest on what nobody told": 1,
    }
    assert standards.left_out(MIXED, set(MIXED)) == {}


@pytest.fixture
def mixed(radiographs: MadeUp, tmp_path: Path) -> MadeUp:
    """The same radiographs; the labels of every other series rest on histology, the others on a reader's word."""
    assert radiographs.labels is not None
    rows = radiographs.labels.read_text().split()
    kinds = ["reference_standard", *(("histology", "reader")[number // 2 % 2] for number in range(len(rows) - 1))]
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(f"{row},{kind}" for row, kind in zip(rows, kinds)) + "\n")
    made = dataclasses.replace(radiographs, labels=labels)
    return dataclasses.replace(made, folder=conftest.convert(made, tmp_path / "records"))


def test_evaluate_scores_those_that_were_asked_for(
    mixed: MadeUp, run_folders: dict[str, Path], tmp_path: Path, keras_alone: None, capsys: pytest.CaptureFixture[str]
) -> None:
    task = tasks.find("classification")
    there = standards.of_split(mixed.folder, "test", mixed.experiment.data, task)
    assert set(there) == {"histology", "reader"}

    def call(output: str, *named: str) -> int:
        flags = [f"--run={run_folders['classification']}", f"--input={mixed.folder}", f"--output={tmp_path / output}"]
        return evaluate.main(["evaluate", *flags, *(f"--reference_standard={name}" for name in named)])

    assert call("mixed") == 2
    assert "figures of the two are not mixed" in capsys.readouterr().err
    assert not (tmp_path / "mixed").exists()
    for output, named in (("one", ("histology",)), ("both", ("histology", "reader"))):
        assert call(output, *named) == 0
        with (tmp_path / output / "cases.csv").open(newline="") as file:
            counted = Counter(row["reference_standard"] for row in csv.DictReader(file))
        assert counted == {name: there[name] for name in named}
        summary = json.loads((tmp_path / output / "summary.json").read_text())
        assert summary["reference_standards"] == counted
        assert f"reference standard: {' and '.join(named)}" in (tmp_path / output / "report.html").read_text()
