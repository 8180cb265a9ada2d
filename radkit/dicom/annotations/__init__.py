"""Annotations of every source, in one form and on the image's grid."""

from radkit.dicom.annotations.form import Annotation, AnnotationError, Box, Measurement, Region, as_mask
from radkit.dicom.annotations.reading import read
from radkit.dicom.annotations.seg import read_seg, segment_labels
from radkit.dicom.annotations.write_rtstruct import write_rtstruct
from radkit.dicom.annotations.write_seg import write_seg
from radkit.dicom.annotations.write_sr import code_of, write_sr

__all__ = [
    "Annotation",
    "AnnotationError",
    "Box",
    "Measurement",
    "Region",
    "as_mask",
    "code_of",
    "read",
    "read_seg",
    "segment_labels",
    "write_rtstruct",
    "write_seg",
    "write_sr",
]
