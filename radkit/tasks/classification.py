"""Classification: probabilities of exclusive classes; with two classes the second is the positive one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, metrics
from radkit.data import prepare
from radkit.errors import UserError
from radkit.losses import classification as losses
from radkit.tasks.task import Record, Shown, Task, Tensors, spell

SUBGROUPS = ("view_position", "sex", "manufacturer")
_BASELINE = "AUC of mean brightness alone"
_SUBGROUP_WORDS = {"view_position": "view", "sex": "sex", "manufacturer": "manufacturer"}


def _num_outputs(data: config.Data) -> int:
    if data.label_kind != "class":
        raise UserError(
            f"classification learns data.label_kind='class', not {data.label_kind!r}: such labels are stored and fed, "
            "and no task learns from them yet"
        )
    if not data.label or len(data.class_names) < 2:
        raise UserError("classification needs data.label (the table's column) and two or more data.class_names")
    return len(data.class_names)


def _loss(batch: Tensors, logits: tf.Tensor) -> tf.Tensor:
    loss = losses.cross_entropy(batch["label"], logits)
    if "mixed_label" not in batch:
        return loss
    share = batch["mixed_share"]  # of the example's own label; the rest is of the one it was mixed with
    return share * loss + (1.0 - share) * losses.cross_entropy(batch["mixed_label"], logits)


def _answer(logits: tf.Tensor, place: prepare.Place, data: config.Data) -> dict[str, tf.Tensor]:
    del place  # A class has no grid to go back to.
    names = tf.tile(tf.constant([data.class_names]), [tf.shape(logits)[0], 1])
    return {"probabilities": tf.nn.softmax(logits), "class_names": names}


def _case(record: Record, answer: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    figures: dict[str, Any] = {"label": int(record["label"])}
    for name, probability in zip(data.class_names, answer["probabilities"]):
        figures[f"probability {name}"] = float(probability)
    # What a reader would compare with: how well the mean brightness alone does.
    figures["brightness"] = float(record["values"].mean())
    return {**figures, **{fact: record[fact] for fact in SUBGROUPS}}


def _summary(cases: Sequence[Mapping[str, Any]], data: config.Data) -> dict[str, Any]:
    truth, scores = _arrays(cases, data)
    patients = [case["patient_id"] for case in cases]
    result: dict[str, Any] = {"num_cases": len(cases), "num_patients": len(set(patients))}
    if len(data.class_names) > 2:
        of_classes = metrics.METRICS["multilabel_auc"](y_true=np.eye(scores.shape[1])[truth], y_score=scores)
        figures = {f"AUC, {name}": value for name, value in zip(data.class_names, of_classes["per_label"])}
        return {**result, "figures": {"AUC": of_classes["macro"], **figures}, "score": of_classes["macro"]}
    score = scores[:, 1]
    auc = _auc(truth, score, patients)
    figures = {
        "AUC": auc,
        "average precision": metrics.METRICS["average_precision"](y_true=truth, y_score=score),
        "Brier score": metrics.METRICS["calibration"](y_true=truth, y_prob=score, bins=10)["brier"],
        _BASELINE: _auc_of_brightness(cases, truth),
    }
    return {**result, "figures": figures, "subgroups": _subgroups(cases, truth, score), "score": auc["value"]}


def _arrays(cases: Sequence[Mapping[str, Any]], data: config.Data) -> tuple[np.ndarray, np.ndarray]:
    truth = np.array([case["label"] for case in cases])
    return truth, np.array([[case[f"probability {name}"] for name in data.class_names] for case in cases])


def _auc(truth: np.ndarray, score: np.ndarray, patients: Sequence[str]) -> dict[str, float]:
    """AUC with an interval over patients: several images of one patient are not independent."""
    value = metrics.METRICS["roc_auc_delong"](y_true=truth, y_score=score)["auc"]
    interval = metrics.METRICS["bootstrap_ci"](metric="roc_auc", y_true=truth, y_score=score, cluster=patients)
    return {"value": value, "low": interval["low"], "high": interval["high"]}


def _auc_of_brightness(cases: Sequence[Mapping[str, Any]], truth: np.ndarray) -> dict[str, float]:
    brightness = np.array([case["brightness"] for case in cases])
    patients = [case["patient_id"] for case in cases]
    # Either direction may be the better one; the baseline gets the benefit.
    return max((_auc(truth, sign * brightness, patients) for sign in (1, -1)), key=lambda figure: figure["value"])


def _subgroups(cases: Sequence[Mapping[str, Any]], truth: np.ndarray, score: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for fact in SUBGROUPS:
        values = [case[fact] for case in cases]
        for value in sorted(set(values) - {""}):
            inside = np.array([v == value for v in values])
            if not inside.all():
                members = [case for case, i in zip(cases, inside) if i]
                patients = [case["patient_id"] for case in members]
                found[f"{_SUBGROUP_WORDS[fact]} {value}"] = {
                    "n": int(inside.sum()),
                    "positives": int(truth[inside].sum()),
                    "AUC": _auc(truth[inside], score[inside], patients),
                    _BASELINE: _auc_of_brightness(members, truth[inside]),
                }
    return found


def _pick(cases: Sequence[Mapping[str, Any]], data: config.Data) -> list[int]:
    truth, scores = _arrays(cases, data)
    of_truth = scores[np.arange(len(truth)), truth]
    return [int(i) for i in np.argsort(of_truth, kind="stable")[:8]]


def _page(
    title: str,
    summary: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]],
    shown: Sequence[Shown],
    history: Sequence[Mapping[str, Any]],
    data: config.Data,
) -> str:
    from radkit.reports import evaluation  # matplotlib is an extra, wanted only here

    truth, scores = _arrays(cases, data)
    captions = [
        f"{data.class_names[truth[one.index]]}; probability of it {scores[one.index, truth[one.index]]:.2f}"
        for one in shown
    ]
    images = [_picture(one.record["values"][..., 0]) for one in shown]
    return evaluation.classification_page(
        title, summary, truth, scores, data.class_names, images, captions, _notes(summary), history
    )


def _picture(values: np.ndarray) -> np.ndarray:
    return values[len(values) // 2] if values.ndim == 3 else values


def _notes(summary: Mapping[str, Any]) -> list[str]:
    baseline = summary["figures"].get(_BASELINE)
    if baseline is None or not baseline["low"] > 0.5:
        return []
    return [
        f"The mean brightness of the image alone reaches an AUC of {baseline['value']:.2f} here: the labels are "
        "confounded with how the images were taken. Read the subgroups apart and make no clinical claim from the "
        "overall figure."
    ]


def _headline(summary: Mapping[str, Any]) -> str:
    auc = summary["figures"]["AUC"]
    if not isinstance(auc, Mapping):
        return f"AUC {spell(auc)}, n = {summary['num_cases']}"
    alone = summary["figures"][_BASELINE]["value"]
    return (
        f"AUC {spell(auc['value'])} ({spell(auc['low'])} to {spell(auc['high'])}), brightness alone {spell(alone)}, "
        f"n = {summary['num_cases']}"
    )


TASK = Task(
    num_outputs=_num_outputs,
    loss=_loss,
    answer=_answer,
    case=_case,
    summary=_summary,
    pick=_pick,
    page=_page,
    headline=_headline,
    scored_by="label",
)
