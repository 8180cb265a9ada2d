"""Series as volumes: against SimpleITK's reader where it is right, and by hand where it is silent."""

import random
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from radkit.dicom import SeriesError, read_volumes
from tests import made_up

REAL = Path(__file__).parents[2] / "radkit" / "demo" / "data" / "series"
ANGLE = st.floats(-180, 180)


def files(folder):
    return sorted(folder.rglob("*.dcm"))


def one(folder):
    (volume,) = read_volumes(files(folder))
    return volume


def by_simpleitk(paths):
    """Returns the values and the affine that SimpleITK reads from files in order."""
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(p) for p in paths])
    image = reader.Execute()
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return SimpleITK.GetArrayFromImage(image), affine


def set_to(**more):
    def change(dataset):
        for keyword, value in more.items():
            setattr(dataset, keyword, value)

    return change


def without(*keywords):
    def change(dataset):
        for keyword in keywords:
            if keyword in dataset:
                del dataset[keyword]

    return change


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    spacing=st.tuples(st.floats(0.3, 6), st.floats(0.3, 6), st.floats(0.3, 6)),
    angles=st.tuples(ANGLE, ANGLE, ANGLE),
    slope=st.sampled_from(["1", "2", "0.25", "1.53"]),
    seed=st.integers(0, 99),
)
def test_a_plain_series_is_as_simpleitk_reads_it(tmp_path, spacing, angles, slope, seed):
    shutil.rmtree(tmp_path)
    place = made_up.affine(spacing, angles=angles)
    stored = made_up.ct_series(tmp_path, place=place, RescaleSlope=slope)
    paths = files(tmp_path)
    random.Random(seed).shuffle(paths)
    (volume,) = read_volumes(paths)
    values, affine = by_simpleitk(volume.paths)
    np.testing.assert_array_equal(volume.stored, stored)
    np.testing.assert_allclose(volume.array, values, rtol=1e-6, atol=1e-3)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-6)
    np.testing.assert_allclose(volume.affine, place, atol=1e-6)
    np.testing.assert_allclose(volume.spacing_mm, spacing, rtol=1e-6)
    assert not volume.findings


@pytest.mark.parametrize("name", ["brain_mr_t1_post", "liver_ct"])
def test_a_real_series_is_as_simpleitk_reads_it(name):
    paths = [p for p in files(REAL / name) if "seg" not in p.name]
    (volume,) = read_volumes(paths)
    values, affine = by_simpleitk(volume.paths)
    np.testing.assert_allclose(volume.array, values, rtol=1e-6)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-5)


def test_order_is_by_position_and_the_same_whatever_order_is_given(tmp_path):
    stored = made_up.ct_series(tmp_path, slices=9)
    first = one(tmp_path)
    for seed in range(5):
        paths = [str(p) for p in files(tmp_path)]
        random.Random(seed).shuffle(paths)
        (volume,) = read_volumes([*paths, paths[0]])  # a file given twice counts once
        np.testing.assert_array_equal(volume.stored, stored)
        assert volume.paths == first.paths
        assert volume.instance_uids == first.instance_uids
    numbers = [int(pydicom.dcmread(p).InstanceNumber) for p in first.paths]
    assert numbers != sorted(numbers)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
@pytest.mark.parametrize("syntax", made_up.SYNTAXES, ids=lambda s: s.name)
def test_every_transfer_syntax_gives_the_same_volume(tmp_path, dtype, syntax):
    stored = made_up.ct_series(tmp_path, stored=made_up.stored_values((3, 5, 7), dtype), slices=3)
    for path in files(tmp_path):
        made_up.save(pydicom.dcmread(path), path, syntax)
    volume = one(tmp_path)
    assert volume.stored.dtype == dtype
    np.testing.assert_array_equal(volume.stored, stored)


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble_give_the_same_volume(tmp_path, implicit):
    stored = made_up.ct_series(tmp_path)
    for path in files(tmp_path):
        made_up.without_preamble(path, implicit)
    np.testing.assert_array_equal(one(tmp_path).stored, stored)


def test_each_slice_has_its_own_scale(tmp_path):
    faults = {k: set_to(RescaleSlope=str(k + 1), RescaleIntercept=str(-k)) for k in range(4)}
    stored = made_up.ct_series(tmp_path, slices=4, faults=faults)
    volume = one(tmp_path)
    assert volume.slope.dtype == volume.array.dtype == np.float32
    for k in range(4):
        np.testing.assert_array_equal(volume.array[k], stored[k] * (k + 1.0) - k)
    for k, path in enumerate(volume.paths):
        np.testing.assert_array_equal(volume.array[k], by_simpleitk([path])[0][0])


