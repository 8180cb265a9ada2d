import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from radkit.errors import UserError
from radkit.metrics.diameters import lesion_diameters

HALVES = np.array([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)])


def ellipse(semi_long: float, semi_short: float, angle: float, spacing: tuple[float, float]) -> np.ndarray:
    side = int(1.2 * semi_long / min(spacing)) + 2
    y, x = (np.mgrid[-side : side + 1, -side : side + 1].T * spacing).T
    along, aside = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    return (along / semi_long) ** 2 + (aside / semi_short) ** 2 <= 1


def brute(mask: np.ndarray, spacing: tuple[float, float]) -> tuple[float, float]:
    """Long axis over all edge midpoints; short axis over all segments between them that the perpendicular crosses."""
    points = np.concatenate([np.argwhere(mask) + half for half in HALVES]) * spacing
    gaps = points[:, None] - points[None]
    longest = float(np.sqrt((gaps**2).sum(-1)).max())
    widest = 0.0
    for i, j in np.argwhere(np.sqrt((gaps**2).sum(-1)) >= longest * (1 - 1e-12)):
        unit = (points[j] - points[i]) / longest
        along, aside = points @ unit, points @ np.array([-unit[1], unit[0]])
        before, after = np.argwhere(along[:, None] < along[None] - 1e-9).T
        for place in along:
            on = aside[np.abs(along - place) < 1e-9]
            crossing = (along[before] < place) & (place < along[after])
            first, last = before[crossing], after[crossing]
            part = (place - along[first]) / (along[last] - along[first])
            reached = np.concatenate([on, aside[first] + part * (aside[last] - aside[first])])
            widest = max(widest, float(reached.max() - reached.min()))
    return longest, widest


@settings(deadline=None, max_examples=40)
@given(
    hnp.arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 5))).filter(np.any),
    st.sampled_from([(1.0, 1.0), (0.7, 1.3), (2.0, 0.5)]),
)
def test_a_search_over_all_points_of_the_outline_agrees(mask: np.ndarray, spacing: tuple[float, float]) -> None:
    found = lesion_diameters(mask, spacing)
    assert (found["long_axis_mm"], found["short_axis_mm"]) == pytest.approx(brute(mask, spacing))


def test_lines_worked_by_hand() -> None:
    voxel = lesion_diameters([[[0, 0, 0], [0, 1, 0], [0, 0, 0]]], spacing=[5.0, 0.5, 0.5])
    assert voxel == {"long_axis_mm": 0.5, "short_axis_mm": 0.5, "slice_index": 0}
    line = lesion_diameters(np.ones((1, 1, 7)), spacing=[1.0, 2.0, 1.0])
    # The corners of the outline are the middles of the voxels' long sides, so the line is 7 mm long and 2 mm wide.
    assert (line["long_axis_mm"], line["short_axis_mm"]) == pytest.approx((7.0, 2.0))


@pytest.mark.parametrize("angle", [0.0, 0.3, 0.8, 1.4])
@pytest.mark.parametrize("spacing", [(0.5, 0.5), (0.4, 0.8)])
def test_an_ellipse_has_its_axes_to_a_voxel(angle: float, spacing: tuple[float, float]) -> None:
    found = lesion_diameters(ellipse(15, 8, angle, spacing), spacing)
    assert found["long_axis_mm"] == pytest.approx(30, abs=max(spacing))
    assert found["short_axis_mm"] == pytest.approx(16, abs=max(spacing))


def test_the_slice_with_the_longest_diameter_is_named_and_a_later_equal_one_is_not() -> None:
    mask = np.zeros((6, 9, 9), bool)
    mask[1, 4, 2:5] = mask[3, 4, 2:8] = mask[4, 2:8, 4] = True
    found = lesion_diameters(mask, spacing=[30.0, 1.0, 1.0])  # never across slices
    assert found["slice_index"] == 3
    assert found["long_axis_mm"] == pytest.approx(6.0)


@settings(deadline=None, max_examples=30)
@given(hnp.arrays(bool, (2, 6, 7)).filter(np.any), st.floats(0.1, 10))
def test_mirroring_keeps_axes_and_spacing_scales_them(mask: np.ndarray, scale: float) -> None:
    plain = lesion_diameters(mask, [1.0, 1.0, 1.0])
    turned = lesion_diameters(mask[:, ::-1].transpose(0, 2, 1), [1.0, scale, scale])
    for axis in ("long_axis_mm", "short_axis_mm"):
        assert turned[axis] == pytest.approx(plain[axis] * scale)
    assert plain["short_axis_mm"] <= plain["long_axis_mm"] * (1 + 1e-9)


def test_an_empty_mask_has_no_diameters() -> None:
    assert all(map(math.isnan, lesion_diameters(np.zeros((2, 3, 3)), [1, 1, 1]).values()))


def test_what_is_no_mask_or_spacing_is_refused() -> None:
    with pytest.raises(UserError, match=r"\(z, y, x\) or \(y, x\), not \(3,\)"):
        lesion_diameters([0, 1, 0], [1.0])
    with pytest.raises(UserError, match="spacing must be 2 sizes"):
        lesion_diameters([[1]], [1.0, 1.0, 1.0])
    with pytest.raises(UserError, match="sizes > 0"):
        lesion_diameters([[1]], [1.0, 0.0])
