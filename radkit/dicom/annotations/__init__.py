"""Annotations of every source, in one form and on the image's grid."""

from radkit.dicom.annotations.form import Annotation, AnnotationError, Box, Measurement, Region, as_mask
from radkit.dicom.annotations.seg import read_seg, segment_labels
from radkit.dicom.annotations.write_seg import write_seg

__all__ = [
    "Annotation",
    "AnnotationError",
    "Box",
    "Measurement",
    "Region",
    "as_mask",
    "read_seg",
    "segment_labels",
    "write_seg",
]
