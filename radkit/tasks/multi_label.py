"""Several labels at once, each yes or no for itself; those that nobody knows are neither learned nor scored."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, losses, metrics
from radkit.data import prepare
from radkit.evaluation import labels, plan
from radkit.tasks import figures, learning, streams
from radkit.tasks.task import Record, Shown, Task, spell

_SAID = {1: "yes", 0: "no", -1: "unknown"}


def _num_outputs(data: config.Data) -> int:
    learning.require("multi_label", data, "multi_label")
    return len(data.class_names)


def _answer(logits: tf.Tensor, place: prepare.Place, data: config.Data) -> dict[str, tf.Tensor]:
    del place  # A label has no grid to go back to.
    return {"probabilities": tf.sigmoid(logits), "class_names": figures.named(logits, data.class_names)}


def _case(record: Record, answer: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, flag, probability in zip(data.class_names, record["label"], answer["probabilities"]):
        found[f"label {name}"] = int(flag)
        found[f"probability {name}"] = float(probability)
    return {**found, **figures.facts(record)}


def _of_label(cases: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """Returns a label's AUC over the cases in which it is known."""
    known = [case for case in cases if case[f"label {name}"] >= 0]
    truth = np.array([case[f"label {name}"] for case in known], dtype=int)
    score = np.array([case[f"probability {name}"] for case in known], dtype=float)
    found = figures.auc(truth, score, figures.patients(known))
    return {**found, "undefined": len(cases) - len(known)}


def _mean_auc(cases: Sequence[Mapping[str, Any]], data: config.Data) -> float:
    """Returns the mean over the labels that have both yes and no."""
    areas = []
    for name in data.class_names:
        known = [(case[f"label {name}"], case[f"probability {name}"]) for case in cases if case[f"label {name}"] >= 0]
        truth, score = [label for label, _ in known], [probability for _, probability in known]
        areas.append(metrics.METRICS["roc_auc_delong"](y_true=truth, y_score=score)["auc"] if known else math.nan)
    defined = [area for area in areas if not math.isnan(area)]
    return sum(defined) / len(defined) if defined else math.nan


def _summary(cases: Sequence[Mapping[str, Any]], data: config.Data) -> dict[str, Any]:
    mean = _mean_auc(cases, data)
    named = {f"AUC, {name}": _of_label(cases, name) for name in data.class_names}
    return {
        **figures.counted(cases),
        "figures": {"mean AUC": mean, **named},
        "subgroups": figures.subgroups(cases, lambda members: {"mean AUC": _mean_auc(members, data)}),
        "score": mean,
    }


def _pick(cases: Sequence[Mapping[str, Any]], data: config.Data) -> list[int]:
    truth, scores = (figures.by_class(cases, what, data) for what in ("label", "probability"))
    wrong = np.where(truth >= 0, np.abs(scores - truth), 0.0).max(axis=1)
    return [int(i) for i in np.argsort(-wrong, kind="stable")[:8]]


def _page(
    title: str,
    summary: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]],
    shown: Sequence[Shown],
    history: Sequence[Mapping[str, Any]],
    data: config.Data,
) -> str:
    from radkit.reports import evaluation_labels  # matplotlib is an extra, wanted only here

    truth, scores = (figures.by_class(cases, what, data) for what in ("label", "probability"))
    captions = [_caption(cases[one.index], data) for one in shown]
    page = evaluation_labels.Page(title, summary, figures.pictures(shown), captions, history=history)
    return evaluation_labels.multi_label(page, truth, scores, data.class_names)


def _caption(case: Mapping[str, Any], data: config.Data) -> str:
    """Returns the label that is farthest off."""
    known = [name for name in data.class_names if case[f"label {name}"] >= 0] or list(data.class_names)
    name = max(known, key=lambda name: abs(case[f"probability {name}"] - case[f"label {name}"]))
    return f"{name}: {_SAID[case[f'label {name}']]}; probability of yes {case[f'probability {name}']:.2f}"


def _drawn(
    shown: Sequence[Shown], cases: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], data: config.Data
) -> str:
    del summary
    return figures.gallery(shown, [_caption(cases[one.index], data) for one in shown])


def _headline(summary: Mapping[str, Any]) -> str:
    return f"mean AUC {spell(summary['figures']['mean AUC'])}, n = {summary['num_cases']}"


def _asked(data: config.Data) -> plan.Asked:
    return plan.Asked(labels.measures(data.class_names), labels.endpoints(data.class_names))


TASK = Task(
    num_outputs=_num_outputs,
    loss=learning.of_labels(losses.find("multi_label")),
    answer=_answer,
    case=_case,
    summary=_summary,
    pick=_pick,
    page=_page,
    headline=_headline,
    scored_by="label",
    learn=learning.of_chosen("multi_label"),
    stream=streams.multi_label,
    asked=_asked,
    drawn=_drawn,
)
