"""Which voxels of a head CT or MR show the face: eyes, nose, mouth, jaw and ears, to be overwritten.

No template and no trained weights: the brain is estimated by thresholds and morphology, and what lies in front of and
below it is the face. In the sagittal plane the brain's outline has a tangent at each angle; all that is beyond the
tangents looking 30 to 60 degrees down from straight ahead, and no further back than the ears, goes, air included. The
forehead above the brow and the brain stay. Ears are what a ball does not reach from inside the head, at its sides.

Directions are the patient's (LPS), so neither the plane of acquisition nor its order or mirroring matters. What the
header says of them is believed. Source: the tangent is the idea of Schimke and Hale 2011, "Quickshear defacing for
neuroimages" (one plane there, from a given brain mask); PS3.15 E.3.2 asks for the option.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from radkit.dicom import volumes
from radkit.errors import UserError

MODALITIES = ("CT", "MR")
# BodyPartExamined of images on which a face may be (PS3.16 Annex L), and words of such in free text.
_HEAD_PARTS = frozenset((
    "BRAIN", "EAR", "EYE", "FACE", "HEAD", "HEADNECK", "IAC", "JAW", "MANDIBLE", "MAXILLA", "MOUTH", "NASALBONE",
    "NASOPHARYNX", "NOSE", "ORBIT", "ORBITS", "PAROTID", "PITUITARY", "SELLA", "SINUS", "SINUSES", "SKULL", "TEETH",
    "TEMPORALBONE", "TMJ", "TONGUE", "WHOLEBODY", "ZYGOMA",
))  # fmt: skip
_HEAD_WORDS = re.compile(r"(?<![A-Z])(BRAIN|HEAD|SKULL|CRANI|CEREB|FACE|FACIAL|ORBIT|SINUS|STROKE|PITUIT|NEURO)")
_DESCRIPTIONS = ("StudyDescription", "SeriesDescription", "ProtocolName")

_GRID_MM = 2.0
# No brain, with what is taken for it by mistake, is larger: left to right, front to back, foot to head.
_MOST_BRAIN_MM = (185.0, 225.0, 225.0)
_ANGLES_DEGREES = (30.0, 40.0, 50.0, 60.0)
# Between the brain and what is overwritten: the grid's step, the slope of partial volume and a little more.
_MARGIN_MM = 5.0
# From the frontal pole back to the ear canal in an adult; behind it are spine and neck, which show no face.
_DEPTH_MM = 90.0
# Sizes of the head are told for a brain of this length, frontal to occipital pole, and scale with it.
_BRAIN_MM = 170.0
# Below the top of the brain: its own lower end, the chin; eyes to upper lip, where a face is looked for.
_BRAIN_HEIGHT_MM, _CHIN_MM, _FEATURES_MM = 150.0, 240.0, (110.0, 150.0)
# A face goes this far beyond the tangents; what does not, and lies this far behind the forehead, is the cut of an
# earlier removal, or a brain without its skull.
_PROTRUSION_MM, _PROTRUSION_ML, _BEHIND_FOREHEAD_MM = 12.0, 1.0, 10.0
_MUST_GO = 0.95
# Fewer columns of 2 by 2 mm than this are no face to judge by.
_FEATURE_COLUMNS = 50
# Coils' sensitivity changes over this length.
_COIL_MM = 40.0
# Balls that roll through brain and through no cleft of the skull base; through a head and into no ear.
_BALL_CT_MM, _BALL_MR_MM, _BALL_EAR_MM = 5.0, 9.0, 20.0
# Scalp and skull are at least this thick, where MR cannot tell them from brain.
_SKULL_MM = 7.0
_SKIN_HU, _FAT_HU, _BONE_HU = -300.0, -30.0, 220.0
_LEAST_HEAD_ML, _LEAST_BRAIN_SHARE, _LEAST_AIR_SHARE = 50.0, 0.05, 0.02
# In a thinner stack, as of a localizer, brain and face cannot be told apart.
_LEAST_SLAB_MM = 30.0
# Of a body that is in the picture, this much from the top is looked at.
_HEAD_MM = 270.0
_ADVICE = "leave the series out, or CleanRecognizableVisualFeatures if its pictures show no face"


class FaceError(UserError):
    """No head or brain was found where the header says head: nothing may pass as cleaned."""


@dataclass(frozen=True)
class _Canvas:
    """The volume on a coarse grid along the patient's axes: (left, posterior, superior), `_GRID_MM` apart."""

    values: np.ndarray
    inside: np.ndarray  # bool, where the volume has voxels
    origin: np.ndarray  # (3,) LPS mm of element 0, 0, 0


