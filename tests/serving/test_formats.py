"""What `radkit predict` writes for other programs: checked by them, and against one another in the patient's space."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from radkit.data import resample
from radkit.dicom import Volume, annotations, foreign, read_annotation, read_volumes, write
from radkit.dicom.annotations import sr
from serving import answers, nifti, overlay

NAMES = np.array([[b"liver", b"tumour"]])
# Columns run to the back, rows and slices between the patient's axes.
OBLIQUE = np.array([[0.0, -0.6, -1.6, 11], [0.8, 0, 0, -7], [0, -0.8, 1.2, 5], [0, 0, 0, 1]])
SHEARED = np.array([[0.8, 0, 0, 5], [0, 0.5, 0.6, 6], [0, 0, 2.0, 7], [0, 0, 0, 1]])


def ct(folder: Path, affine: np.ndarray = OBLIQUE, **header: object) -> Volume:
    stored = np.random.default_rng(0).integers(0, 900, (5, 24, 20)).astype(np.int16)
    said = {"Modality": "CT", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.5"}
    write.write_series(stored, affine, {**said, "FrameOfReferenceUID": "1.2.9", **header}, folder)
    return read_volumes(folder.iterdir())[0]


def cr(folder: Path, **header: object) -> Volume:
    said = {"Modality": "CR", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.6", **header}
    write.write_series(np.arange(600, dtype=np.uint16).reshape(1, 30, 20), None, said, folder)
    return read_volumes(folder.iterdir())[0]


def drawn(volume: Volume) -> np.ndarray:
    mask = np.zeros(volume.stored.shape, np.uint8)
    mask[:3, 4:14, 3:12] = 1
    mask[-3:, 10:20, 10:17] = 2
    return mask


def boxes(rank: int) -> dict[str, np.ndarray]:
    edges = [[1, 4, 2, 3, 10.25, 6], [0, 8, 2, 5, 12, 19]] if rank == 3 else [[4, 2, 10.25, 6], [8, 2, 12, 19]]
    return {
        "boxes": np.array([edges], np.float32),
        "scores": np.array([[0.75, 0.5]], np.float32),
        "labels": np.array([[1, 0]], np.int32),
        "count": np.array([2], np.int32),
        "called": np.array([[1, 0]], np.uint8),
    }


def put(volume: Volume, folder: Path, outputs: dict[str, Any], formats: tuple[str, ...] = answers.FORMATS) -> Any:
    grid = resample.grid_of(volume)
    answers.write({"class_names": NAMES, **outputs}, volume, {"name": "m", "version": 1}, folder, grid, None, formats)
    return json.loads((folder / answers.ANSWER).read_text()) if "json" in formats else None


def placed(folder: Path) -> tuple[set[tuple[float, ...]], set[tuple[float, ...]]]:
    """Returns where NIfTI's and SEG's voxels of value 2 lie, LPS mm, by SimpleITK and by the frames' own headers."""
    image = sitk.ReadImage(str(folder / answers.NIFTI))
    voxels = np.argwhere(sitk.GetArrayFromImage(image) == 2)
    first = {tuple(np.round(image.TransformIndexToPhysicalPoint(v[::-1].tolist()), 2)) for v in voxels}
    seg, second = pydicom.dcmread(folder / answers.SEGMENTATION), set()
    shared = seg.SharedFunctionalGroupsSequence[0]
    orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    rows_mm, columns_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    for plane, group in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 2:
            corner = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
            for row, column in np.argwhere(plane):
                point = corner + orientation[:3] * columns_mm * column + orientation[3:] * rows_mm * row
                second.add(tuple(np.round(point, 2)))
    return first, second


def test_masks_as_nifti_and_seg_lie_at_the_same_place_of_the_patient(tmp_path: Path) -> None:
    volume = ct(tmp_path / "ct")
    mask = drawn(volume)
    told = put(volume, tmp_path / "out", {"mask": mask[None]})
    assert told["mask_values"] == {"1": "liver", "2": "tumour"}
    first, second = placed(tmp_path / "out")
    assert len(first) == int((mask == 2).sum())
    assert first == second
    read = annotations.read_seg(tmp_path / "out" / told["segmentation"], volume, ["liver", "tumour"])
    np.testing.assert_array_equal(read, mask)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out/mask.nii.gz"))), mask)


