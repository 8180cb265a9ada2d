import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from radkit.dicom import foreign, invented, read_volumes
from radkit.dicom.volumes import SeriesError, Volume


def volume(tmp_path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (0.7, 0.8, 2.5)) -> Volume:
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin((-101.25, 7.5, 31.0))
    c, s = np.cos(0.3), np.sin(0.3)
    image.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    SimpleITK.WriteImage(image, str(tmp_path / "image.nrrd"))
    return foreign.read(tmp_path / "image.nrrd")


def picture(tmp_path: Path, array: np.ndarray, spacing: str = "") -> Volume:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(tmp_path / "image.png"))
    return foreign.read(tmp_path / "image.png", {"PixelSpacing": spacing})


def header(modality: str, **more: object) -> dict[str, object]:
    frame = {} if modality in ("CR", "US") else {"FrameOfReferenceUID": invented.uid("a", "frame")}
    return {**invented.patient("a"), **invented.study("a", "made up"), **frame, "Modality": modality, **more}


def test_the_same_name_gives_the_same_person_and_no_two_share_an_identifier() -> None:
    assert invented.patient("a") == invented.patient("a") != invented.patient("b")
    names = [f"patient {number}" for number in range(30_000)]
    at_first = [invented.patient_id(name) for name in names]
    assert len(set(at_first)) < len(names)  # as many as NIH ChestX-ray14 has: some do coincide
    under = invented.distinct(names)
    assert len({invented.patient_id(name) for name in under.values()}) == len(names)
    assert under == invented.distinct(reversed(names))


def test_uids_are_valid_with_a_slices_number_behind_them() -> None:
    for name in ("", "a", "ü" * 1000):
        assert pydicom.uid.UID(f"{invented.uid(name, 'series')}.99999").is_valid


@pytest.mark.parametrize("modality", ["CT", "MR"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8, np.int32, np.float64])
def test_whole_values_and_places_come_back_exactly(tmp_path: Path, modality: str, dtype: type) -> None:
    low = 0 if np.dtype(dtype).kind == "u" else -1000
    high = 250 if dtype is np.uint8 else 3000
    array: np.ndarray = np.random.default_rng(0).integers(low, high, (4, 5, 6)).astype(dtype)
    source = volume(tmp_path, array)
    invented.as_dicom(source, header(modality), tmp_path / "out")
    (back,) = read_volumes(tmp_path / "out")
    assert np.array_equal(back.array, source.array)
    np.testing.assert_allclose(back.affine, source.affine, atol=1e-8)
    np.testing.assert_allclose(back.spacing_mm, source.spacing_mm, atol=1e-8)
    truth = SimpleITK.ReadImage(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "out")))
    assert np.array_equal(SimpleITK.GetArrayFromImage(truth), array)


def test_large_unsigned_values_come_back_exactly(tmp_path: Path) -> None:
    array: np.ndarray = np.array([[[0, 65535], [40000, 1]]], np.uint16).repeat(3, 0)
    source = volume(tmp_path, array)
    invented.as_dicom(source, header("MR"), tmp_path / "out")
    assert np.array_equal(read_volumes(tmp_path / "out")[0].array, source.array)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20))
def test_stored_values_give_the_values_back_within_half_a_step(values: list[float]) -> None:
    array = np.array(values, np.float32).reshape(1, 1, -1)
    source = _volume_of(array)
    try:
        made = invented.stored(source)
    except SeriesError:
        assert np.abs(array).max() < 1e-33
        return
    step = float(made.slope[0])
    assert made.stored.dtype in (np.int16, np.uint16)
    np.testing.assert_allclose(made.stored * np.float64(step), array, atol=step / 2 * 1.001)
    assert float(f"{step:.10g}") == pytest.approx(step, rel=1e-7)  # as a decimal string holds it


def _volume_of(array: np.ndarray) -> Volume:
    ones = np.ones(len(array), np.float32)
    meta: dict[str, str] = {}
    return Volume(array, ones, 0 * ones, np.eye(4), (1.0, 1.0, 1.0), meta, (), (), ())


@pytest.mark.parametrize(("modality", "name"), [("CR", "Computed Radiography"), ("MR", "Secondary Capture")])
def test_a_picture_becomes_a_radiograph_or_a_secondary_capture(tmp_path: Path, modality: str, name: str) -> None:
    array = np.random.default_rng(0).integers(0, 255, (7, 9)).astype(np.uint8)
    invented.as_dicom(picture(tmp_path, array, "0.2\\0.3"), header(modality, Laterality=None), tmp_path / "out")
    (path,) = (tmp_path / "out").iterdir()
    dataset = pydicom.dcmread(path)
    assert dataset.SOPClassUID.name.startswith(name)
    assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID
    assert "Laterality" not in dataset
    (back,) = read_volumes(path)
    assert np.array_equal(back.array[0], array)
    assert back.spacing_mm[1:] == (0.2, 0.3)
    assert back.meta["Modality"] == modality


def test_what_dicom_does_not_hold_is_refused(tmp_path: Path) -> None:
    grey = volume(tmp_path, np.zeros((2, 3, 3), np.int16))
    with pytest.raises(SeriesError, match="Modality PT is not written"):
        invented.as_dicom(grey, header("PT"), tmp_path / "out")
    colour = SimpleITK.GetImageFromArray(np.random.default_rng(0).integers(0, 9, (3, 4, 3)).astype(np.uint8), True)
    SimpleITK.WriteImage(colour, str(tmp_path / "c.png"))
    with pytest.raises(SeriesError, match="colour"):
        invented.as_dicom(foreign.read(tmp_path / "c.png"), header("CR"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools are not installed")
@pytest.mark.parametrize("modality", ["CT", "MR", "CR", "US"])
def test_files_are_what_the_standard_says(tmp_path: Path, modality: str) -> None:
    more: dict[str, Any] = {"StudyID": "1", "BodyPartExamined": "HEAD"}
    if modality in ("CT", "MR"):
        source = volume(tmp_path, np.arange(24, dtype=np.int16).reshape(2, 3, 4))
        more |= {"PatientPosition": "", "RepetitionTime": ""} if modality == "MR" else {"PatientPosition": ""}
    else:
        source = picture(tmp_path, np.zeros((3, 4), np.uint8))
        more |= {"Laterality": None, "PatientOrientation": ""}
    invented.as_dicom(source, header(modality, **more), tmp_path / "out")
    for path in (tmp_path / "out").iterdir():
        said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
        assert [line for line in said.splitlines() if line.startswith("Error")] == []
