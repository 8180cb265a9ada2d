"""A loss at several resolutions."""

import numpy as np
import pytest
import tensorflow as tf

from radkit.losses import deep_supervision, segmentation
from tests.losses import made


def test_one_answer_is_the_loss_itself() -> None:
    mask, logits = made.case((6, 4))
    found = deep_supervision.supervised(segmentation.dice, mask, logits)
    np.testing.assert_array_equal(found, segmentation.dice(mask, logits))


@pytest.mark.parametrize("sizes", [(8, 12), (8, 4, 12)])
def test_each_resolution_weighs_half_of_the_one_before(sizes: tuple[int, ...]) -> None:
    mask, logits = made.case(sizes)
    answers, masks = [logits], [mask]
    for _ in range(2):
        answers.append(answers[-1][(slice(None), *[slice(0, None, 2)] * len(sizes))])
    # The middle of two voxels lies on the edge of the second.
    step = (slice(None), *[slice(1, None, 2)] * len(sizes))
    quarter = (slice(None), *[slice(2, None, 4)] * len(sizes))
    masks += [mask[step], mask[quarter]]
    costs = [segmentation.dice(m, a) for m, a in zip(masks, answers)]
    found = deep_supervision.supervised(segmentation.dice, mask, answers)
    np.testing.assert_allclose(found, (costs[0] + costs[1] / 2 + costs[2] / 4) / 1.75, rtol=1e-5)


def test_sizes_need_not_divide_and_may_be_unknown_while_tracing() -> None:
    mask, logits = made.case((7, 5))

    answer = tf.TensorSpec([None, None, None, 3])

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.uint8), answer, answer])
    def traced(mask: tf.Tensor, fine: tf.Tensor, coarse: tf.Tensor) -> tf.Tensor:
        return deep_supervision.supervised(segmentation.dice, mask, [fine, coarse])

    coarse = logits[:, :4, :3]
    found = traced(mask, logits, coarse)
    rows, columns = [0, 2, 4, 6], [0, 2, 4]  # whose middles lie nearest to (2 i + 1) 7 / 8 and (2 i + 1) 5 / 6
    small = mask[:, rows][:, :, columns]
    expected = (segmentation.dice(mask, logits) + segmentation.dice(small, coarse) / 2) / 1.5
    np.testing.assert_allclose(found, expected, rtol=1e-5)
