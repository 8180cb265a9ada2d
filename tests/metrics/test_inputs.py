from typing import Any

import numpy as np
import pytest

from radkit.errors import UserError
from radkit.metrics import METRICS, inputs

WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "labels other than 0 and 1": ("roc_auc_delong", {"y_true": [0, 2], "y_score": [0.1, 0.2]}, "1 of 2 values"),
    "nan scores": ("average_precision", {"y_true": [0, 1], "y_score": [0.1, float("nan")]}, "1 of 2 values are nan"),
    "differing lengths": ("confusion_metrics", {"y_true": [0, 1], "y_pred": [1]}, "y_true 2, y_pred 1"),
    "logits as probabilities": ("calibration", {"y_true": [0, 1], "y_prob": [-3, 4], "bins": 10}, "sigmoid"),
    "words as scores": ("roc_auc_delong", {"y_true": [0, 1], "y_score": ["a", "b"]}, "must be numbers"),
    "two columns": ("roc_auc_delong", {"y_true": [0, 1], "y_score": [[0.1, 0.9], [0.2, 0.8]]}, "one-dimensional"),
    "alpha of 5": ("roc_auc_delong", {"y_true": [0, 1], "y_score": [0, 1], "alpha": 5}, "alpha"),
    "an unknown rule": ("operating_point", {"y_true": [0, 1], "y_score": [0, 1], "rule": "yuden"}, "youden"),
    "a rule without its value": (
        "operating_point",
        {"y_true": [0, 1], "y_score": [0, 1], "rule": "min_sensitivity"},
        "needs a value",
    ),
    "labels in one dimension": ("multilabel_auc", {"y_true": [0, 1], "y_score": [0, 1]}, "labels"),
    "no bins": ("calibration_ece", {"y_true": [0, 1], "y_prob": [0, 1], "bins": 0}, "bins"),
    "k above n": ("proportion_ci", {"k": 3, "n": 2}, "k=3 and n=2"),
    "negative counts": ("mcnemar_test", {"b": -1, "c": 2}, "-1"),
    "an unlisted class": ("multiclass_metrics", {"y_true": [0, 3], "y_pred": [0, 1], "labels": [0, 1]}, "3"),
    "a label twice": ("multiclass_metrics", {"y_true": [0], "y_pred": [0], "labels": [0, 0]}, "differ"),
    "masks of two shapes": ("multilabel_dice", {"ref": [[1]], "pred": [[1, 0]], "labels": [1]}, "one shape"),
    "a spacing too short": ("volume_metrics", {"ref": [[[1]]], "pred": [[[1]]], "spacing": [1, 1]}, "3 sizes"),
    "infinite measurements": ("bland_altman", {"a": [1, float("inf")], "b": [1, 2]}, "finite"),
    "words and numbers": ("cohen_kappa", {"a": np.array([1, "x"], object), "b": [1, 2]}, "all numbers or all words"),
    "an unknown metric": ("bootstrap_ci", {"metric": "roc_acu", "y_true": [0, 1], "y_score": [0, 1]}, "roc_auc"),
    "an unknown patient": (
        "bootstrap_ci",
        {"metric": "mean", "y_true": None, "y_score": [1, 2], "cluster": ["a", "b"], "draws": [["c"]]},
        "c, not among",
    ),
    "a cluster too short": (
        "bootstrap_ci",
        {"metric": "mean", "y_true": None, "y_score": [1, 2], "cluster": ["a"]},
        "2 rows",
    ),
    "an infinite case": (
        "bootstrap_ci",
        {"metric": "mean", "y_true": None, "y_score": [1, float("inf")]},
        "worst value",
    ),
    "no reference": ("bootstrap_ci", {"metric": "roc_auc", "y_true": None, "y_score": [1, 2]}, "needs y_true"),
    "a figure not named": (
        "bootstrap_ci",
        {"metric": "roc_auc_delong", "y_true": [0, 1], "y_score": [0, 1]},
        "roc_auc_delong|metric.key",
    ),
    "a patient who is missing": (
        "bootstrap_ci",
        {"metric": "mean", "y_true": None, "y_score": [1, 2], "cluster": np.array(["a", None], object)},
        "none of them missing",
    ),
    "counts that are nan": ("mcnemar_test", {"b": float("nan"), "c": 2}, "counts of cases"),
    "no end of cases": ("proportion_ci", {"k": 1, "n": float("inf")}, "n=inf"),
    "probabilities as labels": ("multilabel_dice", {"ref": [[1]], "pred": [[0.4]], "labels": [1]}, "threshold first"),
    "probabilities as lesions": ("lesion_detection", {"ref": [[0, 1]], "pred": [[0.1, 0.9]]}, "pred .* not hold 0.1"),
    "nan as a lesion": ("lesion_detection", {"ref": [[0, 1]], "pred": [[0, float("nan")]]}, "not hold nan"),
    "an infinite mask": ("centreline_dice", {"ref": [[0, 1]], "pred": [[0, float("inf")]]}, "not hold inf"),
    "probabilities of one lesion": ("lesion_diameters", {"mask": [[0.1, 0.9]], "spacing": [1, 1]}, "threshold first"),
    "probabilities of a region": (
        "radiomics_features",
        {"image": np.ones((1, 1, 2)), "mask": [[[0.1, 0.9]]], "spacing": [1, 1, 1]},
        "threshold first",
    ),
    "ragged masks": (
        "volume_metrics",
        {"ref": [[1, 0], [1]], "pred": [[1, 0]], "spacing": [1, 1]},
        "ref must be a mask",
    ),
    "ragged scores": ("multilabel_auc", {"y_true": [[0, 1], [1]], "y_score": [[0, 1], [1, 0]]}, "as many in each row"),
    "ragged probabilities": ("multiclass_auc", {"y_true": [0, 1], "proba": [[0.5, 0.5], [1]]}, "as many in each row"),
    "ragged costs": ("expected_cost", {"y_true": [0], "y_pred": [0], "cost": [[0, 1], [1]]}, "as many in each row"),
    "ragged counts": ("fleiss_kappa", {"table": [[1, 2], [3]]}, "as many in each row"),
    "words as p": ("adjust_pvalues", {"p": ["a"]}, "p must be numbers"),
    "words as a spacing": ("volume_metrics", {"ref": [[1]], "pred": [[1]], "spacing": ["a", "b"]}, "spacing must be"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_input_is_refused_with_what_was_found(name: str) -> None:
    metric, arguments, found = WRONG[name]
    with pytest.raises(UserError, match=found):
        METRICS[metric](**arguments)


def test_numbers_booleans_and_lists_are_alike() -> None:
    for values in ([0, 1], [False, True], [0.0, 1.0], np.array([0, 1], np.uint8)):
        assert inputs.binary("y_true", values).tolist() == [False, True]


def test_masks_of_any_kind_of_number_are_alike() -> None:
    ref, pred = [[0, 1, 1]], [[1, 1, 0]]
    known = METRICS["segmentation_metrics"](ref=ref, pred=pred, spacing=[1, 1], tau=1)
    for kind in (bool, np.uint8, np.float32, object):
        found = METRICS["segmentation_metrics"](
            ref=np.array(ref, kind), pred=np.array(pred, kind), spacing=[1, 1], tau=1
        )
        np.testing.assert_equal(found, known)


def test_a_lesion_that_was_not_marked_may_be_nan_of_any_kind() -> None:
    for kind in (np.float32, np.float64):
        assert METRICS["jafroc"]([[0.5], []], np.array([0.7, np.nan], kind)) == 0.625


def test_infinite_scores_have_a_rank() -> None:
    assert METRICS["roc_auc_delong"](y_true=[0, 1], y_score=[-np.inf, np.inf])["auc"] == 1
