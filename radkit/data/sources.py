"""Which annotations belong to which images: by the series that a DICOM one names, or by a table for other files.

A table is a CSV with a column `file` (below the table's own folder), an identifier column (SOPInstanceUID,
SeriesInstanceUID, StudyInstanceUID or PatientID) and, if there are such, `reader`, `date`, `reference_standard`.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from radkit import config
from radkit.data import label_table, mask_table
from radkit.dicom import scan
from radkit.dicom.annotations import boxes
from radkit.dicom.annotations.boxes import Row
from radkit.dicom.annotations.form import AnnotationError
from radkit.dicom.findings import Finding
from radkit.errors import UserError

IDENTIFIERS = label_table.KEYS  # the most specific first
# Enhanced, Comprehensive, Comprehensive 3D and Extensible SR: those that TID 1500 is stored as (PS3.3 A.35). Every CT
# comes with a report of its dose, which is another class and no annotation.
_REPORT_STORAGE = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (22, 33, 34, 35))
_ENDINGS = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".nii.gz", ".nii")
_HINT = "; a table of masks has a column file and one of SOPInstanceUID, SeriesInstanceUID, StudyInstanceUID, PatientID"

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
    others: list[list[str]] = []
    for instance in (i for series in found if not series.is_image for i in series.instances):
        uids = [uid for uid in instance.referenced_series if uid in images]
        if not uids and instance["FrameOfReferenceUID"]:
            near = by_frame[instance["FrameOfReferenceUID"]]
            uids = near if len(near) == 1 else []
        if not _wanted(instance, data):
            others += [uids] if instance.segment_labels and (data.mask_labels or data.box_labels) else []
            continue
        homeless += not uids
        for uid in uids:
            sources[uid].append(Source(instance.path, "dicom"))
    # What a series with annotations has of other organs is no news; what one without has may be misspelt.
    unknown = sum(any(uid not in sources for uid in uids) for uids in others)
    said = (
        ("labels_without_images", homeless, "annotations whose images are not here"),
        ("other_labels", unknown, "annotations of images without others hold no label that the config names"),
    )
    return sources, [Finding(name, f"{count} {what}", count) for name, count, what in said if count]


def _wanted(instance: scan.Instance, data: config.Data) -> bool:
    if instance["SOPClassUID"] in _REPORT_STORAGE:
        return bool(data.box_labels)
    asked = {label.casefold() for label in (*data.mask_labels, *data.box_labels)}
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
            what = "is a folder" if path.is_dir() else "does not exist"
            raise UserError(f"--annotations {path} {what}; name a CSV or COCO JSON file")
        self.paths = [path]
        self._of_views = data.kind == "radiograph"
        self.findings: list[Finding] = []
        self._of: dict[tuple[str, str], list[Source]] = defaultdict(list)
        self._others: dict[tuple[str, str], list[tuple[int, tuple[tuple[str, str], ...]]]] = {}  # line, identifiers
        self._used: set[tuple[str, str]] = set()
        self._rename, self._dates_left_out = rename, 0
        masks = None if path.suffix.lower() == ".json" else mask_table.read(path)
        if masks is not None:
            self._take_masks(*masks)
        else:
            self._take_boxes(_boxes(path, data))
        if self._dates_left_out:
            said = f"{path.name}: {self._dates_left_out} dates were left out, as images by --key have others"
            self.findings.append(Finding("remark", said, self._dates_left_out))

    def _named(self, column: str, value: str) -> str:
        return value if self._rename is None else self._rename(column, value)

    def _dated(self, date: str) -> str:
        """Returns a date; none where the table has original identifiers: dates beside them tell who a patient is."""
        if self._rename is None:
            return date
        self._dates_left_out += bool(date)
        return ""

    def _take_masks(self, rows: Sequence[mask_table.Row], findings: Sequence[Finding]) -> None:
        self.findings += findings
        for row in rows:
            key = (row.column, self._named(row.column, row.identifier))
            reader, date, standard = row.about
            self._of[key].append(Source(row.path, "image", reader, self._dated(date), standard))
            if row.others:
                others = tuple((column, self._named(column, value)) for column, value in row.others)
                self._others.setdefault(key, []).append((row.line, others))
        self.paths += dict.fromkeys(row.path for row in rows)

    def _take_boxes(self, table: boxes.Table) -> None:
        self.findings += table.findings
        for image in table.images:
            column, original = _key(image)
            key = (column, self._named(column, original))
            for about in image.readers:
                rows = tuple(_on_slice(row, key, self._named) for row in image.rows if _about(row) == about)
                reader, date, standard = about
                dated = self._dated(date)
                rows = tuple(row if row.date == dated else replace(row, date=dated) for row in rows)
                self._of[key].append(Source(None, "boxes", reader, dated, standard, boxes=rows))

    def of(self, instances: Iterable[scan.Instance]) -> list[Source]:
        """Returns the annotations of an image that these instances make up."""
        keys = {(column, i[column]): None for i in instances for column in IDENTIFIERS if i[column]}
        here = {identifier for column, identifier in keys if column == "SOPInstanceUID"}
        found = [key for key in keys if key in self._of]
        self._used.update(found)
        for key in found:
            self._check_others(key, keys)
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

    def _check_others(self, key: tuple[str, str], keys: Collection[tuple[str, str]]) -> None:
        """Refuses a row of masks whose other identifiers are another image's."""
        for line, others in self._others.get(key, ()):
            for column, value in others:
                if any(name == column for name, _ in keys) and (column, value) not in keys:
                    said = f"the image of this {key[0]} has another {column}; correct the row, or leave one column"
                    mask_table.refuse(self.paths[0], line, said)

    def unused(self, seen: Iterable[scan.Instance] = ()) -> list[Finding]:
        """Returns what is to be said of annotations whose images are not there.

        Args:
            seen: All instances that are there, also those that become no record; those that `of` was asked for count.
        """
        columns = sorted({column for column, _ in self._of})
        instances = list(seen)
        there = self._used | {(column, instance[column]) for instance in instances for column in columns}
        count = len(self._of.keys() - there)
        said = [(count, "images of the annotations' table are not here")]
        if self._of_views and instances:
            views = {instance["SOPInstanceUID"] for instance in instances}
            lost = sum(
                bool(row.instance_uid) and row.instance_uid not in views
                for key, sources in self._of.items()
                if key in there and key[0] != "SOPInstanceUID"
                for source in sources
                for row in source.boxes
            )
            said.append((lost, "boxes name a SOPInstanceUID that is no image's"))
        name = self.paths[0].name
        return [Finding("labels_without_images", f"{name}: {count} {what}", count) for count, what in said if count]


def _boxes(path: Path, data: config.Data) -> boxes.Table:
    try:
        return boxes.read_coco(path) if path.suffix.lower() == ".json" else boxes.read_csv(path)
    except AnnotationError as error:
        raise UserError(f"--annotations {path.name}: {error}{_HINT if data.mask_labels else ''}") from error


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
