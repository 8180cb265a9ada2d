"""A series' files as volumes: slices in order, values in modality units, a place in the patient in mm."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID

from radkit.dicom import attributes, completeness, geometry, grouping, part10, pixels, regrid, scan, units
from radkit.dicom.enhanced import frames as enhanced_frames
from radkit.dicom.frames import Frame, classic, numbers
from radkit.dicom.geometry import Irregular
from radkit.dicom.mosaic import frames as mosaic_frames
from radkit.errors import UserError

# What a volume says of its acquisition: DICOM keywords, first slice's values, as text.
META = (
    "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "Modality",
    "Manufacturer", "ManufacturerModelName", "BodyPartExamined", "ViewPosition", "ImageLaterality", "Laterality",
    "PatientSex", "PatientAge", "KVP", "MagneticFieldStrength", "SliceThickness", "ConvolutionKernel", "ImageType",
    "EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "DiffusionBValue", "ContrastBolusAgent", "Units",
    "SUVType", "DecayCorrection",
)  # fmt: skip

# Each image of such a series is one of its own: two views, two sides.
_RADIOGRAPHS = ("CR", "DX", "MG", "IO", "PX", "RG")
# Images of these modalities are slices of a body, so that several without a place are a fault.
_SLICED = ("CT", "MR", "PT")
# Screenshots and drawings stand in such series, too, and have no place.
_PICTURES = frozenset(("1.2.840.10008.5.1.4.1.1.7", *(f"1.2.840.10008.5.1.4.1.1.7.{n}" for n in range(1, 5))))
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")

# What slices of one volume have in common, where nothing was mixed up.
_ALIKE = ("Modality", "SOPClassUID", "ConvolutionKernel", "KVP")
# By which numbers Philips MR values are scaled, see `read_volumes`.
Scaling = Literal["precise", "display"]


class SeriesError(UserError):
    """A series that is refused; the message says what was found and what was expected."""


@dataclass(frozen=True)
class Volume:
    """One regular grid of slices.

    Attributes:
        stored: Stored values, (slices, rows, columns), int16 or uint16; int32, uint32 or float32 where the pixels hold
            that; (slices, rows, columns, 3) uint8 for colour, red first.
        slope: RescaleSlope of each slice, (slices,), float32.
        intercept: RescaleIntercept of each slice, (slices,), float32.
        affine: (4, 4) float64, from (column i, row j, slice k, 1) to LPS mm.
        spacing_mm: Slice, row, column; nan where a radiograph does not tell.
        meta: Values of `META` by keyword, as text.
        findings: What a reader should know, in words.
        paths: The file of each slice; empty where slices were interpolated, and are of no file.
        instance_uids: The SOPInstanceUID of each slice, as `paths`.
        frame_numbers: Which frame of its file each slice is, from 0, as `paths`.
        padding: Lowest and highest stored value of pixels that hold no image (PixelPaddingValue); None: not told.
        apart: What sets it apart from the series' other volumes: DICOM keyword to value, as text.
    """

    stored: np.ndarray
    slope: np.ndarray
    intercept: np.ndarray
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    meta: dict[str, str]
    findings: tuple[str, ...]
    paths: tuple[Path, ...]
    instance_uids: tuple[str, ...]
    frame_numbers: tuple[int, ...] = ()
    padding: tuple[float, float] | None = None
    apart: dict[str, str] = field(default_factory=dict)

    @property
    def array(self) -> np.ndarray:
        """Modality values, (slices, rows, columns), float32: HU for CT; (slices, rows, columns, 3) for colour."""
        values = np.empty(self.stored.shape, np.float32)
        # Slice by slice, so that it is still near when the next step is done.
        for stored, slope, intercept, out in zip(self.stored, self.slope, self.intercept, values, strict=True):
            out[...] = stored
            if slope != 1:
                out *= slope
            out += intercept
        return values


@part10.silence()
def read_volumes(
    paths: Iterable[Path | str] | Path | str,
    *,
    spacing: Irregular = "refuse",
    tilt: geometry.Tilt = "keep",
    scaling: Scaling = "precise",
) -> list[Volume]:
    """Returns the volumes that the files of one series make up: by orientation, size, echo, time, b-value.

    Single-frame and enhanced instances, mosaics and radiographs are read; instances without pixels are left out.

    Args:
        paths: The files, in any order; a file given twice counts once. Or the folder that holds them.
        spacing: What becomes of slices that make no regular grid: missing, repeated, unevenly spaced. `refuse` raises;
            `resample` interpolates slices on the median step; `keep` returns them as they are, with a finding.
        tilt: What becomes of slices that a tilted gantry sheared: `keep` leaves them and the affine holds the shear;
            `resample` moves each within its plane, so that the affine is right-angled.
        scaling: What Philips MR values are, where its private scale slope stands in the files: `precise` compares
            between series; `display` is RescaleSlope's alone, and is the same when de-identification has taken the
            private elements out. Other values are RescaleSlope's either way.

    Returns:
        Volumes, largest first. Each radiograph is a volume of one slice.

    Raises:
        SeriesError: A file cannot be read, files of several series, pixels of a kind that is not read, or
            slices that make no regular grid (missing, repeated, irregular), each with its numbers.

    Source: DICOM PS3.3 C.7.6.1, C.7.6.2, C.7.6.16, C.11.1.
    """
    for name, value, known in (
        ("spacing", spacing, Irregular),
        ("tilt", tilt, geometry.Tilt),
        ("scaling", scaling, Scaling),
    ):
        if value not in get_args(known):
            raise ValueError(f"{name}={value!r}; one of {', '.join(get_args(known))} was expected")
    if isinstance(paths, str | Path):  # of one file, or of a folder
        paths = scan.find(Path(paths)) if Path(paths).is_dir() else [paths]
    try:
        instances, findings = _read_all(sorted({Path(p) for p in paths}))
        frames = [frame for path, dataset in instances for frame in _frames(path, dataset)]
        volumes = [_volume(group, spacing, tilt, scaling) for group in _groups(frames, spacing)]
    except (scan.NotDicom, pixels.PixelError, geometry.GeometryError) as error:
        raise SeriesError(str(error)) from error
    volumes = [replace(volume, findings=(*volume.findings, *findings)) for volume in volumes]
    return sorted(volumes, key=lambda v: -v.stored.size)


def _read_all(paths: Sequence[Path]) -> tuple[list[tuple[Path, Dataset]], list[str]]:
    if not paths:
        raise SeriesError("no files were given; give the files of one series")
    seen: dict[str, tuple[Path, Dataset]] = {}
    copies = without = 0
    for path in paths:
        dataset = scan.read_file(path, defer=True)
        if not any(keyword in dataset for keyword in _PIXELS):
            if "Image Storage" in UID(attributes.text(dataset, "SOPClassUID")).name:
                raise SeriesError("the instance has no PixelData, though it is an image; its file may be cut short")
            without += 1  # a presentation state, raw data, spectra
            continue
        uid = attributes.text(dataset, "SOPInstanceUID")
        kept = seen.setdefault(uid, (path, dataset))[1]
        if kept is not dataset:
            copies += 1
            if any(told(kept) != told(dataset) for told in (_position, pixels.encoded)):
                raise SeriesError("two files have the same SOPInstanceUID and another position or other pixels")
    instances = list(seen.values())
    for keyword, what in (("SeriesInstanceUID", "series"), ("PatientID", "patients"), ("StudyInstanceUID", "studies")):
        found = {attributes.text(dataset, keyword) for _, dataset in instances}
        if len(found) > 1:
            raise SeriesError(f"the files belong to {len(found)} {what} ({keyword}); give the files of one series")
    if not instances:
        raise SeriesError(f"none of the {without} instances has PixelData; images were expected")
    findings = [f"{copies} files are copies of others and count once"] if copies else []
    findings += [f"{without} instances without pixels were left out"] if without else []
    return instances, [*findings, *completeness.of_series(instances)]


def _position(dataset: Dataset) -> str:
    return str(attributes.value(dataset, "ImagePositionPatient"))


def _frames(path: Path, dataset: Dataset) -> list[Frame]:
    if any(keyword in dataset for keyword in _GROUPS) or attributes.whole(dataset, "NumberOfFrames", 1) > 1:
        return enhanced_frames(path, dataset)
    return mosaic_frames(path, dataset) or [classic(path, dataset)]


def _groups(frames: Sequence[Frame], irregular: Irregular) -> list[grouping.Group]:
    if all(frame.fact("Modality") in _RADIOGRAPHS for frame in frames):
        return _each_file(frames, ())
    placed = [frame for frame in frames if _has_place(frame)]
    unplaced = [frame for frame in frames if not _has_place(frame)]
    _refuse_unplaced([f for f in unplaced if f.dataset.SOPClassUID not in _PICTURES], placed)
    said = (f"{len(unplaced)} of the series' images have no place in the patient",) if placed and unplaced else ()
    return [*grouping.groups(placed, irregular), *_each_file(unplaced, said)]


def _has_place(frame: Frame) -> bool:
    # A position without an orientation is not a place, nor are all zeros in place of both.
    return frame.position_mm is not None and frame.orientation is not None and any(frame.orientation)


def _refuse_unplaced(unplaced: Sequence[Frame], placed: Sequence[Frame]) -> None:
    """Refuses slices of a body that do not tell their place: they cannot be ordered."""
    sliced = [frame for frame in unplaced if frame.fact("Modality") in _SLICED]
    if sliced and placed:
        count = len(sliced) + len(placed)
        raise SeriesError(f"ImagePositionPatient is absent in some slices: in {len(sliced)} of {count}")
    if len({frame.path for frame in sliced}) > 1:
        raise SeriesError(
            f"{len(sliced)} images without ImagePositionPatient or ImageOrientationPatient in one series cannot be "
            "ordered; one image was expected"
        )


def _each_file(frames: Sequence[Frame], said: tuple[str, ...]) -> list[grouping.Group]:
    """Returns the frames of each file as one group: views, pictures, a sequence in time."""
    by_file: dict[Path, list[Frame]] = {}
    for frame in frames:
        by_file.setdefault(frame.path, []).append(frame)
    return [grouping.Group(tuple(found), {}, said) for found in by_file.values()]


def _volume(group: grouping.Group, irregular: Irregular, tilt: geometry.Tilt, scaling: Scaling) -> Volume:
    try:
        placed = _placed(group.frames, irregular)
    except geometry.GeometryError as error:
        grids = [said for said in group.findings if "differ in" in said]
        raise geometry.GeometryError("; ".join([str(error), *grids])) from error
    ordered = [group.frames[i] for i in placed.order]
    scales, said = _scales(ordered, scaling)
    findings = [
        *group.findings,
        *placed.findings,
        *_of_frames(ordered, float(np.linalg.norm(placed.affine[:3, 2]))),
        *said,
        *completeness.of_volume(ordered),
    ]
    volume = Volume(
        stored=_stored(ordered),
        slope=scales[:, 0],
        intercept=scales[:, 1],
        affine=placed.affine,
        spacing_mm=placed.spacing_mm,
        meta={keyword: ordered[0].fact(keyword) for keyword in META},
        findings=tuple(findings),
        paths=tuple(frame.path for frame in ordered),
        instance_uids=tuple(frame.fact("SOPInstanceUID") for frame in ordered),
        frame_numbers=tuple(frame.number for frame in ordered),
        padding=pixels.padding(ordered[0].dataset),
        apart=group.apart,
    )
    if placed.places is not None:
        volume = _interpolated(volume, placed.places)
    return _upright(volume) if tilt == "resample" else volume


def _stored(frames: Sequence[Frame]) -> np.ndarray:
    """Returns the frames' stored values, (frames, rows, columns), or (frames, rows, columns, 3) of colour."""
    out = np.empty(0)
    for index, values in enumerate(_decoded(frames)):
        if not index:
            out = np.empty((len(frames), *values.shape), values.dtype)
        if values.dtype != out.dtype:
            raise SeriesError(f"slices of {out.dtype} and {values.dtype} are mixed: signed and unsigned, or other bits")
        if values.shape != out.shape[1:]:
            raise SeriesError("grey and colour slices are mixed; one kind was expected")
        out[index] = values
    return out


