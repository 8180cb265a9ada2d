"""Tables of boxes: read from COCO files and from CSV, and placed on images."""

from radkit.dicom.annotations.box_rows import Row, place
from radkit.dicom.annotations.box_tables import read_csv
from radkit.dicom.annotations.coco import Image, Table, read_coco

__all__ = ["Image", "Row", "Table", "place", "read_coco", "read_csv"]
