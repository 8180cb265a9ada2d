"""Losses of regions against plain numpy."""

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.losses import segmentation
from tests.losses import made

SIZES = pytest.mark.parametrize("sizes", made.SHAPES)


@SIZES
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("power", [1, 2])
def test_dice(sizes: tuple[int, ...], activation: str, background: bool, power: int) -> None:
    mask, logits = made.case(sizes)
    t, p = made.flat(mask, logits, activation)
    t, p = t[..., 1 - background :], p[..., 1 - background :]
    both, whole = (t * p).sum(1), (t**power).sum(1) + (p**power).sum(1)
    settings = {"background": background, "activation": activation, "squared": power == 2}
    found = segmentation.dice(mask, logits, 0.3, smooth_denominator=0.7, **settings)
    np.testing.assert_allclose(found, 1 - ((2 * both + 0.3) / (whole + 0.7)).mean(-1), rtol=1e-5)
    weights = (0.5, 1.0, 3.0)[1 - background :]
    found = segmentation.dice(mask, logits, 0.3, jaccard=True, class_weights=weights, **settings)
    costs = 1 - (2 * both + 0.3) / (2 * (whole - both) + 0.3)
    np.testing.assert_allclose(found, (costs * weights).mean(-1), rtol=1e-5)
    found = segmentation.dice(mask, logits, 0.3, batch=True, **settings)
    together = 1 - ((2 * both.sum(0) + 0.3) / (whole.sum(0) + 0.3)).mean()
    np.testing.assert_allclose(found, [together] * 3, rtol=1e-5)


def test_structures_may_overlap_where_each_has_a_channel() -> None:
    random = np.random.default_rng(0)
    mask, logits = random.integers(0, 2, (2, 5, 4, 3)), random.normal(size=(2, 5, 4, 3)).astype(np.float32)
    p = made.sigmoid(logits)
    expected = 1 - ((2 * (mask * p).sum((1, 2)) + 1) / (mask.sum((1, 2)) + p.sum((1, 2)) + 1)).mean(-1)
    np.testing.assert_allclose(segmentation.dice(mask, logits, activation="sigmoid"), expected, rtol=1e-5)
    entropy = -(mask * np.log(p) + (1 - mask) * np.log(1 - p)).mean((1, 2, 3))
    np.testing.assert_allclose(segmentation.cross_entropy(mask, logits, activation="sigmoid"), entropy, rtol=1e-5)


def test_the_best_answer_to_soft_labels_is_the_labels() -> None:
    soft = np.full((1, 4, 4, 1), 0.4, np.float32)
    costs = {
        p: float(segmentation.dice(soft, np.full_like(soft, np.log(p / (1 - p))), 1e-5, soft_labels=True,
                                   activation="sigmoid")[0])
        for p in (0.1, 0.3, 0.4, 0.5, 0.9)
    }  # fmt: skip
    assert min(costs, key=costs.__getitem__) == 0.4
    assert costs[0.4] == pytest.approx(0, abs=1e-6)


@SIZES
@pytest.mark.parametrize("volumes", ["square", "simple", "uniform"])
@pytest.mark.parametrize("batch", [True, False])
def test_generalised_dice(sizes: tuple[int, ...], volumes: str, batch: bool) -> None:
    mask, logits = made.case(sizes)
    t, p = made.flat(mask, logits)
    if batch:
        t, p = t.reshape(1, -1, 3), p.reshape(1, -1, 3)
    expected = []
    for truth, found in zip(t, p):
        there = truth.sum(0)
        power = {"square": 2, "simple": 1, "uniform": 0}[volumes]
        weights = np.array([1 / n**power if n else 0 for n in there])
        weights[there == 0] = weights.max()
        quotient = (2 * (weights * (truth * found).sum(0)).sum() + 1e-5) / (
            (weights * (truth + found).sum(0)).sum() + 1e-5
        )
        expected.append(1 - quotient)
    found = segmentation.generalised_dice(mask, logits, volumes=volumes, batch=batch)
    np.testing.assert_allclose(found, np.broadcast_to(expected, 3), rtol=1e-5)


@SIZES
def test_tversky_and_its_focal_form(sizes: tuple[int, ...]) -> None:
    mask, logits = made.case(sizes)
    t, p = made.flat(mask, logits)
    t, p = t[..., 1:], p[..., 1:]
    both, called, missed = (t * p).sum(1), ((1 - t) * p).sum(1), (t * (1 - p)).sum(1)
    lacking = 1 - (both + 0.1) / (both + 0.2 * called + 0.9 * missed + 0.1)
    found = segmentation.tversky(mask, logits, 0.1, alpha=0.2, beta=0.9)
    np.testing.assert_allclose(found, lacking.mean(-1), rtol=1e-5)
    found = segmentation.focal_tversky(mask, logits, 0.1, alpha=0.2, beta=0.9, gamma=2.0)
    np.testing.assert_allclose(found, np.sqrt(lacking).mean(-1), rtol=1e-5)
    dice = segmentation.dice(mask, logits, 2e-5)
    np.testing.assert_allclose(segmentation.tversky(mask, logits, alpha=0.5, beta=0.5), dice, rtol=1e-5)