def _decoded(frames: Sequence[Frame]) -> Iterator[np.ndarray]:
    """Yields each frame's stored values; what frames of one file share is read once."""
    for _, run in groupby(frames, key=lambda frame: frame.path):
        of_file = list(run)
        if of_file[0].tile is not None:
            mosaics: dict[int, np.ndarray] = {}
            for frame in of_file:
                if frame.number not in mosaics:
                    mosaics = {frame.number: pixels.stored(frame.dataset, frame.number)}
                row, column = frame.tile or (0, 0)
                yield mosaics[frame.number][row : row + frame.rows, column : column + frame.columns]
        else:
            yield from pixels.stored_frames(of_file[0].dataset, [frame.number for frame in of_file])


def _scales(frames: Sequence[Frame], scaling: Scaling) -> tuple[np.ndarray, list[str]]:
    """Returns slope and intercept of each frame, (frames, 2) float32, and what is to be said of them."""
    given = [pixels.rescale(next((layer for layer in f.layers if "RescaleSlope" in layer), f.dataset)) for f in frames]
    findings = []
    if scaling == "precise" and frames[0].fact("Modality") == "MR" and "hilips" in frames[0].fact("Manufacturer"):
        precise = [units.precise(frame.dataset, frame.number) for frame in frames]
        if None not in precise and precise != given:
            given = [scale for scale in precise if scale is not None]
            findings.append(
                "Philips: values are precise, by its private scale slope; scaling='display' is RescaleSlope's"
            )
    scales = np.array(given, np.float32)
    (slope, intercept), (top, high) = scales.min(axis=0), scales.max(axis=0)
    if slope != top or intercept != high:
        findings.append(
            f"the rescale differs between slices: slope {slope:g} to {top:g}, intercept {intercept:g} to {high:g}"
        )
    if slope < 0:
        findings.append("RescaleSlope is negative: high stored values are low modality values")
    return scales, findings


