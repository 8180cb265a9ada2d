"""Images that are no DICOM, as volumes: NIfTI, NRRD and MetaImage stacks, and pictures (PNG, JPEG, TIFF, BMP).

They are read by SimpleITK; what it passes over silently (voxels that are missing, two places in one file, white that
is nothing) is looked at here.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radkit.dicom import decoders, metaimage, nifti, tiff_tags, volumes
from radkit.dicom.volumes import SeriesError, Volume

STACKS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_TIFFS = (".tif", ".tiff")
_JPEGS = (".jpg", ".jpeg")

# Compression takes no file's voxels below this share; what announces more is damaged and would fill the memory.
_MOST_COMPRESSED = 2000
_MUCH_BYTES = 1 << 30


@dataclass(frozen=True)
class Values:
    """A file's values as they stand there.

    Attributes:
        array: (slices, rows, columns), or (slices, rows, columns, 3) uint8 of colour.
        affine: (4, 4), from (column, row, slice, 1) to LPS mm; of a picture, in its own axes.
        spacing_mm: Slice, row, column; nan where it is not told.
        findings: What a reader should know, in words.
    """

    array: np.ndarray
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    findings: tuple[str, ...]


def is_foreign(path: Path) -> bool:
    """Tells by its name whether a file is of a kind that is read here."""
    return path.name.lower().endswith((*STACKS, *PICTURES))


def read(path: Path, meta: Mapping[str, str] = {}) -> Volume:
    """Returns an image that is no DICOM as a volume.

    Slices are ordered as those of DICOM are, so that columns, rows and slices make a right-handed system: a stack that
    runs the other way is turned round, and `frame_numbers` tell each slice's place in the file.

    Args:
        path: See `STACKS` and `PICTURES`. Pictures hold one slice, which has no place in the patient.
        meta: What is known of it, DICOM keyword to text; PixelSpacing ("0.2\\\\0.2", rows first) is a picture's.

    Returns:
        `stored` holds the file's values: 8 bits as 16, whole numbers of 32 and 64 bits as 16 where all fit, float64
        as float32. What is no number becomes the lowest value, with a finding; a NIfTI's is 0, as SimpleITK has it.
        Rescale is 1 and 0 everywhere; `instance_uids` is empty.

    Raises:
        SeriesError: Not readable, cut short, more than one volume, of a kind of values that is not read, or with axes
            that are not at right angles.
    """
    values = values_of(path, meta.get("PixelSpacing", ""))
    if abs(values.affine[:3, 0] @ values.affine[:3, 1]) > 1e-2 * np.prod(np.linalg.norm(values.affine[:3, :2], axis=0)):
        raise SeriesError(_why("orthonormal"))
    array, said = _stored(values.array)
    affine, numbers = values.affine, tuple(range(len(array)))
    if np.linalg.det(affine[:3, :3]) < 0:
        array, numbers = np.ascontiguousarray(array[::-1]), numbers[::-1]
        affine = affine.copy()
        affine[:3, 3] += affine[:3, 2] * (len(array) - 1)
        affine[:3, 2] *= -1
    return Volume(
        stored=array,
        slope=np.ones(len(array), np.float32),
        intercept=np.zeros(len(array), np.float32),
        affine=affine,
        spacing_mm=values.spacing_mm,
        meta={keyword: str(meta.get(keyword, "")) for keyword in volumes.META},
        findings=(*values.findings, *said),
        paths=(path,) * len(array),
        instance_uids=(),
        frame_numbers=numbers,
    )


def values_of(path: Path, pixel_spacing: str = "") -> Values:
    """Returns a file's values and where they lie, nothing converted and slices in the file's order.

    Args:
        path: As in `read`.
        pixel_spacing: PixelSpacing of a picture; "" if unknown.

    Raises:
        SeriesError: As `read`.
    """
    if not is_foreign(path):
        raise SeriesError(f"the file is none of {', '.join((*STACKS, *PICTURES))} by its name")
    picture = path.name.lower().endswith(PICTURES)
    try:
        header = nifti.header(path) if path.name.lower().endswith(STACKS[:2]) else None
        if header is not None and (header.is_second or header.is_sheared):
            return _in_place(*nifti.values(path, header), header)
        if path.name.lower().endswith(STACKS[4:]):
            metaimage.check(path)
        image = _image(path)
        told = tiff_tags.of_picture(path) if picture else (1, False)
    except nifti.NiftiError as error:
        raise SeriesError(f"the NIfTI file cannot be read: {error}") from error
    except metaimage.MetaImageError as error:
        raise SeriesError(f"the MetaImage file cannot be read: {error}") from error
    except OSError as error:
        raise SeriesError("the image file cannot be opened") from error
    array, said = _array(image)
    if image.GetNumberOfComponentsPerPixel() > 1 or array.dtype.kind != "u":
        told = told[0], False  # decoded by way of colours, white is high already
    if picture:
        array, more = _upright(array, *told, is_tiff=path.name.lower().endswith(_TIFFS))
        return _flat(array, pixel_spacing, (*said, *more))
    if image.GetDimension() == 2:
        spacing = "\\".join(f"{step:.10g}" for step in image.GetSpacing()[::-1])
        return _flat(array, spacing, (*said, "an image of 2 axes: it has no place in the patient"))
    return _placed(image, array, said, header)


def _check_jpeg(data: bytes) -> None:
    """Refuses a JPEG without an end marker behind its last scan: its decoder makes up what is missing.

    Source: ITU-T T.81, Table B.1: SOS is FFDA, EOI is FFD9.
    """
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise SeriesError("the picture is cut short: its last scan has no end")


def _image(path: Path) -> Any:
    """Returns a file as SimpleITK reads it."""
    name = path.name.lower()
    suffix = next((suffix for suffix in (".nii.gz", ".nii") if name.endswith(suffix)), "")
    if name.endswith(_JPEGS):
        _check_jpeg(path.read_bytes())
    if not suffix:
        return _read(path)
    # Of a.nii and a.nii.gz in one folder, voxels of the first are taken for either: it is read where it stands alone.
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder, f"image{suffix}")
        alone.symlink_to(path.resolve())
        return _read(alone)


def _read(path: Path) -> Any:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        with decoders.held_back():  # the libraries below print file names
            reader.ReadImageInformation()
            _check(reader, path)
            return reader.Execute()
    except RuntimeError as error:
        raise SeriesError(_why(str(error))) from error
    except MemoryError as error:
        raise SeriesError("the image is larger than the memory") from error


def _why(said: str) -> str:
    if "orthonormal" in said:
        return "the image's rows and columns are not at right angles; resample it onto a right-angled grid first"
    if "Unknown PixelType" in said or "depths" in said:
        return "the picture is of a kind that is not read (as grey with transparency); save it as grey or RGB"
    return "the image file is empty, cut short, damaged, or not of the kind that its name says"


def _check(reader: Any, path: Path) -> None:
    """Refuses what is more than one image, or announces what its file cannot hold."""
    size = [int(n) for n in reader.GetSize()]
    while len(size) > 3 and size[-1] == 1:
        size.pop()
    if len(size) > 3:
        raise SeriesError(f"the image has {len(size)} axes of {' x '.join(map(str, size))}: one volume was expected")
    if path.name.lower().endswith(PICTURES) and len(size) > 2 and size[2] > 1:
        raise SeriesError(f"the picture has {size[2]} pages; one was expected")
    detached = path.suffix.lower() in (".mhd", ".nhdr")
    num_bytes = int(np.prod(size, dtype=object)) * reader.GetNumberOfComponents()
    if not detached and num_bytes > max(_MUCH_BYTES, _MOST_COMPRESSED * path.stat().st_size):
        raise SeriesError(f"the image announces {' x '.join(map(str, size))} voxels, which its file cannot hold")


def _array(image: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns (slices, rows, columns) of grey, with 3 more of colour."""
    import SimpleITK as sitk

    array = sitk.GetArrayFromImage(image)
    components = image.GetNumberOfComponentsPerPixel()
    axes = array.ndim - (components > 1)
    array = array.reshape((1, *array.shape) if axes == 2 else array.shape[axes - 3 :])
    if array.dtype.kind not in "iufb":
        raise SeriesError("the image holds complex numbers; whole or real ones were expected")
    if components == 1:
        return array, ()
    if components not in (3, 4) or array.dtype not in (np.uint8, np.uint16):
        raise SeriesError(
            f"the image holds {components} numbers ({array.dtype}) a voxel; one, or a colour was expected"
        )
    return _colour(array)


