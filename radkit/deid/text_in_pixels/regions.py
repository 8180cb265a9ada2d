"""Where devices write: outside an ultrasound image's regions, and in the text areas of known devices.

Source: DICOM PS3.3 C.8.5.5 (US Region Calibration).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom

from radkit.deid.text_in_pixels import boxes
from radkit.dicom import attributes, part10
from radkit.errors import UserError

SHIPPED = Path(__file__).with_name("templates.json")
# A region smaller than this is a colour bar or a trace's label, not an image; regions that leave most of the picture
# outside are not believed: blanking it would lose the image.
_LEAST_SIDE, _LEAST_SHARE = 32, 0.2
# Some devices write the pixel after the last.
_BEYOND = 2
_IMAGES = (1, 2)  # RegionSpatialFormat: 2D, M-mode
_TEXTS = ("manufacturer", "model", "modality")
_COUNTS = ("rows", "columns")


@dataclass(frozen=True)
class Template:
    """A device's text areas.

    Attributes:
        says: Attribute and what it must hold, of Manufacturer, ManufacturerModelName, Modality, Rows and Columns.
        areas: left, top, right, bottom each; from 0, right and bottom after the last pixel.
    """

    says: tuple[tuple[str, str], ...]
    areas: tuple[tuple[int, int, int, int], ...]


_KEYWORDS = {
    "manufacturer": "Manufacturer", "model": "ManufacturerModelName", "modality": "Modality", "rows": "Rows",
    "columns": "Columns",
}  # fmt: skip


def load_templates(path: Path = SHIPPED) -> tuple[Template, ...]:
    """Returns the templates of a JSON file.

    The file holds a list of objects such as `{"manufacturer": "Acme", "model": "Sono 1", "modality": "US",
    "rows": 600, "columns": 800, "boxes": [[0, 0, 800, 60]]}`; what an object does not name may be anything, upper and
    lower case are the same. A box is left, top, right, bottom. The table that radkit ships is empty: whoever knows a
    device's screens adds them.

    Raises:
        UserError: The file cannot be read or an entry is not as above.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError("the pixel templates cannot be read as JSON; see --pixel_templates in the docs") from error
    if not isinstance(entries, list):
        raise UserError("the pixel templates are not a list of objects; write [{...}, {...}]")
    return tuple(_template(entry, number) for number, entry in enumerate(entries, 1))


def _template(entry: Any, number: int) -> Template:
    if not isinstance(entry, dict) or not set(entry) <= {*_KEYWORDS, "boxes"}:
        raise UserError(f"pixel template {number} has other keys than {', '.join((*_KEYWORDS, 'boxes'))}")
    if not set(entry) & {"manufacturer", "model"}:
        raise UserError(f"pixel template {number} names neither manufacturer nor model: it would fit every device")
    typed = all(isinstance(entry[key], str) for key in _TEXTS if key in entry) and all(
        isinstance(entry[key], int) for key in _COUNTS if key in entry
    )
    if not typed:
        raise UserError(f"pixel template {number}: {', '.join(_TEXTS)} are text, {', '.join(_COUNTS)} whole numbers")
    areas = entry.get("boxes")
    if not isinstance(areas, list) or not areas or not all(_is_area(area) for area in areas):
        raise UserError(
            f"pixel template {number}: boxes is not a list of [left, top, right, bottom], right > left >= 0"
        )
    says = tuple((_KEYWORDS[key], _same(entry[key])) for key in _KEYWORDS if key in entry)
    return Template(says, tuple((a[0], a[1], a[2], a[3]) for a in areas))


def _is_area(area: Any) -> bool:
    whole = isinstance(area, list) and len(area) == 4 and all(type(edge) is int for edge in area)
    return whole and 0 <= area[0] < area[2] and 0 <= area[1] < area[3]


def _same(value: object) -> str:
    return " ".join(str(value if value is not None else "").split()).casefold()


def fixed(dataset: pydicom.Dataset, templates: Iterable[Template], frames: int) -> list[boxes.Box]:
    """Returns what is blacked out unseen, in every frame.

    Args:
        dataset: The header.
        templates: As `load_templates` gives them.
        frames: How many there are.

    Raises:
        PixelError: An attribute that they are chosen by cannot be read.
    """
    size = attributes.whole(dataset, "Rows", 0), attributes.whole(dataset, "Columns", 0)
    areas = [(area, "region") for area in _around_ultrasound(dataset, size)]
    for template in templates:
        if all(_same(attributes.value(dataset, keyword)) == said for keyword, said in template.says):
            areas += [(area, "template") for area in template.areas]
    cut = [(left, top, min(right, size[1]), min(bottom, size[0]), why) for (left, top, right, bottom), why in areas]
    return [
        boxes.Box(frame, *area) for frame in range(frames) for area in cut if area[0] < area[2] and area[1] < area[3]
    ]


def _around_ultrasound(dataset: pydicom.Dataset, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Returns what lies outside the device's own image regions; nothing where they are absent or not plausible."""
    if "SequenceOfUltrasoundRegions" not in dataset:
        return []
    try:
        regions = [_region(item, size) for item in dataset.SequenceOfUltrasoundRegions]
    except (*part10.MALFORMED, AttributeError):
        return []
    images = [corners for corners, is_image in regions if is_image and _is_large(corners)]
    inside = all(0 <= c[0] < c[2] <= size[1] and 0 <= c[1] < c[3] <= size[0] for c in images)
    if not images or not inside:
        return []
    every = [corners for corners, _ in regions if 0 <= corners[0] < corners[2] and 0 <= corners[1] < corners[3]]
    around = boxes.outside(every, size)
    blank = sum((right - left) * (bottom - top) for left, top, right, bottom in around)
    return around if blank <= (1 - _LEAST_SHARE) * size[0] * size[1] else []


def _region(item: pydicom.Dataset, size: tuple[int, int]) -> tuple[tuple[int, int, int, int], bool]:
    left, top, last_x, last_y = (
        int(item[f"RegionLocation{name}"].value) for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")
    )
    right, bottom = (
        most if most < last + 1 <= most + _BEYOND else last + 1 for last, most in ((last_x, size[1]), (last_y, size[0]))
    )
    return (left, top, right, bottom), item.get("RegionSpatialFormat", 1) in _IMAGES


def _is_large(corners: tuple[int, int, int, int]) -> bool:
    return min(corners[2] - corners[0], corners[3] - corners[1]) >= _LEAST_SIDE
