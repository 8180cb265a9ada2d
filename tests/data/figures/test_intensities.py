"""Intensities under a mask: measured where it lies on the image, left out where it does not."""

import numpy as np
import pytest

from radkit import config
from radkit.data.exploring import image_features
from radkit.data.figures import intensities

DATA = config.Data(dataset="made", mask_labels=("a",))


def record(dtype: type, slices: int) -> dict[str, object]:
    facts = dict.fromkeys((*image_features.FACTS, "patient_id", "record_uid"), "")
    return {
        **facts,
        **dict.fromkeys(image_features.NUMBERS, np.float32(np.nan)),
        "image": np.arange(24).reshape(2, 3, 4, 1).astype(dtype),
        "mask": np.ones((slices, 3, 4, 1), np.uint8),
        "rescale_slope": np.ones(2, np.float32),
        "rescale_intercept": np.zeros(2, np.float32),
        "spacing_mm": np.ones(3, np.float32),
    }


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("slices", [1, 2, 5])
def test_a_mask_of_another_size_measures_nothing_and_breaks_nothing(dtype: type, slices: int) -> None:
    made = record(dtype, slices)
    found, not_finite = intensities.of_record(made)
    assert found["all"].count == 24
    assert not_finite == 0
    assert ("mask 1" in found) == (slices == 2)
    assert ("mask" in image_features.describe(made, DATA)["thumbnail"]) == (slices == 2)
