"""Texture against values worked by hand, numpy and brute force; bounds and invariances over many pictures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from radkit.data.exploring import texture

PICTURES = arrays.arrays(
    np.float64, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.floats(-1e4, 1e4, width=32)
)
# Haralick et al. 1973, figure 3: a 4 x 4 picture of four levels, and its tables.
GREY = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 2], [2, 2, 3, 3]])


def test_cooccurrence_is_that_of_the_paper():
    across = [[4, 2, 1, 0], [2, 4, 0, 0], [1, 0, 6, 1], [0, 0, 1, 2]]
    down = [[6, 0, 2, 0], [0, 4, 2, 0], [2, 2, 2, 2], [0, 0, 2, 0]]
    np.testing.assert_array_equal(texture.cooccurrence(GREY, (0, 1), 4), across)
    np.testing.assert_array_equal(texture.cooccurrence(GREY, (1, 0), 4), down)


@pytest.mark.parametrize("step", [(1, 1), (1, -1), (2, 1), (0, 3), (3, -2)])
def test_cooccurrence_counts_every_pair_of_a_step(step):
    found = np.zeros((4, 4))
    for row in range(4):
        for column in range(4):
            to = row + step[0], column + step[1]
            if 0 <= to[0] < 4 and 0 <= to[1] < 4:
                found[GREY[row, column], GREY[to]] += 1
                found[GREY[to], GREY[row, column]] += 1
    np.testing.assert_array_equal(texture.cooccurrence(GREY, step, 4), found)


def test_steps_beyond_the_picture_find_no_pair():
    assert not texture.cooccurrence(GREY, (4, 0), 4).any()
    assert not texture.cooccurrence(GREY, (0, -4), 4).any()


def test_haralick_of_a_table_by_hand():
    found = texture.haralick(np.array([[1.0, 1.0], [1.0, 1.0]]))
    assert found == pytest.approx(
        {"contrast": 0.5, "homogeneity": 0.75, "energy": 0.25, "correlation": 0.0, "entropy": 2.0}
    )
    same = texture.haralick(np.array([[3.0, 0.0], [0.0, 0.0]]))
    assert same == {"contrast": 0.0, "homogeneity": 1.0, "energy": 1.0, "correlation": 1.0, "entropy": 0.0}


def test_correlation_is_numpys_of_all_pairs():
    table = texture.cooccurrence(GREY, (0, 1), 4)
    pairs = [(a, b) for a in range(4) for b in range(4) for _ in range(int(table[a, b]))]
    expected = np.corrcoef(np.array(pairs).T)[0, 1]
    assert texture.haralick(table)["correlation"] == pytest.approx(expected)


def test_patterns_of_one_neighbourhood():
    # Brighter than the centre in a run of three; then in two places apart, which is no run.
    run = np.array([[9, 9, 9], [0, 5, 0], [0, 0, 0.0]])
    apart = np.array([[9, 0, 0], [0, 5, 0], [0, 0, 9.0]])
    assert texture.patterns(run).argmax() == 3
    assert texture.patterns(apart).argmax() == 9
    assert texture.patterns(np.zeros((5, 6)))[8] == 1.0  # as bright counts as brighter


@given(PICTURES, st.integers(0, 3))
def test_patterns_do_not_mind_turning(picture, turns):
    if min(picture.shape) < 3:
        return
    np.testing.assert_allclose(texture.patterns(np.rot90(picture, turns)), texture.patterns(picture))


@given(PICTURES)
def test_all_figures_are_finite_and_shares_are_shares(picture):
    found = texture.of_plane(picture)
    assert np.isfinite(list(found.values())).all()
    assert sum(share for name, share in found.items() if name.startswith("pattern_")) == pytest.approx(1)
    assert all(0 <= found[name] <= 1 for name in ("bright_share", "fine_share", "cooccurrence_energy"))


@given(PICTURES, st.sampled_from([0.25, 2.0, 1024.0]))
def test_units_do_not_matter(picture, gain):
    scaled = texture.of_plane(picture * gain)  # powers of two: exact
    assert scaled == pytest.approx(texture.of_plane(picture), abs=1e-9)


def test_a_constant_picture_is_flat_whatever_its_value():
    for value in (0.0, 1e5, -3.3):
        found = texture.of_plane(np.full((20, 30), value))
        assert found["gradient_mean"] == found["sharpness"] == found["fine_share"] == 0
        assert found["cooccurrence_homogeneity"] == 1


def test_windowed_has_its_percentiles_at_the_ends():
    values = np.arange(101.0)[None]
    found = texture.windowed(values)
    assert found[0, 1] == pytest.approx(0)
    assert found[0, 99] == pytest.approx(1)
    assert found[0, 50] == pytest.approx(0.5)
    np.testing.assert_allclose(texture.windowed(values, 20, 40)[0, [10, 25, 60]], [0, 0.25, 1])


def test_windowed_shows_a_rare_value():
    picture = np.zeros((20, 20))
    picture[3, 4] = 7
    assert texture.windowed(picture)[3, 4] == 1  # both percentiles are 0


@given(arrays.array_shapes(min_dims=2, max_dims=2, max_side=50), st.integers(1, 30))
def test_shrinking_keeps_the_mean_and_the_proportions(shape, most):
    picture = np.random.default_rng(0).normal(100, 10, shape)
    small = texture.shrunk(picture, most)
    assert max(small.shape) <= max(most, 1)
    assert small.mean() == pytest.approx(picture.mean())
    if max(shape) <= most:
        np.testing.assert_array_equal(small, picture)


def test_shrinking_by_whole_numbers_is_the_mean_of_blocks():
    picture = np.random.default_rng(1).normal(size=(12, 18))
    expected = picture.reshape(4, 3, 6, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(texture.shrunk(picture, 6), expected)


def test_shrinking_by_parts_weighs_what_each_pixel_covers():
    np.testing.assert_allclose(
        texture.shrunk(np.array([[1.0, 2.0, 3.0]]), 2), [[(1 + 0.5 * 2) / 1.5, (0.5 * 2 + 3) / 1.5]]
    )


def test_otsu_is_the_best_of_all_thresholds():
    random = np.random.default_rng(2)
    values = np.clip(np.concatenate([random.normal(0.3, 0.05, 500), random.normal(0.7, 0.1, 300)]), 0, 1)

    def apart(threshold: float) -> float:
        low, high = values[values < threshold], values[values >= threshold]
        return low.size * high.size * (low.mean() - high.mean()) ** 2 if low.size and high.size else 0.0

    best = max(np.arange(1, 64) / 64, key=apart)
    assert texture.otsu(values) == pytest.approx(best, abs=2 / 64)


def test_directions_and_places_are_told():
    picture = np.zeros((40, 40))
    picture[:, 20:] = 1
    found = texture.of_plane(picture)
    assert found["right_minus_left"] == pytest.approx(1)
    assert found["low_minus_high"] == pytest.approx(0)
    assert found["mirror_difference"] == pytest.approx(1)
    assert found["bright_share"] == pytest.approx(0.5)


def test_noise_is_finer_than_a_ramp():
    noise = texture.of_plane(np.random.default_rng(3).normal(size=(64, 64)))
    ramp = texture.of_plane(np.add.outer(np.arange(64.0), np.arange(64.0)))
    assert noise["fine_share"] > 0.6 > 0.1 > ramp["fine_share"]
    assert noise["sharpness"] > 10 * ramp["sharpness"]
    assert noise["cooccurrence_homogeneity"] < ramp["cooccurrence_homogeneity"]
