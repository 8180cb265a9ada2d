"""From a volume to a model's inputs, and from its outputs to what a radiologist can use.

That is JSON, DICOM SEG, DICOM SR, a secondary capture, NIfTI.
"""

import math
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config, outputs
from radkit.data import clinical, contents, label_kinds, resample
from radkit.dicom import annotations
from radkit.dicom.annotations import Measurement
from radkit.dicom.volumes import SeriesError, Volume
from radkit.errors import UserError
from serving import boxes, nifti, overlay
from serving.signatures import Signature

ANSWER = "answer.json"
SEGMENTATION = "segmentation.dcm"
REPORT = "measurements.dcm"
CAPTURE = "overlay.dcm"
NIFTI = "mask.nii.gz"
FORMATS = ("json", "seg", "sr", "capture", "nifti")
USUAL = FORMATS[:3]

PART = ".part"  # behind the name of a folder that is not whole

_NO_THRESHOLD = 255  # among `calls`: of a class that has no threshold
_SURE = 1e-4  # by so much may a probability be off 0 or 1

_THRESHOLD = "threshold of the operating point"

# What configs call a unit, and its code (UCUM); what does not stand here is taken for a code.
_UNITS = {
    "": "1", "year": "a", "years": "a", "month": "mo", "months": "mo", "week": "wk", "weeks": "wk", "day": "d",
    "days": "d", "hours": "h", "minutes": "min", "seconds": "s", "percent": "%", "HU": "[hnsf'U]", "ml": "mL",
    "bpm": "/min", "mmHg": "mm[Hg]",
}  # fmt: skip


class AnswerError(UserError):
    """The model's outputs are not what its signature promises, so nothing is made of them."""


def rank_of(signature: Signature) -> int:
    """Returns the spatial rank that the model takes, 3 for volumes or 2 for radiographs.

    Raises:
        UserError: The signature is not that of a radkit model.
    """
    inputs, given = signature.inputs, set(signature.outputs)
    image = inputs["image"].shape if "image" in inputs else None
    if set(inputs) - {"table"} != {"image", "spacing_mm"} or image is None or len(image) not in (4, 5):
        taken = ", ".join(f"{name} {spec}" for name, spec in sorted(inputs.items()))
        raise UserError(f"the model takes {taken}; image of rank 4 or 5 and spacing_mm were expected")
    if not given & {"mask", "probabilities", "values", "boxes"} or "class_names" not in given:
        found = ", ".join(sorted(given))
        raise UserError(f"the model gives {found}; class_names and mask, probabilities, values or boxes were expected")
    return len(image) - 2


def inputs_of(volume: Volume, rank: int, data: config.Data | None = None) -> dict[str, np.ndarray]:
    """Returns a request's arrays: `image` (1, [depth,] height, width, 1) float32 and `spacing_mm` (1, rank).

    Where the model's records had a table there is `table` (1, columns), too, from the headers of the images.
    """
    image = volume.array[..., None]
    if rank == 2 and len(image) != 1:
        raise SeriesError(f"the image has {len(image)} frames; the model takes one radiograph at a time")
    spacing = np.asarray(volume.spacing_mm[-rank:], np.float32)
    given = {"image": image[None] if rank == 3 else image, "spacing_mm": spacing[None]}
    if data is not None and data.table:
        given["table"] = clinical.table(contents.facts(volume), data)[None]
    return given


def write(
    answer: Mapping[str, np.ndarray],
    volume: Volume,
    model: Mapping[str, Any],
    folder: Path,
    grid: resample.Grid,
    data: config.Data | None = None,
    formats: Collection[str] = USUAL,
) -> None:
    """Writes an answer's files into a new folder, which is there when all of them are.

    Where no report can be made of the images' headers, `answer.json` says why, and is the answer all the same.

    Args:
        answer: The outputs for a batch of one.
        volume: The image as acquired.
        model: Name and version, as `answer.json` shall say.
        folder: Made here.
        grid: Of the image that was sent, made from that of `volume`.
        data: What the model tells of its records: the unit of its values, and whether its classes are degrees.
        formats: Of `FORMATS`: `json` is `answer.json`; `seg` is `segmentation.dcm`, where a mask holds anything; `sr`
            is `measurements.dcm`; `capture` is `overlay.dcm`, where there is anything to draw; `nifti` is
            `mask.nii.gz`, where there is a mask.

    Raises:
        AnswerError: Outputs of another shape or with unknown values.
        AnnotationError: No file of a format can be made of the images.
    """
    names = _names(answer)
    told: dict[str, Any] = {
        "series_uid": volume.meta["SeriesInstanceUID"],
        "study_uid": volume.meta["StudyInstanceUID"],
        "instance_uids": list(volume.instance_uids),
        "model": dict(model),
        "class_names": names,  # in their order, which degrees have, and an object's names in JSON have not
    }
    told |= _figures(answer, names, data)
    if "boxes" in answer:
        try:
            told |= {"boxes": boxes.told(answer, names, volume, grid)}
        except boxes.BoxesError as error:
            raise AnswerError(str(error)) from error
    mask, segments = _drawn(answer, names, volume, grid)
    if mask is not None:
        told["volume_ml"] = volumes_ml(mask, volume.spacing_mm, segments)
    aside = folder.with_name(f"{folder.name}{PART}")
    aside.mkdir(parents=True)
    try:
        _files(told, mask, segments, volume, aside, data, formats)
        aside.rename(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)  # no folder may look answered when it is not
        raise