@dataclass(frozen=True)
class _Region:
    """What is to be overwritten, in LPS mm: beyond one of the planes and in front of `back`, or an ear."""

    normals: np.ndarray  # (planes, 3), unit, pointing away from the brain
    offsets: np.ndarray  # (planes,), mm
    back: float
    below: float
    ears: np.ndarray  # bool, on the canvas


@dataclass(frozen=True)
class _Sizes:
    """Where the estimated brain lies, LPS mm, and how many mm of this head stand for one of an adult's."""

    left: float
    right: float
    front: float
    top: float
    unit: float


def is_head(header: Mapping[str, str]) -> bool:
    """Returns whether a series may show a face, by its header: in doubt it does.

    Args:
        header: Keyword to text: Modality, BodyPartExamined, StudyDescription, SeriesDescription, ProtocolName of the
            original file; a de-identified one may have lost the last three.

    >>> is_head({"Modality": "MR", "BodyPartExamined": "BRAIN"})
    True
    """
    if header.get("Modality", "") not in MODALITIES:
        return False
    part = "".join(filter(str.isalnum, header.get("BodyPartExamined", "").upper()))
    words = " ".join(header.get(keyword, "") for keyword in _DESCRIPTIONS).upper()
    return part in _HEAD_PARTS or bool(_HEAD_WORDS.search(f"{part} {words}"))


def face_mask(array: np.ndarray, affine: np.ndarray, modality: str) -> np.ndarray:
    """Returns the voxels to be overwritten, (slices, rows, columns) bool.

    Args:
        array: Modality values, (slices, rows, columns); HU for CT.
        affine: (4, 4), from (column, row, slice, 1) to LPS mm.
        modality: CT or MR.

    Raises:
        FaceError: No head, no brain, or what would be removed leaves the face.
    """
    if modality not in MODALITIES:
        raise FaceError(f"faces are removed from {' and '.join(MODALITIES)} only; {_ADVICE}")
    canvas = _canvas(array, affine)
    head = _head(canvas, modality)
    brain = _brain(canvas, head, modality)
    sizes = _sizes(canvas, brain)
    region = _region(canvas, head, brain, sizes)
    if not _shows_face(region, canvas, head, sizes):
        return np.zeros(array.shape, bool)
    return _on_volume(region, canvas, array.shape, affine)


