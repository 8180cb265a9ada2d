"""Masks that are images: NIfTI, NRRD, MetaImage and picture files, and DICOM series whose values are labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radkit import config
from radkit.dicom import attributes, foreign, part10, scan, volumes
from radkit.dicom.annotations import form, grids, seg
from radkit.dicom.annotations.form import WISHES, Annotation, AnnotationError, Region
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import Volume

# Pictures of a mask show it in white.
_WHITES = (255, 65535)
_LOSSY = (".jpg", ".jpeg")
_ABOUT = ("SOPClassUID", "SOPInstanceUID", "ContentDate", "SeriesDate", "LossyImageCompression")
# Findings, and what `foreign` says where they are.
_OF_PLACES = {"two_places": "says two places", "mask_without_place": "says no place"}
# Of more different values, a file is an image and no mask.
_MOST_VALUES = 1024
# A picture whose sides are to each other as the image's, but for this share, is the image at another size.
_ASPECT_TOLERANCE = 0.02


def read(
    path: Path | Sequence[Path],
    volume: Volume,
    labels: Sequence[str] | None = None,
    wishes: config.Annotations = WISHES,
    names: Mapping[int, str] | None = None,
) -> Annotation:
    """Returns the values of a mask as regions on a volume's grid.

    Where both have a place, they are matched in millimetres. Where one has none (radiographs, pictures), they are
    matched by their size: a mask of another size is scaled.

    Args:
        path: A file that `foreign.is_foreign` knows, or the DICOM files of one series that is a mask.
        volume: The image it was drawn on.
        labels: Names of the values to read; None: all but 0.
        wishes: `fraction` (of probabilities), `other_grid`, `partly_outside`, `other_frame_of_reference` and `empty`
            are heeded; and `unknown_class`, of values that `names` does not name, where `labels` are asked for.
        names: What values mean, value to label; a value that is not here is named by its number. A mask of 0 and
            white (255, 65535) alone holds 1 where it is white, unless white has a name.

    Returns:
        A region for each value, in their order; of a value with a name that is not there, an empty one.

    Raises:
        AnnotationError: Not readable, in colour, negative, of neither whole numbers nor probabilities (0 to 1), none
            of these labels, outside the image, or what `wishes` refuse.
    """
    names = names or {}
    mask = _read(path)
    # Where the image itself says no place, both lie in the same nowhere.
    nowhere = any(_OF_PLACES["mask_without_place"] in text for text in volume.findings)
    findings = [one for one in mask.findings if one.name != "mask_without_place" or not nowhere]
    if mask.frame_of_reference not in ("", volume.meta.get("FrameOfReferenceUID") or mask.frame_of_reference):
        text = "the mask has another FrameOfReferenceUID than the image"
        if wishes.other_frame_of_reference == "refuse":
            raise AnnotationError(f"{text}: its millimetres are not the image's", "other_frame_of_reference")
        findings.append(Finding("other_frame_of_reference", text))
    values = _whole(mask, wishes.fraction, 255 in names or 65535 in names)
    wanted, unnamed = _wanted(values, names, labels)
    if unnamed:
        text = f"value {', '.join(map(str, unnamed))} of the mask has no name"
        if wishes.unknown_class == "refuse":
            raise AnnotationError(
                f"{text}; name it in data.mask_labels, or data.annotations.unknown_class='leave_out' leaves it out",
                "unknown_class",
            )
        findings.append(Finding("unknown_class", f"{text} and was left out"))
    regions = _regions(values, wanted)
    empty = [one.number for one in regions if not one.inside.size]
    if empty:
        text = f"value {', '.join(map(str, empty))} of the mask has no voxel"
        if wishes.empty == "refuse":
            raise AnnotationError(text, "empty_segment")
        findings.append(Finding("empty_segment", text))
    affine = mask.affine if mask.has_place and np.isfinite(volume.spacing_mm).all() else _by_size(values.shape, volume)
    placed, said = grids.regions_onto(regions, affine, values.shape, volume, wishes)
    return Annotation(regions=placed, date=mask.date, findings=(*findings, *said))


@dataclass(frozen=True)
class _Mask:
    """What a file or a series holds, and where."""

    array: np.ndarray
    affine: np.ndarray
    has_place: bool
    is_lossy: bool = False
    frame_of_reference: str = ""
    date: str = ""
    findings: tuple[Finding, ...] = ()


def _read(path: Path | Sequence[Path]) -> _Mask:
    try:
        return _of_file(path) if isinstance(path, Path) and foreign.is_foreign(path) else _of_series(path)
    except (volumes.SeriesError, scan.NotDicom) as error:
        raise AnnotationError(f"the mask cannot be read: {error}") from error
    except part10.MALFORMED as error:
        if isinstance(error, AnnotationError):
            raise
        raise AnnotationError(f"the mask cannot be read: it is damaged ({type(error).__name__})") from error
    except MemoryError as error:
        raise AnnotationError("the mask is larger than the memory") from error


def _of_file(path: Path) -> _Mask:
    values = foreign.values_of(path)
    findings = tuple(
        Finding(name, text) for name, said in _OF_PLACES.items() for text in values.findings if said in text
    )
    has_place = bool(np.isfinite(values.spacing_mm).all())
    return _Mask(values.array, values.affine, has_place, path.suffix.lower() in _LOSSY, findings=findings)


@part10.silence()
def _of_series(path: Path | Sequence[Path]) -> _Mask:
    paths = [path] if isinstance(path, Path) else list(path)
    found = volumes.read_volumes(paths, spacing="keep")
    if len(found) > 1:
        raise AnnotationError(f"the mask's series holds {len(found)} volumes; one was expected")
    (one,) = found
    header = scan.read_header(paths[0], _ABOUT)
    lossy = attributes.text(header, "LossyImageCompression") == "01"
    return _Mask(
        one.stored if (one.slope == 1).all() and not one.intercept.any() else one.array,
        one.affine,
        bool(np.isfinite(one.spacing_mm).all()),
        lossy,
        one.meta["FrameOfReferenceUID"],
        seg.date_of(header),
    )


def _whole(mask: _Mask, fraction: float, white_is_named: bool) -> np.ndarray:
    """Returns a mask's values as whole numbers of 8 to 32 bits, (slices, rows, columns)."""
    array = mask.array
    if array.ndim != 3:
        raise AnnotationError("the mask is in colour; one number a voxel was expected: save it as grey values")
    if array.dtype.kind == "f":
        array = _from_real(array, fraction)
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= 2**31:
        raise AnnotationError(f"the mask holds values of {low} to {high}; 0 and labels from 1 on were expected")
    if mask.is_lossy:  # edges have been smeared, and come back by the middle between black and white
        return (array >= max(1.0, fraction * high)).astype(np.uint8)
    if high in _WHITES and not white_is_named and _is_black_and_white(array, high):
        return (array == high).astype(np.uint8)
    return array.astype(np.uint8 if high < 2**8 else np.uint16 if high < 2**16 else np.int32, copy=False)


