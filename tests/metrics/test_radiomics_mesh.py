"""The mesh behind radiomics' shape features: its table, and bodies whose surface is known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.metrics.radiomics import mesh, radiomics_features, regions, shape

UNIT = np.ones(3)


def padded(*size: int) -> np.ndarray:
    return np.pad(np.ones(size, bool), 1)


def measured(mask: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> dict[str, float]:
    found = radiomics_features(np.zeros(mask.shape), mask, spacing)
    return {name.removeprefix("original_shape_"): value for name, value in found.items() if "_shape_" in name}


@pytest.mark.parametrize("code", range(128))
def test_outlines_pass_once_through_each_edge_that_is_cut(code: int) -> None:
    cut = [number for number, (a, b) in enumerate(mesh.EDGES) if (code >> a & 1) != (code >> b & 1)]
    outlines = mesh._outlines(code)
    assert sorted(itertools.chain(*outlines)) == cut
    assert all(len(outline) >= 3 for outline in outlines)
    if code in mesh.APEX:
        assert sum(mesh.APEX[code] in outline for outline in outlines) == 1


def test_every_outline_of_five_or_more_edges_that_is_bent_has_its_hinge() -> None:
    middles = mesh.CORNERS[np.array(mesh.EDGES)].mean(axis=1)
    for code in range(128):
        bent = [
            outline for outline in mesh._outlines(code)
            if np.linalg.matrix_rank(middles[outline] - middles[outline[0]]) == 3
        ]  # fmt: skip
        assert (code in mesh.APEX) == bool(bent), code
        assert all(len(outline) >= 5 and mesh.APEX[code] in outline for outline in bent)


def test_a_voxel_is_an_octahedron() -> None:
    area, volume = mesh.area_and_volume(padded(1, 1, 1), UNIT)
    assert (area, volume) == pytest.approx((math.sqrt(3), 1 / 6))


@given(st.tuples(*[st.integers(2, 6)] * 3))
def test_a_block_loses_its_edges_and_corners(size: tuple[int, int, int]) -> None:
    # Reaching half a voxel beyond the outer voxels' centres, it is n x m x k without a prism of cross-section 1 / 8
    # along each edge, n - 1 long, and with corners of which 1 / 48 is left.
    area, volume = mesh.area_and_volume(padded(*size), UNIT)
    inner = [length - 1 for length in size]
    faces = inner[0] * inner[1] + inner[1] * inner[2] + inner[0] * inner[2]
    assert volume == pytest.approx(math.prod(inner) + faces + sum(inner) / 2 + 1 / 6)
    assert area == pytest.approx(2 * faces + 4 * sum(inner) * math.sqrt(0.5) + math.sqrt(3))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (1.6, 0.8, 0.8), (0.7, 1.1, 1.3)])
def test_a_ball_is_nearly_round_in_any_spacing(spacing: tuple[float, float, float]) -> None:
    radius = 16.0
    reach = [int(radius / step) + 2 for step in spacing]
    place = np.meshgrid(*[np.arange(-n, n + 1) * step for n, step in zip(reach, spacing, strict=True)], indexing="ij")
    found = measured(sum(one**2 for one in place) <= radius**2, spacing)
    assert found["MeshVolume"] == pytest.approx(4 / 3 * math.pi * radius**3, rel=0.015)
    assert 0.85 < found["Sphericity"] < 0.95  # Steps of voxels are no smooth surface.
    assert found["Maximum3DDiameter"] == pytest.approx(2 * radius, abs=1.1 * max(spacing))
    for name in ("Elongation", "Flatness"):
        assert found[name] == pytest.approx(1, abs=0.01)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_diameters_are_the_greatest_of_all_pairs(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random(random.integers(1, 7, 3)) < random.uniform(0.1, 0.9)
    mask.flat[0] = True
    spacing = random.uniform(0.3, 4, 3)
    region = regions.cut_out(mask, mask, spacing, 1.0)
    points = mesh.vertices(region.numbers >= 0)
    pairs = points[:, None] - points
    far = np.linalg.norm(pairs * spacing / 2, axis=-1)
    found = shape.features(region)
    assert found["Maximum3DDiameter"] == pytest.approx(far.max())
    for axis, name in enumerate(("Slice", "Column", "Row")):
        assert found[f"Maximum2DDiameter{name}"] == pytest.approx(far[pairs[..., axis] == 0].max())


def test_axes_of_a_row_of_voxels() -> None:
    found = measured(np.ones((1, 1, 5), bool), (3.0, 2.0, 0.5))
    assert found["MajorAxisLength"] == pytest.approx(4 * 0.5 * math.sqrt(2))
    assert (found["MinorAxisLength"], found["Flatness"]) == (0, 0)