def deface(array: np.ndarray, affine: np.ndarray, modality: str, background: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the volume with its face overwritten by `background`, and the mask; the input is left as it is."""
    mask = face_mask(array, affine, modality)
    return np.where(mask, np.asarray(background, array.dtype), array), mask


def masks_for(volume: volumes.Volume) -> dict[str, np.ndarray]:
    """Returns for each SOPInstanceUID the pixels to be overwritten, (rows, columns) bool."""
    mask = face_mask(volume.array, volume.affine, volume.meta["Modality"])
    return dict(zip(volume.instance_uids, mask))


def _canvas(array: np.ndarray, affine: np.ndarray) -> _Canvas:
    sizes = np.array(array.shape[::-1])  # columns, rows, slices, as the affine counts
    corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in sizes], indexing="ij")).reshape(3, -1)
    corners_mm = (affine[:3, :3] @ corners).T + affine[:3, 3]
    # Whole steps from the patient's origin: the same grid however the volume is mirrored.
    first = np.floor(np.round(corners_mm.min(0), 3) / _GRID_MM)
    last = np.ceil(np.round(corners_mm.max(0), 3) / _GRID_MM)
    shape = tuple((last - first).astype(int) + 1)
    to_index = np.linalg.inv(affine)
    matrix = to_index[:3, :3] * _GRID_MM
    offset = to_index[:3, :3] @ (first * _GRID_MM) + to_index[:3, 3]
    # Voxels finer than the grid are averaged first, else noise is sampled.
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[::-1]
    smooth = ndimage.gaussian_filter(np.asarray(array, np.float32), 0.4 * np.maximum(_GRID_MM / spacing - 0.5, 0))
    turned = smooth.transpose(2, 1, 0)
    values = ndimage.affine_transform(turned, matrix, offset, shape, order=1, mode="nearest")
    return _Canvas(values, _inside(matrix, offset, shape, sizes), first * _GRID_MM)


def _inside(matrix: np.ndarray, offset: np.ndarray, shape: tuple[int, ...], sizes: np.ndarray) -> np.ndarray:
    found = np.ones(shape, bool)
    for row, shift, size in zip(matrix, offset, sizes):
        index = shift + sum(
            np.arange(n).reshape([-1 if a == b else 1 for b in range(3)]) * row[a] for a, n in enumerate(shape)
        )
        found &= (index > -0.5 - 1e-6) & (index < size - 0.5 + 1e-6)
    return found


def _depth(mask: np.ndarray, canvas: _Canvas) -> np.ndarray:
    """Returns how far each element of the mask is from what is outside it, mm; the picture's end is not outside."""
    solid = np.pad(mask | ~canvas.inside, 1, constant_values=True)
    away = np.full(solid.shape, np.inf) if solid.all() else ndimage.distance_transform_edt(solid) * _GRID_MM
    return np.where(mask, away[1:-1, 1:-1, 1:-1], 0)


def _eroded(mask: np.ndarray, canvas: _Canvas, radius_mm: float) -> np.ndarray:
    return _depth(mask, canvas) > radius_mm


def _dilated(mask: np.ndarray, radius_mm: float) -> np.ndarray:
    return ndimage.distance_transform_edt(~mask) * _GRID_MM <= radius_mm if mask.any() else mask


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    return labels == 1 + int(np.argmax(np.bincount(labels.ravel())[1:])) if count else mask


def _opened(mask: np.ndarray, canvas: _Canvas, radius_mm: float) -> np.ndarray:
    """Returns what a ball reaches that rolls through the largest piece."""
    return _dilated(_largest(_eroded(mask, canvas, radius_mm)), radius_mm) & mask


def _filled(mask: np.ndarray) -> np.ndarray:
    """Returns the mask with what it surrounds in axial planes: the airways, bone and teeth that MR shows as air."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in np.moveaxis(mask, 2, 0)], axis=2)


def _head(canvas: _Canvas, modality: str) -> np.ndarray:
    """Returns the head and what of the neck is there, cavities included, table and headrest left out.

    Raises:
        FaceError: There is no tissue, or nothing else, so that there is no outline to go by.
    """
    level = _SKIN_HU if modality == "CT" else _otsu(canvas.values[canvas.inside]) / 2
    tissue = (canvas.values > level) & canvas.inside
    closed = _eroded(_dilated(tissue, 4.0) & canvas.inside, canvas, 4.0) | tissue
    head = _opened(_filled(closed), canvas, 4.0)
    if _ml(head) < _LEAST_HEAD_ML:
        raise FaceError(f"no head was found: {_ml(head):.0f} ml of tissue where a head was expected; {_ADVICE}")
    if head.sum() > (1 - _LEAST_AIR_SHARE) * canvas.inside.sum():
        raise FaceError(f"no head was found: the picture shows no air beside it; {_ADVICE}")
    extent = np.ptp(np.argwhere(canvas.inside), axis=0).min() * _GRID_MM
    if extent < _LEAST_SLAB_MM:
        raise FaceError(f"a head cannot be told in a slab of {extent:.0f} mm; {_ADVICE}")
    top = int(np.flatnonzero(head.any(axis=(0, 1)))[-1])
    return head & (np.arange(head.shape[2]) > top - _HEAD_MM / _GRID_MM)


def _ml(mask: np.ndarray) -> float:
    return float(mask.sum()) * _GRID_MM**3 / 1000


def _otsu(values: np.ndarray) -> float:
    """Returns the level that parts the values into two classes, each as much alike as can be.

    Source: Otsu 1979, https://doi.org/10.1109/TSMC.1979.4310076.
    """
    low, high = (float(level) for level in np.percentile(values, (0, 99)))
    if low == high:
        return high
    counts, edges = np.histogram(values, 256, (low, high))
    middles = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = counts.sum() - below
    sums = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums[:-1] / below - (sums[-1] - sums[:-1]) / above) ** 2
    return float(edges[1:-1][np.nanargmax(between)])


def _brain(canvas: _Canvas, head: np.ndarray, modality: str) -> np.ndarray:
    """Returns the brain with its fluid and envelopes, as far as the picture shows it.

    Raises:
        FaceError: Nothing in the head looks like it.
    """
    found = _brain_in_ct(canvas, head) if modality == "CT" else _brain_in_mr(canvas, head)
    if _ml(found) < _LEAST_BRAIN_SHARE * _ml(head):
        raise FaceError(f"no brain was found in {_ml(head):.0f} ml of head; {_ADVICE}")
    extent = np.ptp(np.argwhere(found), axis=0) * _GRID_MM
    if (extent > _MOST_BRAIN_MM).any():
        said = " x ".join(f"{length:.0f}" for length in extent)
        raise FaceError(f"what looks like brain is {said} mm, larger than any; {_ADVICE}")
    return found


def _brain_in_ct(canvas: _Canvas, head: np.ndarray) -> np.ndarray:
    bone = (canvas.values > _BONE_HU) & head
    # Where the picture cuts through the head its end counts as a wall.
    end = head & ~ndimage.binary_erosion(canvas.inside, border_value=False)
    wall = bone | end
    directions = ((0, False), (0, True), (1, False), (1, True), (2, True))
    walls = sum(_behind(wall, axis, backwards).astype(np.int8) for axis, backwards in directions)
    # One of the five may be open: bone is thin about the sinuses, and cut away by surgeons.
    soft = head & ~bone & (walls >= len(directions) - 1) & (canvas.values > _FAT_HU)
    return _filled(_opened(soft, canvas, _BALL_CT_MM)) & ~bone


def _behind(wall: np.ndarray, axis: int, backwards: bool) -> np.ndarray:
    """Returns what has a wall somewhere before it along an axis."""
    step = (slice(None),) * axis + (slice(None, None, -1 if backwards else 1),)
    return np.maximum.accumulate(wall[step], axis=axis)[step]


def _brain_in_mr(canvas: _Canvas, head: np.ndarray) -> np.ndarray:
    """Finds what is as bright as the middle of the upper head, and so wide that a ball gets through.

    Skull and air are darker in every weighting, fat is brighter in most; muscles and eyes may be as bright, but bone
    and fat leave no ball's width between them and the brain.
    """
    depth = _depth(head, canvas)
    values = _evened(canvas.values, head)
    upper = np.arange(head.shape[2]) >= np.median(np.argwhere(head)[:, 2])
    core = values[head & upper & (depth > 0.5 * depth[:, :, upper].max(initial=0))]
    low, middle, high = np.percentile(core, (5, 50, 95)) if len(core) else (0, 0, 0)
    alike = (values > min(low, 0.6 * middle)) & (values < max(high, 1.4 * middle))
    found = _opened(alike & (depth > _SKULL_MM), canvas, _BALL_MR_MM)
    # Ventricles and lesions are of other brightness.
    closed = _eroded(_dilated(found, 10.0) & canvas.inside & (depth > _SKULL_MM), canvas, 10.0)
    return _filled(closed | found)


def _evened(values: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Returns the values relative to their surroundings, as surface coils make what is near them bright."""
    around = [ndimage.gaussian_filter(part.astype(np.float32), _COIL_MM / _GRID_MM) for part in (values * head, head)]
    return values * around[1] / np.maximum(around[0], 1e-6)


def _sizes(canvas: _Canvas, brain: np.ndarray) -> _Sizes:
    points = np.argwhere(brain) * _GRID_MM + canvas.origin
    (left, front, _), (right, rear, top) = points.min(0), points.max(0)
    return _Sizes(left, right, front, top, float(np.clip((rear - front) / _BRAIN_MM, 0.6, 1.2)))


def _region(canvas: _Canvas, head: np.ndarray, brain: np.ndarray, sizes: _Sizes) -> _Region:
    points = np.argwhere(brain) * _GRID_MM + canvas.origin
    # What is lower is spinal cord or neck; it must not push the planes away from the face.
    points = points[points[:, 2] > sizes.top - _BRAIN_HEIGHT_MM * sizes.unit]
    angles = np.radians(_ANGLES_DEGREES)
    normals = np.stack([0 * angles, -np.cos(angles), -np.sin(angles)], axis=1)
    return _Region(
        normals=normals,
        offsets=(points @ normals.T).max(axis=0) + _MARGIN_MM,
        back=sizes.front + _DEPTH_MM * sizes.unit,
        below=sizes.top - _CHIN_MM * sizes.unit,
        ears=_ears(canvas, head, brain, sizes),
    )


def _ears(canvas: _Canvas, head: np.ndarray, brain: np.ndarray, sizes: _Sizes) -> np.ndarray:
    """Returns what stands out from the sides of the head where ears are, and the air around it."""
    x, y, z = _axes(canvas)
    unit, middle = sizes.unit, (sizes.left + sizes.right) / 2
    sides = np.abs(x - middle) > 0.9 * (sizes.right - sizes.left) / 2
    place = sides & (np.abs(y - sizes.front - 90 * unit) < 45 * unit) & (np.abs(z - sizes.top + 125 * unit) < 60 * unit)
    standing_out = head & ~_opened(head, canvas, _BALL_EAR_MM) & place
    return _dilated(standing_out, 6.0) & place & ~_dilated(brain, _MARGIN_MM) & canvas.inside


def _axes(canvas: _Canvas) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the canvas's coordinates, LPS mm, each along its own axis."""
    x, y, z = np.ogrid[tuple(slice(size) for size in canvas.values.shape)]
    return x * _GRID_MM + canvas.origin[0], y * _GRID_MM + canvas.origin[1], z * _GRID_MM + canvas.origin[2]


def _shows_face(region: _Region, canvas: _Canvas, head: np.ndarray, sizes: _Sizes) -> bool:
    """Returns whether there is a face to be removed: not where the picture ends above it or it was removed before.

    Raises:
        FaceError: There is one, and the region leaves some of it.
    """
    x, y, z = _axes(canvas)
    first = np.argmax(head, axis=1)  # along y: the first from the front
    # Skin is where air in the picture is before it, not where the picture begins within the head.
    seen = head.any(axis=1) & np.take_along_axis(canvas.inside, np.maximum(first - 2, 0)[:, None], axis=1)[:, 0]
    skin = np.where(seen & (first > 1), canvas.origin[1] + first * _GRID_MM, np.nan)  # (x, z)
    middle = np.abs(x - (sizes.left + sizes.right) / 2)[:, 0] < 40 * sizes.unit  # (x, 1)
    below_top = (sizes.top - z)[:, 0] / sizes.unit  # (1, z)
    features = middle & (below_top > _FEATURES_MM[0]) & (below_top < _FEATURES_MM[1]) & np.isfinite(skin)
    forehead = middle & (below_top > 10) & (below_top < 70) & np.isfinite(skin)
    judged = features.sum() >= _FEATURE_COLUMNS and forehead.any()
    far = dataclasses.replace(region, offsets=region.offsets + _PROTRUSION_MM, back=region.back - _PROTRUSION_MM)
    protrudes = _ml(head & _beyond(far, x, y, z)) > _PROTRUSION_ML
    if not judged or (
        not protrudes and np.median(skin[features]) > np.min(skin[forehead]) + _BEHIND_FOREHEAD_MM * sizes.unit
    ):
        return protrudes
    gone = np.take_along_axis(_on_canvas(region, canvas), first[:, None], axis=1)[:, 0][features].mean()
    if gone < _MUST_GO:
        raise FaceError(f"{1 - gone:.0%} of the face would stay, as brain and face could not be told apart; {_ADVICE}")
    return True


def _beyond(region: _Region, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Returns which points, LPS mm, are of the face; the three arrays are broadcast against each other."""
    found = np.zeros(np.broadcast_shapes(x.shape, y.shape, z.shape), bool)
    for (a, b, c), offset in zip(region.normals, region.offsets):
        found |= a * x + b * y + c * z > offset
    return found & (y < region.back) & (z > region.below)


def _on_canvas(region: _Region, canvas: _Canvas) -> np.ndarray:
    return (_beyond(region, *_axes(canvas)) | region.ears) & canvas.inside


def _on_volume(region: _Region, canvas: _Canvas, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """Returns the region's voxels, slice by slice, so that no coordinates of the whole volume are held."""
    rows, columns = np.mgrid[: shape[1], : shape[2]]
    mask = np.empty(shape, bool)
    for k in range(shape[0]):
        place = affine[:3, :3] @ np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, k)]) + affine[:3, 3:]
        nearest = np.round((place.T - canvas.origin) / _GRID_MM).astype(int).T
        ears = region.ears[tuple(np.clip(i, 0, n - 1) for i, n in zip(nearest, region.ears.shape))]
        mask[k] = (_beyond(region, *place) | ears).reshape(shape[1:])
    return mask
