import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from radkit.errors import UserError
from radkit.metrics.image_quality import image_quality

IMAGE = hnp.arrays(np.float64, (3, 4), elements=st.integers(-50, 50).map(float))


def pair(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns a reference and an image, whole numbers, the same on any machine."""
    i = np.indices(shape).astype(float)
    reference = np.round(128 + 60 * np.sin(i[-1] / 3) + 50 * np.cos(i[0] / 2 + i[-2] / 5))
    return reference, reference + np.round(12 * np.sin(7 * i[-1] + 3 * i[-2] + 11 * i[0]))


# scikit-image 0.26.0 on the same images: peak_signal_noise_ratio, structural_similarity (gaussian_weights=True,
# sigma=1.5, use_sample_covariance=False), normalized_root_mse, mean_squared_error.
GOLDEN = {
    (20, 24): (29.53729373437552, 0.9697593702676995, 0.0566562723783682, 72.33541666666666),
    (12, 14, 13): (29.527560684986042, 0.9598357559385505, 0.054699983508255424, 72.49771062271063),
}


@pytest.mark.parametrize("shape", GOLDEN)
def test_scikit_image_finds_the_same(shape: tuple[int, ...]) -> None:
    reference, image = pair(shape)
    found = image_quality(ref=reference, test=image, data_range=255)
    assert list(found.values()) == pytest.approx(GOLDEN[shape], rel=1e-12)
    assert list(found) == ["psnr", "ssim_gaussian", "nrmse", "mse"]


def test_a_plain_loop_over_windows_finds_the_same_similarity() -> None:
    reference, image = pair((13, 12))
    offsets = range(-5, 6)
    weight = {(j, i): math.exp(-(j * j + i * i) / (2 * 1.5**2)) for j, i in itertools.product(offsets, offsets)}
    whole = sum(weight.values())
    similarity = []
    for y, x in itertools.product(range(5, 8), range(5, 7)):
        rows = [(w / whole, reference[y + j, x + i], image[y + j, x + i]) for (j, i), w in weight.items()]
        mean_a, mean_b = sum(w * a for w, a, _ in rows), sum(w * b for w, _, b in rows)
        var_a = sum(w * (a - mean_a) ** 2 for w, a, _ in rows)
        var_b = sum(w * (b - mean_b) ** 2 for w, _, b in rows)
        cov = sum(w * (a - mean_a) * (b - mean_b) for w, a, b in rows)
        c1, c2 = (0.01 * 200) ** 2, (0.03 * 200) ** 2
        similarity.append(
            (2 * mean_a * mean_b + c1) * (2 * cov + c2) / (mean_a**2 + mean_b**2 + c1) / (var_a + var_b + c2)
        )
    assert image_quality(reference, image, data_range=200)["ssim_gaussian"] == pytest.approx(np.mean(similarity))


@settings(deadline=None, max_examples=40)
@given(IMAGE, IMAGE, st.floats(0.5, 5000))
def test_errors_by_their_definitions(reference: np.ndarray, image: np.ndarray, data_range: float) -> None:
    found = image_quality(reference, image, data_range)
    squares = float(((reference - image) ** 2).sum())
    assert found["mse"] == pytest.approx(squares / 12)
    norm = float(np.linalg.norm(reference))
    assert found["nrmse"] == pytest.approx(math.sqrt(squares) / norm if norm else math.nan, nan_ok=True)
    psnr = 10 * math.log10(data_range**2 * 12 / squares) if squares else math.inf
    assert found["psnr"] == pytest.approx(psnr)
    assert math.isnan(found["ssim_gaussian"])  # narrower than a window


def test_integers_do_not_overflow() -> None:
    low, high = np.zeros((11, 11), np.uint8), np.full((11, 11), 255, np.uint8)
    found = image_quality(low, high, data_range=255)
    assert found["mse"] == 65025
    assert found["psnr"] == pytest.approx(0)
    assert image_quality(high, low, data_range=255)["nrmse"] == 1


def test_equal_images_are_perfect_and_a_constant_one_has_no_structure_to_lose() -> None:
    reference, _ = pair((11, 12, 13))
    assert image_quality(reference, reference, 255) == pytest.approx(
        {"psnr": math.inf, "ssim_gaussian": 1, "nrmse": 0, "mse": 0}
    )
    flat = np.full((11, 11), 40.0)
    c1 = (0.01 * 255) ** 2
    found = image_quality(flat, flat + 20, 255)["ssim_gaussian"]
    assert found == pytest.approx((2 * 40 * 60 + c1) / (40**2 + 60**2 + c1))


def test_a_reference_of_zeros_has_no_norm_and_no_voxels_have_nothing() -> None:
    assert math.isnan(image_quality(np.zeros((2, 2)), np.ones((2, 2)), 1)["nrmse"])
    assert all(map(math.isnan, image_quality(np.zeros((0, 4)), np.zeros((0, 4)), 1).values()))


def test_what_does_not_compare_is_refused() -> None:
    square = np.zeros((4, 4))
    with pytest.raises(UserError, match="one shape"):
        image_quality(square, np.zeros((4, 5)), 1)
    with pytest.raises(UserError, match="give one at a time"):
        image_quality(np.zeros((2, 3, 4, 1)), np.zeros((2, 3, 4, 1)), 1)
    with pytest.raises(UserError, match="1 of 16 voxels are not"):
        image_quality(square, np.where(np.eye(4) * np.arange(4) == 1, np.nan, 0), 1)
    with pytest.raises(UserError, match="ref must be an image of numbers"):
        image_quality([["a"]], [["b"]], 1)
    for wrong in (0, -1, math.nan, math.inf):
        with pytest.raises(UserError, match="data_range must be"):
            image_quality(square, square, wrong)
