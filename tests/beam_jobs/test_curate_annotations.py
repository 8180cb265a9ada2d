"""Annotations in a curation: what does not fit is told by name, with counts, and decides as in `convert`."""

import functools
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from beam_jobs import convert as convert_job
from beam_jobs import curate_picture, curate_series
from radkit import config, outputs
from radkit.dicom import annotations, read_volumes
from radkit.dicom.findings import KINDS
from tests import made_up
from tests.beam_jobs import curated
from tests.beam_jobs.curated import SIZES, names, series, settings, table, uid, volume
from tests.reports import page_check


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    """Returns a call of the job on `tmp_path / dicom`: its status and the output."""
    monkeypatch.setattr(curate_series.checks, "of_volume", curated.of_volume)
    return functools.partial(curated.run, tmp_path)


# --- masks and pictures ---------------------------------------------------------------------------------------------


def test_masks_are_outlined_on_the_slice_that_has_most_of_them(tmp_path) -> None:
    image = read_volumes(series(tmp_path, 1))[0]
    mask = np.zeros(SIZES, bool)
    mask[7, 5:15, 5:15] = True
    mask[2, 5:7, 5:7] = True
    plain, _ = curate_picture.encoded(image)
    drawn, aspect = curate_picture.encoded(image, mask)
    assert (kind_of(plain), kind_of(drawn)) == ("grey", "colour")
    shown = pixels_of(drawn)
    blue = (shown == np.array([86, 180, 233])).all(axis=-1)
    expected = mask[7].copy()
    expected[6:14, 6:14] = False
    np.testing.assert_array_equal(blue, expected)
    assert aspect == pytest.approx(24 / 20)


def pixels_of(picture: str) -> np.ndarray:
    import base64
    import io

    from matplotlib import image

    return (image.imread(io.BytesIO(base64.b64decode(picture)), format="png")[..., :3] * 255).round().astype(int)


def kind_of(picture: str) -> str:
    import base64

    return {0: "grey", 2: "colour"}[base64.b64decode(picture)[25]]


@given(
    arrays.arrays(
        st.sampled_from([np.int16, np.uint16, np.float32]),
        st.tuples(st.integers(1, 3), st.integers(1, 300), st.integers(1, 300)),
        elements=st.integers(0, 100), fill=st.just(3),
    ),
)  # fmt: skip
def test_any_volume_has_a_small_picture(stored: np.ndarray) -> None:
    picture, aspect = curate_picture.encoded(volume(stored))
    assert max(pixels_of(picture).shape[:2]) <= curate_picture.SIDE
    assert 0.1 <= aspect <= 10


def test_masks_that_do_not_fit_are_findings_and_take_no_other_with_them(call, tmp_path) -> None:
    for patient in (1, 2):
        folder = series(tmp_path / "dicom", patient)
        image = read_volumes(folder)[0]
        mask = np.zeros(SIZES, np.uint8)
        mask[4:6, 8:14, 8:14] = 1
        annotations.write_seg(mask, image, ("organ",), folder / "seg.dcm")
    made_up.change(
        tmp_path / "dicom" / "2-1" / "seg.dcm", lambda dataset: setattr(dataset, "FrameOfReferenceUID", "1.2.3.4")
    )
    series(tmp_path / "dicom", 3)
    status, folder = call(mask_labels=("organ",))
    assert status == 1
    rows = {row["SeriesInstanceUID"]: row for row in table(folder / "curation.csv")}
    assert rows[uid(1)]["decision"] == "keep"
    assert rows[uid(2)]["reasons"] == "other_frame_of_reference"
    assert set(names(folder, "images_without_labels")) == {uid(3)}
    assert outputs.read_json(folder / "summary.json")["not_images"] == {"SEG": 2}


def test_masks_of_other_kinds_belong_by_a_table(call, tmp_path) -> None:
    series(tmp_path / "dicom", 1)
    mask = np.zeros(SIZES, np.uint8)
    mask[4:6, 8:14, 8:14] = 1
    image = SimpleITK.GetImageFromArray(mask)
    image.SetSpacing((1.5, 1.5, 2.0))
    (tmp_path / "masks").mkdir()
    SimpleITK.WriteImage(image, tmp_path / "masks" / "one.nii.gz")
    rows = tmp_path / "masks" / "masks.csv"
    rows.write_text(f"SeriesInstanceUID,file\n{uid(1)},one.nii.gz\n{uid(9)},one.nii.gz\n")
    status, folder = call(f"--annotations={rows}", mask_labels=("organ",))
    assert status == 1
    assert names(folder, "images_without_labels") == {}
    assert set(names(folder, "labels_without_images")) == {""}
    page = (folder / "quality.html").read_text()
    assert "labels whose images are not there" in page
    (picture,) = [str(image["src"]).partition(",")[2] for image in page_check.read(page).images[-1:]]
    assert kind_of(picture) == "colour"  # an outline is drawn


