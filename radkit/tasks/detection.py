"""Detection: boxes with a class and a score each, in pixels or voxels of the image that came in.

Boxes are low, then high edges, in the array's order; voxel k reaches from k to k + 1. The last of `data.box_labels` may
be `data.ignored_boxes`: regions where nothing is right or wrong.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, losses
from radkit.boxes import geometry
from radkit.data import prepare
from radkit.errors import UserError
from radkit.evaluation import boxes as evaluated
from radkit.evaluation import plan
from radkit.inference import box_windows, detections
from radkit.metrics import box_hits, detection_summary
from radkit.tasks import figures, learning, streams
from radkit.tasks.task import Record, Shown, Task, spell, spell_interval

_OF_SUBGROUPS = ("mAP50", "sensitivity at 1 FP/image")
_OF_BOXES = ("reference", "labels", "found", "scores", "found_labels", "spacing_mm")


class_names = evaluated.class_names


def _num_outputs(data: config.Data) -> int:
    names = class_names(data)
    if not names:
        raise UserError(
            f"detection needs data.box_labels, what boxes hold, beside data.ignored_boxes; found {data.box_labels} and "
            f"{data.ignored_boxes}"
        )
    return len(names)


def _learn(experiment: config.Experiment) -> learning.OfBatch:
    said = experiment.task
    own, settings = learning.of_detector(experiment.model.name)
    if own == "mask_rcnn" and experiment.inference.suppress == "fusion":
        raise UserError(
            "inference.suppress='fusion' makes new boxes, for which a network of masks made none; use nms or soft_nms"
        )
    if said.loss and said.loss != own:
        settings = {}  # they are of the model's own loss
    chosen = losses.chosen("detection", said.loss or own, {**settings, **said.loss_settings})
    return learning.of_boxes(chosen, _num_outputs(experiment.data))


def _answer(found: Mapping[str, tf.Tensor], place: prepare.Place, data: config.Data) -> dict[str, tf.Tensor]:
    source, scaled, before = (tf.cast(sizes, tf.float32) for sizes in place)
    boxes = (found["boxes"] - tf.tile(before, [2])) * tf.tile(source / scaled, [2])
    given = {name: value for name, value in found.items() if name != "count"}
    given = detections.clipped({**given, "boxes": boxes}, source)
    # What was found beside the image, in what it was padded with, is nothing.
    there = (found["labels"] >= 0) & (geometry.volume(given["boxes"]) > 0.0)
    answer = detections.padded(given, there)
    return {**answer, "class_names": figures.named(found["count"], class_names(data))}


def _case(record: Record, answer: Mapping[str, Any], data: config.Data) -> dict[str, Any]:
    classes = np.asarray(record["box_labels"])
    number = int(answer["count"])
    return {
        "reference": np.asarray(record["boxes"], np.float64).tolist(),
        "labels": np.where(classes >= len(class_names(data)), box_hits.REGION, classes).tolist(),
        "found": np.asarray(answer["boxes"][:number], np.float64).tolist(),
        "scores": np.asarray(answer["scores"][:number], np.float64).tolist(),
        "found_labels": np.asarray(answer["labels"][:number]).tolist(),
        "spacing_mm": np.asarray(record["spacing_mm"], np.float64).tolist(),
        **{fact: record[fact] for fact in figures.SUBGROUPS if fact in record},
    }


def _boxes(case: Mapping[str, Any]) -> box_hits.Boxes:
    edges = 2 * len(case["spacing_mm"])
    of = {name: case[name] for name in _OF_BOXES}
    for name in ("reference", "found"):
        of[name] = np.reshape(np.asarray(case[name], np.float64), (-1, edges))
    return box_hits.Boxes(case["patient_id"], **of)


def _summary(cases: Sequence[Mapping[str, Any]], data: config.Data) -> dict[str, Any]:
    names = class_names(data)

    def measured(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        found = detection_summary.of([_boxes(case) for case in members], names, resamples=200)
        return {name: found["figures"][name] for name in _OF_SUBGROUPS}

    whole = detection_summary.of([_boxes(case) for case in cases], names)
    known = [{fact: "" for fact in figures.SUBGROUPS} | dict(case) for case in cases]
    return {**whole, "subgroups": figures.subgroups(known, measured)}


def _score(cases: Sequence[Mapping[str, Any]], data: config.Data) -> float:
    found = detection_summary.of([_boxes(case) for case in cases], class_names(data), resamples=0)
    return float(found["score"])


def _listed(cases: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], data: config.Data) -> list[dict[str, Any]]:
    del data
    return [
        {name: value for name, value in case.items() if not isinstance(value, list)}
        | box_hits.counts(_boxes(case), summary["threshold"])
        for case in cases
    ]


def _pick(cases: Sequence[Mapping[str, Any]], data: config.Data) -> list[int]:
    """Returns the two worst cases, that with the most false positives, one in the middle and the best with boxes."""
    order = sorted(
        range(len(cases)), key=lambda i: (-cases[i]["misses"], -cases[i]["false_positives"], cases[i]["name"])
    )
    noisiest = max(order, key=lambda i: cases[i]["false_positives"])
    with_boxes = [i for i in order if cases[i]["num_reference"]] or order
    return list(dict.fromkeys([*order[:2], noisiest, with_boxes[len(with_boxes) // 2], with_boxes[-1]]))


def _page(
    title: str,
    summary: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]],
    shown: Sequence[Shown],
    history: Sequence[Mapping[str, Any]],
    data: config.Data,
) -> str:
    from radkit.reports import evaluation_detection  # matplotlib is an extra, wanted only here

    drawn = [_example(one, cases[one.index], data) for one in shown]
    return evaluation_detection.detection_page(title, summary, cases, class_names(data), drawn, history)


def _drawn(
    shown: Sequence[Shown], cases: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], data: config.Data
) -> str:
    from radkit.reports import evaluation_detection

    drawn = [_example(one, cases[one.index], data) for one in shown]
    return "\n".join(evaluation_detection.picture(one, summary["threshold"], class_names(data)) for one in drawn)


def _example(one: Shown, case: Mapping[str, Any], data: config.Data) -> Any:
    from radkit.reports import evaluation_detection

    boxes = _boxes({**_case(one.record, one.answer, data), "patient_id": ""})
    image = one.record["values"][..., 0]
    return evaluation_detection.DetectionCase(
        caption=f"{case['name']}: {case['hits']} of {case['num_reference']} boxes found, "
        f"{case['false_positives']} false positives",
        image=image if image.ndim == 3 else image[None],
        # A picture needs shares of sides only: what is not known is taken as square.
        spacing_mm=(1.0, *np.nan_to_num(one.record["spacing_mm"], nan=1.0))[-3:],
        reference=np.asarray(boxes.reference),
        labels=np.asarray(boxes.labels),
        found=np.asarray(boxes.found),
        scores=np.asarray(boxes.scores),
        found_labels=np.asarray(boxes.found_labels),
    )


def _headline(summary: Mapping[str, Any]) -> str:
    precision, found = (summary["figures"][name] for name in _OF_SUBGROUPS)
    told = f"mAP50 {spell_interval(precision)}"
    value = found["value"]
    if value is not None and not math.isnan(value):
        told += f", sensitivity {spell(value)} at 1 false positive an image"
    return f"{told}, n = {summary['num_cases']}"


def _asked(data: config.Data) -> plan.Asked:
    names = class_names(data)
    return plan.Asked(evaluated.measures(names), evaluated.endpoints(names))


TASK = Task(
    num_outputs=_num_outputs,
    loss=learning.of_boxes(losses.find("detection")),
    answer=_answer,
    case=_case,
    summary=_summary,
    pick=_pick,
    page=_page,
    headline=_headline,
    scored_by="annotation",
    learn=_learn,
    ask=box_windows.network,
    score=_score,
    listed=_listed,
    stream=streams.detection,
    asked=_asked,
    drawn=_drawn,
)
