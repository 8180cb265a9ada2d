"""Each family of segmenters finds planted balls in images never seen, in 2-D and 3-D, from two seeds."""

from typing import Any

import numpy as np
import pytest

from radkit import models
from tests.models import planted_masks

ENCODER = {"encoder": "resnet", "encoder_settings": {"filters": (8, 16, 32), "blocks": (1, 1, 1)}}
FAMILIES: dict[str, dict[str, Any]] = {
    "vnet": {"filters": (8, 16, 16), "convolutions": (1, 2, 2), "up_convolutions": (1, 1), "size": 3},
    "unet_plus_plus": {"filters": (8, 16, 16)},
    "fcn8s": {**ENCODER, "filters": (32,), "size": 3},
    "deeplab_v3_plus": {**ENCODER, "filters": 16, "low_level_filters": 8, "rates": (1, 2)},
    "swin_unetr": {"filters": 8, "depths": (2,), "heads": (2,), "window": 4},
}
STEPS = {2: 100, 3: 160}
# It answers at a quarter of the image's size: more steps until a small ball's surface lies between those cells.
MORE_STEPS = {("deeplab_v3_plus", 3): 320}
U_NETS = {"unet", "nnunet", "basic_unet", "monai_unet", "segresnet"}  # of tests/models/test_unets_learn.py


def test_every_family_is_among_them() -> None:
    families = {models.find(name)[0] for name in models.names("segmentation")}
    assert {models.find(name)[0] for name in FAMILIES} | U_NETS == families


@pytest.mark.parametrize("rank", [2, 3])
def test_brightness_alone_does_not_tell_the_ball(rank: int) -> None:
    image, mask = planted_masks.planted(rank, 0, images=8)
    best = max(planted_masks.mean_dice(image[..., 0] > level, mask) for level in np.arange(0, 1, 0.05))
    assert best < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("rank", [2, pytest.param(3, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", FAMILIES)
def test_planted_balls_are_found_from_two_seeds(name: str, rank: int) -> None:
    steps = MORE_STEPS.get((name, rank), STEPS[rank])
    for seed, dice in enumerate(planted_masks.learnt(name, FAMILIES[name], rank, (0, 1), steps, rate=5e-3)):
        assert dice >= 0.95, f"seed {seed}"