def test_annotations_that_no_label_asks_for_and_a_key_without_them_are_refused(call, tmp_path, capsys) -> None:
    series(tmp_path / "dicom", 1)
    assert call("--annotations=masks.csv")[0] == 2
    assert "neither data.mask_labels nor data.box_labels" in capsys.readouterr().err
    assert call("--key=key.json")[0] == 2
    assert "--key was given without --annotations" in capsys.readouterr().err


# --- whatever can be wrong with annotations, planted ------------------------------------------------------------------

LABELS = ("organ", "lesion")


def mask_of(*labels: int) -> np.ndarray:
    """Returns a mask with these labels side by side, where the phantoms' bodies are."""
    mask = np.zeros(SIZES, np.uint8)
    for label in labels:
        mask[4:6, 8:14, 4 + 5 * label : 8 + 5 * label] = label
    return mask


def planted(
    folder: Path, patient: int, mask: np.ndarray | None = None, name: str = "seg", labels: Sequence[str] = LABELS
) -> Path:
    """Writes a series, if there is none, and a segmentation of it; returns the segmentation's file."""
    place = folder / f"{patient}-1"
    image = read_volumes(place if place.exists() else series(folder, patient))[0]
    path = folder / f"{patient}-{name}.dcm"
    annotations.write_seg(mask_of(1, 2) if mask is None else mask, image, labels, path)
    return path


def moved(folder: Path, patient: int, by: float, mask: np.ndarray | None = None) -> None:
    """Plants a segmentation whose frames lie elsewhere by some millimetres along rows and columns."""

    def move(dataset: pydicom.Dataset) -> None:
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            x, y, z = frame.PlanePositionSequence[0].ImagePositionPatient
            frame.PlanePositionSequence[0].ImagePositionPatient = [x + by, y + by, z]

    made_up.change(planted(folder, patient, mask), move)


def of_other_images(folder: Path, patient: int) -> None:
    def change(dataset: pydicom.Dataset) -> None:
        for item in dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence:
            item.ReferencedSOPInstanceUID += ".9"
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID += ".9"

    made_up.change(planted(folder, patient), change)


def of_another_frame(folder: Path, patient: int) -> None:
    made_up.change(planted(folder, patient), lambda dataset: setattr(dataset, "FrameOfReferenceUID", "1.2.3.4"))


def that_overlap(folder: Path, patient: int) -> None:
    planted(folder, patient, mask_of(1), labels=LABELS[:1])
    planted(folder, patient, mask_of(1), "second", LABELS[1:])


def without_a_voxel(folder: Path, patient: int) -> None:
    path = planted(folder, patient)

    def blank(dataset: pydicom.Dataset) -> None:
        dataset.PixelData = bytes(len(dataset.PixelData))

    made_up.change(path, blank)


def outside(folder: Path, patient: int) -> None:
    moved(folder, patient, 900.0)


def partly_outside(folder: Path, patient: int) -> None:
    mask = np.zeros(SIZES, np.uint8)
    mask[4:6, 8:20, 4:16] = 1
    mask[4:6, 12:16, 6:12] = 2
    moved(folder, patient, -9.0, mask)


def in_the_air(folder: Path, patient: int) -> None:
    mask = np.zeros(SIZES, np.uint8)
    mask[3:7, :6, :3] = 1
    mask[3:7, -6:, -3:] = 1
    planted(folder, patient, mask, labels=LABELS[:1])


def of_two_readers(folder: Path, patient: int) -> None:
    planted(folder, patient, mask_of(1), labels=LABELS[:1])
    planted(folder, patient, np.roll(mask_of(1), 1, axis=1), "second", LABELS[:1])


def nothing_drawn(folder: Path, patient: int) -> None:
    series(folder, patient)


def without_images(folder: Path, patient: int) -> None:
    planted(folder, patient)
    shutil.rmtree(folder / f"{patient}-1")


