"""What a config may ask of boxes."""

import dataclasses

import pytest

from radkit import config, config_check
from radkit.errors import UserError

DATA = config.Data("d", box_labels=("nodule", "unsure"), ignored_boxes=("unsure",))
GOOD = config.Experiment(DATA, config.Model("retinanet"), config.Task("detection"))


def of(**sections: dict[str, object]) -> config.Experiment:
    changed = {name: dataclasses.replace(getattr(GOOD, name), **fields) for name, fields in sections.items()}
    return dataclasses.replace(GOOD, **changed)


def test_what_makes_sense_passes() -> None:
    config_check.check(GOOD)
    config_check.check(of(data={"mask_labels": ("nodule",)}))
    config_check.check(of(inference={"window": (64, 64, 64), "flips": (True, True, False), "suppress": "fusion"}))


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"data": {"ignored_boxes": ("nodule",)}}, r"must be the last of data\.box_labels, .*\('unsure',\), not"),
        ({"data": {"ignored_boxes": ("unsure", "nodule")}}, "must be the last"),
        ({"data": {"ignored_boxes": ("unsaid",)}}, "must be the last"),
        ({"data": {"mask_labels": ("nodule", "unsure")}}, r"must be empty or \('nodule',\)"),
        ({"inference": {"score_threshold": 1.5}}, r"inference\.score_threshold must be from 0 to 1, not 1\.5"),
        ({"inference": {"iou_threshold": -0.1}}, r"inference\.iou_threshold must be from 0 to 1"),
        ({"inference": {"most_detections": 0}}, r"inference\.most_detections must be at least 1, not 0"),
        (
            {"data": {"mask_labels": ("nodule",)}, "inference": {"fill_holes": ("nodule",)}},
            "of masks that a segmentation answers",
        ),
    ],
)
def test_what_makes_none_is_refused(sections: dict[str, dict[str, object]], told: str) -> None:
    with pytest.raises(UserError, match=told):
        config_check.check(of(**sections))