def _is_black_and_white(array: np.ndarray, white: int) -> bool:
    return all(((plane == 0) | (plane == white)).all() for plane in array)


def _from_real(array: np.ndarray, fraction: float) -> np.ndarray:
    known = np.nan_to_num(array, nan=0.0)  # outside of what was looked at
    low, high = float(known.min()), float(known.max())
    if all((plane == np.rint(plane)).all() for plane in known) and abs(low) < 2**31 and high < 2**31:
        return known.astype(np.int64 if high >= 2**15 or low < -(2**15) else np.int16)
    if low < 0 or high > 1:
        raise AnnotationError(
            f"the mask holds values of {low:g} to {high:g} that are not whole; labels (whole numbers) or probabilities "
            "(0 to 1) were expected"
        )
    return ((known > 0) & (known >= fraction)).astype(np.uint8)


def _wanted(
    values: np.ndarray, names: Mapping[int, str], labels: Sequence[str] | None
) -> tuple[dict[int, str], list[int]]:
    """Returns the label of each value that is wanted, and the values that are there and nobody has named."""
    there: set[int] = set()
    for plane in values:  # by slices: sorting all voxels at once takes much longer
        there.update(np.unique(plane).tolist())
        if len(there) > _MOST_VALUES:
            raise AnnotationError(f"the mask holds more than {_MOST_VALUES} different values: it is an image, no mask")
    every = {value: names.get(value, str(value)) for value in sorted(there | set(names)) if value > 0}
    labels_of = form.spelled(every.values(), labels) if labels is not None else {one: one for one in every.values()}
    wanted = {value: labels_of[label] for value, label in every.items() if label in labels_of}
    unnamed = [value for value in every if labels is not None and names and value not in names and value not in wanted]
    if not wanted and labels is not None:
        raise AnnotationError(
            f"the mask has none of the labels {', '.join(labels)}; its values 1, 2, ... are named by the source's names"
        )
    return wanted, unnamed


def _regions(values: np.ndarray, wanted: Mapping[int, str]) -> list[Region]:
    from scipy import ndimage

    places = ndimage.find_objects(values, max(wanted, default=0)) if wanted else []
    regions = []
    for value, label in wanted.items():
        place = places[value - 1]
        if place is None:
            regions.append(Region(label, value, (0, 0, 0), np.zeros((0, 0, 0), bool)))
        else:
            slices, rows, columns = place
            regions.append(Region(label, value, (slices.start, rows.start, columns.start), values[place] == value))
    return regions


def _by_size(shape: Sequence[int], volume: Volume) -> np.ndarray:
    """Returns the affine of a mask that has no place, by its size alone."""
    theirs, ours = np.array(shape, float), np.array(volume.stored.shape[:3], float)
    factors = ours / theirs
    if theirs[0] != ours[0] or abs(factors[1] / factors[2] - 1) > _ASPECT_TOLERANCE:
        raise AnnotationError(
            f"the mask has {' x '.join(map(str, shape))} voxels, the image {' x '.join(f'{n:g}' for n in ours)}, and "
            "no place in millimetres says how they lie",
            "other_grid",
        )
    change = np.eye(4)
    for axis, factor in enumerate(factors[::-1]):
        change[axis, axis] = factor
        change[axis, 3] = (factor - 1) / 2  # edges lie on edges
    moved: np.ndarray = volume.affine @ change
    return moved
