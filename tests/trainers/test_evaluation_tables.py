"""Tables beside a report: their text, and that a real evaluation's numbers are computed again from its folder alone."""

import csv
import json
import math
import shutil
from pathlib import Path

import pytest

from tests.conftest import MadeUp
from tests.evaluation import recomputed
from trainers import evaluate, evaluation_tables


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_lists_are_json_and_what_is_absent_is_empty(tmp_path: Path) -> None:
    boxes = {"found": [[0.1, 2.0], [3.0, 4.0]], "spacing_mm": [math.nan, 0.7], "labels": ()}
    evaluation_tables.write(tmp_path / "t.csv", [{"record_uid": "1", **boxes}, {"record_uid": "2", "dice": 1 / 3}])
    first, second = read(tmp_path / "t.csv")
    assert json.loads(first["found"]) == [[0.1, 2.0], [3.0, 4.0]]
    assert json.loads(first["spacing_mm"], parse_constant=pytest.fail) == [None, 0.7]
    assert (first["labels"], first["dice"]) == ("[]", "")
    assert float(second["dice"]) == 1 / 3
    assert second["found"] == ""


def test_a_number_that_is_infinite_or_undefined_stays_so(tmp_path: Path) -> None:
    evaluation_tables.write(tmp_path / "t.csv", [{"hd95_mm": math.inf, "nsd": math.nan, "name": None}])
    (row,) = read(tmp_path / "t.csv")
    assert float(row["hd95_mm"]) == math.inf
    assert math.isnan(float(row["nsd"]))
    assert row["name"] == ""


def test_no_rows_are_no_file(tmp_path: Path) -> None:
    evaluation_tables.write(tmp_path / "t.csv", ())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(("task", "name"), [("segmentation", "volumes"), ("classification", "radiographs")])
def test_every_number_of_an_evaluation_is_computed_again(
    task: str,
    name: str,
    request: pytest.FixtureRequest,
    run_folders: dict[str, Path],
    tmp_path: Path,
    keras_alone: None,
) -> None:
    made: MadeUp = request.getfixturevalue(name)
    shutil.copytree(made.folder, tmp_path / "records")  # looks at its test set are written into it

    def evaluated(output: str, *flags: str) -> Path:
        said = [f"--run={run_folders[task]}", f"--input={tmp_path / 'records'}", f"--output={tmp_path / output}"]
        assert evaluate.main(["evaluate", *said, "--resamples=100", *flags]) == 0
        return tmp_path / output

    before, beside = evaluated("before"), evaluated("beside", "--split=validation")
    cases = read(before / "cases.csv")
    said = {"classification": ("call,rating", "yes,3", "no,1"), "segmentation": ("value,question", "5,dice", "1,dice")}
    columns, first, second = said[task]
    answers = [f"{row['record_uid']},Anna,{first if k % 2 else second}" for k, row in enumerate(cases)]
    answers += [f"{row['record_uid']},Bert,{second if k % 3 else first}" for k, row in enumerate(cases[1:])]
    (tmp_path / "readers.csv").write_text("\n".join([f"record_uid,reader,{columns}", *answers]) + "\n")
    flags = [f"--against=before={before}", f"--beside=beside={beside}", f"--readers={tmp_path / 'readers.csv'}"]
    after = evaluated("after", "--robustness", "--robustness_cases=2", *flags)
    ledger = recomputed.recompute(after, {"before": before, "beside": beside})
    assert (ledger.wrong, ledger.unseen()) == ([], [])
    told = {str(path[0]) for path in ledger.seen}
    assert told >= {"figures", "subgroups", "comparisons", "readers", "test_sets", "robustness"}
    assert read(after / "readers.csv") == read(tmp_path / "readers.csv")
    assert {row["patient_id"] for row in read(after / "trained_on.csv")} == set(
        json.loads((made.folder / "patients.json").read_text())["train"]
    )
