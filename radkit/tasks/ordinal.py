"""Degrees: classes in order, learned as "more than class k"; with the model's head="coral" these never cross."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, losses, metrics
from radkit.data import label_kinds, prepare
from radkit.evaluation import degrees, plan
from radkit.tasks import figures, learning, streams
from radkit.tasks.task import Record, Shown, Task, spell


def _num_outputs(data: config.Data) -> int:
    learning.require("ordinal", data, "ordinal")
    return len(data.class_names)


def _answer(logits: tf.Tensor, place: prepare.Place, data: config.Data) -> dict[str, tf.Tensor]:
    """Probabilities of each class, from (batch, classes - 1), or (batch, classes) of which the last says nothing."""
    del place  # A degree has no grid to go back to.
    more, least = [], None
    for step in range(len(data.class_names) - 1):
        # "More than 2" cannot be likelier than "more than 1": a linear head's steps may cross.
        found = tf.sigmoid(logits[:, step])
        least = found if least is None else tf.minimum(least, found)
        more.append(least)
    above = tf.stack([tf.ones_like(more[0]), *more], axis=1)
    below = tf.stack([*more, tf.zeros_like(more[0])], axis=1)
    return {"probabilities": above - below, "class_names": figures.named(logits, data.class_names)}


def _case(record: Record, answer: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    label, called = int(record["label"]), label_kinds.middle_degree(answer["probabilities"])
    found = {"label": label, "called": called, "error": abs(called - label)}
    return {**found, **figures.probabilities(answer, data), **figures.facts(record)}


def _measured(cases: Sequence[Mapping[str, Any]], data: config.Data) -> dict[str, Any]:
    kappa = metrics.METRICS["cohen_kappa"](
        a=[case["label"] for case in cases],
        b=[case["called"] for case in cases],
        labels=list(range(len(data.class_names))),
    )
    of = figures.patients(cases)
    return {
        "quadratic kappa": kappa["quadratic"],
        "mean error in degrees": figures.mean([case["error"] for case in cases], of),
        "accuracy": figures.mean([float(case["error"] == 0) for case in cases], of),
    }


def _summary(cases: Sequence[Mapping[str, Any]], data: config.Data) -> dict[str, Any]:
    named = _measured(cases, data)
    return {
        **figures.counted(cases),
        "figures": named,
        "subgroups": figures.subgroups(cases, lambda members: _measured(members, data)),
        "score": named["quadratic kappa"],
    }


def _pick(cases: Sequence[Mapping[str, Any]], data: config.Data) -> list[int]:
    return sorted(range(len(cases)), key=lambda i: (-cases[i]["error"], _of_truth(cases[i], data), i))[:8]


def _of_truth(case: Mapping[str, Any], data: config.Data) -> float:
    probability: float = case[f"probability {data.class_names[case['label']]}"]
    return math.inf if math.isnan(probability) else probability


def _page(
    title: str,
    summary: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]],
    shown: Sequence[Shown],
    history: Sequence[Mapping[str, Any]],
    data: config.Data,
) -> str:
    from radkit.reports import evaluation_labels  # matplotlib is an extra, wanted only here

    names = data.class_names
    captions = _captions(shown, cases, data)
    truth, called = (np.array([case[what] for case in cases]) for what in ("label", "called"))
    page = evaluation_labels.Page(title, summary, figures.pictures(shown), captions, history=history)
    return evaluation_labels.ordinal(page, truth, called, names)


def _captions(shown: Sequence[Shown], cases: Sequence[Mapping[str, Any]], data: config.Data) -> list[str]:
    names = data.class_names
    return [f"{names[case['label']]}, called {names[case['called']]}" for case in (cases[o.index] for o in shown)]


def _drawn(
    shown: Sequence[Shown], cases: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], data: config.Data
) -> str:
    del summary
    return figures.gallery(shown, _captions(shown, cases, data))


def _headline(summary: Mapping[str, Any]) -> str:
    found = summary["figures"]
    error = spell(found["mean error in degrees"]["value"])
    return f"quadratic kappa {spell(found['quadratic kappa'])}, mean error {error} degrees, n = {summary['num_cases']}"


def _asked(data: config.Data) -> plan.Asked:
    return plan.Asked(degrees.measures(data.class_names), degrees.endpoints(data.class_names))


TASK = Task(
    num_outputs=_num_outputs,
    loss=learning.of_labels(losses.find("ordinal")),
    answer=_answer,
    case=_case,
    summary=_summary,
    pick=_pick,
    page=_page,
    headline=_headline,
    scored_by="label",
    learn=learning.of_chosen("ordinal"),
    stream=streams.ordinal,
    asked=_asked,
    drawn=_drawn,
)
