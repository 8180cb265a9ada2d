"""Faults put into clean series, one at a time: each is refused, or told in a finding that the clean series has not."""

import copy
import random
import shutil
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from tests import made_up
from tests.dicom import made_up_stacks as stacks

Datasets = list[Dataset]
MM = st.floats(0.3, 3)
ANGLE = st.floats(-180, 180)
PLACES = st.builds(
    made_up.affine,
    st.tuples(st.floats(0.5, 6), MM, MM),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    tilt=st.one_of(st.just(0.0), st.floats(-25, -1), st.floats(1, 25)),
    angles=st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(ANGLE, ANGLE, ANGLE)),
)
MODALITY = st.sampled_from(["CT", "MR"])
# Not made smaller where they fail: each example is a series to write and to read.
some = settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)


def series(place, count, modality, **more):
    return stacks.slices(place, made_up.stored_values((count, 4, 5)), modality, **more)


def position(dataset):
    return np.array([float(v) for v in dataset.ImagePositionPatient])


def step(datasets):
    return position(datasets[1]) - position(datasets[0])


def row(datasets):
    return np.array([float(v) for v in datasets[0].ImageOrientationPatient[:3]])


def down(datasets):
    return np.array([float(v) for v in datasets[0].ImageOrientationPatient[3:]])


def inner(datasets, rng):
    return rng.randrange(1, len(datasets) - 1)


def one_missing(datasets, rng):
    del datasets[inner(datasets, rng)]


def first_missing(datasets, rng):
    del datasets[0]


