"""What an experiment's values must be beyond their types; `radkit.config` calls it."""

import re
from datetime import date
from typing import TYPE_CHECKING

from radkit import config_training
from radkit.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from radkit.config import Augment, Curate, Data, Experiment

# How a label came to be known; figures of different standards are not mixed.
REFERENCE_STANDARDS = (
    "histology", "surgery", "follow_up", "other_modality", "laboratory", "outcome", "consensus", "reader", "report",
    "model",
)  # fmt: skip
_PLANES = ("axial", "coronal", "sagittal", "oblique")
_PAIRS = ("LR", "PA", "SI")
_UNFOLDED = 0.4  # of control points' spacing: cubic splines moved by less are one to one (Choi and Lee 2000)
_SPACINGS_MM = (0.01, 1000.0)  # what lies outside is a slip, as of metres for millimetres
_SHARES = (
    "shift", "shift_mm", "scale", "shear", "elastic_mm", "noise", "rician", "gain", "gamma", "window", "bias_field",
    "blur_mm", "low_resolution", "cut_out", "mixup", "cutmix",
)  # fmt: skip
_LEAST = (
    ("data", ("size_multiple",), 1),
    ("augment", _SHARES, 0),
    ("inference", ("batch_size", "most_detections"), 1),
)
_OF_WHOLE_IMAGES = ("classification", "multi_label", "ordinal", "regression")  # tasks


def check(experiment: "Experiment") -> None:
    """Refuses values that are of the right type and make no sense.

    Raises:
        UserError: It names the field, what was found and what was expected.
    """
    _check_data(experiment.data)
    for section, names, least in _LEAST:
        for name in names:
            value = getattr(getattr(experiment, section), name)
            if value < least:
                raise UserError(f"{section}.{name} must be at least {least}, not {value}")
    _check_moves(experiment.augment, experiment.data)
    _check_strengths(experiment.augment, experiment.data)
    _check_swaps(experiment.augment, experiment.data)
    _check_mixing(experiment)
    _check_inference(experiment)
    _check_detection(experiment)
    config_training.check(experiment)


def _check_detection(experiment: "Experiment") -> None:
    """Refuses boxes and settings of boxes that make no sense."""
    data, inference = experiment.data, experiment.inference
    last = data.box_labels[len(data.box_labels) - len(data.ignored_boxes) :]
    if data.ignored_boxes != last:
        raise UserError(
            f"data.ignored_boxes must be the last of data.box_labels, in their order, which are {last}, not "
            f"{data.ignored_boxes}"
        )
    for name in ("score_threshold", "iou_threshold"):
        if not 0 <= getattr(inference, name) <= 1:
            raise UserError(f"inference.{name} must be from 0 to 1, not {getattr(inference, name)}")
    if experiment.task.name != "detection":
        return
    classes = data.box_labels[: len(data.box_labels) - len(data.ignored_boxes)]
    if data.mask_labels and data.mask_labels != classes:
        raise UserError(
            f"detection learns masks of what boxes hold: data.mask_labels must be empty or {classes}, as the boxes' "
            f"classes, not {data.mask_labels}"
        )
    for name in ("largest_component", "fill_holes"):
        if getattr(inference, name):
            raise UserError(f"inference.{name} is of masks that a segmentation answers; empty it for detection")


def _check_moves(augment: "Augment", data: "Data") -> None:
    """Refuses changes of space that no image survives."""
    rank = len(data.image_size)
    for name, wanted in (("flip", rank), ("rotate", 3 if rank == 3 else 1)):
        given = getattr(augment, name)
        if len(given) not in (0, wanted):
            raise UserError(f"augment.{name} must be empty or {wanted} values for a {data.kind}, not {given}")
    if not all(0 <= angle <= 180 for angle in augment.rotate):
        raise UserError(f"augment.rotate must be angles from 0 to 180 degrees, not {augment.rotate}")
    spacing = augment.elastic_spacing_mm
    if spacing <= 0 or augment.elastic_mm >= _UNFOLDED * spacing:
        raise UserError(
            f"augment.elastic_mm must be below {_UNFOLDED} of augment.elastic_spacing_mm, beyond which the image "
            f"folds, not {augment.elastic_mm} of {spacing}"
        )


