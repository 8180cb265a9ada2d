"""Series of several volumes: each image stands in one of them, whatever order and names its files have."""

import itertools
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from radkit.dicom import SeriesError, read_volumes
from tests import made_up
from tests.dicom import made_up_stacks as stacks

ANGLE = st.floats(-180, 180)
PLACES = st.builds(
    made_up.affine,
    st.tuples(st.floats(0.5, 6), st.floats(0.3, 3), st.floats(0.3, 3)),
    tilt=st.one_of(st.just(0.0), st.floats(1, 25)),
    angles=st.one_of(st.just((0.0, 0.0, 0.0)), st.tuples(ANGLE, ANGLE, ANGLE)),
)
# Not made smaller where they fail: each example is a series to write and to read.
some = settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
)
# Attribute -> values in the order in which volumes of one grid are expected; None leaves it out.
AXES = {
    "EchoTime": ["1.5", "2.46", "10"],
    "ImageType": [["ORIGINAL", "PRIMARY", "M", "ND"], ["ORIGINAL", "PRIMARY", "P", "ND"]],
    "TemporalPositionIdentifier": [1, 2, 10],
    "DiffusionBValue": [0.0, 1000.0],
    "FlipAngle": ["5", "15", None],
    "InversionTime": ["100", None],
    "AcquisitionNumber": [1, 2],
    "AcquisitionTime": ["101112.5", "101115"],
}
NUM_SLICES = 3


def several(place, axes, number=lambda volume, index, volumes: volume * NUM_SLICES + index + 1, num_slices=NUM_SLICES):
    """Returns data sets of all combinations of the axes' values at the same places: {combination: data sets}."""
    combinations = list(itertools.product(*axes.values()))
    found = {}
    for volume, values in enumerate(combinations):
        stored = made_up.stored_values((num_slices, 3, 4), seed=volume)
        datasets = stacks.slices(place, stored, "MR", volume)
        for index, dataset in enumerate(datasets):
            dataset.InstanceNumber = number(volume, index, len(combinations))
            for keyword, value in zip(axes, values, strict=True):
                if value is not None:
                    setattr(dataset, keyword, value)
                elif keyword in dataset:
                    del dataset[keyword]
        found[tuple(map(as_text, values))] = datasets
    return found


def as_text(value):
    return "" if value is None else "\\".join(value) if isinstance(value, list) else str(value)


def read_all(folder, datasets, seed=0, **policy):
    """Reads data sets under names and in an order that say nothing, and tells that none is lost."""
    paths = stacks.save(folder, datasets, seed)
    by_uid = {str(d.SOPInstanceUID): p for d, p in zip(datasets, paths, strict=True)}
    random.Random(seed).shuffle(paths)
    volumes = read_volumes(paths, **policy)
    stacks.each_once(volumes, by_uid)
    for volume in volumes:
        for k, uid in enumerate(volume.instance_uids):
            (dataset,) = (d for d in datasets if d.SOPInstanceUID == uid)
            np.testing.assert_array_equal(
                volume.stored[k].ravel(), np.frombuffer(dataset.PixelData, volume.stored.dtype)
            )
            if "ImagePositionPatient" in dataset:
                at = [float(v) for v in dataset.ImagePositionPatient]
                if policy.get("spacing") != "keep":
                    np.testing.assert_allclose((volume.affine @ [0, 0, k, 1])[:3], at, atol=1e-3)
    return volumes


def said_of(volumes):
    return [(v.instance_uids, v.apart, v.findings, v.affine.tolist()) for v in volumes]


