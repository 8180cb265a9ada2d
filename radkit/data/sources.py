"""Which annotations belong to which images: by the series that a DICOM one names, or by a table for other files.

A table is a CSV with a column `file` (below the table's own folder), an identifier column (SOPInstanceUID,
SeriesInstanceUID, StudyInstanceUID or PatientID) and, if there are such, `reader`, `date`, `reference_standard`.
"""

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from radkit import config
from radkit.dicom import scan
from radkit.dicom.annotations import boxes
from radkit.dicom.annotations.boxes import Row
from radkit.dicom.annotations.form import REFERENCE_STANDARDS
from radkit.dicom.findings import Finding
from radkit.errors import UserError, did_you_mean

IDENTIFIERS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")  # the most specific first
_REPORT_STORAGE = "1.2.840.10008.5.1.4.1.1.88."
_STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
_OF_BOXES = {"x_min", "x_mm", "x_min_mm"}
_ENDINGS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".nii.gz", ".nii")
_ABOUT = ("reader", "date", "reference_standard")

Rename = Callable[[str, str], str]


@dataclass(frozen=True)
class Source:
    """One annotation of one image, not read yet.

    Attributes:
        path: Its file; None of boxes, whose rows stand here.
        kind: `dicom`: a segmentation, structure set or report; `image`: a mask that is no DICOM; `boxes`: rows.
        reader: Who, where a table says it; else the file does.
        date: When, likewise.
        reference_standard: What it rests on, likewise.
        names: Of a mask's values: (value, label).
        boxes: Rows of a table.
    """

    path: Path | None
    kind: Literal["dicom", "image", "boxes"]
    reader: str = ""
    date: str = ""
    reference_standard: str = ""
    names: tuple[tuple[int, str], ...] = ()
    boxes: tuple[Row, ...] = ()


def to_json(source: Source, root: Path) -> dict[str, Any]:
    """Returns a source as plain JSON values, its path below a folder or beside it; `from_json` gives it back."""
    path = None if source.path is None else Path(os.path.relpath(source.path, root)).as_posix()
    return {**asdict(source), "path": path}


def from_json(values: Mapping[str, Any], root: Path) -> Source:
    """Returns a source from what `to_json` gave."""
    made = {
        "path": None if values["path"] is None else root / values["path"],
        "names": tuple((int(value), str(label)) for value, label in values["names"]),
        "boxes": tuple(Row(**row) for row in values["boxes"]),
    }
    return Source(**{**values, **made})


def in_series(found: Sequence[scan.Series], data: config.Data) -> tuple[dict[str, list[Source]], list[Finding]]:
    """Returns the DICOM annotations that the config asks for, by the SeriesInstanceUID of the image, and findings.

    One that names no series, or none that is here, belongs to the only image series of its frame of reference.

    Args:
        found: All series of the input.
        data: The config's data section.
    """
    images = {series.uid: series for series in found if series.is_image}
    by_frame: dict[str, list[str]] = defaultdict(list)
    for uid, series in images.items():
        by_frame[series.instances[0]["FrameOfReferenceUID"]].append(uid)
    sources: dict[str, list[Source]] = defaultdict(list)
    homeless = 0
    for instance in (i for series in found if not series.is_image for i in series.instances if _wanted(i, data)):
        uids = [uid for uid in instance.referenced_series if uid in images]
        if not uids and instance["FrameOfReferenceUID"]:
            near = by_frame[instance["FrameOfReferenceUID"]]
            uids = near if len(near) == 1 else []
        homeless += not uids
        for uid in uids:
            sources[uid].append(Source(instance.path, "dicom"))
    said = [Finding("labels_without_images", f"{homeless} annotations whose images are not here")] if homeless else []
    return sources, said


def _wanted(instance: scan.Instance, data: config.Data) -> bool:
    if instance["SOPClassUID"].startswith(_REPORT_STORAGE):
        return bool(data.box_labels)
    asked = {label.casefold() for label in data.mask_labels}
    if instance["SOPClassUID"] == _STRUCTURE_SET_STORAGE:
        asked |= {label.casefold() for label in data.box_labels}  # of its points
    return not asked.isdisjoint(label.casefold() for label in instance.segment_labels)


