"""Where windows lie and what they count."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from radkit.errors import UserError
from radkit.inference import windows


@hypothesis.given(
    window=strategies.integers(1, 40), more=strategies.integers(0, 200), overlap=strategies.floats(0.0, 0.95)
)
def test_windows_cover_an_axis_in_order_with_the_overlap_asked_for(window: int, more: int, overlap: float) -> None:
    starts = windows.starts(window + more, window, overlap)
    assert starts[0] == 0
    assert starts[-1] == more
    steps = np.diff(starts)
    assert np.all(steps >= 1)
    assert np.all(steps <= max(1, window * (1 - overlap) + 1e-6))
    assert len(starts) == windows.count(window + more, window, overlap)


@hypothesis.given(
    window=strategies.integers(1, 20),
    more=strategies.integers(0, 50),
    blending=strategies.sampled_from(windows.BLENDINGS),
)
def test_shares_of_a_voxel_add_to_one(window: int, more: int, blending: str) -> None:
    shares = windows.shares(window + more, window, 0.5, blending)
    total = np.zeros(window + more)
    for start, of_window in zip(windows.starts(window + more, window, 0.5), shares):
        total[start : start + window] += of_window
    np.testing.assert_allclose(total, 1.0, rtol=1e-6)


def test_the_gaussian_is_that_of_an_eighth_of_the_window() -> None:
    found = windows.importance(16, "gaussian")
    assert found[7] == found[8] == pytest.approx(np.exp(-0.5 * (0.5 / 2.0) ** 2))
    assert found[0] == found[15] == pytest.approx(np.exp(-0.5 * (7.5 / 2.0) ** 2))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (((8, 8), 0.5, 1, 3), "window must be 3 sizes"),
        (((8, 0), 0.5, 1, 2), "at least 1 voxel"),
        (((8, 8), 1.0, 1, 2), "overlap must be a share"),
        (((8, 8), 0.5, 0, 2), "batch_size must be a whole number, at least 1"),
        (((8, 8), 0.5, 2.5, 2), "batch_size must be a whole number"),
        (((8, 8), "half", 1, 2), "overlap must be a share from 0 to below 1, not 'half'"),
        (((8.0, 8), 0.5, 1, 2), r"window must be 2 sizes of at least 1 voxel, not \(8.0, 8\)"),
        ((8, 0.5, 1, 2), "window must be 2 sizes of at least 1 voxel, not 8"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: tuple, said: str) -> None:
    with pytest.raises(UserError, match=said):
        windows.check(*settings)
    with pytest.raises(UserError, match="gaussian, constant, not 'cosine'"):
        windows.importance(8, "cosine")
