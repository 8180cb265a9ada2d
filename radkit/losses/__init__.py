"""Losses: each returns one value an example, float32, so that the trainer weighs and averages them over replicas.

`LOSSES` names them by task. Each takes the truth, the network's logits and settings of its own; `config.Task.loss` and
`loss_settings` choose among them. docs/losses.md tells each with its formula's source.

>>> find("segmentation", "dice").__name__
'dice'
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from radkit import folder
from radkit.errors import UserError, did_you_mean
from radkit.losses import (
    anchor_free,
    boundary,
    centrelines,
    classification,
    detection,
    lovasz,
    multi_label,
    ordinal,
    regression,
    segmentation,
    two_stage,
)

Loss = Callable[..., Any]  # (truth, logits, **settings) -> (batch,) float32

LOSSES: dict[str, dict[str, Loss]] = {
    "classification": {
        "cross_entropy": classification.cross_entropy,
        "focal": classification.focal,
        "cost_sensitive": classification.cost_sensitive,
    },
    "multi_label": {
        "binary_cross_entropy": multi_label.binary_cross_entropy,
        "focal": multi_label.focal,
    },
    "detection": {
        "retinanet": detection.retinanet,
        "ssd": detection.ssd,
        "multibox": detection.multibox,
        "fcos": anchor_free.fcos,
        "yolox": anchor_free.yolox,
        "faster_rcnn": two_stage.faster_rcnn,
        "fast_rcnn": two_stage.fast_rcnn,
        "mask_rcnn": two_stage.mask_rcnn,
        "retina_unet": two_stage.retina_unet,
    },
    "ordinal": {"coral": ordinal.coral},
    "regression": {
        "squared": regression.squared,
        "absolute": regression.absolute,
        "huber": regression.huber,
    },
    "segmentation": {
        "dice_and_cross_entropy": segmentation.dice_and_cross_entropy,
        "dice": segmentation.dice,
        "cross_entropy": segmentation.cross_entropy,
        "generalised_dice": segmentation.generalised_dice,
        "tversky": segmentation.tversky,
        "focal_tversky": segmentation.focal_tversky,
        "focal": segmentation.focal,
        "dice_and_focal": segmentation.dice_and_focal,
        "lovasz": lovasz.lovasz,
        "boundary": boundary.boundary,
        "dice_and_boundary": boundary.dice_and_boundary,
        "hausdorff": boundary.hausdorff,
        "cl_dice": centrelines.cl_dice,
        "dice_and_cl_dice": centrelines.dice_and_cl_dice,
    },
}


def names(task: str) -> list[str]:
    """Returns the names of a task's losses; the first is the one it learns by unless it is told otherwise.

    Raises:
        UserError: No such task.
    """
    if task not in LOSSES:
        raise UserError(
            f"losses has none for task {task!r}{did_you_mean(task, LOSSES)}; there are: {', '.join(LOSSES)}"
        )
    return list(LOSSES[task])


def find(task: str, name: str = "") -> Loss:
    """Returns a loss.

    Args:
        task: Whose: `segmentation`, `classification`, ...
        name: A name of `names(task)`, or `my_package.my_file:function`; empty: the task's first.

    Raises:
        UserError: No such task or loss; the message lists those there are.
    """
    if ":" in name:
        found = folder.find(__name__, name, "")
        if not callable(found):
            raise UserError(f"loss {name!r} is {type(found).__name__}; a function (truth, logits) was expected")
        return functools.partial(found)
    known = names(task)
    if name and name not in known:
        raise UserError(
            f"task {task!r} has no loss {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}; "
            "code of your own is named as 'my_package.my_file:function'"
        )
    return LOSSES[task][name or known[0]]


def chosen(task: str, name: str = "", settings: Mapping[str, Any] | None = None) -> Loss:
    """Returns a loss with its settings given: a function of truth and logits alone.

    Raises:
        UserError: No such task, loss or setting.

    Example:
        >>> chosen("segmentation", "tversky", {"alpha": 0.3, "beta": 0.7}).keywords
        {'alpha': 0.3, 'beta': 0.7}
    """
    loss, given = find(task, name), dict(settings or {})
    known = list(inspect.signature(loss).parameters)[2:]  # after truth and logits
    for setting in given:
        if setting not in known:
            raise UserError(
                f"loss {name or names(task)[0]!r} has no setting {setting!r}{did_you_mean(setting, known)}; "
                f"there are: {', '.join(known) or 'none'}"
            )
    return functools.partial(loss, **given)
