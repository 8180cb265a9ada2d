"""Operating points: read beside the weights they were chosen for, and added to answers."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from radkit.errors import UserError
from serving import operating

DATA = config.Data("d", label="finding", class_names=("no", "yes"))


def written(folder: Path, *points: tuple[str, float | None], sha: str = "abc") -> Path:
    listed = [{"name": name, "threshold": threshold, "rule": "youden"} for name, threshold in points]
    (folder / operating.FILE).write_text(json.dumps({"weights_sha256": sha, "points": listed}))
    return folder


def test_calls_are_made_from_the_threshold_on(tmp_path: Path) -> None:
    points = operating.read(written(tmp_path, ("yes", 0.3)), "abc", DATA, "classification")
    given = {"probabilities": tf.constant([[0.7, 0.3], [0.71, 0.29]])}
    found = operating.added(given, points)
    assert found["calls"].dtype == tf.uint8
    assert found["calls"].numpy().tolist() == [[255, 1], [255, 0]]
    np.testing.assert_array_equal(found["thresholds"], np.array([[np.nan, 0.3]] * 2, np.float32))


def test_the_label_stands_for_its_positive_class_and_the_first_point_is_in_force(tmp_path: Path) -> None:
    points = operating.read(written(tmp_path, ("finding", 0.25), ("yes", 0.9)), "abc", DATA, "classification")
    assert points.classes[1] == np.float32(0.25)


def test_boxes_are_called_by_their_score_and_padding_is_not(tmp_path: Path) -> None:
    data = config.Data("d", box_labels=("nodule",))
    points = operating.read(written(tmp_path, ("boxes", 0.0)), "abc", data, "detection")
    answer = {"boxes": tf.zeros((1, 3, 4)), "scores": tf.constant([[0.9, 0.1, 0.0]]), "count": tf.constant([2])}
    assert operating.added(answer, points)["called"].numpy().tolist() == [[1, 1, 0]]


def test_nothing_is_added_where_nothing_was_chosen(tmp_path: Path) -> None:
    assert operating.read(tmp_path, "abc", DATA, "classification") is None
    assert operating.read(written(tmp_path, ("yes", 0.5), sha="other"), "abc", DATA, "classification") is None
    answer = {"probabilities": tf.constant([[0.5, 0.5]])}
    assert set(operating.added(answer, None)) == {"probabilities"}
    none = operating.read(written(tmp_path, ("yes", None)), "abc", DATA, "classification")
    assert set(operating.added(answer, none)) == {"probabilities"}


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a point of 'maybe'; the run answers no, yes"):
        operating.read(written(tmp_path, ("maybe", 0.5)), "abc", DATA, "classification")
    for text in ('{"weights_sha256": "abc"}', "[]", '{"weights_sha256": "abc", "points": [{"name": "yes"}]}'):
        (tmp_path / operating.FILE).write_text(text)
        with pytest.raises(UserError, match="damaged"):
            operating.read(tmp_path, "abc", DATA, "classification")


def test_of_degrees_a_threshold_is_of_it_or_a_higher_one(tmp_path: Path) -> None:
    data = config.Data("d", label="grade", class_names=("none", "mild", "severe"))
    points = operating.read(written(tmp_path, ("mild or higher", 0.5), ("severe", 0.4)), "abc", data, "ordinal")
    found = operating.added({"probabilities": tf.constant([[0.5, 0.3, 0.2], [0.6, 0.0, 0.4]])}, points)
    assert found["calls"].numpy().tolist() == [[255, 1, 0], [255, 0, 1]]
