"""COCO detection files as rows of boxes.

Source: the COCO data format, https://cocodataset.org/#format-data: `bbox` is x, y, width, height in pixels from the
upper left corner of the upper left pixel, as pycocotools takes it.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from radkit.dicom.annotations import box_rows
from radkit.dicom.annotations.form import AnnotationError
from radkit.dicom.findings import Finding

# An image's fields that are its identifiers or facts are told on as they are; these are the format's own.
_OWN = frozenset(("id", "file_name", "width", "height", "license", "flickr_url", "coco_url", "date_captured"))


@dataclass(frozen=True)
class Image:
    """What a table says of one image, or of one series, study or patient.

    Attributes:
        column: What identifies it: `SeriesInstanceUID`, `SOPInstanceUID`, `StudyInstanceUID`, `PatientID` or `file`.
        identifier: Its value.
        rows: The boxes, of all readers; none where somebody looked and found nothing.
        readers: (reader, date, reference standard) of all who looked, also of those who found nothing.
        facts: What else the table says of it, by the table's own names.
    """

    column: str
    identifier: str
    rows: tuple[box_rows.Row, ...]
    readers: tuple[tuple[str, str, str], ...] = (("", "", ""),)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table of boxes.

    Attributes:
        layout: Which it is: `coco`, `nih`, `rsna`, `luna16`, `vindr`, `radkit`.
        images: In the file's order.
        labels: All that boxes may hold, in the file's order.
        findings: What a person should know, with counts.
    """

    layout: str
    images: tuple[Image, ...]
    labels: tuple[str, ...]
    findings: tuple[Finding, ...]


def read_coco(path: Path) -> Table:
    """Returns the boxes of a COCO detection file, by image.

    Outlines are read as the box around them where a polygon stands without a `bbox`. Boxes around crowds and
    annotations that say the same thing twice are left out with a finding. A box without extent stays in, so that
    `box_rows.place` refuses its image rather than leave the lesion out; so does a box of an unknown category, which is
    labelled `category 7`.

    Raises:
        AnnotationError: Not a COCO detection file, or numbers that are none.
    """
    said = _json(path)
    images, annotations = _dicts(said, "images"), _dicts(said, "annotations")
    names = {_key(one, "id", "category"): str(one.get("name", "")) for one in _dicts(said, "categories")}
    by_id: dict[Any, dict[str, Any]] = {}
    for one in images:
        if by_id.setdefault(_key(one, "id", "image"), one) is not one:
            raise AnnotationError("two images have the same id; ids that differ were expected")
    counts: Counter[str] = Counter()
    rows: dict[Any, list[box_rows.Row]] = {key: [] for key in by_id}
    for one in _each_once(annotations, counts):
        key = _key(one, "image_id", "annotation")
        if key not in by_id:
            counts["labels_without_images"] += 1
        elif row := _row(one, by_id[key], names, counts):
            rows[key].append(row)
    made = tuple(_image(one, rows[key]) for key, one in by_id.items())
    return Table("coco", made, tuple(dict.fromkeys(names.values())), findings(counts))


_SAID = {
    "labels_without_images": "{} annotations name images that the file does not list; they were left out",
    "duplicate_rows": "{} annotations say what another says already; each was taken once",
    "contradicting_rows": "{} annotations have another's id and say something else; all were taken",
    "unknown_class": "{} annotations are of categories that the file does not list",
    "crowd_boxes": "{} boxes are around crowds (iscrowd); they were left out",
    "unread_regions": "{} annotations have run-length masks, which were not read",
    "degenerate_box": "{} boxes have no width or height, or a negative one",
    "outside_image": "{} boxes lie outside their image",
    "partly_outside": "{} boxes reach beyond their image",
}


def findings(counts: Counter[str]) -> tuple[Finding, ...]:
    """Returns counts by the name of their finding in words, in the order of the names' list."""
    return tuple(Finding(name, said.format(counts[name]), counts[name]) for name, said in _SAID.items() if counts[name])


def count_places(row: box_rows.Row, counts: Counter[str]) -> None:
    """Counts what is wrong with a row's place, as far as the table itself tells."""
    if row.is_degenerate:
        counts["degenerate_box"] += 1
    elif row.size != (0, 0) and row.unit == "pixels":
        pairs = list(zip(row.low[-2:], row.high[-2:], row.size))
        if any(low >= size or high <= 0 for low, high, size in pairs):
            counts["outside_image"] += 1
        elif any(low < 0 or high > size for low, high, size in pairs):
            counts["partly_outside"] += 1