def _files(
    told: dict[str, Any],
    mask: np.ndarray | None,
    segments: list[str],
    volume: Volume,
    folder: Path,
    data: config.Data | None,
    formats: Collection[str],
) -> None:
    if mask is not None:
        told["segmentation"] = SEGMENTATION if mask.any() and "seg" in formats else None
        if told["segmentation"]:
            annotations.write_seg(mask, volume, segments, folder / SEGMENTATION)
        if "nifti" in formats:
            nifti.write_mask(mask, volume, folder / NIFTI)
            told |= {"nifti": NIFTI, "mask_values": dict(enumerate(segments, 1))}
    if "capture" in formats:
        made = overlay.write_capture(mask, told.get("boxes", ()), segments, volume, folder / CAPTURE)
        told["capture"] = CAPTURE if made else None
    told |= _report(told, volume, folder, data) if "sr" in formats else {"report": None}
    if "json" in formats:
        outputs.write_json(folder / ANSWER, told)


def _names(answer: Mapping[str, np.ndarray]) -> list[str]:
    try:
        names = [name.decode() for name in answer["class_names"].ravel().tolist()]
    except (KeyError, AttributeError, UnicodeDecodeError) as error:
        raise AnswerError("the model gave no class_names, or some that are no text") from error
    if len(set(names)) < len(names):
        raise AnswerError(f"the model gave {len(names)} class_names, some of them twice")
    return names


def _drawn(
    answer: Mapping[str, np.ndarray], names: list[str], volume: Volume, grid: resample.Grid
) -> tuple[np.ndarray | None, list[str]]:
    """Returns a mask on the image as acquired, if the model drew one, and the names of its values 1, 2, ..."""
    if "mask" in answer:
        return resample.mask_back(_mask(answer["mask"], names, grid.shape), grid, volume.stored.shape), names
    if not {"boxes", "masks"} <= set(answer):
        return None, names
    try:
        return boxes.drawn(answer, names, volume, grid)
    except boxes.BoxesError as error:
        raise AnswerError(str(error)) from error


def _figures(answer: Mapping[str, np.ndarray], names: list[str], data: config.Data | None) -> dict[str, Any]:
    """Returns what the model says of the image as a whole, by class."""
    found: dict[str, Any] = {}
    if "probabilities" in answer:
        found["probabilities"] = _of_names(answer["probabilities"], names, "probabilities")
        if not all(-_SURE <= share <= 1 + _SURE for share in found["probabilities"].values()):
            raise AnswerError("the model gave a probability that is not within 0 and 1")
        if data is not None and data.label_kind == "ordinal":
            shares = list(found["probabilities"].values())
            found["at_least"] = dict(zip(names[1:], label_kinds.at_least(shares)))
            found["degree"] = names[label_kinds.middle_degree(shares)]
    if "values" in answer:
        found["values"] = _of_names(answer["values"], names, "values")
        if data is not None:
            found["unit"] = data.label_unit
    return found | _called(answer, names)


def _called(answer: Mapping[str, np.ndarray], names: list[str]) -> dict[str, Any]:
    """Returns which classes are called at the model's operating point, and from which probability on."""
    if "calls" not in answer:
        return {}
    calls, thresholds = answer["calls"].ravel().tolist(), answer.get("thresholds", np.zeros(0)).ravel().tolist()
    if len(calls) != len(names) or len(thresholds) != len(names) or not set(calls) <= {0, 1, _NO_THRESHOLD}:
        raise AnswerError(
            f"the model gave {len(calls)} calls and {len(thresholds)} thresholds for {len(names)} classes"
        )
    return {
        "called": {name: None if call == _NO_THRESHOLD else bool(call) for name, call in zip(names, calls)},
        "thresholds": {name: value if math.isfinite(value) else None for name, value in zip(names, thresholds)},
    }