def _colour(array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    said: tuple[str, ...] = ()
    if array.shape[-1] == 4:
        if (array[..., 3] != np.iinfo(array.dtype).max).any():
            said = ("transparency was left out",)
        array = array[..., :3]
    if (array == array[..., :1]).all():
        return np.ascontiguousarray(array[..., 0]), said
    if array.dtype == np.uint16:
        array, said = (array >> 8).astype(np.uint8), (*said, "colours of 16 bits were brought to 8")
    return np.ascontiguousarray(array), said


def _upright(
    array: np.ndarray, orientation: int, white_is_zero: bool, is_tiff: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    said: tuple[str, ...] = ()
    if is_tiff and orientation != 1:  # libtiff turns some of them, and some half
        raise SeriesError(f"the TIFF's Orientation is {orientation}; 1 (as stored) was expected: save it turned")
    if white_is_zero:
        array, said = np.iinfo(array.dtype).max - array, ("values were turned round, white is high",)
    if orientation != 1:
        said = (*said, f"Orientation {orientation} asks a viewer to turn the picture; it was left as stored")
    return array, said


def _flat(array: np.ndarray, pixel_spacing: str, said: tuple[str, ...]) -> Values:
    """A picture has no place in the patient: its grid begins at 0 in its own axes."""
    nan = float("nan")
    try:
        row, column = (float(step) for step in pixel_spacing.split("\\")) if pixel_spacing else (nan, nan)
    except ValueError as error:
        raise SeriesError("PixelSpacing was given and is not two numbers") from error
    steps = (row, column) if row > 0 and column > 0 else (1.0, 1.0)
    spacing = (nan, row, column) if row > 0 and column > 0 else (nan, nan, nan)
    return Values(array, np.diag([steps[1], steps[0], 1.0, 1.0]), spacing, said)


def _in_place(array: np.ndarray, affine: np.ndarray, header: nifti.Header) -> Values:
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and steps.min() > 0 and abs(np.linalg.det(affine[:3, :3] / steps)) > 1e-3):
        raise SeriesError("the image's spacing, origin or directions are no grid in space")
    across = abs(np.linalg.det(affine[:3, :3])) / (steps[0] * steps[1])
    return Values(array, affine, (float(across), float(steps[1]), float(steps[0])), nifti.places(header, affine))


def _placed(image: Any, array: np.ndarray, said: tuple[str, ...], header: nifti.Header | None) -> Values:
    spacing, size = np.array(image.GetSpacing()[:3]), image.GetDimension()
    directions = np.array(image.GetDirection()).reshape(size, size)[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = directions * spacing
    affine[:3, 3] = image.GetOrigin()[:3]
    if not (np.isfinite(affine).all() and abs(np.linalg.det(directions)) > 1e-3 and spacing.min() > 0):
        raise SeriesError("the image's spacing, origin or directions are no grid in space")
    if abs(directions[:, 0] @ directions[:, 1]) > 1e-2:
        raise SeriesError(_why("orthonormal"))
    across = abs(np.linalg.det(directions)) * spacing[2]
    more = nifti.places(header, affine) if header is not None else ()
    return Values(array, affine, (float(across), float(spacing[1]), float(spacing[0])), (*said, *more))


def _stored(array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns values as one of the types that volumes are stored in."""
    if array.ndim == 4:
        return array, ()
    if array.dtype.kind == "f":
        return _real(array)
    low, high = int(array.min()), int(array.max())
    if array.dtype.itemsize == 1:
        return array.astype(np.int16 if array.dtype.kind == "i" else np.uint16), ()
    for wanted in (array.dtype,) if array.dtype.itemsize == 2 else (np.int16, np.uint16, np.int32, np.uint32):
        if np.iinfo(wanted).min <= low and high <= np.iinfo(wanted).max:
            return np.ascontiguousarray(array, wanted), ()
    raise SeriesError(f"the image holds whole numbers of 64 bits ({low} to {high}); those of 32 bits are read")


def _real(array: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    known = np.isfinite(array)
    unknown = array.size - int(known.sum())
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    if np.isinf(values[known]).any() or not known.any():
        raise SeriesError("the image holds values beyond what 32 bits can, or no number at all")
    if not unknown:
        return values, ()
    lowest = values[known].min()
    values[~known] = lowest
    return values, (f"{unknown} voxels are no finite number; they were given the lowest value, {lowest:g}",)