@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED, np.diag([-1.0, 1, 1, 1]), np.diag([1.0, -0.5, -3, 1])])
def test_nifti_keeps_any_grid_sheared_ones_too(affine: np.ndarray, tmp_path: Path) -> None:
    volume = ct(tmp_path / "ct", affine)
    mask = drawn(volume)
    nifti.write_mask(mask, volume, tmp_path / "mask.nii.gz")
    read = foreign.read(tmp_path / "mask.nii.gz", {})
    np.testing.assert_allclose(read.affine, volume.affine, atol=1e-5)
    np.testing.assert_array_equal(read.stored, mask)
    first = (tmp_path / "mask.nii.gz").read_bytes()
    nifti.write_mask(mask, volume, tmp_path / "mask.nii.gz")
    assert (tmp_path / "mask.nii.gz").read_bytes() == first


def test_nifti_of_an_image_without_a_place_claims_none(tmp_path: Path) -> None:
    header = nifti.header((1, 30, 20), cr(tmp_path / "cr"))
    assert np.frombuffer(header, "<i2", 2, 252).tolist() == [0, 0]  # qform_code, sform_code
    assert np.frombuffer(header, "<i2", 4, 40).tolist() == [3, 20, 30, 1]


def test_boxes_in_a_volume_have_their_faces_in_the_patient(tmp_path: Path) -> None:
    volume = ct(tmp_path / "ct")
    told = put(volume, tmp_path / "out", boxes(3))
    report = pydicom.dcmread(tmp_path / "out" / told["report"])
    figures = [item for item in walk(report) if item.ValueType == "SCOORD3D"]
    assert [item.GraphicType for item in figures] == ["POLYGON"] * 4
    assert {item.ReferencedFrameOfReferenceUID for item in figures} == {"1.2.9"}
    points = np.array([item.GraphicData for item in figures]).reshape(4, 5, 3)
    # A box's edge 1 is half a voxel before the middle of voxel 1.
    first = volume.affine @ [1.5, 3.5, 0.5, 1]  # column, row, slice of low (1, 4, 2)
    last = volume.affine @ [5.5, 9.75, 2.5, 1]
    np.testing.assert_allclose(points[0, 0], first[:3], atol=1e-4)
    np.testing.assert_allclose(points[1, 2], last[:3], atol=1e-4)
    for read, box in zip(read_annotation(tmp_path / "out" / told["report"], volume).boxes, told["boxes"]):
        assert read.label == box["label"]
        np.testing.assert_allclose([*read.low, *read.high], [*box["low"], *box["high"]], atol=1e-3)


@pytest.mark.parametrize("kind", ["CR", "CT"])
def test_boxes_without_a_frame_of_reference_are_drawn_on_the_images(kind: str, tmp_path: Path) -> None:
    volume = cr(tmp_path / "in") if kind == "CR" else ct(tmp_path / "in", FrameOfReferenceUID="")
    told = put(volume, tmp_path / "out", boxes(2 if kind == "CR" else 3), ("json", "sr"))
    report = pydicom.dcmread(tmp_path / "out" / told["report"])
    figures = [item for item in walk(report) if item.ValueType == "SCOORD"]
    assert len(figures) == (2 if kind == "CR" else 2 + 5)  # one on each slice
    assert list(figures[0].GraphicData) == [2, 4, 6, 4, 6, 10.25, 2, 10.25, 2, 4]  # column, row
    image = figures[0].ContentSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedSOPInstanceUID == volume.instance_uids[0 if kind == "CR" else 1]
    found = read_annotation(tmp_path / "out" / told["report"], volume).boxes
    assert [(box.low[1:], box.high[1:]) for box in found] == [((4, 2), (10.25, 6)), ((8, 2), (12, 19))]


def walk(item: Any) -> list[Any]:
    return [child for one in item.get("ContentSequence", ()) for child in (one, *walk(one))]


