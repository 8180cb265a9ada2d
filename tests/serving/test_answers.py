"""What is made of a model's outputs for a radiologist: JSON and a structured report, of every kind of label."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radkit import config
from radkit.data import resample
from radkit.dicom import Volume, read_volumes, write
from radkit.dicom.annotations import sr
from serving import answers

AGE = config.Data("a", label="bone age", label_kind="regression", label_unit="months", label_range=(0.0, 200.0))
GRADE = config.Data("g", label="grade", label_kind="ordinal", class_names=("none", "mild", "severe"))
SIGNS = config.Data("s", label="signs", label_kind="multi_label", class_names=("effusion", "mass"))


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Volume:
    folder = tmp_path_factory.mktemp("cr")
    header = {"Modality": "CR", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}
    write.write_series(np.full((1, 5, 4), 50, np.uint16), None, header, folder)
    return read_volumes(folder.iterdir())[0]


def written(volume: Volume, folder: Path, data: config.Data | None, **outputs: Any) -> tuple[dict[str, Any], list[Any]]:
    """Returns answer.json and the report's measurements."""
    given = {name: np.array([values], np.float32) for name, values in outputs.items() if name != "class_names"}
    given["class_names"] = np.array([[name.encode() for name in outputs["class_names"]]])
    answers.write(given, volume, {"name": "m", "version": 1}, folder, resample.grid_of(volume), data)
    told = json.loads((folder / "answer.json").read_text(), parse_constant=pytest.fail)
    return told, sr.measurements(folder / told["report"]) if told["report"] else []


def test_a_value_has_its_name_and_unit(volume: Volume, tmp_path: Path) -> None:
    told, measured = written(volume, tmp_path / "out", AGE, values=[100.5], class_names=["bone age"])
    assert (told["values"], told["unit"]) == ({"bone age": 100.5}, "months")
    (one,) = measured
    assert (one.name, one.finding, one.value, one.unit) == ("bone age", "bone age", 100.5, "mo")


def test_degrees_are_told_from_below_too(volume: Volume, tmp_path: Path) -> None:
    outputs = {"probabilities": [0.25, 0.375, 0.375], "class_names": list(GRADE.class_names)}
    told, measured = written(volume, tmp_path / "out", GRADE, **outputs)
    assert told["probabilities"] == {"none": 0.25, "mild": 0.375, "severe": 0.375}
    assert told["at_least"] == {"mild": 0.75, "severe": 0.375}
    assert told["degree"] == "mild"
    assert told["class_names"] == ["none", "mild", "severe"]
    assert [(one.name, one.text) for one in measured if one.text] == [("grade", "mild")]
    assert {one.finding: one.value for one in measured if not one.text} == told["probabilities"]


def test_several_labels_have_a_probability_each(volume: Volume, tmp_path: Path) -> None:
    told, measured = written(volume, tmp_path / "out", SIGNS, probabilities=[0.75, 0.5], class_names=SIGNS.class_names)
    assert told["probabilities"] == {"effusion": 0.75, "mass": 0.5}
    assert not {"at_least", "degree", "unit"} & set(told)
    assert {one.finding: one.value for one in measured} == told["probabilities"]


@pytest.mark.parametrize(
    ("data", "words"), [(None, "does not tell the unit"), (config.Data("a", label_unit="mm per year"), "no UCUM code")]
)
def test_a_value_without_a_unit_that_dicom_knows_is_in_the_answer_alone(
    data: config.Data | None, words: str, volume: Volume, tmp_path: Path
) -> None:
    told, _ = written(volume, tmp_path / "out", data, values=[1.5], class_names=["growth"])
    assert told["values"] == {"growth": 1.5}
    assert told["report"] is None
    assert words in told["report_refused"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["answer.json"]


@pytest.mark.parametrize(("values", "names"), [([np.nan], ["age"]), ([1.0, 2.0], ["age"]), ([], ["age"])])
def test_values_that_are_not_one_number_a_name_are_refused(
    values: list[float], names: list[str], volume: Volume, tmp_path: Path
) -> None:
    with pytest.raises(answers.AnswerError, match=f"gave {len(values)} values for 1 classes"):
        written(volume, tmp_path / "out", AGE, values=values, class_names=names)
    assert not (tmp_path / "out").exists()
