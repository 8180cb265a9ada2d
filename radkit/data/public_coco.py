"""Public sets of pictures with boxes: images below a folder, and a COCO detection file or a plain list of objects.

The list is JSON as `[{"file": "a.png", "boxes": [{"category": "lung", "bbox_xywh": [x, y, width, height]}]}]`; what
else an object says of its image (patient, sex, age, view, a class) is known by the names that tables' columns have.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radkit import config
from radkit.data import public_cases, public_pictures, public_table
from radkit.data.public_cases import Asked, Found
from radkit.data.sources import Source
from radkit.dicom.annotations import boxes
from radkit.errors import UserError, did_you_mean

_BBOX = ("bbox_xywh", "bbox")
_CATEGORY = ("category", "label", "class", "name")


def find(asked: Asked, data: config.Data) -> Found:
    """Returns what a folder of pictures with boxes holds.

    Where the config asks for masks, too, an image without a mask counts as not annotated.

    Raises:
        UserError: There is no file of boxes, it is none, or lacks labels that the config asks for.
    """
    found = public_pictures.find(asked, data)
    path = asked.labels or only_json(asked.folder)
    table = _list_of_objects(path) if _is_list(path) else boxes.read_coco(path)
    found.findings += table.findings
    _check_labels(table.labels, data)
    entries = {image.identifier: image for image in table.images if image.column == "file"}
    said = {name: {"file": name, **_without_files(image.facts)} for name, image in entries.items()}
    keys = dict.fromkeys(key for facts in said.values() for key in facts)
    known = public_table.columns(list(keys), data, path.name)
    rows = [public_table.row(facts, known, number, data, path.name) for number, facts in enumerate(said.values(), 1)]
    found.rows, more = public_table.gathered(rows, data, path.name)
    found.findings += more
    if data.box_labels:
        matched, _ = public_table.matched(found.rows, found.images)  # what is of no image is told by its caller
        masks = found.drawn
        found.drawn = {
            name: (*masks.get(name, ()), Source(None, "boxes", boxes=entries[row.image].rows))
            for name, row in matched.items()
            if not data.mask_labels or name in masks
        }
    return found


def _without_files(facts: Mapping[str, str]) -> dict[str, str]:
    """Returns facts of an image without other names of its file, of which only one may tell which image it is."""
    names = ("imageindex", "filename", "image", "imagename", "imageid", "imagepath", "path", "case", "name")
    return {key: value for key, value in facts.items() if key.lower().replace("_", "") not in names and key != "file"}


def only_json(folder: Path) -> Path:
    """Returns the one JSON file of a folder, or of its folder annotations.

    Raises:
        UserError: There is none, or there are several.
    """
    inner = public_cases.subfolder(folder, ("annotations",))
    found = sorted([*folder.glob("*.json"), *(inner.glob("*.json") if inner else ())])
    if len(found) != 1:
        raise UserError(
            f"--input holds {len(found)} JSON files beside its images; name the one with the boxes: --labels FILE.json"
        )
    return found[0]


def _is_list(path: Path) -> bool:
    if not path.is_file():
        raise UserError(f"--labels {path} does not exist; name a COCO JSON file")
    with path.open("rb") as file:
        return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def _check_labels(there: Sequence[str], data: config.Data) -> None:
    known = {label.casefold() for label in there}
    for label in data.box_labels:
        if label.casefold() not in known:
            raise UserError(
                f"data.box_labels asks for {label!r}, and the boxes are of {', '.join(map(repr, there)) or 'nothing'}"
                f"{did_you_mean(label, there)}"
            )


def _list_of_objects(path: Path) -> boxes.Table:
    try:
        listed = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"--labels {path.name} is no JSON in UTF-8; a COCO file or a list of objects was expected"
        ) from error
    images: dict[str, boxes.Image] = {}
    for number, one in enumerate(listed, start=1):
        image = _image(one, f"--labels {path.name}, object {number}")
        if image.identifier in images:
            raise UserError(
                f"--labels {path.name}, object {number}: its file stands there before; one object was expected"
            )
        images[image.identifier] = image
    labels = tuple(dict.fromkeys(row.label for image in images.values() for row in image.rows))
    return boxes.Table("list", tuple(images.values()), labels, ())


def _image(one: Any, where: str) -> boxes.Image:
    if not isinstance(one, dict) or not isinstance(one.get("file", one.get("file_name")), str):
        raise UserError(f"{where} has no 'file'; objects with 'file' and 'boxes' were expected")
    drawn = one.get("boxes")
    if not isinstance(drawn, list):
        raise UserError(f"{where} has no list 'boxes'; an empty one says that nothing is there")
    size = one.get("height"), one.get("width")
    rows = tuple(_row(box, size, where) for box in drawn)
    facts = {key: str(value) for key, value in one.items() if isinstance(value, str | int | float)}
    return boxes.Image("file", str(one.get("file", one.get("file_name"))), rows, facts=facts)


def _row(box: Any, size: tuple[Any, Any], where: str) -> boxes.Row:
    numbers = next((box[name] for name in _BBOX if name in box), None) if isinstance(box, dict) else None
    label = next((box[name] for name in _CATEGORY if name in box), "") if isinstance(box, dict) else ""
    is_box = isinstance(numbers, list) and len(numbers) == 4
    is_box = is_box and all(type(n) in (int, float) and math.isfinite(n) for n in numbers)  # type: ignore[union-attr]
    if not is_box or not isinstance(label, str):
        raise UserError(
            f"{where}: a box is {{'category': text, 'bbox_xywh': [x, y, width, height]}}, four finite numbers; found "
            f"{numbers!r} of {label!r}"
        )
    x, y, width, height = map(float, numbers)  # type: ignore[arg-type]
    of = (size[0], size[1]) if all(type(n) is int and n > 0 for n in size) else (0, 0)
    return boxes.Row((y, x), (y + height, x + width), label=label, size=of)