@pytest.mark.slow
@some
@given(PLACES, st.data(), st.integers(0, 999))
def test_all_combinations_at_the_same_places_are_volumes_of_their_own(tmp_path, place, data, seed):
    keywords = data.draw(st.lists(st.sampled_from(sorted(AXES)), min_size=1, max_size=3, unique=True))
    axes = {keyword: AXES[keyword] for keyword in AXES if keyword in keywords}
    given_volumes = several(place, axes)
    volumes = read_all(tmp_path, [d for datasets in given_volumes.values() for d in datasets], seed)
    assert len(volumes) == len(given_volumes)
    assert {keyword for volume in volumes for keyword in volume.apart} == set(axes)
    for volume in volumes:
        assert set(volume.apart) == set(axes)
        expected = given_volumes[tuple(volume.apart[keyword] for keyword in axes)]
        assert volume.instance_uids == tuple(d.SOPInstanceUID for d in expected)
        for keyword in axes:
            assert any(keyword in finding for finding in volume.findings)


@pytest.mark.slow
@some
@given(PLACES, st.sampled_from(sorted(AXES)), st.integers(0, 999))
def test_the_same_files_give_the_same_volumes_whatever_their_names_and_order(tmp_path, place, keyword, seed):
    datasets = [d for found in several(place, {keyword: AXES[keyword]}).values() for d in found]
    datasets += stacks.slices(made_up.affine(angles=(90, 0, 0)), made_up.stored_values((2, 3, 4)), "MR", 90)
    first = read_all(tmp_path, datasets)
    random.Random(seed).shuffle(datasets)
    again = read_all(tmp_path, datasets, seed)
    assert said_of(again) == said_of(first)


@pytest.mark.parametrize("keyword", sorted(set(AXES) - {"ImageType"}))
def test_volumes_come_in_the_order_of_what_tells_them_apart(tmp_path, keyword):
    values = [v for v in AXES[keyword] if v is not None]
    found = several(made_up.affine(), {keyword: list(reversed(AXES[keyword]))})
    volumes = read_all(tmp_path, [d for datasets in found.values() for d in datasets])
    assert [v.apart[keyword] for v in volumes if v.apart[keyword]] == [as_text(v) for v in values]


NUMBERINGS = {
    "volume after volume": lambda volume, index, volumes: volume * 5 + index + 1,
    "volume after volume, slices downwards": lambda volume, index, volumes: volume * 5 + 5 - index,
    "slice after slice": lambda volume, index, volumes: index * volumes + volume + 1,
    "slice after slice, downwards": lambda volume, index, volumes: (4 - index) * volumes + volume + 1,
}


@pytest.mark.parametrize("numbering", NUMBERINGS)
@pytest.mark.parametrize("num_volumes", [2, 3, 11])
def test_where_only_instance_numbers_tell_volumes_apart_they_do(tmp_path, numbering, num_volumes):
    found = several(made_up.affine(), {"SeriesNumber": range(1, num_volumes + 1)}, NUMBERINGS[numbering], 5)
    volumes = read_all(tmp_path, [d for datasets in found.values() for d in datasets], 3)
    assert [v.instance_uids for v in volumes] == [tuple(d.SOPInstanceUID for d in ds) for ds in found.values()]
    assert [v.apart for v in volumes] == [{"InstanceNumber": str(n + 1)} for n in range(num_volumes)]
    assert all("the order of InstanceNumber alone" in " ".join(v.findings) for v in volumes)


@some
@given(PLACES, st.sampled_from(sorted(set(AXES) - {"EchoTime"})), st.integers(0, 999))
def test_an_image_that_one_of_the_volumes_lacks_is_refused_by_name(tmp_path, place, keyword, seed):
    found = several(place, {keyword: AXES[keyword]}, num_slices=5)
    datasets = [d for datasets in found.values() for d in datasets]
    del datasets[random.Random(seed).randrange(len(datasets))]
    with pytest.raises(SeriesError, match=r"slice positions occur more than once|slices are missing"):
        read_all(tmp_path, datasets, seed)


@pytest.mark.slow
@some
@given(PLACES, st.sampled_from(sorted(AXES)), st.integers(0, 999))
def test_kept_images_are_all_there_though_one_volume_lacks_one(tmp_path, place, keyword, seed):
    found = several(place, {keyword: AXES[keyword]}, num_slices=5)
    datasets = [d for datasets in found.values() for d in datasets]
    del datasets[random.Random(seed).randrange(len(datasets))]
    volumes = read_all(tmp_path, datasets, seed, spacing="keep")
    assert sum(len(v.stored) for v in volumes) == len(datasets)
    assert all(v.findings for v in volumes)


