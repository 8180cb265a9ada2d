"""Every metric, by being there: called with keywords, from lists or arrays, answering plain values."""

import json
from typing import Any

import numpy as np
import pytest

from radkit.metrics import METRICS

EXAMPLES: dict[str, dict[str, Any]] = {
    "confusion_metrics": {"y_true": [1, 0, 1], "y_pred": [1, 0, 0]},
    "multiclass_metrics": {"y_true": [0, 1, 2], "y_pred": [0, 2, 2], "labels": [0, 1, 2]},
    "proportion_ci": {"k": 3, "n": 7},
    "mcnemar_test": {"b": 3, "c": 7},
    "roc_auc_delong": {"y_true": [1, 0, 1, 0], "y_score": [0.9, 0.2, 0.4, 0.6], "alpha": 0.05},
    "delong_test": {"y_true": [1, 0, 1, 0], "score_a": [0.9, 0.2, 0.4, 0.6], "score_b": [0.1, 0.2, 0.7, 0.6]},
    "operating_point": {"y_true": [1, 0, 1], "y_score": [0.9, 0.2, 0.4], "rule": "min_sensitivity", "value": 0.9},
    "average_precision": {"y_true": [1, 0, 1], "y_score": [0.9, 0.2, 0.4]},
    "multilabel_auc": {"y_true": [[1, 0], [0, 1]], "y_score": [[0.9, 0.2], [0.4, 0.6]]},
    "calibration": {"y_true": [1, 0, 1, 0], "y_prob": [0.9, 0.2, 0.4, 0.6], "bins": 5},
    "calibration_ece": {"y_true": [1, 0, 1], "y_prob": [0.9, 0.2, 0.4], "bins": 5},
    "bootstrap_ci": {
        "metric": "roc_auc",
        "y_true": [1, 0, 1, 0],
        "y_score": [0.9, 0.2, 0.4, 0.6],
        "cluster": ["a", "a", "b", "c"],
        "alpha": 0.05,
        "draws": [["a", "b", "c"], ["a", "a", "b"], ["c", "b", "b"]],
    },
    "multilabel_dice": {"ref": [[0, 1, 2]], "pred": [[0, 1, 1]], "labels": [1, 2]},
    "volume_metrics": {"ref": [[[0, 1, 1]]], "pred": [[[0, 1, 0]]], "spacing": [1.0, 1.0, 2.0]},
    "staple": {"readers": [[[0, 1, 1, 0]], [[0, 1, 1, 0]], [[0, 1, 0, 1]]]},
    "majority_vote": {"readers": [[[0, 1, 1]], [[0, 1, 0]]]},
    "lesion_detection": {"ref": [[1, 0, 1]], "pred": [[1, 0, 0]], "connectivity": 1, "iou_threshold": 0.5},
    "box_iou": {"a": [[0, 0, 2, 2]], "b": [[1, 0, 3, 2]], "pairwise": True},
    "coco_map": {
        "gt": [{"image": 0, "label": 1, "box": [0, 0, 40, 40]}],
        "dt": [{"image": 0, "label": 1, "box": [0, 0, 40, 30], "score": 0.9}],
        "n_images": 2,
        "labels": [1],
    },
    "froc": {
        "detections": [{"image": 0, "score": 0.9, "lesion": 0}, {"image": 1, "score": 0.4, "lesion": None}],
        "n_lesions": 2,
        "n_images": 2,
        "fp_rates": [0.25, 0.5],
    },
    "jafroc": {"normal_case_marks": [[1.0, 3.0], [2.0, 0.5]], "lesion_ratings": [2.0, 4.0, None]},
    "cohen_kappa": {"a": [1, 2, 3], "b": [1, 3, 3]},
    "regression_metrics": {"y_true": [1.0, 2.0, 3.0], "y_pred": [1.5, 2.0, 2.0]},
    "bland_altman": {"a": [1.0, 2.0, 3.0], "b": [1.5, 2.0, 2.0]},
}


def test_every_metric_has_an_example() -> None:
    assert set(EXAMPLES) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_lists_and_arrays_give_the_same_plain_values(name: str) -> None:
    arguments = EXAMPLES[name]
    arrays = {k: np.array(v) if isinstance(v, list) and k != "draws" else v for k, v in arguments.items()}
    plain = json.dumps(METRICS[name](**arguments), sort_keys=True, default=np.ndarray.tolist)
    assert plain == json.dumps(METRICS[name](**arrays), sort_keys=True, default=np.ndarray.tolist)
