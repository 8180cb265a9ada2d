"""What is made of a model's outputs for a radiologist: JSON and a structured report, of every kind of label."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radkit import config
from radkit.data import resample
from radkit.dicom import Volume, read_annotation, read_volumes, write
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


def boxes_of(boxes: Any, scores: Any, labels: Any, count: int | None = None) -> dict[str, np.ndarray]:
    return {
        "boxes": np.array([boxes], np.float32),
        "scores": np.array([scores], np.float32),
        "labels": np.array([labels], np.int32),
        "count": np.array([len(boxes) - 1 if count is None else count], np.int32),
        "class_names": np.array([[b"nodule", b"node"]]),
    }


def test_boxes_are_told_in_voxels_and_in_the_patient(tmp_path: Path) -> None:
    affine = np.array([[0.5, 0, 0, -10], [0, 0.5, 0, 20], [0, 0, 2.0, 30], [0, 0, 0, 1]])
    header = {"Modality": "CT", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.5"}
    write.write_series(np.zeros((6, 20, 16), np.int16), affine, header, tmp_path / "ct")
    volume = read_volumes((tmp_path / "ct").iterdir())[0]
    # As a record whose slices run the other way.
    turned = resample.Grid(
        volume.affine @ np.diag([1.0, 1, -1, 1]) + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 10], [0, 0, 0, 0]]),
        (6, 20, 16),
        np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, -1, 5], [0, 0, 0, 1]]),
    )
    answer = boxes_of([[1, 4, 2, 3, 10, 6], [0] * 6], [0.75, 0], [1, -1])
    answers.write(answer, volume, {"name": "m", "version": 1}, tmp_path / "out", turned)
    told = json.loads((tmp_path / "out" / "answer.json").read_text())
    (box,) = told["boxes"]
    assert (box["label"], box["score"]) == ("node", 0.75)
    assert (box["low"], box["high"]) == ([3, 4, 2], [5, 10, 6])  # slices 1 and 2 from behind are 3 and 4
    np.testing.assert_allclose(box["centre_lps_mm"], [-10 + 0.5 * 3.5, 20 + 0.5 * 6.5, 30 + 2.0 * 3.5])
    np.testing.assert_allclose(box["sides_mm"], [4.0, 3.0, 2.0])
    measured = sr.measurements(tmp_path / "out" / told["report"])
    assert {(one.finding, one.name, one.value, one.unit) for one in measured} == {
        ("nodule", "number of boxes", 0.0, "1"),
        ("node", "number of boxes", 1.0, "1"),
        ("node", "Probability", 0.75, "1"),
        ("node", "longest side of the box", 4.0, "mm"),
    }


def test_boxes_on_a_radiograph_without_a_place_have_none(volume: Volume, tmp_path: Path) -> None:
    answer = boxes_of([[1, 1, 4, 3], [0] * 4], [0.5, 0], [0, -1])
    answers.write(answer, volume, {"name": "m", "version": 1}, tmp_path / "out", resample.grid_of(volume))
    (box,) = json.loads((tmp_path / "out" / "answer.json").read_text())["boxes"]
    assert (box["low"], box["high"], box["centre_lps_mm"]) == ([1, 1], [4, 3], None)


def test_masks_within_boxes_become_a_segment_each(tmp_path: Path) -> None:
    uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.6", "FrameOfReferenceUID": "1.2.3.9"}
    header = {"Modality": "CT", **uids}
    write.write_series(np.zeros((6, 20, 16), np.int16), np.diag([0.5, 0.5, 2.0, 1.0]), header, tmp_path / "ct")
    volume = read_volumes(sorted((tmp_path / "ct").iterdir()))[0]
    boxes = [[-4, 0, 0, -1, 3, 3], [1, 4, 2, 3, 10, 6], [2, 8, 2, 5, 12, 6], [0] * 6]  # the first beside the image
    answer = boxes_of(boxes, [0.9, 0.75, 0.5, 0], [0, 1, 0, -1])
    masks = np.zeros((1, 4, 2, 2, 2), np.float32)
    masks[0, 1, :, 0], masks[0, 2] = 1.0, 1.0  # upper rows of the second, all of the third
    answers.write({**answer, "masks": masks}, volume, {"name": "m"}, tmp_path / "out", resample.grid_of(volume))
    told = json.loads((tmp_path / "out" / "answer.json").read_text())
    assert [box["label"] for box in told["boxes"]] == ["node", "nodule"]
    found = read_annotation(tmp_path / "out" / told["segmentation"], volume)
    expected = np.zeros((2, 6, 20, 16), bool)
    expected[0, 1:3, 4:7, 2:6], expected[1, 2:5, 8:12, 2:6] = True, True
    assert [region.label for region in found.regions] == ["node 1", "nodule 2"]
    for region, inside in zip(found.regions, expected):
        assert np.array_equal(region.on((6, 20, 16)), inside)
    assert told["volume_ml"] == {"node 1": 24 * 0.0005, "nodule 2": 48 * 0.0005}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({**boxes_of([[1, 1, 4, 3]], [0.5], [0], 1), "masks": np.zeros((1, 2, 3, 3))}, "masks of shape .* for boxes"),
        (boxes_of([[1, 1, 4, 3]], [0.5], [7], 1), "none of 2 classes"),
        (boxes_of([[1, 1, 4, np.nan]], [0.5], [0], 1), "no number"),
        (boxes_of([[1, 1, 4, 3]], [0.5], [0], 2), "gave 2 boxes of shape"),
        ({**boxes_of([[1, 1, 4, 3]], [0.5], [0], 1), "scores": np.zeros((1, 0), np.float32)}, "0 scores"),
    ],
)
def test_what_are_no_boxes_is_refused(answer: Any, told: str, volume: Volume, tmp_path: Path) -> None:
    with pytest.raises(answers.AnswerError, match=told):
        answers.write(answer, volume, {"name": "m", "version": 1}, tmp_path / "out", resample.grid_of(volume))
    assert not (tmp_path / "out").exists()