@pytest.mark.parametrize("policy", ["keep", "resample"])
@pytest.mark.parametrize("keyword", ["TemporalPositionIdentifier", "DiffusionBValue", "ImageType"])
def test_kept_volumes_mix_no_times_though_one_lacks_an_image(tmp_path, keyword, policy):
    found = several(made_up.affine(), {keyword: AXES[keyword]}, num_slices=5)
    of = {str(d.SOPInstanceUID): values for values, datasets in found.items() for d in datasets}
    datasets = [d for datasets in found.values() for d in datasets]
    del datasets[2]
    for volume in read_volumes(stacks.save(tmp_path, datasets), spacing=policy):
        assert len({of[uid] for uid in volume.instance_uids}) == (1 if volume.paths else 0)
        assert volume.apart[keyword]


@pytest.mark.parametrize("rows", [3, 4])
def test_a_localizer_of_three_planes_is_three_volumes(tmp_path, rows):
    datasets = []
    for plane, angles in enumerate([(0, 0, 0), (90, 0, 0), (90, 0, 90)]):
        size = rows if plane else 3
        stored = made_up.stored_values((3, size, 4), seed=plane)
        datasets += stacks.slices(made_up.affine((10.0, 1.0, 1.0), angles=angles), stored, "MR", plane)
    volumes = read_all(tmp_path, datasets, 5)
    assert len(volumes) == 3
    for volume in volumes:
        assert any(
            "one of 3 grids in the series, which differ in ImageOrientationPatient" in f for f in volume.findings
        )


@pytest.mark.parametrize("gap", [4.0, 13.7, 60.0])
def test_two_stacks_apart_along_their_normal_that_nothing_tells_apart_are_refused(tmp_path, gap):
    datasets = []
    for stack in range(2):
        place = made_up.affine(angles=(10, 20, 30))
        place[:3, 3] += stack * (2 + gap) * place[:3, 2]
        datasets += stacks.slices(place, made_up.stored_values((3, 3, 4), seed=stack), "MR", stack)
    with pytest.raises(SeriesError, match=r"missing|irregular"):
        read_all(tmp_path, datasets, 2)
    (kept,) = read_all(tmp_path, datasets, 2, spacing="keep")
    assert len(kept.stored) == 6


def test_two_stacks_with_a_stack_id_are_two_volumes(tmp_path):
    datasets = []
    for stack in range(2):
        place = made_up.affine()
        place[:3, 3] += stack * 20 * place[:3, 2]
        datasets += stacks.slices(place, made_up.stored_values((3, 3, 4), seed=stack), "MR", stack)
        for dataset in datasets[-3:]:
            dataset.StackID = str(stack + 1)
    assert [v.apart for v in read_all(tmp_path, datasets, 2)] == [{"StackID": "1"}, {"StackID": "2"}]


@pytest.mark.parametrize("numbering", ["volume after volume", "slice after slice"])
@pytest.mark.parametrize("shift", [1, 40, 300])
def test_two_stations_side_by_side_are_two_volumes_each_in_its_place(tmp_path, numbering, shift):
    datasets = []
    for station in range(2):
        place = made_up.affine()
        place[:3, 3] += station * shift * place[:3, 1]
        more = stacks.slices(place, made_up.stored_values((5, 3, 4), seed=station), "MR", station)
        for index, dataset in enumerate(more):
            dataset.InstanceNumber = NUMBERINGS[numbering](station, index, 2)
        datasets += more
    volumes = read_all(tmp_path, datasets, 1)
    assert sorted(len(v.stored) for v in volumes) == [5, 5]
    assert abs(volumes[0].affine[1, 3] - volumes[1].affine[1, 3]) == pytest.approx(shift * 0.7, abs=1e-6)