class Table:
    """Annotations beside the DICOM: mask files by a table, or boxes of a CSV or COCO file.

    Args:
        path: The file.
        data: The config's data section.
        rename: Maps (column, original identifier) to the images' pseudonym; None: they are the images' own.

    Raises:
        UserError: It cannot be read, or is none of these.
    """

    def __init__(self, path: Path, data: config.Data, rename: Rename | None = None) -> None:
        if not path.is_file():
            raise UserError(f"--annotations {path} does not exist; name a CSV or COCO JSON file")
        self.paths = [path]
        self._of_views = data.kind == "radiograph"
        self.findings: list[Finding] = []
        self._of: dict[tuple[str, str], list[Source]] = defaultdict(list)
        self._used: set[tuple[str, str]] = set()
        rename = rename or (lambda _, value: value)
        if path.suffix == ".csv" and (masks := _masks(path)) is not None:
            for key, source in masks:
                self._of[(key[0], rename(*key))].append(source)
                self.paths += [source.path] if source.path else []
            return
        table = boxes.read_coco(path) if path.suffix == ".json" else boxes.read_csv(path)
        self.findings += table.findings
        for image in table.images:
            column, original = _key(image)
            key = (column, rename(column, original))
            for about in image.readers:
                rows = tuple(_on_slice(row, key, rename) for row in image.rows if _about(row) == about)
                self._of[key].append(Source(None, "boxes", *about, boxes=rows))

    def of(self, instances: Iterable[scan.Instance]) -> list[Source]:
        """Returns the annotations of an image that these instances make up."""
        keys = {(column, i[column]): None for i in instances for column in IDENTIFIERS if i[column]}
        here = {identifier for column, identifier in keys if column == "SOPInstanceUID"}
        found = [key for key in keys if key in self._of]
        self._used.update(found)
        sources = [source for key in found for source in self._of[key]]
        # What one reader boxed on several slices is one annotation of the volume.
        boxed: dict[tuple[str, str, str], list[Row]] = {}
        for source in sources:
            # A radiograph is one of its series' views; what a table says of another view says nothing of this one.
            rows = [
                row for row in source.boxes if not (self._of_views and row.instance_uid) or row.instance_uid in here
            ]
            if source.kind == "boxes" and (rows or not source.boxes):
                boxed.setdefault(_about(source), []).extend(rows)
        drawn = [source for source in sources if source.kind != "boxes"]
        return [*drawn, *(Source(None, "boxes", *about, boxes=tuple(rows)) for about, rows in boxed.items())]

    def unused(self) -> list[Finding]:
        """Returns what is to be said of annotations whose images were not asked for with `of`."""
        count = len(self._of.keys() - self._used)
        if not count:
            return []
        return [Finding("labels_without_images", f"{count} images of the annotations' table are not here")]


def _about(one: Source | Row) -> tuple[str, str, str]:
    return one.reader, one.date, one.reference_standard


def _on_slice(row: Row, key: tuple[str, str], rename: Rename) -> Row:
    """Returns a row that says its slice by the image's own identifier, where the table says it at all."""
    if row.instance_uid:
        return replace(row, instance_uid=rename("SOPInstanceUID", row.instance_uid))
    return replace(row, instance_uid=key[1]) if key[0] == "SOPInstanceUID" and row.unit == "pixels" else row


def _key(image: boxes.Image) -> tuple[str, str]:
    """Returns column and identifier of a table's image; of a file, the image that bears the file's name."""
    if image.column != "file":
        return image.column, image.identifier
    name = PurePosixPath(image.identifier).name
    return "SOPInstanceUID", name.removesuffix(next((end for end in _ENDINGS if name.lower().endswith(end)), ""))


def _masks(path: Path) -> list[tuple[tuple[str, str], Source]] | None:
    """Returns (identifier's column, identifier) and mask of each row; None when the table is none of masks."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            key = next((name for name in IDENTIFIERS if name in columns), "")
            if "file" not in columns or not key or _OF_BOXES & set(columns):
                return None
            return [_mask(row, key, path, reader.line_num) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"--annotations {path.name} is no CSV file in UTF-8; save it as one") from error


def _mask(row: Mapping[str, str | None], key: str, path: Path, line: int) -> tuple[tuple[str, str], Source]:
    file, identifier = (row["file"] or "").strip(), (row[key] or "").strip()
    if not file or not identifier:
        raise UserError(f"--annotations {path.name}, line {line}: file or {key} is empty; each row needs both")
    if not (path.parent / file).is_file():
        raise UserError(f"--annotations {path.name}, line {line}: its file does not exist beside the table")
    reader, date, standard = ((row.get(name) or "").strip() for name in _ABOUT)
    if standard and standard not in REFERENCE_STANDARDS:
        raise UserError(
            f"--annotations {path.name}, line {line}: reference_standard {standard!r} is none of "
            f"{', '.join(REFERENCE_STANDARDS)}{did_you_mean(standard, REFERENCE_STANDARDS)}"
        )
    return (key, identifier), Source((path.parent / file).resolve(), "image", reader, date, standard)
