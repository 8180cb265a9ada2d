"""Figures of reports as the boxes around them, in voxels' edges of the image.

SCOORD counts columns and rows from the upper left corner of the upper left pixel, whose lower right corner is 1\\1: the
edges that boxes count, so that its numbers stand as they are. SCOORD3D is in mm of a frame of reference.

Source: DICOM PS3.3 C.18.6 (Spatial Coordinates), C.18.9 (3D Spatial Coordinates).
"""

from dataclasses import dataclass

import numpy as np

from radkit.dicom import attributes
from radkit.dicom.annotations import form, sr_tree
from radkit.dicom.annotations.form import AnnotationError
from radkit.dicom.volumes import Volume

# How many points a figure has, where its type says so.
_POINTS = {"POINT": 1, "CIRCLE": 2, "ELLIPSE": 4, "ELLIPSOID": 6}
_TYPES = {
    "SCOORD": ("POINT", "MULTIPOINT", "POLYLINE", "CIRCLE", "ELLIPSE"),
    "SCOORD3D": ("POINT", "MULTIPOINT", "POLYLINE", "POLYGON", "ELLIPSE", "ELLIPSOID"),
}


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Attributes:
        kind: GraphicType.
        points: (points, 2) column, row in pixels' edges; or (points, 3) LPS mm.
        images: Those it was drawn on; none of a figure in space.
        frame_of_reference: Of a figure in space.
    """

    kind: str
    points: np.ndarray
    images: tuple[sr_tree.Image, ...] = ()
    frame_of_reference: str = ""


def figure(item: sr_tree.Item) -> Figure:
    """Returns the figure of a SCOORD or SCOORD3D item.

    Raises:
        AnnotationError: GraphicType is not known, or GraphicData does not fit it.
        attributes.NotDicom: An attribute cannot be decoded.
    """
    kind = attributes.text(item.dataset, "GraphicType")
    if kind not in _TYPES[item.kind]:
        raise AnnotationError(f"a {item.kind} has a GraphicType that is none of {', '.join(_TYPES[item.kind])}")
    width = 2 if item.kind == "SCOORD" else 3
    numbers = attributes.numbers(item.dataset, "GraphicData") or ()
    if not numbers or len(numbers) % width or len(numbers) // width != _POINTS.get(kind, len(numbers) // width):
        raise AnnotationError(f"a {item.kind} of type {kind} has {len(numbers)} numbers; {_expected(kind, width)}")
    points = np.array(numbers, np.float64).reshape(-1, width)
    if item.kind == "SCOORD3D":
        return Figure(kind, points, (), attributes.text(item.dataset, "ReferencedFrameOfReferenceUID"))
    images = [found for found in map(sr_tree.image, item.below("IMAGE")) if found and not found.is_segment]
    return Figure(kind, points, tuple(images))


def _expected(kind: str, width: int) -> str:
    return f"{_POINTS[kind] * width} were expected" if kind in _POINTS else f"{width} a point were expected"


def bounds(drawn: Figure, volume: Volume) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns lowest and highest slice, row, column of a figure, (3,) each; None where it has no place on the image.

    A figure on slices takes them whole. A POINT is the pixel that it lies in: the standard calls it one.
    """
    if drawn.points.shape[1] == 3:
        if not np.isfinite(volume.spacing_mm).all():
            return None  # a radiograph has no place in space
        return _extent(drawn.kind, form.from_mm(drawn.points, volume))
    slices = [k for one in drawn.images for k in slices_of(one, volume)]
    if not slices:
        return None
    low, high = _extent(drawn.kind, drawn.points[:, ::-1])
    return np.array([min(slices), *low]), np.array([max(slices) + 1, *high])


def slices_of(image: sr_tree.Image, volume: Volume) -> list[int]:
    """Returns the slices of a volume that are frames of an image; none for the tiles of a mosaic, as for others'."""
    numbers = volume.frame_numbers or (0,) * len(volume.instance_uids)
    frames = [(k, n) for k, (uid, n) in enumerate(zip(volume.instance_uids, numbers)) if uid == image.instance_uid]
    if len({n for _, n in frames}) < len(frames):
        return []  # several slices of one frame: rows and columns of the figure are the whole mosaic's
    return [k for k, n in frames if not image.frames or n + 1 in image.frames]


def _extent(kind: str, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns lowest and highest of a figure along each axis.

    An ellipse with half axes u and v reaches sqrt(u_i^2 + v_i^2) from its centre along axis i, and that stays so where
    the axes are sheared or scaled (u and v are then conjugate half diameters); the same with three for an ellipsoid.
    """
    if kind == "CIRCLE":
        reach = np.full(points.shape[1], np.linalg.norm(points[1] - points[0]))
        return points[0] - reach, points[0] + reach
    if kind in ("ELLIPSE", "ELLIPSOID"):
        halves = (points[1::2] - points[::2]) / 2
        reach = np.sqrt((halves**2).sum(axis=0))
        return points.mean(axis=0) - reach, points.mean(axis=0) + reach
    low, high = points.min(axis=0), points.max(axis=0)
    if kind == "POINT":
        return np.floor(low), np.floor(low) + 1
    return low, high