@SIZES
def test_cross_entropy_with_weights_and_smoothing(sizes: tuple[int, ...]) -> None:
    mask, logits = made.case(sizes)
    t, p = made.flat(mask, logits)
    w = np.array([0.2, 1.0, 3.0])
    smoothed = 0.9 * t + 0.1 / 3
    costs, count = -(smoothed * np.log(p) * w).sum((1, 2)), (t * w).sum((1, 2))
    found = segmentation.cross_entropy(mask, logits, label_smoothing=0.1, class_weights=tuple(w))
    np.testing.assert_allclose(found, costs / count, rtol=1e-5)
    found = segmentation.cross_entropy(mask, logits, label_smoothing=0.1, class_weights=tuple(w), batch=True)
    np.testing.assert_allclose(found, [costs.sum() / count.sum()] * 3, rtol=1e-5)


@SIZES
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal(sizes: tuple[int, ...], gamma: float) -> None:
    mask, logits = made.case(sizes)
    t, p = made.flat(mask, logits)
    costs = -((1 - p) ** gamma) * np.log(p) * t
    found = segmentation.focal(mask, logits, gamma=gamma)
    np.testing.assert_allclose(found, costs.sum(-1).mean(-1), rtol=1e-5)
    found = segmentation.focal(mask, logits, gamma=gamma, alpha=0.3, mean_over_classes=True)
    np.testing.assert_allclose(found, (costs * [0.7, 0.3, 0.3]).mean((1, 2)), rtol=1e-5)
    found = segmentation.focal(mask, logits, gamma=gamma, background=False, class_weights=(1.0, 4.0))
    np.testing.assert_allclose(found, (costs[..., 1:] * [1, 4]).sum(-1).mean(-1), rtol=1e-5)
    t, p = made.flat(mask, logits, "sigmoid")
    right = np.where(t == 1, p, 1 - p)
    costs = -((1 - right) ** gamma) * np.log(right) * np.where(t == 1, 0.3, 0.7)
    found = segmentation.focal(mask, logits, gamma=gamma, alpha=0.3, activation="sigmoid")
    np.testing.assert_allclose(found, costs.mean((1, 2)), rtol=1e-5)


def test_sums_of_two_losses_are_sums() -> None:
    mask, logits = made.case((5, 4))
    dice, entropy = segmentation.dice(mask, logits), segmentation.cross_entropy(mask, logits)
    found = segmentation.dice_and_cross_entropy(mask, logits, dice_weight=0.5, cross_entropy_weight=2.0)
    np.testing.assert_allclose(found, 0.5 * dice + 2.0 * entropy, rtol=1e-5)
    focal = segmentation.focal(mask, logits, background=False)
    found = segmentation.dice_and_focal(mask, logits, focal_weight=3.0)
    np.testing.assert_allclose(found, dice + 3.0 * focal, rtol=1e-5)
    weights = (1.0, 2.0, 3.0)
    parts = (
        segmentation.dice(mask, logits, class_weights=weights[1:]),
        segmentation.cross_entropy(mask, logits, class_weights=weights),
    )
    found = segmentation.dice_and_cross_entropy(mask, logits, class_weights=weights)
    np.testing.assert_allclose(found, parts[0] + parts[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"activation": "tanh"}, "activation must be 'softmax' or 'sigmoid', not 'tanh'"),
        ({"class_weights": (1.0,)}, "class_weights must be 2 numbers"),
        ({"class_weights": (1.0, -1.0)}, "class_weights must be several numbers from 0 on"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        segmentation.dice(*made.case((4, 4)), **settings)


def test_masks_that_do_not_fit_are_refused() -> None:
    mask, logits = made.case((4, 4))
    with pytest.raises(UserError, match="2 channels does not go with 3 classes"):
        segmentation.dice(np.concatenate([mask, mask], -1), logits)
    with pytest.raises(UserError, match="softmax of one channel"):
        segmentation.dice(mask, logits[..., :1])
    with pytest.raises(UserError, match="must have the same axes"):
        segmentation.dice(mask[0], logits)
    with pytest.raises(UserError, match="volumes must be one of square, simple, uniform"):
        segmentation.generalised_dice(mask, logits, volumes="cube")
    with pytest.raises(UserError, match="alpha must be one number, or 3"):
        segmentation.focal(mask, logits, alpha=(1.0, 2.0))