def _of_frames(frames: Sequence[Frame], step: float) -> list[str]:
    """Returns what is to be said of a volume's frames, each once; `step` is between slices, mm."""
    findings = [said for frame in frames for said in frame.findings]
    first = frames[0]
    if first.fact("Modality") == "CT" and not first.fact("RescaleIntercept") and first.position_mm is not None:
        findings.append("CT without RescaleIntercept: values need not be HU")
    for keyword in _ALIKE:
        if len({frame.fact(keyword) for frame in frames}) > 1:
            findings.append(f"{keyword} differs between slices")
    thickness = numbers(first.value("SliceThickness"), "SliceThickness", 1)
    if thickness and len(frames) > 1 and thickness[0] > step * (1 + geometry.STEP_TOLERANCE):
        findings.append(f"slices overlap: SliceThickness is {thickness[0]:g} mm, the step {step:.4g} mm")
    return [*dict.fromkeys(findings), *pixels.findings(first.dataset)]


def _interpolated(volume: Volume, places: np.ndarray) -> Volume:
    if volume.stored.ndim > 3:
        raise SeriesError("colour slices that make no regular grid cannot be resampled; spacing='keep' leaves them")
    of_no_file = replace(volume, paths=(), instance_uids=(), frame_numbers=())
    return _with_values(of_no_file, regrid.between(volume.array, places), volume.affine)