def test_calls_and_thresholds_are_in_the_answer_and_the_report(tmp_path: Path) -> None:
    outputs = {
        "probabilities": np.array([[0.25, 0.75]], np.float32),
        "calls": np.array([[255, 1]], np.uint8),
        "thresholds": np.array([[np.nan, 0.5]], np.float32),
    }
    told = put(cr(tmp_path / "cr"), tmp_path / "out", outputs)
    assert (told["called"], told["thresholds"]) == ({"liver": None, "tumour": True}, {"liver": None, "tumour": 0.5})
    measured = sr.measurements(tmp_path / "out" / told["report"])
    assert [(one.name, one.finding, one.value, one.text) for one in measured if one.finding == "tumour"] == [
        ("Probability", "tumour", 0.75, ""),
        ("threshold of the operating point", "tumour", 0.5, ""),
        ("call at the operating point", "tumour", pytest.approx(np.nan, nan_ok=True), "positive"),
    ]
    assert {one.name for one in measured if one.finding == "liver"} == {"Probability"}
    told = put(cr(tmp_path / "cr"), tmp_path / "boxes", boxes(2))
    assert [box["called"] for box in told["boxes"]] == [True, False]
    measured = sr.measurements(tmp_path / "boxes" / told["report"])
    assert [one.text for one in measured if one.text] == ["positive", "negative"]


def test_a_capture_has_outlines_on_the_slices_that_matter(tmp_path: Path) -> None:
    volume = ct(tmp_path / "ct", WindowCenter="400", WindowWidth="800")
    mask = drawn(volume)
    mask[1, 4:16] = 1  # most of the liver on slice 1, of the tumour on slice 2
    put(volume, tmp_path / "out", {"mask": mask[None], **boxes(3)})
    found = pydicom.dcmread(tmp_path / "out" / answers.CAPTURE)
    assert found.PageNumberVector == [2, 3]
    assert [one.ReferencedSOPInstanceUID for one in found.SourceImageSequence] == ["1.2.3.5.2", "1.2.3.5.3"]
    assert found.DerivationDescription == "Outlines drawn by radkit: orange liver; sky blue tumour"
    frame, inside = found.pixel_array[0], mask[1] == 1
    grey = np.round(np.clip((volume.array[1] - 399.5) / 799 + 0.5, 0, 1) * 255)
    outside = (frame == grey[..., None]).all(axis=2)
    assert outside[0].all()
    assert outside[6, 7]  # within the liver, on no outline
    colours = list(overlay.COLOURS.values())
    assert tuple(frame[4, 19]) == colours[0]
    assert tuple(frame[10, 5]) == colours[1]  # the lower edge of the tumour's box, from (4, 2) to (10.25, 6)
    assert (~outside[inside]).any()


@pytest.mark.parametrize(
    ("header", "said"),
    [({}, "NO"), ({"BurnedInAnnotation": "YES"}, "YES"), ({"BurnedInAnnotation": "NO"}, "NO")],
)
def test_names_in_the_pixels_are_told_as_the_images_have_them(
    header: dict[str, str], said: str, tmp_path: Path
) -> None:
    put(cr(tmp_path / "cr", **header), tmp_path / "out", boxes(2), ("capture",))
    assert pydicom.dcmread(tmp_path / "out" / answers.CAPTURE).BurnedInAnnotation == said


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_images_that_none_can_name_get_no_capture(keyword: str, tmp_path: Path) -> None:
    volume = ct(tmp_path / "ct")
    for path in (tmp_path / "ct").iterdir():
        dataset = pydicom.dcmread(path)
        delattr(dataset, keyword)
        dataset.save_as(path)
    with pytest.raises(annotations.AnnotationError, match=f"have no {keyword}"):
        put(volume, tmp_path / "out", {"mask": drawn(volume)[None]}, ("json", "capture"))
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools are not installed")
@pytest.mark.parametrize("body", ["CHEST", "KNEE", ""])
@pytest.mark.parametrize("side", [{}, {"Laterality": "L"}, {"Laterality": "", "ImageLaterality": "R"}])
def test_dciodvfy_finds_no_error_in_captures_of_any_side(body: str, side: dict[str, str], tmp_path: Path) -> None:
    put(cr(tmp_path / "cr", BodyPartExamined=body, **side), tmp_path / "out", boxes(2), ("capture",))
    assert errors(tmp_path / "out" / answers.CAPTURE) == []


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dicom3tools are not installed")
@pytest.mark.parametrize("kind", ["ct", "cr", "boxes", "radiograph's boxes"])
def test_dciodvfy_finds_no_error_in_what_is_written(kind: str, tmp_path: Path) -> None:
    volume = ct(tmp_path / "in") if kind in ("ct", "boxes") else cr(tmp_path / "in")
    mask = {"mask": drawn(volume)[None], "probabilities": np.array([[0.25, 0.75]], np.float32)}
    put(volume, tmp_path / "out", mask if kind in ("ct", "cr") else boxes(3 if kind == "boxes" else 2))
    written = sorted(path.name for path in (tmp_path / "out").glob("*.dcm"))
    drawn_too = [answers.SEGMENTATION] if kind in ("ct", "cr") else []
    assert written == [answers.REPORT, answers.CAPTURE, *drawn_too]
    for name in written:
        assert errors(tmp_path / "out" / name) == []


