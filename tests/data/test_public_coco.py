import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from radkit.data import annotate, contents, public
from radkit.errors import UserError
from tests.data import made_up_sets as made

SIZE = (40, 50)
LABELS = ("lung", "heart")


def data(**more: object) -> Any:
    return made.pictures(**{"label": "", "class_names": (), "box_labels": LABELS, **more})


def coco(boxes: list[tuple[str, int, list[float]]], *names: str, **image: object) -> dict[str, object]:
    images = [{"id": n, "file_name": name, "height": 40, "width": 50, **image} for n, name in enumerate(names)]
    numbers = {name: n for n, name in enumerate(names)}
    return {
        "images": images,
        "annotations": [
            {"id": n, "image_id": numbers[name], "category_id": category, "bbox": box}
            for n, (name, category, box) in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "heart"}, {"id": 2, "name": "Lung"}],
    }


def folder(path: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        made.picture(path / "images" / name, made.values(SIZE, seed, np.uint8))
    return path


def placed(found: public.Selection, asked: Any, settings: Any) -> list[list[tuple[float, ...]]]:
    """Returns each case's boxes as x, y, width, height in pixels."""
    every: list[list[tuple[float, ...]]] = []
    for unit in public.units(found, asked, settings):
        ((_, volume),) = contents.volumes_of(unit, settings)
        drawn = annotate.annotations_of(unit.annotations, volume, settings)
        boxes = [box for one in drawn for box in one.boxes]
        every.append([(b.low[2], b.low[1], b.high[2] - b.low[2], b.high[1] - b.low[1]) for b in boxes])
    return every


def test_boxes_come_out_in_the_pixels_that_the_file_says(tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "b.png", "c.png")
    boxes = [("a.png", 1, [1.5, 2.0, 10.0, 20.25]), ("a.png", 2, [0.0, 0.0, 50.0, 40.0])]
    labels = made.as_json(tmp_path / "boxes.json", coco(boxes, "a.png", "b.png", "gone.png", patient_id="P"))
    found, asked = made.select("coco", tmp_path, data(), modality="CR", labels=labels)
    assert [(case.name, case.patient) for case in found.cases] == [("a", "P"), ("b", "P")]
    assert placed(found, asked, data()) == [[(1.5, 2.0, 10.0, 20.25), (0.0, 0.0, 50.0, 40.0)], []]
    assert found.left_out == {"no annotation that the config asks for": 1}
    told = {finding.name for finding in found.findings}
    assert told == {"labels_without_images", "images_without_labels"}


def test_a_plain_list_is_read_with_what_it_says_of_patients(tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "b.png")
    box = {"category": "lung", "bbox_xywh": [1.5, 2.0, 10.0, 20.25]}
    said = {"patientid": "7", "sex": "M", "age": "", "view": "AP Supine", "original": "x.jpg", "ill": "1"}
    made.as_json(
        tmp_path / "list.json",
        [{"file": "a.png", "boxes": [box], **said}, {"file": "b.png", "boxes": [{**box, "category": "heart"}], **said}],
    )
    settings = data(label="ill", class_names=("healthy", "ill"))
    found, asked = made.select("coco", tmp_path, settings, modality="CR")  # the only JSON needs no --labels
    assert [(case.patient, case.label, dict(case.facts)) for case in found.cases] == [
        ("7", 1, {"PatientSex": "M", "ViewPosition": "AP"})
    ] * 2
    assert placed(found, asked, settings) == [[(1.5, 2.0, 10.0, 20.25)]] * 2


def test_where_masks_are_asked_for_too_an_image_needs_both(tmp_path: Path) -> None:
    folder(tmp_path, "a.png", "b.png")
    made.picture(tmp_path / "masks" / "a.png", made.mask(SIZE, 255))
    labels = made.as_json(tmp_path / "boxes.json", coco([("a.png", 1, [1, 1, 2, 2])], "a.png", "b.png"))
    found, _ = made.select("coco", tmp_path, data(mask_labels=("organ",)), modality="CR", labels=labels)
    assert [(case.name, len(case.annotations)) for case in found.cases] == [("a", 2)]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([{"boxes": []}], "object 1 has no 'file'"),
        ([{"file": "a.png"}], "no list 'boxes'"),
        ([{"file": "a.png", "boxes": [{"bbox": [1, 2, 3]}]}], r"object 1: .* four finite numbers; found \[1, 2, 3\]"),
        ([{"file": "a.png", "boxes": [{"bbox": [1, 2, 3, math.nan]}]}], r"object 1: .* found \[1, 2, 3, nan\] of ''"),
        ([{"file": "a.png", "boxes": []}] * 2, "stands there before"),
        ([{"file": "a.png", "boxes": []}], "asks for 'lung', and the boxes are of nothing"),
        ([1], "object 1 has no 'file'"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused(tmp_path: Path, said: object, message: str) -> None:
    folder(tmp_path, "a.png")
    made.as_json(tmp_path / "list.json", said)
    with pytest.raises(UserError, match=message):
        made.select("coco", tmp_path, data(), modality="CR")


def test_which_file_holds_the_boxes_must_be_clear(tmp_path: Path) -> None:
    folder(tmp_path, "a.png")
    with pytest.raises(UserError, match="0 JSON files"):
        made.select("coco", tmp_path, data(), modality="CR")
    for name in ("a.json", "b.json"):
        made.as_json(tmp_path / name, [])
    with pytest.raises(UserError, match="2 JSON files"):
        made.select("coco", tmp_path, data(), modality="CR")
    with pytest.raises(UserError, match="does not exist"):
        made.select("coco", tmp_path, data(), modality="CR", labels=tmp_path / "c.json")
    (tmp_path / "a.json").write_text("[")
    with pytest.raises(UserError, match="no JSON in UTF-8"):
        made.select("coco", tmp_path, data(), modality="CR", labels=tmp_path / "a.json")