def _upright(volume: Volume) -> Volume:
    steps = volume.affine[:3, :3]
    if len(volume.stored) < 2 or not geometry.is_sheared(steps):
        return volume
    if volume.stored.ndim > 3:
        raise SeriesError("colour slices of a tilted stack cannot be resampled; tilt='keep' leaves them")
    values = volume.array
    values, affine = regrid.upright(values, volume.affine, float(values.min()))
    said = [
        f.replace(geometry.TILT_KEPT, "slices were moved within their planes onto a right-angled grid")
        for f in volume.findings
    ]
    return _with_values(replace(volume, findings=tuple(said)), values, affine)


def _with_values(volume: Volume, values: np.ndarray, affine: np.ndarray) -> Volume:
    count = len(values)
    return replace(
        volume,
        stored=values,
        padding=None,  # it is mixed with what lies beside it
        slope=np.ones(count, np.float32),
        intercept=np.zeros(count, np.float32),
        affine=affine,
    )


def _placed(frames: Sequence[Frame], irregular: Irregular) -> geometry.Stack:
    first = frames[0]
    if not _has_place(first) or first.position_mm is None or first.orientation is None:
        return _unplaced(frames)
    if first.spacing_mm is None or min(first.spacing_mm) <= 0:
        raise SeriesError("PixelSpacing is absent or not positive; slices with a position need it")
    spacing = (first.spacing_mm[0], first.spacing_mm[1])
    positions = np.array([frame.position_mm for frame in frames])
    orientation = np.array(first.orientation)
    if len(frames) > 1:
        return geometry.stack(positions, orientation, spacing, 0.0, irregular)
    step, said = _step_of_one(first)
    placed = geometry.stack(positions, orientation, spacing, step)
    return replace(placed, findings=(said,))


def _step_of_one(frame: Frame) -> tuple[float, str]:
    """Returns the step that a single slice is given, and what is to be said of it."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        step = numbers(frame.value(keyword), keyword, 1)
        if step and step[0] > 0:
            return step[0], f"single slice: the step between slices is {keyword}"
    return 1.0, "single slice without SliceThickness: its depth is unknown, 1 mm is set"


def _unplaced(frames: Sequence[Frame]) -> geometry.Stack:
    """A radiograph has no place in the patient: its grid begins at 0 in the image's own axes."""
    findings = ["no ImagePositionPatient: the affine is in the image's own axes"]
    if len(frames) > 1:
        findings.append(f"{len(frames)} frames of one instance in their order: a sequence in time, or pictures")
    row, column, said = units.spacing(frames[0].dataset)
    spacing = (row, column)
    steps = spacing if np.isfinite(spacing).all() else (1.0, 1.0)  # of unknown length, the affine counts pixels
    affine = np.diag([steps[1], steps[0], 1.0, 1.0])
    order = tuple(range(len(frames)))
    return geometry.Stack(order, affine, (float("nan"), row, column), (*findings, *said))
