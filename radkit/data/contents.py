"""What is in a record: an image of one or several files, its values, grid and facts, as the config asks for them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config
from radkit.data import annotate, label_kinds, readers, records, resample, sources
from radkit.dicom import foreign, invented
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import SeriesError, Volume, read_volumes

# ITU-R BT.601's weights of red, green and blue, in thousandths: whole numbers give the same bytes everywhere.
_LUMA = (299, 587, 114)
_IN_A_YEAR = {"D": 365.25, "W": 365.25 / 7, "M": 12.0, "Y": 1.0}
_STEPS = 2**16 - 16  # in a range of values: no fewer than 16 bits told apart
_OF_A_STEP = 0.01  # that a float32 intercept may be off
_MOST_SHOWN = 3


@dataclass(frozen=True)
class Unit:
    """What is read at once: the files of a volume's series, or one radiograph's file."""

    uid: str  # SeriesInstanceUID, or SOPInstanceUID of a radiograph
    patient_id: str
    paths: tuple[Path, ...]
    annotations: tuple[sources.Source, ...] = ()
    label: label_kinds.Value = label_kinds.UNLABELLED
    label_about: tuple[str, str, str] = ("", "", "")  # its reader, date and reference standard
    report: str = ""  # its text
    study_date: str = ""  # StudyDate
    site: str = ""  # as the patients table or the header has it
    num_bytes: int = 0  # of its record's pixels, estimated from the headers
    facts: tuple[tuple[str, str], ...] = ()  # keywords of `META` and values, of an image that is no DICOM


@dataclass(frozen=True)
class Made:
    """A record's values, and what is told of it elsewhere.

    Attributes:
        values: By field name.
        findings: Of its annotations.
        disagreements: Of its readers, rows for `adjudication.csv`.
    """

    values: dict[str, Any]
    findings: tuple[Finding, ...] = ()
    disagreements: tuple[dict[str, Any], ...] = ()


def to_json(unit: Unit, root: Path) -> dict[str, Any]:
    """Returns a unit as plain JSON values, paths below the input folder; `from_json` gives it back."""
    return {
        **vars(unit),
        "paths": [path.relative_to(root).as_posix() for path in unit.paths],
        "annotations": [sources.to_json(source, root) for source in unit.annotations],
    }


def from_json(values: Mapping[str, Any], root: Path) -> Unit:
    """Returns a unit from what `to_json` gave."""
    made = {
        "paths": tuple(root / path for path in values["paths"]),
        "annotations": tuple(sources.from_json(source, root) for source in values["annotations"]),
        "label": label_kinds.from_json(values["label"]),
        "label_about": tuple(values["label_about"]),
        "facts": tuple((keyword, value) for keyword, value in values["facts"]),
    }
    return Unit(**{**values, **made})


def volumes_of(unit: Unit, data: config.Data) -> list[tuple[str, Volume]]:
    """Returns a unit's volumes that become records, each with its record's uid.

    Raises:
        SeriesError: The files make no such volume.
        UserError: The record would be larger than TensorFlow reads.
    """
    if unit.facts:
        return [(unit.uid, _in_steps(foreign.read(unit.paths[0], dict(unit.facts)), data.image_dtype))]
    if data.volumes == "one" and not (data.record_size or data.record_spacing_mm):
        records.check_size(unit.num_bytes)  # before gigabytes are read for nothing
    # Display values, which are the same before de-identification and after it, in training and in serving.
    # The shear is kept here and taken out in `record_of`, so that a mask drawn on the slices still finds them.
    chosen = _chosen(read_volumes(unit.paths, spacing=data.irregular, scaling="display"), data.volumes)
    if len(chosen) == 1:
        return [(unit.uid, chosen[0])]
    return [(f"{unit.uid}/{number}", volume) for number, volume in enumerate(chosen, start=1)]


def _in_steps(volume: Volume, image_dtype: str) -> Volume:
    """Returns a volume that came as real numbers in the steps in which its DICOM would hold them."""
    if image_dtype != "int16" or volume.stored.dtype != np.float32 or volume.stored.ndim != 3:
        return volume
    held = invented.stored(volume)
    if (held.slope == volume.slope).all():
        return held
    said = f"real numbers, rounded to steps of {held.slope[0]:.6g}; data.image_dtype='float32' keeps them"
    return replace(held, findings=(*held.findings, said))


def _chosen(volumes: Sequence[Volume], which: str) -> list[Volume]:
    if which == "all" or len(volumes) == 1:
        return list(volumes)
    if which == "largest" and volumes[0].stored.size > volumes[1].stored.size:
        said = f"the largest of the series' {len(volumes)} volumes"
        return [replace(volumes[0], findings=(*volumes[0].findings, said))]
    expected = "one was expected" if which == "one" else "one that is larger than all others was expected"
    others = "'largest' or 'all'" if which == "one" else "'all'"
    raise SeriesError(
        f"the series holds {len(volumes)} volumes ({_apart(volumes)}); {expected}: data.volumes={others} takes more"
    )


def _apart(volumes: Sequence[Volume]) -> str:
    """Returns what tells volumes apart, in words: attributes by name only, as their values could be anything."""
    names = sorted({name for volume in volumes for name in volume.apart})
    said = [f"apart by {', '.join(names)}"] if names else []
    sizes = [" x ".join(map(str, volume.stored.shape[:3])) for volume in volumes]
    if len(set(sizes)) > 1 or not names:
        said.append(f"of {', '.join(sizes[:_MOST_SHOWN])}{' ...' if len(sizes) > _MOST_SHOWN else ''} voxels")
    return " and ".join(said)


def record_of(unit: Unit, uid: str, volume: Volume, data: config.Data) -> Made:
    """Returns a record's values, and what is told of it.

    Args:
        unit: What the volume was read from.
        uid: The record's.
        volume: From `volumes_of`.
        data: The config's data section.

    Raises:
        SeriesError: Its values do not fit the record, or its spacing is unknown and needed.
        AnnotationError: Its annotations do not fit the image, or one another.
        UserError: The record would be larger than TensorFlow reads.
    """
    if data.kind == "radiograph" and len(volume.stored) != 1:
        raise SeriesError(f"the instance has {len(volume.stored)} frames; a radiograph is one image")
    if data.kind == "volume" and data.spacing_mm and not np.isfinite(volume.spacing_mm).all():
        raise SeriesError("the images do not tell their spacing, and data.spacing_mm asks for resampling")
    acquired, grid, made = recorded(volume, data)
    values = {**_image(made, data.kind), **facts(made), "record_uid": uid}
    values |= {"site": unit.site, "study_date": unit.study_date}
    if data.label:
        values |= {**label_kinds.fields(unit.label, data), **annotate.about("label", *unit.label_about)}
    if data.report:
        values["report"] = unit.report
    if not (data.mask_labels or data.box_labels):
        return Made(values)
    drawn = annotate.drawn(unit.annotations, acquired, data)
    held, said = annotate.fields(drawn, grid, data)
    findings = (*drawn.findings, *said)
    values |= held
    values["findings"] = "; ".join(filter(None, [values["findings"], *(found.text for found in findings)]))
    disagreements = readers.disagreements(uid, drawn, math.prod(volume.spacing_mm) / 1000)
    return Made(values, findings, tuple(disagreements))


def recorded(volume: Volume, data: config.Data) -> tuple[Volume, resample.Grid, Volume]:
    """Returns a volume as records hold it, and as a model that was trained on them wants it.

    Args:
        volume: As read.
        data: The config's data section.

    Returns:
        The volume as read, but grey; the grid of the record, made from its own; and the volume on that grid.

    Raises:
        SeriesError: Its values do not fit, or its place is unknown and needed.
        UserError: It would be larger than TensorFlow reads.
    """
    if volume.stored.ndim > 3:
        volume = _grey(volume, data.colour)
    if data.irregular == "resample" and data.image_dtype == "int16":
        volume = _stepped(volume)
    grid = _grid(volume, data)
    bytes_a_voxel = np.dtype(data.image_dtype).itemsize + bool(data.mask_labels)
    records.check_size(math.prod(grid.shape) * bytes_a_voxel)
    return volume, grid, _fitting(resample.onto(volume, grid), data.image_dtype)


def _grid(volume: Volume, data: config.Data) -> resample.Grid:
    grid = resample.grid_of(volume)
    flat = (0,) * (data.kind == "radiograph")  # a radiograph's settings have no slices
    if data.tilt == "resample":
        grid = resample.upright(grid)
    if data.record_orientation:
        if not np.isfinite(volume.spacing_mm).all():
            raise SeriesError("the images do not tell their place, and data.record_orientation asks for it")
        grid = resample.turned(grid, data.record_orientation)
    if data.record_spacing_mm:
        wanted = (*flat, *data.record_spacing_mm)
        # The grid does not know: where the spacing is unknown its affine counts pixels.
        if any(new and not np.isfinite(old) for new, old in zip(wanted, volume.spacing_mm)):
            raise SeriesError("the images do not tell their spacing, and data.record_spacing_mm asks for resampling")
        grid = resample.spaced(grid, wanted)
    return resample.sized(grid, (*flat, *data.record_size)) if data.record_size else grid


def _grey(volume: Volume, wish: str) -> Volume:
    if wish == "refuse":
        raise SeriesError("the images are colour; data.colour='grey' keeps their luminance")
    stored = np.empty(volume.stored.shape[:3], np.int16)
    for out, plane in zip(stored, volume.stored):
        out[...] = (plane.astype(np.int32) @ np.array(_LUMA, np.int32) + 500) // 1000
    return replace(volume, stored=stored, findings=(*volume.findings, "colour was made grey (ITU-R BT.601 luminance)"))


def _stepped(volume: Volume) -> Volume:
    """Returns a volume that was interpolated as it was read in steps again; any other as it is."""
    if volume.paths or volume.stored.dtype != np.float32:
        return volume
    fitted = resample.in_steps(volume.stored, float(np.ptp(volume.stored)) / _STEPS or 1.0)
    if fitted is None:
        return volume
    scales = np.tile(np.array(fitted[1], np.float32), (len(fitted[0]), 1))
    return replace(volume, stored=fitted[0], slope=scales[:, 0].copy(), intercept=scales[:, 1].copy())


def _fitting(volume: Volume, image_dtype: str) -> Volume:
    """Returns a volume whose stored values are of the record's type, the modality values unchanged."""
    if image_dtype == "float32":
        ones = np.ones_like(volume.slope)
        return replace(volume, stored=volume.array, slope=ones, intercept=np.zeros_like(ones))
    stored = volume.stored
    if stored.dtype == np.int16:
        return volume
    if stored.dtype.kind in "iu":
        return _shifted(volume)
    if (np.rint(stored) == stored).all() and np.abs(stored).max() < 2**31:
        return _shifted(replace(volume, stored=stored.astype(np.int32)))
    raise SeriesError(_does_not_fit(volume))


