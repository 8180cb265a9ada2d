"""Radiomics: pyradiomics' and the phantom's values, what must not change them, the undefined and the refused."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radkit.errors import UserError
from radkit.metrics.radiomics import FAMILIES, radiomics_features, regions, sizes
from tests.metrics import made_up_regions
from tests.metrics.pyradiomics_values import VALUES

TEXTURES = ("firstorder", "glcm", "glrlm", "glszm", "gldm", "ngtdm")


def found_in(region: made_up_regions.Region) -> dict[str, float]:
    image, mask, spacing, bin_width = region
    return radiomics_features(image=image, mask=mask, spacing=spacing, bin_width=bin_width)


def of_families(found: dict[str, float], *families: str) -> dict[str, float]:
    return {name: value for name, value in found.items() if name.split("_")[1] in families}


@pytest.mark.parametrize("column", range(len(made_up_regions.MEASURED)), ids=list(made_up_regions.MEASURED))
def test_every_feature_is_pyradiomics(column: int) -> None:
    found = found_in(list(made_up_regions.MEASURED.values())[column]())
    assert found == pytest.approx({name: row[column] for name, row in VALUES.items()}, rel=1e-8, abs=1e-8)


def test_the_phantom_measures_what_the_initiative_published() -> None:
    # Zwanenburg et al. 2020, digital phantom, textures in 3-D and averaged over directions.
    published = {
        "shape": {"MeshVolume": 556, "VoxelVolume": 592, "SurfaceArea": 388, "SurfaceVolumeRatio": 0.698,
                  "Sphericity": 0.843, "Elongation": 0.816, "Flatness": 0.749},
        "firstorder": {"Mean": 2.15, "Variance": 3.05, "Skewness": 1.08, "Median": 1, "Energy": 567,
                       "Uniformity": 0.512},
        "glcm": {"MaximumProbability": 0.503, "JointAverage": 2.14, "SumSquares": 3.1, "JointEntropy": 2.4,
                 "DifferenceAverage": 1.43, "DifferenceVariance": 3.06, "DifferenceEntropy": 1.56, "SumAverage": 4.29,
                 "SumEntropy": 1.92, "JointEnergy": 0.303, "Contrast": 5.32, "Id": 0.677, "Idn": 0.851, "Idm": 0.618,
                 "Idmn": 0.898, "InverseVariance": 0.0604, "Correlation": 0.157, "Autocorrelation": 5.06,
                 "ClusterTendency": 7.07, "ClusterShade": 16.6, "ClusterProminence": 145, "Imc1": -0.157, "Imc2": 0.52},
        "gldm": {"SmallDependenceEmphasis": 0.045, "LargeDependenceEmphasis": 109, "LowGrayLevelEmphasis": 0.693,
                 "HighGrayLevelEmphasis": 7.66, "GrayLevelNonUniformity": 37.9, "DependenceNonUniformity": 4.86,
                 "DependenceVariance": 22.1, "DependenceEntropy": 4.4},
        "ngtdm": {"Coarseness": 0.0296, "Contrast": 0.584, "Busyness": 6.54, "Complexity": 13.5, "Strength": 0.763},
    }  # fmt: skip
    found = found_in(made_up_regions.ibsi_phantom())
    for family, values in published.items():
        for name, value in values.items():
            assert float(f"{found[f'original_{family}_{name}']:.3g}") == pytest.approx(value, rel=2e-3), (family, name)


def test_there_are_107_plain_numbers_of_known_names() -> None:
    found = found_in(made_up_regions.ragged())
    assert sorted(found) == sorted(VALUES)
    assert [len(names) for names, _ in FAMILIES.values()] == [14, 18, 24, 16, 16, 14, 5]
    assert all(type(value) is float for value in found.values())
    assert json.loads(json.dumps(found)) == found


def test_lists_are_taken_and_any_label_is_inside() -> None:
    image, mask, spacing, bin_width = made_up_regions.single_slice()
    found = radiomics_features(image.tolist(), (mask * 3).tolist(), list(spacing), bin_width)
    assert found == found_in((image, mask, spacing, bin_width))


@settings(max_examples=15)
@given(margin=st.tuples(*[st.integers(0, 3)] * 6), outside=st.sampled_from([-3000.0, 0.0, math.nan, math.inf]))
def test_what_lies_outside_the_mask_does_not_matter(margin: tuple[int, ...], outside: float) -> None:
    image, mask, spacing, bin_width = made_up_regions.ellipsoid()
    pad = [(margin[k], margin[k + 3]) for k in range(3)]
    wide = np.pad(mask, pad)
    around = np.where(wide, np.pad(image, pad), outside)
    assert found_in((around, wide, spacing, bin_width)) == found_in((image, mask, spacing, bin_width))


@settings(max_examples=20)
@given(axes=st.permutations(range(3)), flips=st.lists(st.booleans(), min_size=3, max_size=3))
def test_turned_and_mirrored_regions_have_the_same_texture(axes: list[int], flips: list[bool]) -> None:
    image, mask, spacing, bin_width = made_up_regions.ragged()
    way = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    turned = found_in((
        image.transpose(axes)[way], mask.transpose(axes)[way], tuple(spacing[axis] for axis in axes), bin_width
    ))  # fmt: skip
    found = found_in((image, mask, spacing, bin_width))
    assert of_families(turned, *TEXTURES) == pytest.approx(of_families(found, *TEXTURES), rel=1e-9)
    for name in ("VoxelVolume", "Maximum3DDiameter", "MajorAxisLength", "MinorAxisLength", "LeastAxisLength"):
        assert turned[f"original_shape_{name}"] == pytest.approx(found[f"original_shape_{name}"])
    planes = [f"original_shape_Maximum2DDiameter{name}" for name in ("Slice", "Column", "Row")]
    assert [turned[name] for name in planes] == pytest.approx([found[planes[axis]] for axis in axes])


@settings(max_examples=15)
@given(bins=st.integers(-40, 40), width=st.sampled_from([12.5, 25.0]))
def test_whole_bins_added_to_the_image_leave_texture_alone(bins: int, width: float) -> None:
    # Widths that are exact in binary, so that no value changes its bin by rounding.
    image, mask, spacing, _ = made_up_regions.ragged()
    found = found_in((image, mask, spacing, width))
    moved = found_in((image + bins * width, mask, spacing, width))
    assert of_families(moved, *TEXTURES[1:]) == of_families(found, *TEXTURES[1:])
    assert moved["original_firstorder_Mean"] == pytest.approx(found["original_firstorder_Mean"] + bins * width)


@settings(max_examples=15)
@given(factor=st.floats(0.1, 20))
def test_shape_grows_with_the_spacing(factor: float) -> None:
    powers = {"VolumeRatio": -1, "Volume": 3, "Area": 2, "Diameter": 1, "AxisLength": 1}
    image, mask, spacing, bin_width = made_up_regions.ragged()
    small = of_families(found_in((image, mask, spacing, bin_width)), "shape")
    large = found_in((image, mask, tuple(factor * size for size in spacing), bin_width))
    for name, value in small.items():
        power = next((power for ending, power in powers.items() if ending in name), 0)
        assert large[name] == pytest.approx(value * factor**power), name


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_runs_and_zones_are_those_of_a_plain_search(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 6, 3))
    image, mask = random.integers(0, 3, shape), random.random(shape) < 0.7
    mask.flat[0] = True
    region = regions.cut_out(image, mask, (1, 1, 1), 1.0)
    level = {tuple(place): int(value) for place, value in zip(region.coordinates, region.levels, strict=True)}
    for direction in regions.DIRECTIONS:
        levels, lengths = sizes._runs(region, direction)
        plain = sorted(runs_of(level, direction))
        assert sorted(zip(levels.tolist(), lengths.tolist(), strict=True)) == plain or not levels.size
    percentage = sizes.size_zones(region)["ZonePercentage"]
    assert percentage == pytest.approx(number_of_zones(level) / len(level))


def runs_of(level: dict[tuple[int, ...], int], direction: tuple[int, ...]) -> list[tuple[int, int]]:
    found = []
    for place, value in level.items():
        before = tuple(a - b for a, b in zip(place, direction, strict=True))
        if level.get(before) != value:
            length, here = 0, place
            while level.get(here) == value:
                length, here = length + 1, tuple(a + b for a, b in zip(here, direction, strict=True))
            found.append((value, length))
    return found


def number_of_zones(level: dict[tuple[int, ...], int]) -> int:
    left, zones = dict(level), 0
    while left:
        place, value = left.popitem()
        zones, reached = zones + 1, [place]
        while reached:
            here = reached.pop()
            for step in itertools.product((-1, 0, 1), repeat=3):
                beside = tuple(a + b for a, b in zip(here, step, strict=True))
                if left.get(beside) == value:
                    del left[beside]
                    reached.append(beside)
    return zones


def test_an_empty_mask_has_107_undefined_features() -> None:
    found = found_in((np.ones((3, 4, 5)), np.zeros((3, 4, 5)), (1.0, 1.0, 1.0), 25.0))
    assert sorted(found) == sorted(VALUES)
    assert all(math.isnan(value) for value in found.values())


def test_what_needs_neighbours_is_undefined_in_one_voxel() -> None:
    image, mask = np.full((3, 3, 3), 50.0), np.zeros((3, 3, 3))
    mask[1, 1, 1] = 1
    found = found_in((image, mask, (1.0, 1.0, 1.0), 25.0))
    undefined = {name for name, value in found.items() if math.isnan(value)}
    shapeless = {"original_shape_Elongation", "original_shape_Flatness"}
    assert undefined == set(of_families(found, "glcm", "glrlm")) | shapeless
    assert found["original_shape_MajorAxisLength"] == 0
    assert found["original_glszm_ZonePercentage"] == 1
    assert found["original_ngtdm_Coarseness"] == 1e6


def test_voxels_that_nothing_joins_have_no_co_occurrence() -> None:
    image, mask = np.arange(60.0).reshape(3, 4, 5), np.zeros((3, 4, 5))
    mask[0, 0, 0] = mask[2, 3, 4] = 1
    found = found_in((image, mask, (1.0, 1.0, 1.0), 5.0))
    assert all(math.isnan(value) for value in of_families(found, "glcm", "glrlm").values())
    assert found["original_gldm_LargeDependenceEmphasis"] == 1
    assert math.isnan(found["original_firstorder_RobustMeanAbsoluteDeviation"])


def test_equal_fractions_are_a_flat_region() -> None:
    # Their mean is not exactly 0.1: the variance is above 0 by rounding alone.
    found = found_in((np.full((3, 3, 3), 0.1), np.ones((3, 3, 3)), (1.0, 1.0, 1.0), 25.0))
    assert (found["original_firstorder_Skewness"], found["original_firstorder_Kurtosis"]) == (0, 0)


def test_a_value_on_an_edge_belongs_to_the_bin_above() -> None:
    image = np.array([[[-26.0, -25.0, -1.0, 0.0, 24.0, 25.0, 50.0]]])
    region = regions.cut_out(image, np.ones(image.shape), (1, 1, 1), 25.0)
    assert region.levels.tolist() == [1, 2, 2, 3, 3, 4, 5]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.ones((4, 5))}, r"\(4, 5\) and \(3, 4, 5\)"),
        ({"image": np.ones((4, 5)), "mask": np.ones((4, 5))}, r"image\[None\]"),
        ({"image": np.full((3, 4, 5), np.nan)}, "60 of 60 values are nan or infinite"),
        ({"image": np.full((3, 4, 5), "a")}, "must hold numbers"),
        ({"spacing": (1.0, 1.0)}, "3 sizes > 0 in mm"),
        ({"spacing": (1.0, 0.0, 1.0)}, "3 sizes > 0 in mm"),
        ({"bin_width": 0.0}, "bin_width must be a number > 0"),
        ({"bin_width": 1e-3}, "more than 4096 bins"),
    ],
)
def test_wrong_input_is_refused_in_words(changed: dict[str, object], message: str) -> None:
    right = {"image": np.arange(60.0).reshape(3, 4, 5), "mask": np.ones((3, 4, 5)), "spacing": (1.0, 1.0, 1.0)}
    with pytest.raises(UserError, match=message):
        radiomics_features(**(right | {"bin_width": 5.0} | changed))
