"""Classification: probabilities of exclusive classes; with two classes the second is the positive one.

Ordered classes (`data.label_kind="ordinal"`) may be learned as if they had no order, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, losses, metrics
from radkit.data import prepare
from radkit.errors import UserError
from radkit.evaluation import binary, classes, plan
from radkit.tasks import figures, learning, streams
from radkit.tasks.task import Record, Shown, Task, spell, spell_interval

_BASELINE = "AUC of mean brightness alone"


def _num_outputs(data: config.Data) -> int:
    learning.require("classification", data, "class", "ordinal")
    if len(data.class_names) < 2:
        raise UserError(f"classification needs two or more data.class_names, not {data.class_names}")
    return len(data.class_names)


def _answer(logits: tf.Tensor, place: prepare.Place, data: config.Data) -> dict[str, tf.Tensor]:
    del place  # A class has no grid to go back to.
    return {"probabilities": tf.nn.softmax(logits), "class_names": figures.named(logits, data.class_names)}


def _case(record: Record, answer: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    return {
        "label": int(record["label"]),
        **figures.probabilities(answer, data),
        # What a reader would compare with: how well it alone does.
        "brightness": float(record["values"].mean()),
        **figures.facts(record),
    }


def _summary(cases: Sequence[Mapping[str, Any]], data: config.Data) -> dict[str, Any]:
    truth, scores = _arrays(cases, data)
    result: dict[str, Any] = figures.counted(cases)
    if len(data.class_names) > 2:
        of_classes = metrics.METRICS["multilabel_auc"](y_true=np.eye(scores.shape[1])[truth], y_score=scores)
        named = {f"AUC, {name}": value for name, value in zip(data.class_names, of_classes["per_label"])}
        return {**result, "figures": {"AUC": of_classes["macro"], **named}, "score": of_classes["macro"]}
    score = scores[:, 1]
    auc = figures.auc(truth, score, figures.patients(cases))
    named = {
        "AUC": auc,
        "average precision": metrics.METRICS["average_precision"](y_true=truth, y_score=score),
        "Brier score": metrics.METRICS["calibration"](y_true=truth, y_prob=score, bins=10)["brier"],
        _BASELINE: _auc_of_brightness(cases, truth),
    }
    subgroups = figures.subgroups(cases, lambda members: _measured(members, data))
    return {**result, "figures": named, "subgroups": subgroups, "score": auc["value"]}


def _score(cases: Sequence[Mapping[str, Any]], data: config.Data) -> float:
    """Returns the summary's score without its intervals, which take a second."""
    truth, scores = _arrays(cases, data)
    if len(data.class_names) > 2:
        return float(metrics.METRICS["multilabel_auc"](y_true=np.eye(scores.shape[1])[truth], y_score=scores)["macro"])
    return float(metrics.METRICS["roc_auc_delong"](y_true=truth, y_score=scores[:, 1])["auc"])


def _arrays(cases: Sequence[Mapping[str, Any]], data: config.Data) -> tuple[np.ndarray, np.ndarray]:
    truth = np.array([case["label"] for case in cases])
    scores = figures.by_class(cases, "probability", data)
    # Who gives no number has made the surest mistake, as in the report's questions of yes or no.
    return truth, np.where(np.isnan(scores), 1.0 - np.eye(len(data.class_names))[truth], scores)


def _auc_of_brightness(cases: Sequence[Mapping[str, Any]], truth: np.ndarray) -> dict[str, float]:
    brightness = np.array([case["brightness"] for case in cases])
    # Either direction may be the better one; the baseline gets the benefit.
    both = (figures.auc(truth, sign * brightness, figures.patients(cases)) for sign in (1, -1))
    return max(both, key=lambda figure: figure["value"])


def _measured(members: Sequence[Mapping[str, Any]], data: config.Data) -> dict[str, Any]:
    truth, scores = _arrays(members, data)
    return {
        "positives": int(truth.sum()),
        "AUC": figures.auc(truth, scores[:, 1], figures.patients(members)),
        _BASELINE: _auc_of_brightness(members, truth),
    }


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
    captions = _captions(shown, cases, data)
    return evaluation.classification_page(
        title,
        summary,
        truth,
        scores,
        data.class_names,
        figures.pictures(shown),
        captions,
        _notes(summary),
        history,
    )


def _captions(shown: Sequence[Shown], cases: Sequence[Mapping[str, Any]], data: config.Data) -> list[str]:
    truth, scores = _arrays(cases, data)
    return [
        f"{data.class_names[truth[one.index]]}; probability of it {scores[one.index, truth[one.index]]:.2f}"
        for one in shown
    ]


def _drawn(
    shown: Sequence[Shown], cases: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], data: config.Data
) -> str:
    del summary
    return figures.gallery(shown, _captions(shown, cases, data))


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
    return f"AUC {spell_interval(auc)}, brightness alone {spell(alone)}, n = {summary['num_cases']}"


def _asked(data: config.Data) -> plan.Asked:
    endpoints = classes.endpoints(data.class_names)
    if len(data.class_names) > 2:
        return plan.Asked(classes.measures(data.class_names), endpoints)
    whole = [binary.auc(endpoints[0], leads=True), binary.average_precision(endpoints[0])]
    return plan.Asked([*whole, binary.auc_of_column(endpoints[0], "brightness", _BASELINE)], endpoints)


TASK = Task(
    num_outputs=_num_outputs,
    loss=learning.of_labels(losses.find("classification")),
    answer=_answer,
    case=_case,
    summary=_summary,
    pick=_pick,
    page=_page,
    headline=_headline,
    scored_by="label",
    learn=learning.of_chosen("classification"),
    score=_score,
    stream=streams.classification,
    asked=_asked,
    drawn=_drawn,
    notes=_notes,
)
