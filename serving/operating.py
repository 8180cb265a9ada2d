"""Operating points in an answer: where a probability or a score counts as a call.

An evaluation chooses them (`operating_points.json` in the run's folder); they belong to the weights that it scored.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from radkit import config, outputs
from radkit.errors import UserError
from radkit.evaluation import degrees

FILE = "operating_points.json"
BOXES = "boxes"  # the name of a detector's one point
NO_THRESHOLD = 255  # in `calls`: the class has none


@dataclass(frozen=True)
class Points:
    """A run's operating points.

    Attributes:
        listed: As the evaluation wrote them.
        classes: Threshold of each class, (n,) float32, nan where there is none; of a detector (0,).
        boxes: Threshold of a detector's scores; nan: none.
        at_least: Whether a class's threshold is held against the probability of it or a higher one: of degrees.
    """

    listed: tuple[Mapping[str, Any], ...]
    classes: np.ndarray
    boxes: float
    at_least: bool = False


def read(run: Path, weights_sha256: str, data: config.Data, task: str) -> Points | None:
    """Returns a run's operating points; None where it has none, or they were chosen for other weights.

    Raises:
        UserError: The file is damaged, or names a class that the run does not answer.
    """
    path = run / FILE
    if not path.is_file():
        return None
    said = outputs.read_json(path)
    if not isinstance(said, dict) or not isinstance(said.get("points"), list):
        raise UserError(f"{path} is damaged: an object with a list 'points' was expected; evaluate the run again")
    if said.get("weights_sha256") != weights_sha256:
        return None
    names = (BOXES,) if task == "detection" else data.class_names
    of_degrees = dict(zip(degrees.questions(names), names[1:])) if task == "ordinal" else {}
    thresholds: dict[str, float] = {}
    for point in said["points"]:
        name, threshold = _point(point, path)
        name = of_degrees.get(name, name)
        if name == data.label and len(names) == 2:
            name = names[1]  # the label's own name is that of its positive class
        if name not in names:
            raise UserError(f"{path} has a point of {name!r}; the run answers {', '.join(names) or 'no classes'}")
        thresholds.setdefault(name, threshold)  # of several points of a class the first is in force
    if task == "detection":
        return Points(tuple(said["points"]), np.zeros(0, np.float32), thresholds.get(BOXES, math.nan))
    classes = np.array([thresholds.get(name, math.nan) for name in names], np.float32)
    return Points(tuple(said["points"]), classes, math.nan, at_least=bool(of_degrees))


def _point(point: Any, path: Path) -> tuple[str, float]:
    try:
        name, threshold = str(point["name"]), point["threshold"]
        return name, math.nan if threshold is None else float(threshold)
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged: a point lacks its name or threshold; evaluate the run again") from error


def added(answer: Mapping[str, tf.Tensor], points: Points | None) -> dict[str, tf.Tensor]:
    """Returns an answer with what its operating points make of it.

    Of probabilities (batch, n): `calls` uint8 (batch, n), 1 from the class's threshold on (of degrees: where it or a
    higher one is that likely), `NO_THRESHOLD` where it has none, and `thresholds` float32 (batch, n). Of boxes:
    `called` uint8 (batch, m), 1 from the threshold on.
    """
    found = dict(answer)
    if points is None:
        return found
    if "probabilities" in found and np.isfinite(points.classes).any():
        thresholds = tf.zeros_like(found["probabilities"]) + points.classes
        asked = found["probabilities"]
        if points.at_least:
            # In float64, as the evaluation adds them: a case that lies on its threshold must not fall below it.
            asked = tf.cast(tf.cumsum(tf.cast(asked, tf.float64), axis=1, reverse=True), tf.float32)
        calls = tf.cast(asked >= thresholds, tf.uint8)
        none = tf.constant(NO_THRESHOLD, tf.uint8)
        found["calls"] = tf.where(tf.math.is_nan(thresholds), none, calls)
        found["thresholds"] = thresholds
    if "boxes" in found and math.isfinite(points.boxes):
        there = tf.range(tf.shape(found["scores"])[1])[None] < found["count"][:, None]
        found["called"] = tf.cast(there & (found["scores"] >= points.boxes), tf.uint8)
    return found