def test_two_stations_side_by_side_are_not_said_to_be_at_the_same_positions(tmp_path):
    datasets = []
    for station in range(2):
        place = made_up.affine()
        place[:3, 3] += station * 300 * place[:3, 1]
        datasets += stacks.slices(place, made_up.stored_values((5, 3, 4), seed=station), "MR", station)
    for volume in read_all(tmp_path, datasets, 1):
        assert not any("at the same positions" in finding for finding in volume.findings)


@some
@given(PLACES, st.integers(0, 999), st.floats(0, 4e-4))
def test_jitter_of_an_orientation_splits_nothing(tmp_path, place, seed, jitter):
    rng = np.random.default_rng(seed)
    datasets = stacks.slices(place, made_up.stored_values((8, 3, 4)))
    for dataset in datasets:
        orientation = np.array([float(v) for v in dataset.ImageOrientationPatient]) + rng.uniform(-jitter, jitter, 6)
        dataset.ImageOrientationPatient = stacks.text(orientation)
        dataset.PixelSpacing = stacks.text([float(v) + rng.uniform(-4e-5, 4e-5) for v in dataset.PixelSpacing])
    (volume,) = read_volumes(stacks.save(tmp_path, datasets, seed))
    assert len(volume.stored) == 8


@pytest.mark.parametrize("hundredths_of_a_micron", [*range(7810, 7840), 9999])
def test_a_last_digit_of_four_splits_nothing(tmp_path, hundredths_of_a_micron):
    datasets = stacks.slices(made_up.affine(), made_up.stored_values((4, 3, 4)))
    for index, dataset in enumerate(datasets):
        dataset.PixelSpacing = stacks.text([(hundredths_of_a_micron + index % 2) / 10000] * 2)
    assert len(read_volumes(stacks.save(tmp_path, datasets))) == 1


@some
@given(st.integers(0, 999))
def test_jitter_about_the_tolerance_gives_the_same_volumes_whatever_the_files_names(tmp_path, seed):
    datasets = stacks.slices(made_up.affine(), made_up.stored_values((8, 3, 4)))
    rng = np.random.default_rng(7)
    for dataset in datasets:
        orientation = np.array([float(v) for v in dataset.ImageOrientationPatient]) + rng.uniform(-6e-4, 6e-4, 6)
        dataset.ImageOrientationPatient = stacks.text(orientation)
    found = []
    for names in (0, seed):
        paths = stacks.save(tmp_path, datasets, names)
        found.append(sorted(v.instance_uids for v in read_volumes(paths, spacing="keep")))
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("keyword", "second"),
    [("FrameOfReferenceUID", "1.2.3"), ("Rows", None), ("PixelSpacing", ["0.7", "0.9"]), ("EchoTime", "")],
)
def test_images_of_another_grid_are_another_volume_and_each_says_so(tmp_path, keyword, second):
    datasets = stacks.slices(made_up.affine(), made_up.stored_values((4, 3, 4)), "MR", EchoTime="5")
    more = stacks.slices(made_up.affine(), made_up.stored_values((4, 4, 3)), "MR", 1, EchoTime="5")
    for dataset in more:
        if keyword != "Rows":
            dataset.Rows, dataset.Columns = 3, 4
            setattr(dataset, keyword, second)
    volumes = read_all(tmp_path, [*datasets, *more], 1)
    assert [len(v.stored) for v in volumes] == [4, 4]
    for volume in volumes:
        assert any(f.startswith("one of 2 grids in the series") and keyword in f for f in volume.findings)


