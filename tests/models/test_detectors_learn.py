"""Each one-stage detector finds planted lesions of 3 to 10 pixels in images never seen."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from radkit import models
from tests.models import planted_lesions

# By the number of spatial axes: a volume has more voxels, and its nets are thinner for it, and learn for longer.
WIDTH = {2: 32, 3: 24}
STEPS = {2: 300, 3: 1200}
LONGER = {"ssd": 1500}  # in 3-D
THIN = {"retina_unet": 16}  # in 3-D: its decoder goes on to the image's own grid
RATES = {"yolox": 5e-3}  # others: 3e-3
ANCHORS = {"sizes": (4.0, 8.0), "ratios": (1.0,), "octaves": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "retinanet": {**ANCHORS, "extra_levels": 0, "depth": 2, "norm": "group"},
    "retina_unet": {**ANCHORS, "stem": 8, "head_filters": 16, "depth": 2, "norm": "group"},
    "ssd": {"extra_levels": 0, "sizes": (4.0, 7.0, 10.0), "ratios": (1.0,)},
    "fcos": {"extra_levels": 0, "depth": 2},
    "yolox": {"norm": "group"},
}
SOON = (("retinanet", 2),)  # the others are `long`
TWO_STAGE = {"faster_rcnn", "mask_rcnn", "fast_rcnn"}  # of tests/models/test_two_stage_learn.py


def settings(name: str, rank: int) -> dict[str, Any]:
    """Returns a network that learns in half a minute, in 3-D in three to ten on one core."""
    width = THIN.get(name, WIDTH[rank]) if rank == 3 else WIDTH[rank]
    backbone = {"filters": (width, width), "blocks": (1, 1)}
    return {
        "encoder": "resnet", "encoder_settings": backbone, "levels": (1, 2), "filters": width, **FAMILIES[name]
    }  # fmt: skip


@pytest.mark.parametrize("rank", [2, 3])
def test_lesions_are_as_said(rank: int) -> None:
    image, truth = planted_lesions.planted(rank, 0, images=20)
    space = tuple(range(1, rank + 1))
    for one, boxes, labels, mask in zip(image, truth["boxes"], truth["labels"], truth["mask"]):
        parts, count = ndimage.label(mask[..., 0])
        assert count == np.count_nonzero(labels >= 0)
        for found in ndimage.find_objects(parts):
            box = [float(s.start) for s in found] + [float(s.stop) for s in found]
            (which,) = np.flatnonzero((boxes == box).all(-1))
            assert np.median(mask[found][mask[found] > 0]) == labels[which] + 1
            assert np.sign(one[found][mask[found] > 0].mean()) == (1, -1)[labels[which]]
            sides = [s.stop - s.start for s in found]
            assert 3 <= min(sides) <= max(sides) <= 10
    assert np.array_equal(truth["mask"].any((*space, rank + 1)), np.arange(20) % 2 == 1)


@pytest.mark.parametrize("rank", [2, 3])
def test_brightness_alone_does_not_tell_lesions(rank: int) -> None:
    image, truth = planted_lesions.planted(rank, 9, images=20)
    best = 0.0
    for level in (0.4, 0.6, 0.8):
        boxes, scores = zip(*(parts_beyond(one[..., 0], level) for one in image))
        best = max(best, planted_lesions.measured(truth, boxes, scores)[0])
    assert best < 0.5


def parts_beyond(image: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns boxes around what is brighter, or darker, and more than 8 voxels; the largest is the surest."""
    boxes, scores = [np.zeros(2 * image.ndim)], [[0.0, 0.0]]
    for label, sign in enumerate((1, -1)):
        parts, _ = ndimage.label(sign * image > level)
        for number, found in enumerate(ndimage.find_objects(parts), 1):
            size = np.count_nonzero(parts[found] == number)
            if size > 8:
                boxes.append(np.array([s.start for s in found] + [s.stop for s in found], float))
                scores.append([0.0, 0.0])
                scores[-1][label] = size / (size + 100)
    return np.array(boxes), np.array(scores)


def test_true_boxes_have_the_best_figures_and_boxes_elsewhere_none() -> None:
    _, truth = planted_lesions.planted(2, 9, images=20)
    sure = np.eye(3)[truth["labels"]][..., :2]
    assert planted_lesions.measured(truth, truth["boxes"], sure) == (1.0, 1.0)
    assert planted_lesions.measured(truth, truth["boxes"] + 100, sure) == (0.0, 0.0)
    assert planted_lesions.measured(truth, truth["boxes"], sure[..., ::-1]) == (0.0, 0.0)  # of the wrong class


def test_every_family_is_among_them() -> None:
    families = {models.find(name)[0] for name in models.names("detection")}
    assert set(FAMILIES) | TWO_STAGE | {"multibox"} == families


CASES = [
    pytest.param(name, rank, marks=[pytest.mark.long] * ((name, rank) not in SOON))
    for name in FAMILIES
    for rank in (2, 3)
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), CASES)
def test_planted_lesions_are_found(name: str, rank: int) -> None:
    steps = LONGER.get(name, STEPS[rank]) if rank == 3 else STEPS[rank]
    figures = planted_lesions.learnt(name, settings(name, rank), rank, steps=steps, rate=RATES.get(name, 3e-3))
    assert min(figures) >= 0.9, f"mAP50 {figures[0]:.3f}, sensitivity at 1 false positive an image {figures[1]:.3f}"
