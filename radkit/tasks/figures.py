"""What tasks tell of their cases alike: figures by class, means and areas with intervals over patients, subgroups."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, metrics
from radkit.tasks.task import Record, Shown

SUBGROUPS = ("view_position", "sex", "manufacturer")
_WORDS = {"view_position": "view", "sex": "sex", "manufacturer": "manufacturer"}

Case = Mapping[str, Any]


def facts(record: Record) -> dict[str, Any]:
    """Returns what a record says of itself that its subgroups are made by."""
    return {fact: record[fact] for fact in SUBGROUPS}


def named(logits: tf.Tensor, names: Sequence[str]) -> tf.Tensor:
    """Returns the names of an answer's columns for each of its images, (batch, names)."""
    return tf.tile(tf.constant([list(names)]), [tf.shape(logits)[0], 1])


def probabilities(answer: Mapping[str, Any], data: config.Data) -> dict[str, float]:
    """Returns what a case says of the answer's probabilities, one a class."""
    return {f"probability {name}": float(found) for name, found in zip(data.class_names, answer["probabilities"])}


def by_class(cases: Sequence[Case], what: str, data: config.Data) -> np.ndarray:
    """Returns one figure of each class, as `probability`, of all cases: (cases, classes)."""
    return np.array([[case[f"{what} {name}"] for name in data.class_names] for case in cases])


def patients(cases: Sequence[Case]) -> list[str]:
    """Returns the patient of each case."""
    return [case["patient_id"] for case in cases]


def counted(cases: Sequence[Case]) -> dict[str, int]:
    """Returns how many cases and patients there are."""
    return {"num_cases": len(cases), "num_patients": len(set(patients(cases)))}


def mean(values: Sequence[float], of: Sequence[str]) -> dict[str, float]:
    """Returns the mean over cases, with an interval over their patients."""
    interval = metrics.METRICS["bootstrap_ci"](metric="mean", y_true=None, y_score=list(values), cluster=list(of))
    return {"value": float(np.mean(values)), "low": interval["low"], "high": interval["high"]}


def auc(truth: np.ndarray, score: np.ndarray, of: Sequence[str]) -> dict[str, float]:
    """Returns the AUC with an interval over patients: several images of one patient are not independent."""
    value = metrics.METRICS["roc_auc_delong"](y_true=truth, y_score=score)["auc"]
    interval = metrics.METRICS["bootstrap_ci"](metric="roc_auc", y_true=truth, y_score=score, cluster=list(of))
    return {"value": value, "low": interval["low"], "high": interval["high"]}


def subgroups(
    cases: Sequence[Case], measured: Callable[[Sequence[Case]], Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Returns the figures of each subgroup that is not all of the cases.

    Args:
        cases: With what `facts` gave.
        measured: Cases -> figures.
    """
    found: dict[str, dict[str, Any]] = {}
    for fact in SUBGROUPS:
        for value in sorted({case[fact] for case in cases} - {""}):
            members = [case for case in cases if case[fact] == value]
            if len(members) < len(cases):
                found[f"{_WORDS[fact]} {value}"] = {"n": len(members), **measured(members)}
    return found


def pictures(shown: Sequence[Shown]) -> list[np.ndarray]:
    """Returns what is shown of each case's image."""
    return [picture(one.record["values"]) for one in shown]


def gallery(shown: Sequence[Shown], captions: Sequence[str]) -> str:
    """Returns HTML of cases' images with a caption each."""
    from radkit.reports import html, sections  # matplotlib is an extra, wanted only here

    return html.gallery([sections.picture(*pair) for pair in zip(pictures(shown), captions, strict=True)])


def picture(values: np.ndarray) -> np.ndarray:
    """Returns what is shown of an image (*spatial, 1): a volume's middle slice."""
    image = values[..., 0]
    return image[len(image) // 2] if image.ndim == 3 else image