def _report(told: Mapping[str, Any], volume: Volume, folder: Path, data: config.Data | None) -> dict[str, Any]:
    """Writes what was measured as a structured report; returns its name, or why there is none."""
    segmentation = folder / SEGMENTATION if told.get("segmentation") else None
    try:
        found = _measured(told, data)
        if not found:
            return {"report": None}
        boxed = boxes.placed(told.get("boxes", ()))
        annotations.write_sr(found, volume, folder / REPORT, segmentation=segmentation, boxes=boxed)
    except annotations.AnnotationError as error:
        return {"report": None, "report_refused": str(error)}
    return {"report": REPORT}


def _measured(told: Mapping[str, Any], data: config.Data | None) -> list[Measurement]:
    """Returns what a report says: volumes and probabilities of classes, values with their unit, the degree."""
    of_classes = (("volume", "mL", told.get("volume_ml", {})), ("probability", "1", told.get("probabilities", {})))
    found = [
        Measurement(name, value, unit, finding=label)
        for name, unit, values in of_classes
        for label, value in values.items()
        if value is not None
    ]
    found += _judged(told)
    if "boxes" in told:
        found += boxes.measured(told["boxes"], told["class_names"])
    if data is not None and "degree" in told:
        found.append(Measurement(data.label, math.nan, "", text=told["degree"], finding=data.label))
    for name, value in told.get("values", {}).items():
        if "unit" not in told:
            raise annotations.AnnotationError(f"the model does not tell the unit of {name!r}; export it with radkit")
        code = annotations.code_of(name)
        found.append(Measurement(name, value, _ucum(told["unit"]), finding=name, code=code))
    return found


def _judged(told: Mapping[str, Any]) -> list[Measurement]:
    """Returns what a report says of operating points: of each class that has one, the threshold and the call."""
    found = []
    for label, call in told.get("called", {}).items():
        if call is not None:
            found.append(Measurement(boxes.CALL, math.nan, "", text=boxes.CALLS[call], finding=label))
        if (least := told["thresholds"][label]) is not None:
            code = annotations.code_of(_THRESHOLD)
            found.append(Measurement(_THRESHOLD, least, "1", finding=label, code=code))
    return found


def _ucum(unit: str) -> str:
    code = _UNITS.get(unit, unit)
    if not (code.isascii() and code.isprintable() and " " not in code):
        raise annotations.AnnotationError(f"data.label_unit {unit!r} is no UCUM code, as 'mm' or 'kg/m2'; set one")
    return code


def _of_names(values: np.ndarray, names: list[str], what: str) -> dict[str, float]:
    found = values.ravel().tolist()
    if len(found) != len(names) or not all(map(math.isfinite, found)):
        raise AnswerError(f"the model gave {len(found)} {what} for {len(names)} classes, or one is no number")
    return dict(zip(names, found))


def _mask(values: np.ndarray, names: list[str], shape: tuple[int, ...]) -> np.ndarray:
    # Where the model works on radiographs the mask has no slice axis; a volume of one slice has.
    if values.size != math.prod(shape) or values.shape[-2:] != shape[-2:]:
        raise AnswerError(f"the model gave a mask of shape {values.shape} for an image of {shape}")
    mask = values.reshape(shape)
    if mask.dtype != np.uint8 or int(mask.max()) > len(names):
        raise AnswerError(f"the mask is {mask.dtype} up to {mask.max()}; uint8 up to {len(names)} was expected")
    return mask


def volumes_ml(mask: np.ndarray, spacing_mm: tuple[float, ...], names: list[str]) -> dict[str, float | None]:
    """Returns the volume of each class in ml, None where a spacing is unknown (nan).

    >>> volumes_ml(np.ones((10, 10, 10), np.uint8), (1.0, 2.0, 0.5), ["liver"])
    {'liver': 1.0}
    """
    voxel_ml = math.prod(spacing_mm) / 1000
    counts = np.bincount(mask.ravel(), minlength=len(names) + 1)[1:]
    return {n: float(c) * voxel_ml if math.isfinite(voxel_ml) else None for n, c in zip(names, counts)}
