"""float16's loss scale: halved when a step was not finite, doubled after many that were."""

import pytest
import tensorflow as tf

from trainers import scales


@pytest.mark.parametrize(
    ("value", "good", "is_finite", "expected"),
    [
        (1024, 7, True, (1024, 8)),
        (1024, 7, False, (512, 0)),
        (1024, scales.GOOD_STEPS - 1, True, (2048, 0)),
        (1024, scales.GOOD_STEPS - 1, False, (512, 0)),
        (scales.LARGEST, scales.GOOD_STEPS - 1, True, (scales.LARGEST, 0)),
        (scales.SMALLEST, 0, False, (scales.SMALLEST, 0)),
    ],
)
def test_it_follows_what_is_finite(value: float, good: int, is_finite: bool, expected: tuple[float, int]) -> None:
    scale = scales.new()
    assert float(scale.value.numpy()) == scales.FIRST
    scale.value.assign(value)
    scale.good.assign(good)
    tf.function(scale.update)(tf.constant(is_finite))
    assert (float(scale.value.numpy()), int(scale.good.numpy())) == expected
