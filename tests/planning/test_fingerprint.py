"""What a plan reads of statistics.json."""

import pytest

from radkit.errors import UserError
from radkit.planning import fingerprint

FOUND = {
    "train": {"records": 12},
    "fingerprint": {
        "median_size": [30.0, 200.0, 210.0],
        "target_spacing_mm": [4.0, 1.0, 1.0],
        "median_size_at_target_spacing": [32.0, 180.0, 190.0],
        "foreground_intensity": {"percentile_00_5": -40.0, "percentile_99_5": 180.0},
    },
}


def without(name: str) -> dict:
    return {**FOUND, "fingerprint": {key: value for key, value in FOUND["fingerprint"].items() if key != name}}


def test_volumes_are_planned_at_the_target_spacing():
    seen = fingerprint.read(FOUND, is_volume=True, num_classes=3)
    assert seen == fingerprint.Fingerprint((4.0, 1.0, 1.0), (32.0, 180.0, 190.0), 12, 3, (-40.0, 180.0))
    assert seen.num_voxels == 12 * 32 * 180 * 190


def test_radiographs_are_planned_by_their_size():
    found = {"train": {"records": 3}, "fingerprint": {"median_size": [2000.0, 1500.0]}}
    seen = fingerprint.read(found, is_volume=False, num_classes=2)
    assert seen == fingerprint.Fingerprint((1.0, 1.0), (2000.0, 1500.0), 3, 2, None)


def test_one_intensity_is_no_window():
    flat = {"percentile_00_5": 1.0, "percentile_99_5": 1.0}
    found = {**FOUND, "fingerprint": {**FOUND["fingerprint"], "foreground_intensity": flat}}
    assert fingerprint.read(found, is_volume=True, num_classes=3).window is None


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, "no training records"),
        ({**FOUND, "train": {"records": 0}}, "no training records"),
        (without("target_spacing_mm"), "no spacing_mm of the volumes"),
        ({**FOUND, "fingerprint": {**FOUND["fingerprint"], "median_size_at_target_spacing": [3.0]}}, "median size of"),
    ],
)
def test_what_no_plan_can_go_by_is_refused(found, said):
    with pytest.raises(UserError, match=said):
        fingerprint.read(found, is_volume=True, num_classes=3)
