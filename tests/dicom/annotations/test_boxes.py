"""Tables of boxes: what each layout's numbers mean, what is wrong with them, and where they lie on an image."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radkit import config
from radkit.dicom import read_volumes
from radkit.dicom.annotations import boxes, form
from radkit.dicom.annotations.form import AnnotationError, Box
from tests import made_up

SIZE = (40, 50)
QUICK = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct")
    made_up.ct_series(folder, size=SIZE, place=made_up.affine(angles=(10, -20, 30), tilt=8))
    return read_volumes(folder)[0]


@pytest.fixture(scope="module")
def radiograph(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cr")
    made_up.radiograph(folder / "a.dcm", made_up.stored_values(SIZE, np.uint16))
    return read_volumes(folder)[0]


def names(findings):
    return [one.name for one in findings]


# Rows


def test_a_row_survives_json():
    row = boxes.Row(
        (1.5, 2.0), (3.0, 4.0), "pixels", "Mass", "m1", "1.2.3", False, (40, 50), "A", "2024-03-05", "reader"
    )
    again = boxes.Row(**json.loads(json.dumps(dataclasses.asdict(row))))
    assert again == row
    assert hash(again) == hash(row)


@pytest.mark.parametrize(
    ("low", "high", "unit"),
    [((1,), (2,), "pixels"), ((1, 2), (3, 4), "mm"), ((1, 2), (3, 4, 5), "pixels"), ((1, 2), (3, 4), "cm")],
)
def test_corners_that_fit_no_unit_are_refused(low, high, unit):
    with pytest.raises(AnnotationError, match="a box has corners of"):
        boxes.Row(low, high, unit)
    with pytest.raises(AnnotationError, match="no finite numbers"):
        boxes.Row((1, 2), (3, np.nan))


# On an image


def test_pixels_stand_as_they_are(volume, radiograph):
    flat = boxes.Row((1.5, 2.0), (30.25, 41.0), label="a", lesion_id="b")
    assert boxes.place([flat], radiograph) == ((Box((0, 1.5, 2), (1, 30.25, 41), "a", "b"),), ())
    uid = volume.instance_uids[3]
    assert boxes.place([dataclasses.replace(flat, instance_uid=uid)], volume)[0][0].low == (3, 1.5, 2)
    deep = boxes.Row((1, 2, 3), (4, 5, 6))
    assert boxes.place([deep], volume)[0] == (Box((1, 2, 3), (4, 5, 6)),)


@QUICK
@given(st.tuples(*[st.floats(0, 5), st.floats(0, 40), st.floats(0, 50)]), st.floats(0.5, 4), st.integers(0, 99))
def test_a_box_or_ball_in_mm_is_held_and_no_more(volume, centre, size, seed):
    middle = form.to_mm(centre, volume)
    row = boxes.Row(tuple(middle - size), tuple(middle + size), "mm")
    rng = np.random.default_rng(seed)
    cube = middle + size * rng.choice([-1, 1], (200, 3))
    around = rng.normal(size=(20000, 3))
    ball = middle + size * around / np.linalg.norm(around, axis=1, keepdims=True)
    for one, points, near in ((row, cube, 1e-9), (dataclasses.replace(row, is_ball=True), ball, 0.2)):
        there = form.from_mm(points, volume)
        low, high = np.maximum(there.min(0), 0), np.minimum(there.max(0), volume.stored.shape)
        (box,), _ = boxes.place([one], volume)
        np.testing.assert_allclose([box.low, box.high], [low, high], atol=near)
        assert (np.array(box.low) <= low + 1e-9).all()
        assert (np.array(box.high) >= high - 1e-9).all()


def test_what_reaches_beyond_is_cut_and_what_lies_outside_is_refused(radiograph):
    over = boxes.Row((-3, 5), (10, 60))
    placed, findings = boxes.place([over, over], radiograph)
    assert placed[0] == Box((0, 0, 5), (1, 10, 50))
    assert names(findings) == ["partly_outside"]
    assert findings[0].text.startswith("2 boxes")
    with pytest.raises(AnnotationError, match=r"reaches 10 voxels beyond"):
        boxes.place([over], radiograph, config.Annotations(partly_outside="refuse"))
    for row in (boxes.Row((40, 5), (44, 9)), boxes.Row((2, -9), (4, 0))):
        with pytest.raises(AnnotationError) as caught:
            boxes.place([row], radiograph)
        assert caught.value.finding == "outside_image"


def test_slices_of_other_images_go_by_the_policy(volume):
    here = boxes.Row((1, 1), (4, 4), instance_uid=volume.instance_uids[0])
    there = dataclasses.replace(here, instance_uid="1.2.3")
    with pytest.raises(AnnotationError) as caught:
        boxes.place([there], volume)
    assert caught.value.finding == "other_instances"
    placed, findings = boxes.place([there], volume, config.Annotations(other_instances="report"))
    assert (placed, names(findings)) == ((), ["other_instances"])
    placed, findings = boxes.place([here, there], volume)
    assert (len(placed), names(findings)) == (1, ["other_images_too"])


def test_boxes_of_a_smaller_copy_are_scaled_or_refused(radiograph):
    half = boxes.Row((2, 3), (10, 20), size=(20, 25))
    placed, findings = boxes.place([half], radiograph)
    assert placed == (Box((0, 4, 6), (1, 20, 40)),)
    assert names(findings) == ["other_grid"]
    with pytest.raises(AnnotationError, match="other_grid='resample'"):
        boxes.place([half], radiograph, config.Annotations(other_grid="refuse"))
    with pytest.raises(AnnotationError, match="20 x 20 pixels, the image has 40 x 50"):
        boxes.place([dataclasses.replace(half, size=(20, 20))], radiograph)
    assert boxes.place([dataclasses.replace(half, size=SIZE)], radiograph)[1] == ()


def test_a_box_that_cannot_be_placed_is_refused(volume, radiograph):
    for row, image, said in (
        (boxes.Row((1, 1), (4, 4)), volume, "does not say its slice, and the image has 5"),
        (boxes.Row((1, 1, 1), (4, 4, 4), "mm"), radiograph, "has no place in the patient"),
        (boxes.Row((1, 4), (4, 4)), radiograph, "no extent"),
        (boxes.Row((4, 1), (1, 4)), radiograph, "no extent, or a negative one"),
    ):
        with pytest.raises(AnnotationError, match=said):
            boxes.place([row], image)


@settings(QUICK, max_examples=200)
@given(data=st.data())
def test_a_damaged_table_is_read_or_refused(tmp_path, data):
    annotation = {"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 0}
    image = {"id": 1, "file_name": "a", "width": 9, "height": 9}
    said = {"images": [image], "annotations": [annotation], "categories": [{"id": 3, "name": "L"}]}
    text = data.draw(st.sampled_from([json.dumps(said), OWN, LAYOUTS["nih"][0], LAYOUTS["rsna"][0]]))
    content = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "damaged").write_bytes(content)
    for reader in (boxes.read_coco, boxes.read_csv):
        with contextlib.suppress(AnnotationError):
            reader(tmp_path / "damaged")


# CSV


def table_of(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    return boxes.read_csv(tmp_path / "a.csv")


OWN = "PatientID,label,x_min,y_min,x_max,y_max\nP1,Mass,5,10,25,18\nP1,Mass,1,2,3,4\nP2,,,,,\n"
FLAT = ((10.0, 5.0), (18.0, 25.0))
# Text, then identifier's column and value, corners, unit, label of the first row.
LAYOUTS = {
    "nih": (
        "Image Index,Finding Label,Bbox [x,y,w,h],,,\n0001_008.png,Atelectasis,5,10,20,8,,,\n",
        ("file", "0001_008.png", *FLAT, "pixels", "Atelectasis"),
    ),
    "rsna": (
        "patientId,x,y,width,height,Target\n0a,5.0,10.0,20.0,8.0,1\n0b,,,,,0\n",
        ("PatientID", "0a", *FLAT, "pixels", "Lung Opacity"),
    ),
    "luna16": (
        "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2.3,-10,20,-30,6\n",
        ("SeriesInstanceUID", "1.2.3", (-13.0, 17.0, -33.0), (-7.0, 23.0, -27.0), "mm", "nodule"),
    ),
    "vindr": (
        "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\nab,Mass,3,R8,5,10,25,18\n"
        "ab,No finding,14,R9,,,,\n",
        ("file", "ab", *FLAT, "pixels", "Mass"),
    ),
    "radkit": (OWN, ("PatientID", "P1", *FLAT, "pixels", "Mass")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("as_saved", [str, lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n")])
def test_each_layout_is_known_by_its_columns(tmp_path, layout, as_saved):
    text, expected = LAYOUTS[layout]
    table = table_of(tmp_path, as_saved(text))
    image = table.images[0]
    row = image.rows[0]
    assert (table.layout, table.findings) == (layout, ())
    assert (image.column, image.identifier, row.low, row.high, row.unit, row.label) == expected
    assert row.is_ball == (layout == "luna16")
    assert table.labels == (row.label,)


def test_the_nih_header_in_quotes_and_the_size_of_its_images(tmp_path):
    text = 'Image Index,Finding Label,"Bbox [x,y,w,h]",,,\n0001.png,Mass,5,10,20,8\n'
    row = table_of(tmp_path, text).images[0].rows[0]
    assert (row.low, row.high, row.size) == (*FLAT, (1024, 1024))


def test_who_found_nothing_has_looked_too(tmp_path):
    assert [len(image.rows) for image in table_of(tmp_path, LAYOUTS["rsna"][0]).images] == [1, 0]
    (image,) = table_of(tmp_path, LAYOUTS["vindr"][0]).images
    assert [row.reader for row in image.rows] == ["R8"]
    assert image.readers == (("R8", "", ""), ("R9", "", ""))


def test_semicolons_and_tabs_part_columns_too(tmp_path):
    for delimiter in ";\t":
        assert len(table_of(tmp_path, OWN.replace(",", delimiter)).images) == 2


OWN_PLACES = {
    "SOPInstanceUID,x_min,y_min,x_max,y_max\n1.2,5,10,25,18": ((10, 5), (18, 25), "pixels", "1.2", False),
    "file,x_min,y_min,x_max,y_max,z_min,z_max\na,5,10,25,18,2,4": ((2, 10, 5), (5, 18, 25), "pixels", "", False),
    "file,x_min_mm,y_min_mm,z_min_mm,x_max_mm,y_max_mm,z_max_mm\na,1,2,3,4,5,6":
        ((1, 2, 3), (4, 5, 6), "mm", "", False),
    "file,x_mm,y_mm,z_mm,diameter_mm\na,1,2,3,4": ((-1, 0, 1), (3, 4, 5), "mm", "", True),
}  # fmt: skip


@pytest.mark.parametrize("text", OWN_PLACES)
def test_our_own_table_says_where_in_four_ways(tmp_path, text):
    (image,) = table_of(tmp_path, text).images
    row = image.rows[0]
    assert (row.low, row.high, row.unit, row.instance_uid, row.is_ball) == OWN_PLACES[text]


def test_our_own_table_says_who_and_when_and_on_what_it_rests(tmp_path):
    text = (
        "SeriesInstanceUID,SOPInstanceUID,PatientID,label,lesion_id,reader,date,reference_standard,x_min,y_min,x_max,y_max\n"
        "1.2,1.2.3,P1,Mass,m1,A,2024-03-05,histology,5,10,25,18\n1.2,1.2.3,P1,Mass,m1,B,,,5,10,25,18\n"
    )
    (image,) = table_of(tmp_path, text).images
    assert (image.column, image.identifier) == ("SeriesInstanceUID", "1.2")
    assert image.facts == {"SeriesInstanceUID": "1.2", "SOPInstanceUID": "1.2.3", "PatientID": "P1"}
    first = image.rows[0]
    assert (first.lesion_id, first.reader, first.date) == ("m1", "A", "2024-03-05")
    assert (first.reference_standard, first.instance_uid) == ("histology", "1.2.3")
    assert image.readers == (("A", "2024-03-05", "histology"), ("B", "", ""))


def test_rows_twice_and_boxes_without_extent_are_findings(tmp_path):
    text = OWN.replace("1,2,3,4", "5,10,25,18") + "P3,Mass,5,5,5,9\n"
    table = table_of(tmp_path, text)
    assert names(table.findings) == ["duplicate_rows", "degenerate_box"]
    assert [len(image.rows) for image in table.images] == [1, 0, 1]


BAD_CSV = {
    "": "the table is empty",
    "a,b\n1,2": "first line names none of the columns that are understood; understood are SeriesInstanceUID",
    "PatientID,b,label\n1,2,3": "the column 'b' and 0 others that are not understood; understood are SeriesInstanceUID",
    "PatientID,lable,x_min,y_min,x_max,y_max\n": "'lable'.*did you mean 'label'",
    "label,x_min,y_min,x_max,y_max\nm,1,2,3,4": "of which image a row is",
    "PatientID,label\nP,m": "where its boxes are, in one way",
    "PatientID,x_min,y_min,x_max\nP,1,2,3": "where its boxes are, in one way",
    "PatientID,x_min,y_min,x_max,y_max,x_mm,y_mm,z_mm,diameter_mm\n": "where its boxes are, in one way",
    "PatientID,x_min,y_min,x_max,y_max\nP,1,2,3,q": "line 2 of the table: .* not all numbers",
    "PatientID,x_min,y_min,x_max,y_max\nP,1,2,3,": "line 2 of the table: .* not all numbers",
    "PatientID,x_min,y_min,x_max,y_max\nP,1,2,3,inf": "finite",
    "PatientID,x_min,y_min,x_max,y_max\n,1,2,3,4": "none of SeriesInstanceUID",
    "PatientID,x_min,y_min,x_max,y_max\nP,1,2,3,4,5": "has 6 fields",
    "PatientID,date,x_min,y_min,x_max,y_max\nP,5.3.2024,1,2,3,4": "not YYYY-MM-DD",
    "PatientID,reference_standard,x_min,y_min,x_max,y_max\nP,histologie,1,2,3,4": "did you mean 'histology'",
    "file,x_min,y_min,x_max,y_max,z_min,z_max\na,5,10,25,18,2.5,4": "no whole numbers",
    "PatientID,PatientID,x_min\n": "the same name",
    'PatientID,x_min\n"P,1': "no CSV",
    "patientId,x,y,width,height,Target\n0a,,,,,1\n": "Target and box contradict",
    "patientId,x,y,width,height,Target\n0a,1,2,3,4,0\n": "Target and box contradict",
    "patientId,x,y,width,height,Target\n,1,2,3,4,1\n": "patientId is empty",
    "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,,,,": "has no place",
    "Image Index,Finding Label,Bbox [x,y,w,h]\na.png,Mass,,,,": "has no box",
}


@pytest.mark.parametrize("text", BAD_CSV)
def test_a_table_that_is_wrong_is_refused_in_words(tmp_path, text):
    with pytest.raises(AnnotationError, match=BAD_CSV[text]):
        table_of(tmp_path, text)


def test_a_table_that_is_not_utf_8_or_not_there_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes("PatientID,löbel".encode("latin-1"))
    with pytest.raises(AnnotationError, match="not UTF-8"):
        boxes.read_csv(tmp_path / "a.csv")
    with pytest.raises(AnnotationError, match="cannot be opened"):
        boxes.read_csv(tmp_path / "none.csv")


def test_a_nodules_place_in_mm_is_its_place_on_the_image(tmp_path, volume):
    x, y, z = form.to_mm([2.5, 20, 25], volume)
    text = f"seriesuid,coordX,coordY,coordZ,diameter_mm\n{volume.meta['SeriesInstanceUID']},{x},{y},{z},4\n"
    (image,) = table_of(tmp_path, text).images
    (box,), findings = boxes.place(image.rows, volume)
    np.testing.assert_allclose(np.mean([box.low, box.high], axis=0), [2.5, 20, 25])
    assert (box.label, findings) == ("nodule", ())
