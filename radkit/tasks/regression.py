"""A number in its own unit. The network's 0 and 1 stand for `data.label_range`, so that its numbers stay small."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, losses, metrics
from radkit.data import prepare
from radkit.evaluation import numbers, plan
from radkit.tasks import figures, learning, streams
from radkit.tasks.task import Record, Shown, Task, Tensors, spell_interval

_NOTHING = {"value": math.nan, "low": math.nan, "high": math.nan}
_PLAIN = ("root mean squared error", "R2")


def _num_outputs(data: config.Data) -> int:
    learning.require("regression", data, "regression")
    return 1


def _learn(experiment: config.Experiment) -> learning.OfBatch:
    low, high = experiment.data.label_range
    of_batch = learning.of_chosen("regression")(experiment)

    def of_scaled(batch: Tensors, logits: tf.Tensor) -> tf.Tensor:
        scaled = {name: (batch[name] - low) / (high - low) for name in ("label", "mixed_label") if name in batch}
        return of_batch({**batch, **scaled}, logits)

    return of_scaled


def _answer(logits: tf.Tensor, place: prepare.Place, data: config.Data) -> dict[str, tf.Tensor]:
    del place  # A number has no grid to go back to.
    low, high = data.label_range
    return {"values": logits * (high - low) + low, "class_names": figures.named(logits, [data.label])}


def _case(record: Record, answer: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    label, found = float(record["label"]), float(answer["values"][0])
    return {"label": label, "value": found, "error": abs(found - label), **figures.facts(record)}


def _arrays(cases: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    truth, found = (np.array([case[what] for case in cases], dtype=float) for what in ("label", "value"))
    return truth, found


def _measured(cases: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    known = [case for case in cases if not math.isnan(case["label"])]
    truth, found = _arrays(known)
    if not known or not np.isfinite(found).all():  # who gives no answer has no mean error
        return dict.fromkeys(("mean absolute error", "bias"), _NOTHING) | dict.fromkeys(_PLAIN, math.nan)
    plain = metrics.METRICS["regression_metrics"](y_true=truth, y_pred=found)
    return {
        "mean absolute error": figures.mean([case["error"] for case in known], figures.patients(known)),
        "bias": figures.mean(list(found - truth), figures.patients(known)),
        "root mean squared error": plain["rmse"],
        "R2": plain["r2"],
    }


def _summary(cases: Sequence[Mapping[str, Any]], data: config.Data) -> dict[str, Any]:
    named = _measured(cases)
    return {
        **figures.counted(cases),
        "num_unknown": sum(math.isnan(case["label"]) for case in cases),
        "unit": data.label_unit,
        "figures": named,
        "subgroups": figures.subgroups(cases, _measured),
        "score": -named["mean absolute error"]["value"],  # higher is better
    }


def _pick(cases: Sequence[Mapping[str, Any]], data: config.Data) -> list[int]:
    del data
    known = [i for i, case in enumerate(cases) if not math.isnan(case["error"])] or list(range(len(cases)))
    return sorted(known, key=lambda i: (-cases[i]["error"], i))[:8]


def _page(
    title: str,
    summary: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]],
    shown: Sequence[Shown],
    history: Sequence[Mapping[str, Any]],
    data: config.Data,
) -> str:
    from radkit.reports import evaluation_labels  # matplotlib is an extra, wanted only here

    truth, found = _arrays([case for case in cases if not math.isnan(case["label"])])
    captions = _captions(shown, cases, data)
    page = evaluation_labels.Page(title, summary, figures.pictures(shown), captions, history=history)
    return evaluation_labels.regression(page, truth, found, data.label, data.label_unit)


def _captions(shown: Sequence[Shown], cases: Sequence[Mapping[str, Any]], data: config.Data) -> list[str]:
    truth, found = _arrays(cases)
    unit = f" {data.label_unit}" if data.label_unit else ""
    return [f"{truth[one.index]:.4g}{unit}, predicted {found[one.index]:.4g}{unit}" for one in shown]


def _drawn(
    shown: Sequence[Shown], cases: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], data: config.Data
) -> str:
    del summary
    return figures.gallery(shown, _captions(shown, cases, data))


def _headline(summary: Mapping[str, Any]) -> str:
    error = summary["figures"]["mean absolute error"]
    known = summary["num_cases"] - summary.get("num_unknown", 0)
    return f"mean absolute error {spell_interval(error, summary['unit'])}, n = {known}"


def _notes(summary: Mapping[str, Any]) -> list[str]:
    unknown = summary.get("num_unknown", 0)
    plural = "" if unknown == 1 else "s"
    return [f"Nobody knows the truth of {unknown} case{plural}: no figure counts them."] if unknown else []


def _asked(data: config.Data) -> plan.Asked:
    return plan.Asked(numbers.measures(data.label_unit))


TASK = Task(
    num_outputs=_num_outputs,
    loss=learning.of_labels(losses.find("regression")),
    answer=_answer,
    case=_case,
    summary=_summary,
    pick=_pick,
    page=_page,
    headline=_headline,
    scored_by="label",
    learn=_learn,
    stream=streams.regression,
    asked=_asked,
    drawn=_drawn,
    notes=_notes,
)