def cut_short(folder: Path, patient: int) -> None:
    path = planted(folder, patient)
    made_up.change(path, lambda dataset: setattr(dataset, "PixelData", dataset.PixelData[:4]))


def structures(folder: Path, patient: int, change: Callable[[pydicom.Dataset], None]) -> None:
    image = read_volumes(series(folder, patient))[0]
    path = folder / f"{patient}-rtstruct.dcm"
    annotations.write_rtstruct(mask_of(1, 2), image, LABELS, path)
    made_up.change(path, change)


def each_contour(change: Callable[[pydicom.Dataset], None]) -> Callable[[pydicom.Dataset], None]:
    return lambda dataset: [change(one) for roi in dataset.ROIContourSequence for one in roi.ContourSequence][:0]


def lift(contour: pydicom.Dataset) -> None:
    values = [float(v) for v in contour.ContourData]
    contour.ContourData = [f"{v + 0.9:.6f}" if n % 3 == 2 else f"{v:.6f}" for n, v in enumerate(values)]


def off_slice(folder: Path, patient: int) -> None:
    structures(folder, patient, each_contour(lift))


def open_contours(folder: Path, patient: int) -> None:
    structures(folder, patient, each_contour(lambda one: setattr(one, "ContourGeometricType", "OPEN_PLANAR")))


PLANTED = {
    "other_instances": of_other_images,
    "other_frame_of_reference": of_another_frame,
    "overlapping_segments": that_overlap,
    "empty_segment": without_a_voxel,
    "outside_image": outside,
    "partly_outside": partly_outside,
    "implausible_place": in_the_air,
    "several_readers": of_two_readers,
    "images_without_labels": nothing_drawn,
    "labels_without_images": without_images,
    "unreadable_annotation": cut_short,
    "contour_off_slice": off_slice,
    "open_contour": open_contours,
}


def test_each_kind_of_planted_fault_is_named_counted_and_on_the_page_and_nothing_else_is(call, tmp_path) -> None:
    for patient in (1, 2, 3):
        planted(tmp_path / "dicom", patient)
    for patient, plant in enumerate(PLANTED.values(), start=4):
        plant(tmp_path / "dicom", patient)
    status, folder = call(mask_labels=LABELS)
    assert status == 1
    page = (folder / "quality.html").read_text()
    links = page_check.read(page).links
    summary = outputs.read_json(folder / "summary.json")
    told = {name: set(names(folder, name)) for name in KINDS if names(folder, name)}
    expected = {name: {uid(patient)} for patient, name in enumerate(PLANTED, start=4)}
    expected["labels_without_images"] = {""}
    assert told == expected
    for name in PLANTED:
        alone = name == "labels_without_images"
        assert (summary["of_folder"] if alone else summary["series_by_finding"])[name] == 1
        assert f"#{'folder-' * alone}{name}" in links
        assert f"findings.csv ({name})" in page


TAKING = config.Annotations(
    other_instances="report", other_frame_of_reference="report", overlap="first", off_slice="report",
    several="majority", unknown_class="leave_out", duplicates="first",
)  # fmt: skip
REFUSING = config.Annotations(other_grid="refuse", partly_outside="refuse", empty="refuse", implausible="refuse")


@pytest.mark.parametrize("wishes", [config.Annotations(), TAKING, REFUSING], ids=["default", "taking", "refusing"])
def test_what_annotations_come_to_decides_as_in_convert(call, tmp_path, wishes) -> None:
    for patient, plant in enumerate(PLANTED.values(), start=4):
        plant(tmp_path / "dicom", patient)
    planted(tmp_path / "dicom", 1)
    data = {"mask_labels": LABELS, "annotations": wishes}
    _, folder = call(**data)
    rows = {row["SeriesInstanceUID"]: row["decision"] for row in table(folder / "curation.csv")}
    flags = [f"--config={settings(tmp_path, **data)}", f"--input={tmp_path / 'dicom'}"]
    convert_job.main(["radkit convert", *flags, f"--output={tmp_path / 'records'}"])
    aside = {row["input"] for row in table(tmp_path / "records" / "made" / "1.0.0" / "quarantine.csv")}
    assert aside == {one for one, decision in rows.items() if decision == "leave_out"}
    # What has no annotation becomes no record, whatever the curation says.
    assert rows[uid(4 + list(PLANTED).index("images_without_labels"))] == "keep"