def test_what_the_header_says_is_kept(tmp_path):
    made_up.ct_series(tmp_path, Manufacturer="Invented", PatientAge="041Y", PatientSex="F")
    meta = one(tmp_path).meta
    said = made_up.header()
    assert {k: meta[k] for k in ("Manufacturer", "PatientAge", "PatientSex", "KVP")} == {
        "Manufacturer": "Invented", "PatientAge": "041Y", "PatientSex": "F", "KVP": "120",
    }  # fmt: skip
    assert meta["PatientID"] == said["PatientID"]
    assert meta["FrameOfReferenceUID"] == said["FrameOfReferenceUID"]
    assert meta["ViewPosition"] == ""


def test_a_tilted_series_keeps_its_shear_and_says_so(tmp_path):
    place = made_up.affine((3.0, 0.5, 0.5), tilt=18)
    made_up.ct_series(tmp_path, place=place)
    volume = one(tmp_path)
    np.testing.assert_allclose(volume.affine, place, atol=1e-6)
    assert volume.spacing_mm == pytest.approx((3.0, 0.5, 0.5))
    assert volume.findings == ("tilt: slices are sheared by 18.00 degrees; the affine keeps it",)


def test_jitter_in_the_last_digits_does_not_split_a_series(tmp_path):
    def jitter(dataset):
        off = (ord(str(dataset.SOPInstanceUID)[-1]) % 7 - 3) * 1e-5
        dataset.ImageOrientationPatient = [f"{float(v) + off:.8f}" for v in dataset.ImageOrientationPatient]
        dataset.PixelSpacing = [f"{float(v) + off / 10:.8f}" for v in dataset.PixelSpacing]

    place = made_up.affine(angles=(12.3456, 3.21, 0.0287))  # cosines near a half of the third digit
    stored = made_up.ct_series(tmp_path, place=place, slices=12, each=jitter)
    np.testing.assert_array_equal(one(tmp_path).stored, stored)


FAULTS = {
    "1 slices are missing": {2: None},
    "2 slices are missing": {2: None, 4: None},
    "slice steps are irregular": {2: set_to(ImagePositionPatient=["-11", "7", "36.9"])},
    "1 slice positions occur more than once": {2: set_to(ImagePositionPatient=["-11", "7", "33.5"])},
    "slices are not on one line": {2: set_to(ImagePositionPatient=["40", "7", "36"])},
    "ImagePositionPatient is absent in some slices": {2: without("ImagePositionPatient")},
    "ImagePositionPatient is absent in some": {0: without("ImagePositionPatient")},
    "ImagePositionPatient has 2 values": {2: set_to(ImagePositionPatient=["1", "2"])},
    "mixed: signed and unsigned": {2: set_to(PixelRepresentation=0)},
    "RescaleSlope": {2: set_to(RescaleSlope="0")},
    "the files belong to 2 series": {2: set_to(SeriesInstanceUID="1.2.3")},
    "the files belong to 2 patients": {2: set_to(PatientID="another")},
    "the files belong to 2 studies": {2: set_to(StudyInstanceUID="1.2.3")},
    "mm where the step is 2.500 mm; one of 2 grids in the series, which differ in PixelSpacing": {
        2: set_to(PixelSpacing=["0.9", "0.9"])
    },
    "PixelData is cut short": {2: set_to(PixelData=b"\0\0")},
    "the instance has no PixelData": {2: without("PixelData")},
    "ImagePositionPatient is absent in some slices: in 3": {2: set_to(NumberOfFrames=3)},
    "ModalityLUTSequence: LUTDescriptor or LUTData is missing": {2: set_to(ModalityLUTSequence=Sequence([Dataset()]))},
    "two files have the same SOPInstanceUID": {2: set_to(SOPInstanceUID=f"{made_up.ROOT_UID}.1.1.1.1")},
}