def errors(path: Path) -> list[str]:
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, timeout=60, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    assert any("<IOD>" in line or "Warning" in line for line in lines) or not lines
    return [line for line in lines if line.startswith("Error")]


def test_only_what_was_asked_for_is_written(tmp_path: Path) -> None:
    volume = ct(tmp_path / "ct")
    for name, file in zip(
        answers.FORMATS, ("answer.json", "segmentation.dcm", "measurements.dcm", "overlay.dcm", "mask.nii.gz")
    ):
        put(volume, tmp_path / name, {"mask": drawn(volume)[None]}, (name,))
        assert [path.name for path in (tmp_path / name).iterdir()] == [file]


def test_nothing_drawn_is_no_capture_but_an_empty_nifti(tmp_path: Path) -> None:
    volume = ct(tmp_path / "ct")
    told = put(volume, tmp_path / "out", {"mask": np.zeros((1, 5, 24, 20), np.uint8)})
    assert (told["capture"], told["segmentation"]) == (None, None)
    assert not foreign.read(tmp_path / "out" / told["nifti"], {}).stored.any()


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({"probabilities": np.array([[0.2, 1.5]], np.float32)}, "not within 0 and 1"),
        ({"probabilities": np.array([[0.2, np.nan]], np.float32)}, "no number"),
        ({"probabilities": np.full((1, 2), 0.5, np.float32), "calls": np.array([[1, 7]], np.uint8)}, "2 calls and 0"),
        ({**boxes(3), "called": np.array([[2, 0]], np.uint8)}, "neither 0 nor 1"),
        (
            {**boxes(3), "boxes": np.array([[[3, 4, 2, 1, 10, 6], [0, 8, 2, 5, 12, 19]]], np.float32)},
            "before it begins",
        ),
        ({"mask": np.full((1, 5, 24, 20), 3, np.uint8)}, "uint8 up to 2 was expected"),
        ({"class_names": np.array([[b"a", b"a"]]), "values": np.ones((1, 2), np.float32)}, "twice"),
        ({"class_names": np.array([[b"\xff"]], object), "values": np.ones((1, 1), np.float32)}, "no text"),
    ],
)
def test_answers_that_make_no_sense_are_refused_and_leave_nothing(
    outputs: dict[str, np.ndarray], words: str, tmp_path: Path
) -> None:
    volume = ct(tmp_path / "ct")
    with pytest.raises(answers.AnswerError, match=words):
        put(volume, tmp_path / "out", outputs)
    assert [path.name for path in tmp_path.iterdir()] == ["ct"]


def test_boxes_beside_the_image_are_left_out(tmp_path: Path) -> None:
    outside = np.array([[[-9, 4, 2, -3, 10, 6], [0, 8, 2, 50, 12, 19]]], np.float32)
    told = put(ct(tmp_path / "ct"), tmp_path / "out", {**boxes(3), "boxes": outside})
    (box,) = told["boxes"]
    assert (box["low"], box["high"]) == ([0, 8, 2], [5, 12, 19])