def _shifted(volume: Volume) -> Volume:
    """Returns whole values as int16: moved into its range, all slices alike if they can be; intercepts take it back."""
    stored = volume.stored
    low, high = stored.min(axis=(1, 2)).astype(np.int64), stored.max(axis=(1, 2)).astype(np.int64)
    if low.min() >= -(2**15) and high.max() < 2**15:
        return replace(volume, stored=stored.view(np.int16) if stored.dtype == np.uint16 else stored.astype(np.int16))
    if stored.dtype == np.uint16:
        by = np.full(len(stored), 2**15)
    else:
        by = 2**15 + (np.full(len(stored), low.min()) if high.max() - low.min() < 2**16 else low)
    intercept = volume.intercept.astype(np.float64) + by * volume.slope.astype(np.float64)
    rounded = intercept.astype(np.float32)
    if (high - low).max() >= 2**16 or (np.abs(rounded - intercept) > _OF_A_STEP * np.abs(volume.slope)).any():
        raise SeriesError(_does_not_fit(volume))
    moved = np.empty(stored.shape, np.int16)
    for out, plane, offset in zip(moved, stored, by.tolist()):
        out[...] = plane.astype(np.int64) - offset
    return replace(volume, stored=moved, intercept=rounded)


def _does_not_fit(volume: Volume) -> str:
    stored = volume.stored
    return (
        f"its values are {stored.dtype} from {stored.min():.6g} to {stored.max():.6g}; int16 cannot hold them without "
        "loss; data.image_dtype='float32' keeps modality values"
    )