@pytest.mark.parametrize("said", FAULTS)
def test_a_fault_is_refused_by_name(tmp_path, said):
    made_up.ct_series(tmp_path, slices=7, faults=FAULTS[said])
    with pytest.raises(SeriesError) as caught:
        read_volumes(files(tmp_path))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("said", "each"),
    [
        ("PixelSpacing is absent or not positive", without("PixelSpacing")),
        ("PixelSpacing is absent or not positive", set_to(PixelSpacing=["0", "1"])),
        ("PixelSpacing has 3 values", set_to(PixelSpacing=["1", "1", "1"])),
        ("ImageOrientationPatient is not two", set_to(ImageOrientationPatient=["1", "0", "0", "1", "0", "0"])),
        ("ImageOrientationPatient has 3 values", set_to(ImageOrientationPatient=["1", "0", "0"])),
        ("5 images without ImagePositionPatient", without("ImagePositionPatient")),
        ("5 images without", without("ImageOrientationPatient")),
    ],
)
def test_a_series_without_a_grid_is_refused_by_name(tmp_path, said, each):
    made_up.ct_series(tmp_path, each=each)
    with pytest.raises(SeriesError) as caught:
        read_volumes(files(tmp_path))
    assert said in str(caught.value)


def test_no_files_are_refused():
    with pytest.raises(SeriesError, match="no files were given"):
        read_volumes([])


@pytest.mark.parametrize("content", [None, b"", b"no DICOM" * 100])
def test_a_file_that_is_no_dicom_is_refused(tmp_path, content):
    made_up.ct_series(tmp_path)
    if content is not None:
        (tmp_path / "b.dcm").write_bytes(content)
    with pytest.raises(SeriesError):
        read_volumes([*files(tmp_path), tmp_path / "b.dcm"])


@pytest.mark.parametrize("lost", [1, 10, 83, 84])
def test_a_file_cut_short_is_refused(tmp_path, lost):
    made_up.ct_series(tmp_path)
    path = files(tmp_path)[2]
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(SeriesError, match="cut short"):
        read_volumes(files(tmp_path))


def test_a_copy_of_a_file_counts_once(tmp_path):
    stored = made_up.ct_series(tmp_path)
    shutil.copy(files(tmp_path)[0], tmp_path / "copy.dcm")
    np.testing.assert_array_equal(one(tmp_path).stored, stored)


def test_pixels_that_hold_no_image_are_told(tmp_path):
    made_up.ct_series(tmp_path / "a", PixelPaddingValue=-2000)
    assert one(tmp_path / "a").padding == (-2000, -2000)
    made_up.ct_series(tmp_path / "b")
    assert one(tmp_path / "b").padding is None


@pytest.mark.parametrize(("keyword", "value"), [("ConvolutionKernel", "B70"), ("KVP", "80"), ("Modality", "OT")])
def test_slices_of_two_kinds_in_one_volume_are_told(tmp_path, keyword, value):
    made_up.ct_series(tmp_path, faults={2: set_to(**{keyword: value})}, ConvolutionKernel="B30")
    assert f"{keyword} differs between slices" in one(tmp_path).findings


@pytest.mark.parametrize("as_text", [True, False])
def test_a_folder_is_its_files(tmp_path, as_text):
    stored = made_up.ct_series(tmp_path)
    (volume,) = read_volumes(str(tmp_path) if as_text else tmp_path)
    np.testing.assert_array_equal(volume.stored, stored)


@pytest.mark.parametrize("lost", [1, 10, 5000, 100_000])
def test_large_slices_cut_short_are_refused(tmp_path, lost):
    made_up.ct_series(tmp_path, slices=3, stored=made_up.stored_values((3, 256, 256)))
    path = files(tmp_path)[1]
    path.write_bytes(path.read_bytes()[:-lost])
    with pytest.raises(SeriesError, match="cut short"):
        read_volumes(files(tmp_path))


def test_a_localizer_is_a_volume_of_its_own(tmp_path):
    stored = made_up.ct_series(tmp_path / "a")
    made_up.ct_series(tmp_path / "b", slices=1, place=made_up.affine(angles=(90, 0, 0)), size=(4, 5))
    for path in files(tmp_path / "b"):
        made_up.change(path, set_to(SOPInstanceUID="1.2.3"))
    large, small = read_volumes(files(tmp_path))
    np.testing.assert_array_equal(large.stored, stored)
    assert small.stored.shape == (1, 4, 5)


