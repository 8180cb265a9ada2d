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
    "expected_cost": {"y_true": [1, 0], "y_pred": [0, 0], "cost": [[0, 1], [10, 0]]},
    "net_benefit": {"y_true": [1, 0, 1], "y_prob": [0.9, 0.2, 0.4], "threshold": 0.3},
    "partial_auc": {"y_true": [1, 0, 1, 0], "y_score": [0.9, 0.2, 0.4, 0.6], "focus": "specificity", "range": [0.5, 1]},
    "multiclass_auc": {"y_true": [0, 1, 2], "proba": [[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.5, 0.3]]},
    "adjust_pvalues": {"p": [0.01, 0.04, 0.03]},
    "fairness": {"y_true": [1, 0, 1, 0], "y_pred": [1, 0, 0, 0], "group": ["a", "a", "b", "b"]},
    "fleiss_kappa": {"table": [[3, 0], [1, 2], [0, 3]]},
    "icc": {"ratings": [[9, 2], [6, 1], [8, 4]]},
    "lin_ccc": {"a": [1.0, 2.0, 3.0], "b": [1.5, 2.0, 2.0]},
    "spearman": {"a": [1.0, 2.0, 3.0], "b": [1.5, 2.0, 2.0]},
    "concordance_index": {"time": [1.0, 2.0, 3.0], "event": [1, 0, 1], "risk": [0.9, 0.3, 0.9]},
    "kaplan_meier": {"time": [1.0, 2.0, 3.0], "event": [1, 0, 1], "at": [0.5, 2.0]},
    "logrank": {"time": [1.0, 2.0, 3.0, 4.0], "event": [1, 1, 1, 0], "group": ["a", "b", "a", "b"]},
    "cox_fit": {"time": [1.0, 2.0, 3.0, 4.0], "event": [1, 1, 1, 0], "x": [1.0, 2.0, 0.5, 1.0]},
    "uno_c": {"time": [1.0, 2.0, 3.0], "event": [1, 0, 1], "risk": [0.9, 0.3, 0.1], "tau": 2.5},
    "integrated_brier": {
        "time": [1.0, 2.0, 3.0],
        "event": [1, 0, 1],
        "times": [1.0, 2.0],
        "survival": [[0.5, 0.2], [0.9, 0.8], [0.9, 0.6]],
    },
    "time_dependent_auc": {"time": [1.0, 2.0, 3.0], "event": [1, 0, 1], "risk": [0.9, 0.3, 0.1], "times": [1.0, 2.0]},
    "recist": {
        "timepoints": [[30, 20], [20, None], [0, 8]],
        "nodal": [0, 1],
        "new_lesion": [0, 0, 0],
        "nontarget": ["present", "present", "CR"],
    },
    "volume_doubling_time": {"v1": 100.0, "v2": 150.0, "days": 90},
    "lesion_diameters": {"mask": [[[0, 1, 1], [0, 1, 0]]], "spacing": [2.0, 0.5, 0.5]},
    "image_quality": {"ref": [[0.0, 10.0], [5.0, 7.0]], "test": [[1.0, 10.0], [5.0, 6.0]], "data_range": 10.0},
    "drift": {"reference": [1.0, 2.0, 3.0, 4.0], "current": [2.0, 3.0, 4.0, 5.0], "bins": 2},
    "drift_categorical": {"reference": {"GE": 30, "Siemens": 20}, "current": {"GE": 10, "Canon": 25}},
    "fedavg": {"weights": [[1.0, 10.0], [3.0, 30.0]], "n": [3, 1]},
    "segmentation_metrics": {
        "ref": [[[0, 1, 1], [0, 1, 0]]],
        "pred": [[[0, 1, 0], [0, 1, 1]]],
        "spacing": [2.0, 1.0, 1.0],
        "tau": 1.0,
    },
    "centreline_dice": {"ref": [[0, 1, 1, 1]], "pred": [[0, 0, 1, 1]]},
    "radiomics_features": {
        "image": [[[1, 2], [3, 4]], [[5, 6], [7, 9]]],
        "mask": [[[1, 1], [1, 1]], [[1, 1], [1, 0]]],
        "spacing": [2.0, 1.0, 1.0],
        "bin_width": 2.0,
    },
}


def test_every_metric_has_an_example() -> None:
    assert set(EXAMPLES) == set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_lists_and_arrays_give_the_same_plain_values(name: str) -> None:
    arguments = EXAMPLES[name]
    arrays = {k: np.array(v) if isinstance(v, list) and k != "draws" else v for k, v in arguments.items()}
    plain = json.dumps(METRICS[name](**arguments), sort_keys=True, default=np.ndarray.tolist)
    assert plain == json.dumps(METRICS[name](**arrays), sort_keys=True, default=np.ndarray.tolist)
