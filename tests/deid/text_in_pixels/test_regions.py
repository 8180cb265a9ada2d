"""Where devices write."""

import json

import numpy as np
import pydicom
import pytest

from radkit.deid.text_in_pixels import regions
from radkit.errors import UserError


def ultrasound(*corners, modality="US", kind=1) -> pydicom.Dataset:
    made = pydicom.Dataset()
    made.Rows, made.Columns, made.Modality = 100, 200, modality
    made.Manufacturer, made.ManufacturerModelName = "Acme  Medical ", "Sono 1"
    items = []
    for left, top, right, bottom in corners:
        item = pydicom.Dataset()
        item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
        item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
        item.RegionSpatialFormat = kind
        items.append(item)
    made.SequenceOfUltrasoundRegions = items
    return made


def blanked(dataset, templates=()) -> np.ndarray:
    mask = np.zeros((100, 200), bool)
    for box in regions.fixed(dataset, templates, 1):
        mask[box.where] = True
    return mask


def test_all_but_the_regions_is_blanked():
    mask = blanked(ultrasound((20, 10, 179, 59), (20, 70, 179, 89)))
    assert not mask[10:60, 20:180].any()
    assert not mask[70:90, 20:180].any()
    assert mask.sum() == 100 * 200 - 160 * 70


def test_a_region_that_names_the_pixel_after_its_last_is_believed():
    mask = blanked(ultrasound((20, 10, 200, 100)))
    assert mask.sum() == 100 * 200 - 180 * 90


@pytest.mark.parametrize(
    "dataset",
    [ultrasound(), ultrasound((20, 10, 400, 59)), ultrasound((20, 10, 39, 29)), ultrasound((60, 10, 20, 59)),
     ultrasound((20, 10, 60, 59), kind=4)],
    ids=["none", "larger than the image", "a sliver", "turned round", "a trace only"],
)  # fmt: skip
def test_regions_that_are_not_plausible_blank_nothing(dataset):
    assert not blanked(dataset).any()


def test_a_region_without_its_corners_blanks_nothing():
    dataset = ultrasound((20, 10, 179, 59))
    del dataset.SequenceOfUltrasoundRegions[0].RegionLocationMaxX1
    assert not blanked(dataset).any()


def template(tmp_path, *entries):
    path = tmp_path / "templates.json"
    path.write_text(json.dumps(entries))
    return regions.load_templates(path)


def test_a_sites_template_is_blanked_in_every_frame_of_its_device(tmp_path):
    said = {"manufacturer": "acme medical", "model": "SONO 1", "rows": 100, "boxes": [[0, 0, 300, 12]]}
    found = regions.fixed(ultrasound(), template(tmp_path, said), 2)
    assert [(box.frame, box.left, box.top, box.right, box.bottom, box.why) for box in found] == [
        (0, 0, 0, 200, 12, "template"),
        (1, 0, 0, 200, 12, "template"),
    ]


@pytest.mark.parametrize("other", [{"model": "Sono 2"}, {"rows": 99}, {"modality": "CT"}])
def test_another_device_is_left_alone(tmp_path, other):
    said = {"manufacturer": "Acme Medical", "model": "Sono 1", "boxes": [[0, 0, 200, 12]], **other}
    assert not regions.fixed(ultrasound(), template(tmp_path, said), 1)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"maker": "A", "boxes": [[0, 0, 1, 1]]}, "other keys"),
        ({"rows": 5, "boxes": [[0, 0, 1, 1]]}, "would fit every device"),
        ({"model": "A", "boxes": [[0, 0, 0, 1]]}, "right > left"),
        ({"model": "A"}, "boxes is not a list"),
        ({"model": "A", "rows": "5", "boxes": [[0, 0, 1, 1]]}, "whole numbers"),
        ("A", "other keys"),
    ],
)
def test_a_wrong_template_is_refused_in_a_line(tmp_path, entry, told):
    with pytest.raises(UserError, match=told):
        template(tmp_path, entry)


def test_a_file_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        regions.load_templates(tmp_path / "x.json")


def test_the_shipped_table_loads():
    assert regions.load_templates() == ()