def _image(volume: Volume, kind: str) -> dict[str, Any]:
    steps = volume.affine[:3, :3]
    # Of a tilted stack spacing is along the normal: direction times spacing is the step from slice to slice.
    spacing = np.array(volume.spacing_mm[::-1])
    lengths = np.where(np.isfinite(spacing) & (spacing > 0), spacing, np.linalg.norm(steps, axis=0))
    return {
        "image": annotate.as_kind(volume.stored, kind),
        "rescale_slope": volume.slope,
        "rescale_intercept": volume.intercept,
        "spacing_mm": np.asarray(volume.spacing_mm[1:] if kind == "radiograph" else volume.spacing_mm, np.float32),
        "origin_mm": volume.affine[:3, 3],
        "direction": steps / lengths,
    }


def facts(volume: Volume) -> dict[str, Any]:
    """Returns what a record says of its image beside the pixels, by field name."""
    meta = volume.meta
    return {
        "patient_id": meta["PatientID"],
        "study_uid": meta["StudyInstanceUID"],
        "series_uid": meta["SeriesInstanceUID"],
        "modality": meta["Modality"],
        "manufacturer": meta["Manufacturer"],
        "manufacturer_model": meta.get("ManufacturerModelName", ""),
        "body_part": meta["BodyPartExamined"],
        "view_position": meta["ViewPosition"],
        "laterality": meta.get("ImageLaterality") or meta.get("Laterality", ""),
        "sex": meta["PatientSex"],
        "kernel": meta.get("ConvolutionKernel", ""),
        "findings": "; ".join(volume.findings),
        "age_years": age_years(meta["PatientAge"]),
        "tube_voltage_kv": _number(meta["KVP"]),
        "field_strength_t": _number(meta["MagneticFieldStrength"]),
        "slice_thickness_mm": _number(meta.get("SliceThickness", "")),
    }


def age_years(text: str) -> float:
    """Returns an AS value (PS3.5 6.2) in years; nan where it is none.

    >>> age_years("045Y"), age_years("006M"), age_years("")
    (45.0, 0.5, nan)
    """
    found = re.fullmatch(r"([0-9]{1,3})([DWMY])", text)
    return int(found[1]) / _IN_A_YEAR[found[2]] if found else math.nan


def _number(text: str) -> float:
    """Returns a number above 0; nan where there is none."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if 0 < value < math.inf else math.nan
