"""The page of a leakage check stands alone, and says what was found."""

import numpy as np

from radkit.reports import leakage
from tests.reports import page_check

KINDS = ("shared_patient", "shared_study", "shared_series", "shared_record", "same_day", "identical_pixels",
         "near_identical", "identical_pixels_within", "near_identical_within")  # fmt: skip
FIGURE = {"target": "ill", "by": "manufacturer", "concordance": 0.91, "low": 0.85, "high": 0.95, "records": 80}


def summary(**more):
    return {
        "records": 10, "patients": 4, "sides": {"train": 6, "test": 4}, "counts": dict.fromkeys(KINDS, 0), "leaks": 0,
        "not_compared": 0, "warning_level": 0.7, "header": {"chest": [FIGURE]}, "warnings": {}, "notes": [], **more,
    }  # fmt: skip


def test_a_leak_is_shown_with_its_pictures():
    left, right = np.zeros((9, 4), np.uint8), np.full((5, 7), 200, np.uint8)
    pair = leakage.ShownPair(left, right, "A (train) and <B> (test)", "near-identical, mirrored; score 40")
    shared = [{"kind": "shared_patient", "value": "P1", "sides": {"train": 2, "test": 1}}]
    page = leakage.page(summary(leaks=2, notes=["Read me"]), shared, [pair])
    read = page_check.read(page)
    assert "what is tested on is partly known from training" in page
    assert {"P1", "1 test, 2 train", "manufacturer", "0.850 to 0.950"} <= set(read.cells)
    assert len(read.images) == 1
    assert "<B>" not in page
    assert "Read me" in page


def test_nothing_found_is_said_so():
    page = leakage.page(summary(header={}), [], [])
    read = page_check.read(page)
    assert "no leak was found" in page
    assert "too few records or patients" in page
    assert not read.images


def test_a_volume_is_shown_by_its_middle_slice():
    thumbnail = np.zeros((5, 4, 3), np.uint16)
    thumbnail[2] = 65535
    assert (leakage.picture(thumbnail) == 255).all()
    assert leakage.picture(thumbnail[0]).shape == (4, 3)
