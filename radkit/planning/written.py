"""A plan as a config file: Python that people read and `radkit train --config` takes, with each choice's reason."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from radkit import config
from radkit.planning.search import Plan

_SIDES = re.compile(r"\b(left|right|[lr]t?)\b", re.IGNORECASE)
_COARSE_PATCH = 3  # a patch so many times shorter along one axis is turned about that axis only
_NO_REASONS: Mapping[str, str] = MappingProxyType({})
_LONG = 1.5  # a 2-D patch so many times longer than wide is hardly turned


def experiment(plan: Plan, data: config.Data, steps: int) -> config.Experiment:
    """Returns the experiment that a plan means.

    Args:
        plan: From `search.find`.
        data: The data set's own section.
        steps: Of training.
    """
    network, is_volume = plan.network, data.kind == "volume"
    window = plan.fingerprint.window if is_ct(data) else None
    planned = dataclasses.replace(
        data,
        image_size=network.patch,
        spacing_mm=tuple(round(mm, 4) for mm in plan.fingerprint.spacing_mm) if is_volume else (),
        size_multiple=max(network.divisor),
        normalise="window" if window else "zscore",
        window=(round(window[0], 1), round(window[1], 1)) if window else data.window,
    )
    settings = {
        "filters": network.filters,
        "kernels": network.kernels,
        "strides": network.strides,
        "deep_supervision": True,
    }
    return config.Experiment(
        data=planned,
        model=config.Model("nnunet", settings),
        task=config.Task("segmentation"),
        optimizer=config.Optimizer(learning_rate=1e-3, weight_decay=1e-3, warmup_steps=min(50, steps // 10)),
        augment=_augment(plan, planned),
        trainer=config.Trainer(
            steps=steps,
            batch_size=plan.batch_size,
            evaluate_every=max(1, steps // 10),
            sampling=config.Sampling(foreground=0.33),
        ),
        inference=config.Inference(window=network.patch if is_volume else ()),
    )


def is_ct(data: config.Data) -> bool:
    """Tells whether values are Hounsfield units, whose window means the same in each image."""
    return data.modalities == ("CT",)


def _augment(plan: Plan, data: config.Data) -> config.Augment:
    patch = plan.network.patch
    flips = not any(_SIDES.search(label.replace("_", " ")) for label in data.mask_labels)
    return config.Augment(
        flip=(True,) * len(patch) if flips else (),
        scale=0.3,
        rotate=_angles(patch, plan.fingerprint.spacing_mm),
        noise=0.1,
        gain=0.25,
        gamma=0.5,
        low_resolution=1.0,
        chances=config.Chances(affine=0.2, noise=0.1, gain=0.3, gamma=0.3, low_resolution=0.25),
    )


def _angles(patch: Sequence[int], spacing_mm: Sequence[float]) -> tuple[float, ...]:
    """Returns the largest angle about each axis, in degrees."""
    if len(patch) == 2:
        return (15.0,) if max(patch) > _LONG * min(patch) else (180.0,)
    shortest = min(range(3), key=lambda axis: (patch[axis], -spacing_mm[axis]))
    if max(patch) > _COARSE_PATCH * patch[shortest]:
        return tuple(180.0 if axis == shortest else 0.0 for axis in range(3))
    return (30.0, 30.0, 30.0)


def text(plan: Plan, planned: config.Experiment, *, budget_gib: float, precision: str) -> str:
    """Returns the config file.

    Args:
        plan: From `search.find`.
        planned: From `experiment`.
        budget_gib: What the plan was asked to keep within.
        precision: In which its memory was predicted.
    """
    about = _about(plan, budget_gib, precision)
    return config_file(planned, "planned by radkit plan, by nnU-Net's rules.", about, _reasons(plan, planned))


def config_file(
    experiment: config.Experiment, origin: str, about: Sequence[str], reasons: Mapping[str, str] = _NO_REASONS
) -> str:
    """Returns the Python file of an experiment, as `--config` takes it: what is as by default is left out.

    Args:
        experiment: The experiment.
        origin: Where it comes from, in a line; no more than 100 characters.
        about: More lines of the file's docstring.
        reasons: Why, by the setting's path; they stand above the settings.
    """
    names = sorted(_classes(experiment), key=lambda name: (name != "Experiment", name))
    lines = [
        f'"""{experiment.data.dataset}: {origin}',
        "",
        f"    radkit train --config THIS_FILE --input DATA_SET --output runs/{experiment.data.dataset}",
        "",
        *about,
        '"""',
        "",
        f"from radkit.config import {', '.join(names)}",
        "",
        "",
        "def get_config() -> Experiment:",
        '    """Returns the experiment."""',
        f"    return {_source(experiment, '', reasons, 1)}",
        "",
    ]
    return "\n".join(lines)


