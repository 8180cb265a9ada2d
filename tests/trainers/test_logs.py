"""What a run tells of itself: the table beside the history, TensorBoard's files, pictures of cases."""

import csv
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.util import event_pb2

from radkit import runs
from radkit.tasks.task import Shown
from trainers import checkpoints, logs


def events(folder: Path) -> list[event_pb2.Event]:
    found = []
    for file in sorted(folder.glob("events*")):
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            found.append(event_pb2.Event.FromString(record))
    return found


def test_the_table_has_a_column_for_each_figure(tmp_path: Path) -> None:
    checkpoints.add_history(tmp_path, {"step": 3, "loss": 0.5, "validation score": None})
    checkpoints.add_history(tmp_path, {"step": 6, "loss": 0.25, "validation score": 0.75, "skipped_steps": 1})
    logs.write_table(tmp_path)
    with (tmp_path / runs.TABLE).open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["step", "loss", "validation score", "skipped_steps"],
        ["3", "0.5", "", ""],
        ["6", "0.25", "0.75", "1"],
    ]


def test_memory_is_that_of_this_process() -> None:
    assert 50 < logs.memory_mib() < 2**20


class TestBoard:
    def test_numbers_and_pictures_are_as_tensorboard_reads_them(self, tmp_path: Path) -> None:
        board = logs.Board(tmp_path)
        board.numbers(3, {"training/loss": 0.5, "undefined": float("nan"), "nothing": None, "of what": 2})
        png = tf.io.encode_png(np.full((4, 6, 3), 200, np.uint8)).numpy()
        board.pictures(3, {"case 1": png})
        board.close()
        found = {value.tag: (event.step, value) for event in events(tmp_path) for value in event.summary.value}
        assert set(found) == {"training/loss", "of_what", "case_1"}
        step, loss = found["training/loss"]
        assert (step, float(tf.make_ndarray(loss.tensor))) == (3, 0.5)
        assert loss.metadata.plugin_data.plugin_name == "scalars"
        _, picture = found["case_1"]
        assert picture.metadata.plugin_data.plugin_name == "images"
        assert list(tf.make_ndarray(picture.tensor)) == [b"6", b"4", png]

    def test_without_a_folder_nothing_is_written(self, tmp_path: Path) -> None:
        board = logs.Board(None)
        board.numbers(1, {"loss": 0.5})
        board.pictures(1, {})
        board.close()
        assert not list(tmp_path.iterdir())


def test_masks_and_boxes_and_labels_are_drawn() -> None:
    values = np.random.default_rng(0).normal(size=(12, 14, 1)).astype(np.float32)
    mask = np.zeros((12, 14, 1), np.uint8)
    mask[3:8, 4:9] = 1
    spacing = np.array([1.0, 1.0], np.float32)
    boxes = np.array([[2, 2, 7, 8]], np.float32)
    shown = [
        Shown(0, {"values": values, "spacing_mm": spacing, "mask": mask}, {"mask": mask[..., 0]}),
        Shown(
            1,
            {"values": values, "spacing_mm": spacing, "boxes": boxes, "box_labels": np.array([0])},
            {"boxes": boxes, "scores": np.array([0.9]), "labels": np.array([0]), "count": np.array(1)},
        ),
        Shown(2, {"values": values, "spacing_mm": spacing}, {"probabilities": np.array([0.5, 0.5])}),
    ]
    found = logs.drawn(shown, ("nodule",))
    assert list(found) == ["case 1", "case 2", "case 3"]
    sizes = [tf.io.decode_png(png).shape.as_list() for png in found.values()]
    assert all(rows > 10 and columns > 10 for rows, columns, _ in sizes)
