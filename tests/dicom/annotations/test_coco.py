"""COCO detection files: what their numbers mean, and what is wrong with them."""

import json

import pytest

from radkit.dicom.annotations import boxes
from radkit.dicom.annotations.form import AnnotationError


def names(findings):
    return [one.name for one in findings]


def one(bbox=(5, 10, 20, 8), image=1, category=3, **more):
    return {"image_id": image, "category_id": category, "bbox": list(bbox), **more}


def coco(tmp_path, annotations=(), images=None, categories=None, **more):
    said = {
        "images": images or [{"id": 1, "file_name": "a.png", "width": 50, "height": 40}],
        "annotations": list(annotations),
        "categories": categories or [{"id": 3, "name": "Left Lung"}, {"id": 4, "name": "Right Lung"}],
        **more,
    }
    (tmp_path / "coco.json").write_text(json.dumps(said))
    return boxes.read_coco(tmp_path / "coco.json")


def test_a_coco_box_is_x_y_width_height(tmp_path):
    table = coco(tmp_path, [one(id=1), one((0, 0, 50, 40), category=4, id=2)])
    (image,) = table.images
    assert (table.layout, table.labels, table.findings) == ("coco", ("Left Lung", "Right Lung"), ())
    assert (image.column, image.identifier) == ("file", "a.png")
    assert image.rows[0] == boxes.Row((10, 5), (18, 25), label="Left Lung", size=(40, 50))
    assert image.rows[1].high == (40, 50)


def test_coco_images_are_named_by_their_uids_and_those_without_boxes_are_kept(tmp_path):
    images = [
        {"id": "x", "file_name": "a.png", "SOPInstanceUID": "1.2.3", "PatientID": "P"},
        {"id": "y", "SeriesInstanceUID": "1.2", "SOPInstanceUID": "1.2.3.4"},
    ]
    table = coco(tmp_path, [one(image="y")], images)
    first, second = table.images
    assert (first.column, first.identifier, first.rows) == ("SOPInstanceUID", "1.2.3", ())
    assert first.facts["PatientID"] == "P"
    assert (second.column, second.rows[0].instance_uid) == ("SeriesInstanceUID", "1.2.3.4")


def test_polygons_without_a_box_are_bounded(tmp_path):
    outline = one(segmentation=[[5, 10, 25, 10, 25, 18], [7, 12, 9, 30, 8, 8]])
    del outline["bbox"]
    table = coco(tmp_path, [outline])
    assert (table.images[0].rows[0].low, table.images[0].rows[0].high) == ((8, 5), (30, 25))


COCO_FAULTS = {
    "labels_without_images": ([one(image=9)], 0),
    "unknown_class": ([one(category=7)], 1),
    "crowd_boxes": ([one(iscrowd=1)], 0),
    "unread_regions": ([one(segmentation={"counts": [1, 2], "size": [40, 50]}, iscrowd=0)], 1),
    "degenerate_box": ([one((5, 5, 0, 3))], 1),
    "outside_image": ([one((50, 5, 3, 3))], 1),
    "partly_outside": ([one((45, 5, 10, 3))], 1),
    "duplicate_rows": ([one(id=1), one(id=2)], 1),
    "contradicting_rows": ([one(id=1), one((1, 1, 2, 2), id=1)], 2),
}


@pytest.mark.parametrize("name", COCO_FAULTS)
def test_each_fault_of_a_coco_file_is_a_finding_with_its_count(tmp_path, name):
    annotations, kept = COCO_FAULTS[name]
    table = coco(tmp_path, [*annotations, one((1, 1, 3, 3), id=77)])
    assert names(table.findings) == [name]
    assert table.findings[0].text.startswith("1 ")
    assert len(table.images[0].rows) == kept + 1


def test_an_unknown_category_is_no_known_class(tmp_path):
    assert coco(tmp_path, [one(category=7)]).images[0].rows[0].label == "category 7"


BAD_COCO = {
    "not 4 finite numbers": ([one((1, 2, 3))], {}),
    "bbox of an annotation is not 4": ([one((1, 2, "3", 4))], {}),
    "neither a bbox": ([{"image_id": 1, "category_id": 3}], {}),
    "has no image_id": ([{"bbox": [1, 2, 3, 4]}], {}),
    "polygon of an annotation": ([{"image_id": 1, "category_id": 3, "segmentation": [[1, 2, 3]]}], {}),
    "same id": ([], {"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}]}),
    "neither a file_name": ([], {"images": [{"id": 1}]}),
    "no whole number": ([one()], {"images": [{"id": 1, "file_name": "a", "width": "50", "height": 4}]}),
    "categories of the COCO file is no list": ([], {"categories": {"1": "a"}}),
}


@pytest.mark.parametrize("said", BAD_COCO)
def test_a_coco_file_that_is_wrong_is_refused(tmp_path, said):
    annotations, more = BAD_COCO[said]
    with pytest.raises(AnnotationError, match=said):
        coco(tmp_path, annotations, **more)


def test_what_is_no_coco_file_is_refused(tmp_path):
    for content, said in (("{", "not JSON"), ("[1]", "no COCO detection file"), ('{"images": []}', "no COCO")):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(AnnotationError, match=said):
            boxes.read_coco(tmp_path / "a.json")
    with pytest.raises(AnnotationError, match="cannot be opened"):
        boxes.read_coco(tmp_path / "none.json")
