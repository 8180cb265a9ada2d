"""Bytes and headers: finding, reading, de-identifying, measuring and writing DICOM; annotations of images."""

from radkit.dicom.annotations import Annotation, AnnotationError, read_seg, write_rtstruct, write_seg, write_sr
from radkit.dicom.annotations import read as read_annotation
from radkit.dicom.volumes import SeriesError, Volume, read_volumes

__all__ = [
    "Annotation",
    "AnnotationError",
    "SeriesError",
    "Volume",
    "read_annotation",
    "read_seg",
    "read_volumes",
    "write_rtstruct",
    "write_seg",
    "write_sr",
]
