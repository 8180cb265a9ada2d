"""Segmentation: a mask of labels 1, 2, ... on the image's own grid."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, losses, metrics
from radkit.data import prepare
from radkit.errors import UserError
from radkit.evaluation import masks as evaluated
from radkit.evaluation import plan
from radkit.losses import masks
from radkit.tasks import learning, streams
from radkit.tasks.task import Record, Shown, Task, spell_interval


def _num_outputs(data: config.Data) -> int:
    if not data.mask_labels:
        raise UserError("segmentation needs data.mask_labels: the SegmentLabel of mask value 1, 2, ...")
    return len(data.mask_labels) + 1


def _learn(experiment: config.Experiment) -> learning.OfBatch:
    return learning.of_masks(learning.chosen("segmentation", experiment))


def _answer(logits: tf.Tensor, place: prepare.Place, data: config.Data) -> dict[str, tf.Tensor]:
    probabilities = prepare.restore(tf.nn.softmax(logits), place)
    mask = tf.cast(tf.argmax(probabilities, axis=-1), tf.uint8)
    names = tf.tile(tf.constant([data.mask_labels]), [tf.shape(mask)[0], 1])
    return {"mask": mask, "class_names": names}


def _case(record: Record, answer: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    # Where nobody said what is there, nothing is right or wrong.
    known = record["mask"][..., 0] != masks.UNLABELLED
    reference, mask = record["mask"][..., 0] * known, answer["mask"] * known
    values = range(1, len(data.mask_labels) + 1)
    dice = metrics.METRICS["multilabel_dice"](ref=reference, pred=mask, labels=values)
    # A radiograph's mask has an area, not a volume.
    voxel_ml = float(np.prod(record["spacing_mm"])) / 1000.0 if reference.ndim == 3 else math.nan
    figures: dict[str, Any] = {}
    for value, label in enumerate(data.mask_labels, 1):
        figures[f"dice {label}"] = float(dice[value])
    if not known.any():
        # Masks that are empty because nobody drew them do not agree: nothing is known of this image.
        figures = dict.fromkeys(figures, math.nan)
    return {
        "dice": float(np.mean([dice[value] for value in values])) if known.any() else math.nan,
        **figures,
        "ref_ml": int((reference > 0).sum()) * voxel_ml,
        "pred_ml": int((mask > 0).sum()) * voxel_ml,
    }


def _summary(cases: Sequence[Mapping[str, Any]], data: config.Data) -> dict[str, Any]:
    labelled = _labelled(cases)
    figures = {"mean Dice": _mean(labelled, "dice")}
    for label in data.mask_labels:
        figures[f"Dice, {label}"] = _mean(labelled, f"dice {label}")
    return {
        "num_cases": len(cases),
        "num_patients": len({case["patient_id"] for case in cases}),
        "num_unlabelled": len(cases) - len(labelled),
        "figures": figures,
        "score": figures["mean Dice"]["value"],
    }


def _labelled(cases: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the cases in which somebody said of any voxel what is there."""
    return [case for case in cases if not math.isnan(case["dice"])]


def _mean(cases: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    """The mean over cases, with an interval over patients."""
    if not cases:
        return {"value": math.nan, "low": math.nan, "high": math.nan}
    values = [case[name] for case in cases]
    patients = [case["patient_id"] for case in cases]
    interval = metrics.METRICS["bootstrap_ci"](metric="mean", y_true=None, y_score=values, cluster=patients)
    return {"value": float(np.mean(values)), "low": interval["low"], "high": interval["high"]}


def _pick(cases: Sequence[Mapping[str, Any]], data: config.Data) -> list[int]:
    places = [i for i, case in enumerate(cases) if not math.isnan(case["dice"])] or list(range(len(cases)))
    order = sorted(places, key=lambda i: (cases[i]["dice"], cases[i]["name"]))
    return sorted({order[0], order[len(order) // 2], order[-1]}, key=order.index)


def _page(
    title: str,
    summary: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]],
    shown: Sequence[Shown],
    history: Sequence[Mapping[str, Any]],
    data: config.Data,
) -> str:
    from radkit.reports import evaluation  # matplotlib is an extra, wanted only here

    drawn = [_example(one, cases[one.index]) for one in shown]
    listed = [dict(case) for case in _labelled(cases)]
    if not all(math.isfinite(case["ref_ml"]) for case in listed):
        listed = [{name: case[name] for name in case if name not in ("ref_ml", "pred_ml")} for case in listed]
    return evaluation.segmentation_page(title, summary, listed, data.mask_labels, drawn, _notes(summary), history)


def _drawn(
    shown: Sequence[Shown], cases: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], data: config.Data
) -> str:
    from radkit.reports import evaluation

    del summary, data
    return "\n".join(evaluation.example(_example(one, cases[one.index])) for one in shown)


def _example(one: Shown, case: Mapping[str, Any]) -> Any:
    from radkit.reports import evaluation

    said = "nobody labelled it" if math.isnan(case["dice"]) else f"mean Dice {case['dice']:.3f}"
    return evaluation.Case(
        caption=f"{case['name']}, {said}",
        image=_slices(one.record["values"][..., 0]),
        reference=_slices(one.record["mask"][..., 0]),
        predicted=_slices(one.answer["mask"]),
        spacing_mm=_shown_spacing(one.record),
    )


def _shown_spacing(record: Record) -> tuple[float, float, float]:
    """Returns by which spacing a record is drawn: slices first; what nobody knows (nan) as if it were 1 mm."""
    known = [float(spacing) if math.isfinite(spacing) else 1.0 for spacing in record["spacing_mm"]]
    slices, rows, columns = (1.0, *known)[-3:]
    return slices, rows, columns


def _slices(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 3 else image[None]


def _notes(summary: Mapping[str, Any]) -> list[str]:
    unlabelled = summary.get("num_unlabelled", 0)
    if not unlabelled:
        return []
    plural = "" if unlabelled == 1 else "s"
    return [f"Nobody labelled anything in {unlabelled} case{plural}: no figure counts them."]


def _headline(summary: Mapping[str, Any]) -> str:
    dice = summary["figures"]["mean Dice"]
    return f"mean Dice {spell_interval(dice)}, n = {summary['num_cases'] - summary.get('num_unlabelled', 0)}"


def _asked(data: config.Data) -> plan.Asked:
    rank = len(data.image_size)
    sized_by = evaluated.size_column("ref", "", rank)
    return plan.Asked(evaluated.measures(data.mask_labels), sized_by=sized_by, size_unit=evaluated.size_unit(rank))


def _detail(record: Record, answer: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    known = record["mask"][..., 0] != masks.UNLABELLED
    return evaluated.detail(
        record["mask"][..., 0] * known, answer["mask"], known, record["spacing_mm"], data.mask_labels
    )


TASK = Task(
    num_outputs=_num_outputs,
    loss=learning.of_masks(losses.find("segmentation")),
    answer=_answer,
    case=_case,
    summary=_summary,
    pick=_pick,
    page=_page,
    headline=_headline,
    scored_by="annotation",
    learn=_learn,
    stream=streams.segmentation,
    asked=_asked,
    detail=_detail,
    drawn=_drawn,
    notes=_notes,
)