def _check_strengths(augment: "Augment", data: "Data") -> None:
    for name in ("scale", "window", "bias_field"):
        if getattr(augment, name) >= 1:
            raise UserError(f"augment.{name} must be below 1, not {getattr(augment, name)}")
    if augment.cut_out > 1:
        raise UserError(f"augment.cut_out must be at most 1, not {augment.cut_out}")
    if augment.window and data.normalise != "window":
        raise UserError(f"augment.window is of data.normalise='window', and that is {data.normalise!r}; set it to 0")
    for name, chance in vars(augment.chances).items():
        if not 0 <= chance <= 1:
            raise UserError(f"augment.chances.{name} must be from 0 to 1, not {chance}")


def _check_swaps(augment: "Augment", data: "Data") -> None:
    rank = len(data.image_size)
    if not -rank <= augment.swap_axis < rank:
        raise UserError(f"augment.swap_axis must be an axis from {-rank} to {rank - 1}, not {augment.swap_axis}")
    lists = (data.mask_labels, data.box_labels, data.class_names)
    for pair in augment.swap_labels:
        for name in pair:
            known = sorted({other for names in lists for other in names})
            if name not in known:
                raise UserError(
                    f"augment.swap_labels: {name!r} is in none of data.mask_labels, box_labels and class_names"
                    f"{did_you_mean(name, known)}"
                )
        if any((pair[0] in names) != (pair[1] in names) for names in lists):
            raise UserError(f"augment.swap_labels: {pair} must stand in the same lists of labels, both of them")
    named = [name for pair in augment.swap_labels for name in pair]
    if len(set(named)) < len(named):
        raise UserError(f"augment.swap_labels must name each label once, not {augment.swap_labels}")


def _check_mixing(experiment: "Experiment") -> None:
    """Refuses mixing of what cannot be half of each."""
    augment, data, task = experiment.augment, experiment.data, experiment.task.name
    for name in ("mixup", "cutmix"):
        if not getattr(augment, name):
            continue
        if data.box_labels or data.label_kind == "survival" or data.table:
            what = "boxes" if data.box_labels else "a table" if data.table else "times to an event"
            raise UserError(f"augment.{name} cannot mix {what}; set it to 0")
        if task == "segmentation" and name == "mixup":
            raise UserError("augment.mixup is for labels of images, not for masks; set it to 0, or use augment.cutmix")
        if task != "segmentation" and not data.label:
            raise UserError(f"augment.{name} mixes labels, and data.label names none; set it to 0")


def _check_inference(experiment: "Experiment") -> None:
    """Refuses ways of asking a network that its task has no use for."""
    inference, data, augment = experiment.inference, experiment.data, experiment.augment
    rank = len(data.image_size)
    if inference.window and (len(inference.window) != rank or min(inference.window) < 1):
        raise UserError(f"inference.window must be empty or {rank} sizes > 0 for a {data.kind}, not {inference.window}")
    if not 0 <= inference.overlap < 1:
        raise UserError(f"inference.overlap must be a share from 0 to below 1, not {inference.overlap}")
    if len(inference.flips) not in (0, rank):
        raise UserError(f"inference.flips must be empty or {rank} values for a {data.kind}, not {inference.flips}")
    if any(inference.flips) and augment.swap_labels and inference.flips[augment.swap_axis]:
        raise UserError(
            "inference.flips would average labels with their mirror images along augment.swap_axis="
            f"{augment.swap_axis}, where augment.swap_labels swaps {augment.swap_labels}; set it to false there"
        )
    for name in ("largest_component", "fill_holes"):
        for label in getattr(inference, name):
            if label not in data.mask_labels:
                raise UserError(
                    f"inference.{name}: {label!r} is none of data.mask_labels, {', '.join(data.mask_labels) or 'empty'}"
                    f"{did_you_mean(label, data.mask_labels)}"
                )
    if inference.window and experiment.task.name in _OF_WHOLE_IMAGES:
        raise UserError(
            f"inference.window is of tasks that answer each voxel; {experiment.task.name} answers an image: empty it"
        )


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
    if len(set(data.table)) < len(data.table):
        raise UserError(f"data.table must name each column once, not {data.table}")
    if data.window[0] >= data.window[1]:
        raise UserError(f"data.window must be (low, high) with low < high, not {data.window}")
    _check_grid(data, rank)
    _check_curate(data.curate)
    _check_annotations(data)
    _check_labels(data)
    _check_label_columns(data)
    _check_split(data)