def same_place(folder, keyword, values, **more):
    """Writes one series that holds the same positions once for each value; returns the stored values by value."""
    found = []
    for number, value in enumerate(values):
        stored = made_up.stored_values((3, 4, 5), seed=number)
        change = set_to(**{keyword: value}, **more)

        def each(dataset, change=change, number=number):
            change(dataset)
            dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID}.{number}"

        made_up.ct_series(folder / str(number), stored=stored, each=each)
        found.append(stored)
    return found


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("EchoTime", ["4.92", "2.46"]),
        ("TemporalPositionIdentifier", [2, 10, 1]),
        ("DiffusionBValue", [0.0, 1000.0]),
        ("ImageType", [["ORIGINAL", "PRIMARY", "W"], ["ORIGINAL", "PRIMARY", "F"]]),
        ("AcquisitionTime", ["100000", "100001.5"]),
    ],
)
def test_images_of_one_place_are_told_apart_and_ordered(tmp_path, keyword, values):
    stored = same_place(tmp_path, keyword, values)
    found = read_volumes(files(tmp_path))
    assert len(found) == len(values)
    for volume, number in zip(found, np.argsort([str(v) if isinstance(v, list) else float(v) for v in values])):
        np.testing.assert_array_equal(volume.stored, stored[number])
        assert any(keyword in said for said in volume.findings) or keyword == "EchoTime"


def test_images_of_one_place_that_nothing_tells_apart_are_refused(tmp_path):
    same_place(tmp_path, "SeriesNumber", ["1", "2"])
    with pytest.raises(SeriesError, match="3 slice positions occur more than once"):
        read_volumes(files(tmp_path))


def test_two_frames_of_reference_are_two_volumes(tmp_path):
    same_place(tmp_path, "FrameOfReferenceUID", ["1.2.3", "1.2.4"])
    assert [v.meta["FrameOfReferenceUID"] for v in read_volumes(files(tmp_path))] == ["1.2.3", "1.2.4"]


def test_one_slice_takes_its_thickness_for_the_step(tmp_path):
    made_up.ct_series(tmp_path, slices=1)
    assert one(tmp_path).spacing_mm == pytest.approx((2.5, 0.7, 0.8))


@pytest.mark.parametrize("each", [without("SliceThickness"), set_to(SliceThickness=""), set_to(SliceThickness="-3")])
def test_one_slice_without_thickness_says_so(tmp_path, each):
    made_up.ct_series(tmp_path, slices=1, each=each)
    volume = one(tmp_path)
    assert volume.spacing_mm[0] == 1.0
    assert volume.findings == ("single slice without SliceThickness: its depth is unknown, 1 mm is set",)


def test_a_radiograph_is_a_volume_of_one_slice_in_its_own_axes(tmp_path):
    stored = made_up.radiograph(tmp_path / "a.dcm", PixelSpacing=["0.2", "0.1"])
    volume = one(tmp_path)
    np.testing.assert_array_equal(volume.array[0], stored)
    np.testing.assert_array_equal(volume.affine, np.diag([0.1, 0.2, 1, 1]))
    np.testing.assert_array_equal(volume.spacing_mm, (np.nan, 0.2, 0.1))


def test_a_radiographs_detector_spacing_is_taken_where_there_is_no_other(tmp_path):
    made_up.radiograph(tmp_path / "a.dcm", ImagerPixelSpacing=["0.2", "0.1"])
    np.testing.assert_array_equal(one(tmp_path).spacing_mm, (np.nan, 0.2, 0.1))


@pytest.mark.parametrize("more", [{}, {"PixelSpacing": ["0", "0"]}])
def test_a_radiograph_without_spacing_has_none(tmp_path, more):
    made_up.radiograph(tmp_path / "a.dcm", **more)
    volume = one(tmp_path)
    assert np.isnan(volume.spacing_mm).all()
    assert "no PixelSpacing: sizes in mm are unknown" in volume.findings


def test_monochrome1_is_turned_round_and_says_so(tmp_path):
    stored = made_up.radiograph(tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1")
    volume = one(tmp_path)
    np.testing.assert_array_equal(volume.stored[0], 65535 - stored)
    assert "MONOCHROME1: values were turned round, white is high" in volume.findings


def test_each_radiograph_of_a_series_is_a_volume_of_its_own(tmp_path):
    stored = np.arange(2 * 8 * 9, dtype=np.uint16).reshape(2, 8, 9)
    made_up.write.write_series(stored, None, made_up.header("CR"), tmp_path)
    volumes = read_volumes(tmp_path.iterdir())
    assert [v.array.shape for v in volumes] == [(1, 8, 9), (1, 8, 9)]
    assert sorted(float(v.array.max()) for v in volumes) == [71.0, 143.0]