def picture(uid, number, rgb=True, **more):
    """Returns a secondary capture, which has no place."""
    found = Dataset()
    found.update(stacks.slices(made_up.affine(), made_up.stored_values((1, 6, 8)), **more)[0])
    found.file_meta = stacks.slices(made_up.affine(), made_up.stored_values((1, 6, 8)))[0].file_meta
    for keyword in (
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept",
        "FrameOfReferenceUID", "AcquisitionNumber", "KVP", "SliceThickness",
    ):  # fmt: skip
        if keyword in found:
            del found[keyword]
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    found.BitsAllocated, found.BitsStored, found.HighBit, found.PixelRepresentation = 8, 8, 7, 0
    if rgb:
        found.SamplesPerPixel, found.PlanarConfiguration, found.PhotometricInterpretation = 3, 0, "RGB"
    found.PixelData = bytes(6 * 8 * (3 if rgb else 1))
    found.InstanceNumber = number
    return stacks.renamed(found, uid)


@pytest.mark.parametrize("rgb", [True, False])
@pytest.mark.parametrize("modality", ["CT", "OT"])
@pytest.mark.parametrize("count", [1, 2])
def test_pictures_in_a_series_are_volumes_of_their_own(tmp_path, rgb, modality, count):
    values = made_up.stored_values((5, 3, 4))
    pictures = [picture(f"1.2.3.{n}", 6 + n, rgb) for n in range(count)]
    for dataset in pictures:
        dataset.Modality = modality
    datasets = [*stacks.slices(made_up.affine(), values), *pictures]
    volumes = read_volumes(stacks.save(tmp_path, datasets, 4))
    by_size = sorted(volumes, key=lambda v: -len(v.stored))
    np.testing.assert_array_equal(by_size[0].stored, values)
    assert [v.stored.shape for v in by_size[1:]] == [(1, 6, 8, 3) if rgb else (1, 6, 8)] * count
    for volume in by_size[1:]:
        assert f"{count} of the series' images have no place in the patient" in volume.findings


def without_pixels(sop_class, uid):
    found = Dataset()
    found.update(stacks.slices(made_up.affine(), made_up.stored_values((1, 3, 4)))[0])
    found.file_meta = stacks.slices(made_up.affine(), made_up.stored_values((1, 3, 4)))[0].file_meta
    for keyword in ("PixelData", "Rows", "Columns", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        del found[keyword]
    found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = sop_class
    return stacks.renamed(found, uid)


# Grayscale presentation state, raw data, spectroscopy.
NO_IMAGES = ("1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.66", "1.2.840.10008.5.1.4.1.1.4.2")


@pytest.mark.parametrize("sop_class", NO_IMAGES)
@pytest.mark.parametrize("count", [1, 3])
def test_instances_without_pixels_are_left_out_and_counted(tmp_path, sop_class, count):
    values = made_up.stored_values((5, 3, 4))
    more = [without_pixels(sop_class, f"1.2.3.{n}") for n in range(count)]
    (volume,) = read_volumes(stacks.save(tmp_path, [*stacks.slices(made_up.affine(), values), *more], 4))
    np.testing.assert_array_equal(volume.stored, values)
    assert volume.findings == (f"{count} instances without pixels were left out",)
    with pytest.raises(SeriesError, match=f"none of the {count} instances has PixelData"):
        read_volumes(stacks.save(tmp_path, more))


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.2"])
def test_a_radiograph_for_presentation_that_has_lost_its_pixels_is_refused(tmp_path, sop_class):
    made_up.radiograph(tmp_path / "a.dcm")
    lost = without_pixels(sop_class, "1.2.3.4")
    lost.Modality, lost.SeriesInstanceUID = "CR", f"{made_up.ROOT_UID}.1.1.1"
    lost.save_as(tmp_path / "b.dcm", enforce_file_format=True)
    with pytest.raises(SeriesError, match="the instance has no PixelData"):
        read_volumes(sorted(tmp_path.iterdir()))


def test_a_series_of_one_file_is_one_volume_of_one_slice(tmp_path):
    values = made_up.stored_values((1, 3, 4))
    (volume,) = read_all(tmp_path, stacks.slices(made_up.affine(), values))
    np.testing.assert_array_equal(volume.stored, values)
    np.testing.assert_allclose(volume.affine, made_up.affine(), atol=1e-6)
    assert volume.apart == {}