def _check_labels(data: "Data") -> None:
    """Refuses what does not go with the kind of label."""
    kind, names = data.label_kind, data.class_names
    if kind != "class" and not data.label:
        raise UserError(f"data.label_kind={kind!r} is of labels; name their column in data.label")
    if (kind == "survival") != bool(data.event):
        wanted = "the column that says whether the event was seen" if kind == "survival" else "empty"
        raise UserError(f"data.event must be {wanted} where data.label_kind is {kind!r}, not {data.event!r}")
    if data.label_unit and kind not in ("regression", "survival"):
        raise UserError(f"data.label_unit must be empty where data.label_kind is {kind!r}, not {data.label_unit!r}")
    if not data.label_range[0] < data.label_range[1]:
        raise UserError(f"data.label_range must be (low, high) with low < high, not {data.label_range}")
    if names and kind in ("regression", "survival"):
        raise UserError(
            f"data.class_names must be empty where data.label_kind is {kind!r}, not {names}: it has numbers"
        )
    least = {"ordinal": 2, "multi_label": 1}.get(kind, 0)
    if len(names) < least:
        raise UserError(
            f"data.class_names must be {least} or more names where data.label_kind is {kind!r}, not {names}"
        )


def _check_label_columns(data: "Data") -> None:
    """Refuses names that a labels table could not tell apart."""
    columns = [name for name in (data.label, data.event, data.report) if name]
    if data.label_kind == "multi_label":
        if any("|" in name or name.strip() != name or not name for name in data.class_names):
            raise UserError(
                f"data.class_names must be names without '|' and blanks around them, not {data.class_names}"
            )
        plain = [" ".join(name.replace("_", " ").lower().split()) for name in data.class_names]
        if len(set(plain)) < len(plain):
            raise UserError(
                f"data.class_names must differ in more than capitals, blanks and '_', not {data.class_names}"
            )
        columns += [name for name in data.class_names if name != data.label]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise UserError(
            f"data.label, data.event, data.report (and the classes of a multi_label) must each be a column of its own; "
            f"{twice[0]!r} is named more than once"
        )


def _check_split(data: "Data") -> None:
    """Refuses a test set that lacks what it goes by, and what goes with another one."""
    split = data.split
    for test, name, wanted in (
        ("temporal", "test_from", "a day, as 2024-01-01"),
        ("geographic", "test_sites", "sites"),
    ):
        given = getattr(split, name)
        if (split.test == test) != bool(given):
            raise UserError(
                f"data.split.{name} must be {wanted if split.test == test else 'empty'} where data.split.test is "
                f"{split.test!r}, not {given!r}"
            )
    if split.test_from and not _is_day(split.test_from):
        raise UserError(f"data.split.test_from must be a day as YYYY-MM-DD, not {split.test_from!r}")
    if split.test != "random" and not data.splits[0] + data.splits[1] > 0:
        raise UserError(
            f"data.splits must have a share of train or validation: data.split.test={split.test!r} deals by them those "
            f"who are not tested on; not {data.splits}"
        )
    if len(set(split.stratify)) != len(split.stratify) or "" in split.stratify:
        raise UserError(f"data.split.stratify must name each column once, not {split.stratify}")
    if "label" in split.stratify and not data.label:
        raise UserError("data.split.stratify asks for the label, and data.label names none")
    if split.folds < 0 or split.folds == 1:
        raise UserError(f"data.split.folds must be 0 (none), or 2 or more, not {split.folds}")
    if split.repeats < 1 or (split.repeats > 1 and not split.folds):
        raise UserError(f"data.split.repeats must be 1, or more with data.split.folds, not {split.repeats}")


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


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
        if any(one != one.strip() or not one.isprintable() or not one for one in given):  # a file has one a line
            raise UserError(f"data.{name} must be names without line breaks and blanks around them, not {given}")


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
