"""Anchors fitted to the boxes of training records, and boxes that nothing can be learned of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radkit import config, models, tasks
from radkit.data import convert, pipeline
from radkit.errors import UserError
from tests.data.feeding import made
from trainers import anchors

SMALL = {"encoder": "resnet", "encoder_settings": {"filters": (4, 8), "blocks": (1, 1)}, "levels": (1, 2), "filters": 8}
DATA = config.Data(
    "a", kind="radiograph", box_labels=("a", "b", "unsure"), ignored_boxes=("unsure",), image_size=(24, 24)
)


def experiment(model: str = "retinanet", **settings: Any) -> config.Experiment:
    wanted = {**SMALL, "anchors": "fit", "octaves": 1, "ratios": (1.0, 2.0), "extra_levels": 0, **settings}
    return config.Experiment(DATA, config.Model(model, wanted), config.Task("detection"))


def records(folder: Path, boxes: list[list[float]], labels: list[int]) -> Path:
    there = [
        made.values(DATA, number, (48, 24), boxes=np.array(boxes, np.float32), box_labels=labels)
        | {"lesion_ids": [""] * len(labels)}
        for number in range(4)
    ]
    return made.write(folder, DATA, {"train": there, "validation": there[:2], "test": there[:2]})


def fitted(folder: Path, said: config.Experiment) -> config.Experiment:
    found = pipeline.opened(folder, said, convert.fields_of(DATA))
    return anchors.fitted(said, found, tasks.find("detection"))


def test_anchors_are_the_boxes_on_the_networks_grid(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    # Images of 48 x 24 are fed as 24 x 12: boxes are half as long there. What is to be ignored does not count.
    folder = records(tmp_path, [[0, 0, 12, 16], [4, 4, 24, 14], [0, 0, 40, 3]], [0, 1, 2])
    said = experiment()
    assert anchors.are_wanted(said)
    found = fitted(folder, said)
    assert not anchors.are_wanted(found)
    shapes = {tuple(shape) for level in found.model.settings["anchors"] for shape in level}
    assert {(6.0, 8.0), (10.0, 5.0)} <= shapes
    assert "anchors fitted to 8 boxes reach" in capsys.readouterr().out
    assert found == fitted(folder, said) == config.from_json(config.to_json(found))
    network = models.build("retinanet", input_shape=(24, 24, 1), num_classes=2, **found.model.settings)
    assert [len(level) for level in network.get_layer("anchors").shapes] == [2, 2]


def test_what_has_no_anchors_or_no_boxes_is_refused(tmp_path: Path) -> None:
    folder = records(tmp_path, [[0, 0, 40, 3]], [2])
    with pytest.raises(UserError, match="no image has a box"):
        fitted(folder, experiment())
    for name in ("resnet18", "fcos"):  # the second has cells, which are no anchors
        settings = {"anchors": "fit"} if name == "resnet18" else {**SMALL, "anchors": "fit"}
        without = config.Experiment(DATA, config.Model(name, settings), config.Task("detection"))
        with pytest.raises(UserError, match=f"'{name}' has no anchors to fit"):
            fitted(folder, without)


def test_anchors_of_a_first_stage_are_fitted(tmp_path: Path) -> None:
    folder = records(tmp_path, [[0, 0, 12, 16], [4, 4, 24, 14]], [0, 1])
    found = fitted(folder, experiment("faster_rcnn"))
    assert {(6.0, 8.0), (10.0, 5.0)} <= {tuple(shape) for level in found.model.settings["anchors"] for shape in level}


@pytest.mark.parametrize(
    ("box", "told"),
    [([3, 4, 3, 9], "no extent along axis 0"), ([50, 4, 60, 9], "outside of the image, which is 48 x 24")],
)
def test_boxes_that_are_none_are_refused_by_the_records_name(tmp_path: Path, box: list[float], told: str) -> None:
    folder = records(tmp_path, [[0, 0, 8, 8], box], [0, 1])
    with pytest.raises(UserError, match=rf"box 1 of record 1\.2\.\d .* {told}"):
        pipeline.opened(folder, experiment(), convert.fields_of(DATA))