def _json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_bytes())
    except OSError as error:
        raise AnnotationError(f"the file of boxes cannot be opened ({type(error).__name__})") from error
    except (ValueError, RecursionError) as error:
        raise AnnotationError("the file of boxes is not JSON; a COCO detection file was expected") from error
    if not isinstance(said, dict) or not {"images", "annotations", "categories"} <= set(said):
        raise AnnotationError("the file is no COCO detection file: images, annotations and categories were expected")
    return said


def _dicts(said: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = said[name]
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise AnnotationError(f"{name} of the COCO file is no list of objects")
    return found


def _key(one: dict[str, Any], name: str, what: str) -> int | str:
    found = one.get(name)
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise AnnotationError(f"an {what} of the COCO file has no {name}; a number or a text was expected")
    return found


def _each_once(annotations: Sequence[dict[str, Any]], counts: Counter[str]) -> list[dict[str, Any]]:
    """Returns annotations, those that say the same thing once; ids may differ where the boxes do not."""
    seen, ids, kept = set(), set(), []
    for one in annotations:
        content = json.dumps({k: v for k, v in one.items() if k != "id"}, sort_keys=True)
        if content in seen:
            counts["duplicate_rows"] += 1
            continue
        seen.add(content)
        kept.append(one)
        if "id" in one:
            key = json.dumps(one["id"])
            counts["contradicting_rows"] += key in ids
            ids.add(key)
    return kept


def _row(
    one: dict[str, Any], image: dict[str, Any], names: Mapping[Any, str], counts: Counter[str]
) -> box_rows.Row | None:
    if one.get("iscrowd"):
        counts["crowd_boxes"] += 1
        return None
    outline = one.get("segmentation")
    counts["unread_regions"] += isinstance(outline, dict)
    bbox = one.get("bbox") or _around(outline)
    if bbox is None:
        raise AnnotationError("an annotation of the COCO file has neither a bbox nor a polygon around it")
    x, y, width, height = numbers(bbox, 4, "bbox of an annotation")
    category = _key(one, "category_id", "annotation")
    counts["unknown_class"] += category not in names
    row = box_rows.Row(
        low=(y, x),
        high=(y + height, x + width),
        label=names.get(category, f"category {category}"),
        instance_uid=str(image.get("SOPInstanceUID", "")),
        size=_size(image),
    )
    count_places(row, counts)
    return row


def numbers(found: object, count: int, what: str) -> tuple[float, ...]:
    """Returns a list's finite numbers.

    Raises:
        AnnotationError: It is not `count` finite numbers.
    """
    is_list = isinstance(found, list | tuple) and len(found) == count
    if not is_list or not all(isinstance(n, int | float) and math.isfinite(n) for n in found):  # type: ignore[attr-defined]
        raise AnnotationError(f"the {what} is not {count} finite numbers")
    return tuple(map(float, found))  # type: ignore[call-overload]


def _around(outline: object) -> list[float] | None:
    """Returns x, y, width, height of polygons' corners; None where there are none."""
    if not isinstance(outline, list) or not outline:
        return None
    flat = [n for part in outline for n in (part if isinstance(part, list) else [part])]
    corners = numbers(flat, len(flat) // 2 * 2, "polygon of an annotation")
    x, y = corners[::2], corners[1::2]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)] if x else None


def _size(image: dict[str, Any]) -> tuple[int, int]:
    found = (image.get("height") or 0, image.get("width") or 0)
    if not all(isinstance(n, int) and n >= 0 for n in found):
        raise AnnotationError("height or width of an image of the COCO file is no whole number")
    return found if all(found) else (0, 0)


def _image(said: dict[str, Any], rows: Sequence[box_rows.Row]) -> Image:
    facts = {k: str(v) for k, v in said.items() if k not in _OWN and isinstance(v, str | int | float)}
    name = str(said.get("file_name") or "")
    for column in ("SeriesInstanceUID", "SOPInstanceUID"):
        if facts.get(column):
            return Image(column, facts[column], tuple(rows), facts={**facts, "file": name})
    if not name:
        raise AnnotationError("an image of the COCO file has neither a file_name nor a SOPInstanceUID")
    return Image("file", name, tuple(rows), facts=facts)
