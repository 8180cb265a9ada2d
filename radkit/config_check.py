"""What an experiment's values must be beyond their types; `radkit.config` calls it."""

import re
from typing import TYPE_CHECKING

from radkit.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from radkit.config import Curate, Data, Experiment

# How a label came to be known; figures of different standards are not mixed.
REFERENCE_STANDARDS = (
    "histology", "surgery", "follow_up", "other_modality", "laboratory", "outcome", "consensus", "reader", "report",
    "model",
)  # fmt: skip
_PLANES = ("axial", "coronal", "sagittal", "oblique")
_PAIRS = ("LR", "PA", "SI")
_SPACINGS_MM = (0.01, 1000.0)  # what lies outside is a slip, as of metres for millimetres
_LEAST = (
    ("data", ("size_multiple",), 1),
    ("optimizer", ("learning_rate", "weight_decay", "warmup_steps", "clip_norm"), 0),
    ("augment", ("shift", "scale", "noise", "gain"), 0),
    ("trainer", ("steps", "batch_size", "evaluate_every"), 1),
)


def check(experiment: "Experiment") -> None:
    """Refuses values that are of the right type and make no sense.

    Raises:
        UserError: It names the field, what was found and what was expected.
    """
    _check_data(experiment.data)
    flip, rank = experiment.augment.flip, len(experiment.data.image_size)
    if len(flip) not in (0, rank):
        raise UserError(f"augment.flip must be empty or {rank} values for a {experiment.data.kind}, not {flip}")
    for section, names, least in _LEAST:
        for name in names:
            value = getattr(getattr(experiment, section), name)
            if value < least:
                raise UserError(f"{section}.{name} must be at least {least}, not {value}")


def _check_data(data: "Data") -> None:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", data.dataset):
        raise UserError(f"data.dataset must be a folder's name of letters, digits, '_', '-', '.', not {data.dataset!r}")
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", data.version):
        raise UserError(f"data.version must be three numbers, as 1.0.0, not {data.version!r}")
    rank = 3 if data.kind == "volume" else 2
    if len(data.image_size) != rank or min(data.image_size) < 1:
        raise UserError(f"data.image_size must be {rank} sizes > 0 for a {data.kind}, not {data.image_size}")
    if data.spacing_mm and (len(data.spacing_mm) != rank or min(data.spacing_mm) <= 0):
        raise UserError(f"data.spacing_mm must be empty or {rank} values > 0 mm, not {data.spacing_mm}")
    if len(data.splits) != 3 or min(data.splits) < 0 or abs(sum(data.splits) - 1) > 1e-6:
        raise UserError(f"data.splits must be three shares (train, validation, test) that add to 1, not {data.splits}")
    if data.window[0] >= data.window[1]:
        raise UserError(f"data.window must be (low, high) with low < high, not {data.window}")
    _check_grid(data, rank)
    _check_curate(data.curate)
    _check_annotations(data)


def _check_curate(rules: "Curate") -> None:
    for name in ("num_slices", "slice_spacing_mm", "pixel_spacing_mm", "slice_thickness_mm"):
        given: tuple[float, ...] = getattr(rules, name)
        if given and (len(given) != 2 or not 0 <= given[0] <= given[1]):
            raise UserError(f"data.curate.{name} must be empty or (least, most) with 0 <= least <= most, not {given}")
    for plane in rules.planes:
        if plane not in _PLANES:
            raise UserError(f"data.curate.planes: {plane!r} is none of {', '.join(_PLANES)}")


def _check_annotations(data: "Data") -> None:
    if not 0 < data.annotations.fraction <= 1:
        raise UserError(f"data.annotations.fraction must be above 0 and at most 1, not {data.annotations.fraction}")
    for standard in data.annotations.reference_standards:
        if standard not in REFERENCE_STANDARDS:
            raise UserError(
                f"data.annotations.reference_standards: {standard!r} is none of {', '.join(REFERENCE_STANDARDS)}"
                f"{did_you_mean(standard, REFERENCE_STANDARDS)}"
            )
    if data.annotations.keep_readers and not data.mask_labels:
        raise UserError("data.annotations.keep_readers keeps readers' masks, and data.mask_labels asks for none")
    for name in ("mask_labels", "box_labels", "class_names"):
        given = getattr(data, name)
        if len(set(given)) != len(given):
            raise UserError(f"data.{name} must name each label once, not {given}")


def _check_grid(data: "Data", rank: int) -> None:
    for name in ("record_spacing_mm", "record_size"):
        given: tuple[float, ...] = getattr(data, name)
        if given and (len(given) != rank or min(given) < 0):
            raise UserError(f"data.{name} must be empty or {rank} values >= 0 for a {data.kind}, not {given}")
    low, high = _SPACINGS_MM
    if not all(mm == 0 or low <= mm <= high for mm in data.record_spacing_mm):
        raise UserError(
            f"data.record_spacing_mm must be 0 (as acquired) or {low:g} to {high:g} mm, not {data.record_spacing_mm}"
        )
    letters = data.record_orientation
    if letters and data.kind != "volume":
        raise UserError(f"data.record_orientation must be empty for a {data.kind}: only a volume's axes can be turned")
    if letters and (len(letters) != 3 or not all(set(p) & set(letters) for p in _PAIRS)):
        raise UserError(
            f"data.record_orientation must be empty or one of L R, one of P A and one of S I, as 'LPS', not {letters!r}"
        )