def test_boxes_of_no_known_class_and_of_images_that_are_not_there_are_told(call, tmp_path) -> None:
    for patient in (1, 2, 3):
        series(tmp_path / "dicom", patient)
    header = "SeriesInstanceUID,label,x_min,y_min,x_max,y_max,z_min,z_max"
    boxed = "4,4,9,9,2,5"
    rows = [f"{uid(1)},nodule,{boxed}", f"{uid(2)},nodul,{boxed}", f"{uid(9)},nodule,{boxed}"]
    (tmp_path / "boxes.csv").write_text("\n".join([header, *rows]) + "\n")
    status, folder = call(f"--annotations={tmp_path / 'boxes.csv'}", box_labels=("nodule",))
    assert status == 1
    assert set(names(folder, "unknown_class")) == {uid(2)}
    assert set(names(folder, "images_without_labels")) == {uid(3)}
    assert set(names(folder, "labels_without_images")) == {""}
    rows = {row["SeriesInstanceUID"]: row["reasons"] for row in table(folder / "curation.csv")}
    assert rows == {uid(1): "", uid(2): "unknown_class", uid(3): ""}


def test_coco_boxes_without_extent_are_told(call, tmp_path) -> None:
    written = {}
    for patient in (1, 2):
        path = tmp_path / "dicom" / f"{patient}.dcm"
        made_up.radiograph(path, np.arange(480, dtype=np.uint16).reshape(24, 20), patient=patient)
        written[patient] = pydicom.dcmread(path).SOPInstanceUID
    coco = {
        "images": [{"id": n, "file_name": f"{name}.png", "width": 20, "height": 24} for n, name in written.items()],
        "categories": [{"id": 1, "name": "nodule"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 6, 6]},
            {"id": 2, "image_id": 2, "category_id": 1, "bbox": [4, 4, 0, 6]},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    status, folder = call(
        f"--annotations={tmp_path / 'coco.json'}", kind="radiograph", image_size=(64, 64), box_labels=("nodule",)
    )
    assert status == 1
    assert names(folder, "degenerate_box")
    assert "box without extent" in (folder / "quality.html").read_text()


def test_where_nothing_drawn_means_nothing_there_no_label_is_missed(call, tmp_path) -> None:
    series(tmp_path / "dicom", 1)
    assert call(mask_labels=LABELS, annotations=config.Annotations(missing="empty"))[0] == 0


def test_a_copy_of_a_segmentation_is_no_second_reader(call, tmp_path) -> None:
    path = planted(tmp_path / "dicom", 1)
    shutil.copy(path, tmp_path / "dicom" / "copy.dcm")
    status, folder = call(mask_labels=LABELS)
    assert (status, names(folder, "several_readers")) == (0, {})


def test_each_view_of_a_radiograph_s_series_has_its_own_annotations(call, tmp_path) -> None:
    uids = []
    for view in (1, 2, 3):
        path = tmp_path / "dicom" / f"{view}.dcm"
        made_up.radiograph(path, np.arange(480, dtype=np.uint16).reshape(24, 20) * view)
        uids.append(f"{pydicom.dcmread(path).SOPInstanceUID}.{view}")
        made_up.change(path, lambda dataset: setattr(dataset, "SOPInstanceUID", uids[-1]))
    rows = [f"{uids[0]},nodule,4,4,9,9", f"{uids[1]},nodul,4,4,9,9"]
    (tmp_path / "boxes.csv").write_text("\n".join(["SOPInstanceUID,label,x_min,y_min,x_max,y_max", *rows]) + "\n")
    data = {"kind": "radiograph", "image_size": (64, 64), "box_labels": ("nodule",)}
    _, folder = call(f"--annotations={tmp_path / 'boxes.csv'}", **data)
    assert set(names(folder, "unknown_class")) == {uid(1)}
    ((text,),) = names(folder, "images_without_labels").values()
    assert text == "no annotation that the config asks for belongs to 1 of the series' 3 images"


def test_what_has_a_fault_by_its_headers_is_looked_at_and_shown(call, tmp_path) -> None:
    for path in planted(tmp_path / "dicom", 1).parent.glob("1-1/*.dcm"):
        made_up.change(path, lambda dataset: setattr(dataset, "Modality", "MR"))
    series(tmp_path / "dicom", 2)
    _, folder = call(mask_labels=LABELS)
    assert set(names(folder, "wrong_modality")) == {uid(1)}
    images = page_check.read((folder / "quality.html").read_text()).images
    assert any("SOPClassUID" in str(image["alt"]) for image in images)
