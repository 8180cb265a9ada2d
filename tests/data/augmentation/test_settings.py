"""Settings of augmentation that make no sense are refused by their names."""

import pytest

from radkit import config
from radkit.errors import UserError

VOLUME = {"dataset": "brains", "mask_labels": ["left kidney", "right kidney"], "label": "side"}


def experiment(augment, data=None, task="classification"):
    values = {"data": {**VOLUME, **(data or {})}, "model": {"name": "resnet"}, "task": {"name": task}}
    return config.from_json({**values, "augment": augment})


@pytest.mark.parametrize(
    ("augment", "said"),
    [
        ({"rotate": (10.0,)}, "augment.rotate must be empty or 3 values for a volume"),
        ({"rotate": (10.0, 0.0, 200.0)}, "augment.rotate must be angles from 0 to 180 degrees"),
        ({"scale": 1.0}, "augment.scale must be below 1, not 1.0"),
        ({"bias_field": 1.5}, "augment.bias_field must be below 1"),
        ({"cut_out": 1.5}, "augment.cut_out must be at most 1"),
        ({"blur_mm": -1.0}, "augment.blur_mm must be at least 0"),
        ({"elastic_mm": 12.0}, "augment.elastic_mm must be below 0.4 of augment.elastic_spacing_mm"),
        ({"elastic_spacing_mm": 0.0}, "below 0.4 of augment.elastic_spacing_mm"),
        ({"window": 0.1}, "augment.window is of data.normalise='window', and that is 'zscore'"),
        ({"chances": {"blur": 1.5}}, "augment.chances.blur must be from 0 to 1, not 1.5"),
        ({"swap_axis": 3}, "augment.swap_axis must be an axis from -3 to 2, not 3"),
        ({"swap_labels": [("left kidney", "rigth kidney")]}, "did you mean 'right kidney'"),
        ({"swap_labels": [("left kidney", "right kidney")] * 2}, "must name each label once"),
    ],
)
def test_a_wrong_setting_is_refused(augment, said):
    with pytest.raises(UserError) as caught:
        experiment(augment)
    assert said in str(caught.value)


def test_a_pair_stands_in_the_same_lists():
    data = {"class_names": ["left kidney", "none"]}
    with pytest.raises(UserError, match="must stand in the same lists of labels"):
        experiment({"swap_labels": [("left kidney", "right kidney")]}, data)


@pytest.mark.parametrize(
    ("augment", "data", "task", "said"),
    [
        ({"mixup": 0.2}, {}, "segmentation", "augment.mixup is for labels of images, not for masks"),
        ({"cutmix": 0.2}, {"label": ""}, "classification", "augment.cutmix mixes labels, and data.label names none"),
        ({"mixup": 0.2}, {"box_labels": ["nodule"]}, "classification", "augment.mixup cannot mix boxes"),
        ({"cutmix": 1.0}, {"label_kind": "survival", "event": "dead"}, "x:y", "cannot mix times to an event"),
    ],
)
def test_mixing_is_refused_where_nothing_can_be_mixed(augment, data, task, said):
    with pytest.raises(UserError) as caught:
        experiment(augment, data, task)
    assert said in str(caught.value)


def test_what_makes_sense_is_taken():
    found = experiment(
        {
            "flip": (True, True, True), "swap_labels": [("left kidney", "right kidney")], "rotate": (10, 20, 30),
            "elastic_mm": 11.9, "mixup": 0.2, "chances": {"mixup": 0.5},
        }
    )  # fmt: skip
    assert found.augment.swap_labels == (("left kidney", "right kidney"),)
    assert experiment({"cutmix": 1.0}, {"label": ""}, "segmentation").augment.cutmix == 1.0
