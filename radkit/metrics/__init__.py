"""Metrics by name: numpy and scipy only, no TensorFlow.

Every function takes keyword arguments, lists or arrays, and returns a float, a list or a dict of them; what there is a
value of at each voxel is an array. What is not defined is nan, never 0; input of the wrong kind raises `UserError`.
Positive is a score >= the threshold.

>>> METRICS["proportion_ci"](k=0, n=10)["clopper_low"]
0.0
"""

from collections.abc import Callable
from typing import Any

from radkit.metrics import (
    agreement,
    boxes,
    calibration,
    classification,
    coco,
    consensus,
    detection,
    intervals,
    regression,
    roc,
    segmentation,
)

METRICS: dict[str, Callable[..., Any]] = {
    "confusion_metrics": classification.confusion_metrics,
    "multiclass_metrics": classification.multiclass_metrics,
    "proportion_ci": classification.proportion_ci,
    "mcnemar_test": classification.mcnemar_test,
    "roc_auc_delong": roc.roc_auc_delong,
    "delong_test": roc.delong_test,
    "operating_point": roc.operating_point,
    "average_precision": roc.average_precision,
    "multilabel_auc": roc.multilabel_auc,
    "calibration": calibration.calibration,
    "calibration_ece": calibration.calibration_ece,
    "bootstrap_ci": intervals.bootstrap_ci,
    "multilabel_dice": segmentation.multilabel_dice,
    "volume_metrics": segmentation.volume_metrics,
    "staple": consensus.staple,
    "majority_vote": consensus.majority_vote,
    "lesion_detection": detection.lesion_detection,
    "box_iou": boxes.box_iou,
    "coco_map": coco.coco_map,
    "froc": detection.froc,
    "jafroc": detection.jafroc,
    "cohen_kappa": agreement.cohen_kappa,
    "bland_altman": agreement.bland_altman,
    "regression_metrics": regression.regression_metrics,
}