def several_missing(datasets, rng):
    gone = rng.sample(range(len(datasets) - 1), rng.randrange(2, len(datasets) // 2 + 1))
    datasets[:] = [d for k, d in enumerate(datasets) if k not in gone]


def every_second_missing(datasets, rng):
    del datasets[1::2]


def last_missing_where_images_are_counted(datasets, rng):
    for dataset in datasets:
        dataset.ImagesInAcquisition = len(datasets)
    del datasets[-1]


def last_missing_where_slices_are_counted(datasets, rng):
    for dataset in datasets:
        dataset.NumberOfSlices = len(datasets)
    del datasets[-rng.randrange(1, 3) :]


def a_copy(datasets, rng):
    datasets.append(copy.deepcopy(rng.choice(datasets)))


def a_copy_with_another_header(datasets, rng):
    a_copy(datasets, rng)
    datasets[-1].PatientComments = "written again by another program" * rng.randrange(3)
    datasets[-1].InstanceNumber = len(datasets)


def same_uid_other_pixels(datasets, rng):
    a_copy(datasets, rng)
    datasets[-1].PixelData = bytes(reversed(datasets[-1].PixelData))


def same_uid_other_place(datasets, rng):
    a_copy(datasets, rng)
    stacks.move(datasets[-1], position(datasets[-2]) + step(datasets))


def a_copy_of_another_uid(datasets, rng):
    a_copy(datasets, rng)
    stacks.renamed(datasets[-1], "1.2.3.4")


def a_copy_of_another_uid_and_number(datasets, rng):
    a_copy_of_another_uid(datasets, rng)
    datasets[-1].InstanceNumber = len(datasets)


def a_copy_of_another_time(datasets, rng):
    a_copy_of_another_uid_and_number(datasets, rng)
    datasets[-1].AcquisitionTime = datasets[-1].ContentTime = "101112"
    datasets[-1].AcquisitionNumber = 7


def doubled(datasets, rng):
    more = copy.deepcopy(datasets)
    datasets += [stacks.renamed(dataset, f"1.2.3.{k}") for k, dataset in enumerate(more)]


def doubled_with_numbers(datasets, rng):
    count = len(datasets)
    doubled(datasets, rng)
    for k, dataset in enumerate(datasets[count:]):
        dataset.InstanceNumber = count + k + 1


def doubled_with_times(datasets, rng):
    count = len(datasets)
    doubled(datasets, rng)
    for dataset in datasets[count:]:
        dataset.AcquisitionTime = "101112"


def swap(datasets, rng, keyword):
    first, second = rng.sample(datasets, 2)
    kept = getattr(first, keyword)
    setattr(first, keyword, getattr(second, keyword))
    setattr(second, keyword, kept)


def positions_of_two_swapped(datasets, rng):
    swap(datasets, rng, "ImagePositionPatient")


def numbers_of_two_swapped(datasets, rng):
    swap(datasets, rng, "InstanceNumber")


def shuffle(datasets, rng, keyword):
    values = [getattr(dataset, keyword) for dataset in datasets]
    order = list(range(len(values)))
    while order in (sorted(order), sorted(order, reverse=True)):  # the opposite way round is as good a series
        rng.shuffle(order)
    for dataset, index in zip(datasets, order, strict=True):
        setattr(dataset, keyword, values[index])


def positions_shuffled(datasets, rng):
    shuffle(datasets, rng, "ImagePositionPatient")


def numbers_shuffled(datasets, rng):
    shuffle(datasets, rng, "InstanceNumber")


def one_moved_along(datasets, rng):
    dataset = rng.choice(datasets)
    share = rng.choice([-1, 1]) * rng.choice([rng.uniform(0.05, 3), 0.5, 1, 2])
    stacks.move(dataset, position(dataset) + share * step(datasets))


def half_moved_along(datasets, rng):
    share = rng.choice([-1, 1]) * rng.choice([rng.uniform(0.05, 3), 0.5, 1, 2])
    offset = share * step(datasets)
    for dataset in datasets[inner(datasets, rng) :]:
        stacks.move(dataset, position(dataset) + offset)


def one_moved_sideways(datasets, rng):
    dataset = rng.choice(datasets)
    least = 2 * max(0.1, 0.1 * float(np.linalg.norm(step(datasets))))
    direction = rng.choice([row(datasets), down(datasets), -row(datasets)])
    stacks.move(dataset, position(dataset) + rng.uniform(least, 20) * direction)


def half_moved_sideways(datasets, rng):
    least = 3 * max(0.1, 0.1 * float(np.linalg.norm(step(datasets))))
    offset = rng.uniform(least, 20) * rng.choice([row(datasets), -down(datasets)])
    for dataset in datasets[len(datasets) // 2 :]:
        stacks.move(dataset, position(dataset) + offset)


def another_step_half_way(datasets, rng):
    first, given = len(datasets) // 2, step(datasets)
    factor = rng.choice([rng.uniform(0.05, 2), 0.5, 1, -0.3])
    for k, dataset in enumerate(datasets[first:], 1):
        stacks.move(dataset, position(dataset) + k * factor * given)


def spaced(dataset, factor):
    dataset.PixelSpacing = stacks.text([float(v) * factor for v in dataset.PixelSpacing])


def pixel_spacing_of_one(datasets, rng):
    spaced(rng.choice(datasets), rng.choice([rng.uniform(1.001, 2), 0.5]))


def pixel_spacing_of_half(datasets, rng):
    for dataset in datasets[len(datasets) // 2 :]:
        spaced(dataset, 1.1)


def pixel_spacing_of_one_turned(datasets, rng):
    dataset = rng.choice(datasets)
    across, along = map(float, dataset.PixelSpacing)
    dataset.PixelSpacing = stacks.text([along, across + 0.01])


def orientation_of_one(datasets, rng):
    dataset = rng.choice(datasets)
    sign = rng.choice([(-1, 1), (1, -1), (-1, -1)])
    dataset.ImageOrientationPatient = stacks.text([*(sign[0] * row(datasets)), *(sign[1] * down(datasets))])


def orientation_of_half(datasets, rng):
    turn = np.radians(rng.uniform(0.2, 5))
    turned = [*(row(datasets) * np.cos(turn) + down(datasets) * np.sin(turn))]
    turned += [*(down(datasets) * np.cos(turn) - row(datasets) * np.sin(turn))]
    for dataset in datasets[len(datasets) // 2 :]:
        dataset.ImageOrientationPatient = stacks.text(turned)


def scale(dataset):
    return float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))


def rescaled(dataset, slope, intercept):
    dataset.RescaleSlope, dataset.RescaleIntercept = stacks.text([slope, intercept])


def slope_of_one(datasets, rng):
    dataset = rng.choice(datasets)
    slope, intercept = scale(dataset)
    rescaled(dataset, slope * rng.choice([2, 0.5, -1, rng.uniform(1.01, 9)]), intercept)


def intercept_of_one(datasets, rng):
    dataset = rng.choice(datasets)
    slope, intercept = scale(dataset)
    rescaled(dataset, slope, intercept + rng.choice([24, 1024, 1, -0.5]))


def scale_of_one_swapped(datasets, rng):
    dataset = rng.choice(datasets)
    rescaled(dataset, *reversed(scale(dataset)))


def scale_of_all_swapped(datasets, rng):
    for dataset in datasets:
        rescaled(dataset, *reversed(scale(dataset)))


def slope_of_all_negative(datasets, rng):
    for dataset in datasets:
        slope, intercept = scale(dataset)
        rescaled(dataset, -slope, intercept)


def another_size_of_one(datasets, rng):
    dataset = rng.choice(datasets)
    dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows


def another_frame_of_reference_of_one(datasets, rng):
    rng.choice(datasets).FrameOfReferenceUID = "1.2.3"


FAULTS: tuple[Callable[[Datasets, random.Random], None], ...] = (
    one_missing, first_missing, several_missing, every_second_missing, a_copy, a_copy_with_another_header,
    same_uid_other_pixels, same_uid_other_place, a_copy_of_another_uid, a_copy_of_another_uid_and_number,
    a_copy_of_another_time, doubled, doubled_with_numbers, doubled_with_times, positions_of_two_swapped,
    numbers_of_two_swapped, positions_shuffled, numbers_shuffled, one_moved_along, half_moved_along,
    one_moved_sideways, half_moved_sideways, another_step_half_way, pixel_spacing_of_one, pixel_spacing_of_half,
    pixel_spacing_of_one_turned, orientation_of_one, orientation_of_half, slope_of_one, intercept_of_one,
    scale_of_one_swapped, scale_of_all_swapped, slope_of_all_negative, another_size_of_one,
    another_frame_of_reference_of_one, last_missing_where_images_are_counted, last_missing_where_slices_are_counted,
)  # fmt: skip


@some
@given(PLACES, st.integers(5, 9), MODALITY, st.integers(0, 999))
def test_a_clean_series_has_no_finding_but_its_tilt(tmp_path, place, count, modality, seed):
    found = stacks.said(stacks.save(tmp_path, series(place, count, modality), seed))
    tilted = abs(place[:3, 2] @ place[:3, 1]) > 1e-6
    assert len(found) == tilted
    assert all(finding.startswith("tilt: ") for finding in found)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@some
@given(PLACES, st.integers(5, 9), MODALITY, st.integers(0, 999))
def test_a_fault_is_named(tmp_path, fault, place, count, modality, seed):
    clean = series(place, count, modality)
    faulty = copy.deepcopy(clean)
    fault(faulty, random.Random(seed))
    known = stacks.said(stacks.save(tmp_path / "clean", clean, seed))
    assert stacks.said(stacks.save(tmp_path / "faulty", faulty, seed)) - known


@some
@given(PLACES, st.integers(3, 5), st.sampled_from(["EchoTime", "TemporalPositionIdentifier"]), st.integers(0, 999))
def test_any_image_but_the_last_that_a_series_of_three_volumes_lacks_is_named(tmp_path, place, count, keyword, seed):
    images = []
    for volume in range(3):
        values = made_up.stored_values((count, 4, 5), seed=volume)
        images += stacks.slices(place, values, "MR", volume, **{keyword: volume + 1})
    known = stacks.said(stacks.save(tmp_path, images, seed))
    for index in random.Random(seed).sample(range(len(images) - 1), 3):
        assert stacks.said(stacks.save(tmp_path, [*images[:index], *images[index + 1 :]], seed)) - known


@some
@given(PLACES, st.integers(7, 12), MODALITY)
def test_two_of_three_slices_missing_throughout_is_named(tmp_path, place, count, modality):
    clean = series(place, count, modality)
    known = stacks.said(stacks.save(tmp_path, clean))
    assert stacks.said(stacks.save(tmp_path, clean[::3])) - known


@some
@given(PLACES, st.integers(5, 9), st.floats(1.05, 4), st.integers(0, 999))
@example(made_up.affine((6.0, 0.3, 0.3)), 5, 1.5, 0)
def test_one_slice_moved_sideways_by_a_pixel_is_named(tmp_path, place, count, pixels, seed):
    datasets = series(place, count, "CT")
    known = stacks.said(stacks.save(tmp_path, datasets))
    dataset = datasets[inner(datasets, random.Random(seed))]
    stacks.move(dataset, position(dataset) + pixels * place[:3, 0])
    assert stacks.said(stacks.save(tmp_path, datasets)) - known


def test_a_copy_with_another_header_counts_once_and_is_no_other_image(tmp_path):
    datasets = series(made_up.affine(), 5, "CT")
    datasets.append(copy.deepcopy(datasets[2]))
    datasets[-1].PatientComments = "written again by another program"
    found = stacks.said(stacks.save(tmp_path, datasets))
    assert found == {"1 files are copies of others and count once"}


def test_ct_without_a_rescale_is_named(tmp_path):
    datasets = series(made_up.affine(), 5, "CT")
    known = stacks.said(stacks.save(tmp_path, datasets))
    for dataset in datasets:
        del dataset.RescaleSlope, dataset.RescaleIntercept
    assert stacks.said(stacks.save(tmp_path, datasets)) - known


def test_slices_thicker_than_their_step_are_said_to_overlap(tmp_path):
    datasets = series(made_up.affine((2.5, 1.0, 1.0)), 5, "CT")
    for dataset in datasets:
        dataset.SliceThickness = "5"
    assert any("overlap" in finding for finding in stacks.said(stacks.save(tmp_path, datasets)))


def test_a_whole_folder_given_twice_is_the_same_series(tmp_path):
    paths = stacks.save(tmp_path / "a", series(made_up.affine(), 5, "CT"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    found = stacks.said([*paths, *sorted((tmp_path / "b").iterdir())])
    assert found == {"5 files are copies of others and count once"}