def _about(plan: Plan, budget_gib: float, precision: str) -> list[str]:
    seen = plan.fingerprint
    size = " x ".join(f"{n:g}" for n in seen.median_size)
    lines = [
        f"Training records: {seen.num_records}, {size} voxels at the spacing below (median); the patch covers "
        f"{plan.coverage:.0%} of that.",
        f"Memory of training ({precision}), predicted: {plan.memory.spell()}; asked for: {budget_gib:g} GiB.",
    ]
    if plan.wants_low_resolution:
        lines.append(
            "The patch sees little of an image: a first network on coarser images (--low_resolution) may help."
        )
    return lines


def _reasons(plan: Plan, planned: config.Experiment) -> dict[str, str]:
    """Returns why, by the setting's path."""
    data, seen = planned.data, plan.fingerprint
    whole = "the whole image" if plan.coverage >= 1 else "as large as two of them leave room for"
    why = {
        "data.image_size": f"the patch: as many mm along each axis, at most the median image; {whole}",
        "data.spacing_mm": "the median of the training images (the 10th percentile along a far coarser axis)",
        "data.size_multiple": "what the strides below multiply to",
        "data.normalise": "Hounsfield units mean the same in each image"
        if data.normalise == "window"
        else "values mean nothing across images",
        "data.window": "0.5th and 99.5th percentile of the foreground",
        "model.settings.filters": f"doubled from 32, at most {max(plan.network.filters)}",
        "model.settings.kernels": "1 along an axis as long as it is twice as coarse as another",
        "model.settings.strides": "an axis is halved while 8 voxels are left and it is no coarser than the finest one",
        "model.settings.deep_supervision": "coarser levels learn, too",
        "augment.flip": "take out axes along which images are never mirrored",
        "augment.rotate": "degrees about each axis; a coarse axis keeps its place",
        "trainer.steps": "nnU-Net takes 250000; scores still rise beyond these",
        "trainer.batch_size": f"what memory holds; at most {plan.most_batch}, 5 % of the training voxels",
        "trainer.sampling": "a third of the patches around what is annotated",
        "inference.window": "whole images are answered patch by patch",
    }
    if not planned.augment.flip:
        why["augment.scale"] = "no flips: labels name a left or right side; see augment.swap_labels"
    if seen.window is None and is_ct(data):
        why["data.normalise"] = "the statistics do not know the foreground's intensities, which a window goes by"
    return why


def _classes(value: Any) -> set[str]:
    """Returns the names of the config classes that a value's source mentions."""
    if not dataclasses.is_dataclass(value):
        return set()
    found = {type(value).__name__}
    for name in _differing(value):
        found |= _classes(getattr(value, name))
    return found


def _differing(section: Any) -> list[str]:
    """Returns the fields that are not what they are by default, and those that have none."""
    return [
        field.name
        for field in dataclasses.fields(section)
        if not (
            (field.default is not dataclasses.MISSING and getattr(section, field.name) == field.default)
            or (
                field.default_factory is not dataclasses.MISSING
                and getattr(section, field.name) == field.default_factory()
            )
        )
    ]


def _source(value: Any, path: str, reasons: Mapping[str, str], depth: int) -> str:
    """Returns a value as Python, a section's fields on lines of their own below their reasons."""
    inner, outer = "    " * (depth + 1), "    " * depth
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        items = [(f"{name}=", name, getattr(value, name)) for name in _differing(value)]
        opening, closing = f"{type(value).__name__}(", ")"
    elif isinstance(value, dict):
        items = [(f"{name!r}: ".replace("'", '"'), name, item) for name, item in value.items()]
        opening, closing = "{", "}"
    else:
        return repr(value)
    lines = [opening]
    for start, name, item in items:
        where = f"{path}.{name}" if path else name
        if where in reasons:
            lines.append(f"{inner}# {reasons[where]}")
        lines.append(f"{inner}{start}{_source(item, where, reasons, depth + 1)},")
    return "\n".join([*lines, f"{outer}{closing}"]) if items else opening + closing
