"""Topologies: nnU-Net's own, worked by its program (2.8.1), and what holds for all of them."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.planning import topology

SPACINGS = st.floats(0.3, 6.0)
SIZES = st.integers(4, 300)
# Spacing, patch asked for; patch, strides and kernels that nnU-Net gives.
OF_NNUNET = [
    ((1, 1, 1), (36, 50, 35), (40, 56, 40), [(1, 1, 1)] + [(2, 2, 2)] * 3, [(3, 3, 3)] * 4),
    ((3.6, 0.62, 0.62), (20, 320, 256), (20, 320, 256),
     [(1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2)],
     [(1, 3, 3), (1, 3, 3)] + [(3, 3, 3)] * 5),
    ((1, 1), (512, 512), (512, 512), [(1, 1)] + [(2, 2)] * 7, [(3, 3)] * 8),
]  # fmt: skip


@pytest.mark.parametrize(("spacing", "asked", "patch", "strides", "kernels"), OF_NNUNET)
def test_a_patch_gives_nnunets_network(spacing, asked, patch, strides, kernels):
    found = topology.of_patch(asked, spacing)
    assert (found.patch, list(found.strides), list(found.kernels)) == (patch, strides, kernels)


def test_features_double_up_to_what_the_rank_allows():
    assert topology.of_patch((512, 512), (1, 1)).filters == (32, 64, 128, 256, 512, 512, 512, 512)
    assert topology.of_patch((128, 128, 128), (1, 1, 1)).filters == (32, 64, 128, 256, 320, 320)


def test_elements_are_what_convolutions_give():
    # Two levels of an 8 x 8 patch, worked by hand: 64 voxels x (2 + 3) x 32 and the answer's 2; 16 voxels x 2 x 64.
    found = topology.Topology((8, 8), ((1, 1), (2, 2)), ((3, 3), (3, 3)))
    assert found.elements(2) == 64 * (5 * 32 + 2) + 16 * 2 * 64


@given(st.one_of(*(st.tuples(st.tuples(*[SPACINGS] * n), st.tuples(*[SIZES] * n)) for n in (2, 3))))
def test_every_patch_divides_and_leaves_four_voxels(given_):
    spacing, asked = given_
    found = topology.of_patch(asked, spacing)
    for size, by, want in zip(found.patch, found.divisor, asked):
        assert size % by == 0
        assert want <= size < want + by
        assert size // by >= min(want, topology.LEAST_EDGE)
    assert len(found.strides) == len(found.kernels) == len(found.filters)
    assert found.kernels[-1] == (3,) * len(asked)


@settings(max_examples=20)
@given(st.tuples(*[SPACINGS] * 3), st.tuples(*[SIZES] * 3))
def test_a_patch_gets_smaller_until_it_ends(spacing, median):
    found = topology.first(spacing, median)
    for _ in range(400):
        smaller = topology.smaller(found, spacing, median)
        if smaller is None:
            return
        assert math.prod(smaller.patch) < math.prod(found.patch)
        assert min(smaller.patch) >= 1
        found = smaller
    pytest.fail(f"{found.patch} is still not the smallest")


def test_the_first_patch_is_at_most_the_image_and_as_wide_in_mm_along_each_axis():
    found = topology.first((2.0, 1.0, 1.0), (400, 400, 400))
    assert found.patch[0] * 2 == pytest.approx(found.patch[1], rel=0.1)
    assert topology.first((1, 1, 1), (20, 20, 20)).patch == (20, 20, 20)
