"""Operating points: from which score on a case is called yes, chosen by a rule, kept as JSON."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radkit.errors import UserError, did_you_mean
from radkit.evaluation import binary
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint, OperatingPoint
from radkit.metrics import roc, weighted

RULES = ("youden", "min_sensitivity", "min_specificity", "min_cost")
_FIELDS = tuple(field.name for field in dataclasses.fields(OperatingPoint))


def choose(
    endpoint: Endpoint, cases: Cases, rule: str, value: float | None = None, *, chosen_on: str = "validation"
) -> OperatingPoint:
    """Returns the operating point that a rule takes on some cases, among their scores.

    Args:
        endpoint: The question.
        cases: Those to choose on, never the test split's.
        rule: "youden": largest sensitivity + specificity - 1; "min_sensitivity": largest specificity with at least
            `value` sensitivity; "min_specificity": the reverse; "min_cost": smallest mean cost where a missed yes costs
            `value` false alarms; where to call nothing is cheapest, a score just above all. Of equals the highest.
        value: What the rule demands; None: nothing ("youden").
        chosen_on: The cases' split.

    Returns:
        Its threshold is nan where no score meets the rule, or yes or no are missing.

    Raises:
        UserError: An unknown rule, or a value that it cannot take.
    """
    _check(rule, value)
    found = binary.answers(endpoint, cases)
    # What has no number is called nothing, whatever the score called from.
    score = np.where(found.unanswered, np.where(found.truth >= 0.5, -math.inf, math.inf), found.score)
    counted = weighted.steps(found.truth, score, np.ones((1, found.truth.size)))
    yes, no = float(counted.total_yes[0]), float(counted.total_no[0])
    point = OperatingPoint(endpoint.name, rule, value, math.nan, chosen_on, found.truth.size)
    usable = np.isfinite(counted.threshold)
    if not (yes and no and usable.any()):
        return point
    thresholds, tp, fp = counted.threshold[usable], counted.yes[0][usable], counted.no[0][usable]
    if rule == "min_cost":
        # The next float32 above: a served model compares in float32.
        above = float(np.nextafter(np.float32(thresholds[0]), np.float32(math.inf)))
        thresholds, tp, fp = np.append(thresholds, above), np.append(tp, 0.0), np.append(fp, 0.0)
        # Rounding must not decide between equals.
        place: int | None = int(np.argmin(np.round(((value or 0.0) * (yes - tp) + fp) / (yes + no), 12)))
    else:
        place = roc.choose_place(rule, value or 0.0, tp / yes, (no - fp) / no)
    if place is None:
        return point
    sensitivity, specificity = float(tp[place] / yes), float((no - fp[place]) / no)
    return dataclasses.replace(
        point, threshold=float(thresholds[place]), sensitivity=sensitivity, specificity=specificity
    )


def _check(rule: str, value: float | None) -> None:
    if rule not in RULES:
        raise UserError(f"no rule is named {rule!r}{did_you_mean(rule, RULES)}; there are: {', '.join(RULES)}")
    if rule == "min_cost":
        if value is None or not (0 < value < math.inf):
            raise UserError(f"rule 'min_cost' needs what a missed yes costs in false alarms, above 0, not {value!r}")
        return
    roc.check_rule(rule, value)


def to_json(points: Sequence[OperatingPoint], weights_sha256: str) -> dict[str, Any]:
    """Returns operating points as `operating_points.json` holds them, with the weights that they belong to."""
    listed = [dataclasses.asdict(point) for point in points]
    plain = [{name: _null(value) for name, value in point.items()} for point in listed]
    return {"weights_sha256": weights_sha256, "points": plain}


def from_json(said: Any, weights_sha256: str) -> list[OperatingPoint] | None:
    """Returns the operating points of what `to_json` gave; None where they were chosen for other weights.

    Raises:
        UserError: It is not what `to_json` gives.
    """
    try:
        points = [_point(one) for one in said["points"]]
        of_these = said["weights_sha256"] == weights_sha256
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(
            f"these are no operating points ({type(error).__name__}: {error}); an object with weights_sha256 and "
            f"points, each with {', '.join(_FIELDS)}, was expected: choose them again with --rule"
        ) from error
    return points if of_these else None


def _point(said: Mapping[str, Any]) -> OperatingPoint:
    return OperatingPoint(
        name=str(said["name"]),
        rule=str(said["rule"]),
        value=None if said["value"] is None else float(said["value"]),
        threshold=_number(said["threshold"]),
        chosen_on=str(said["chosen_on"]),
        num_cases=int(said["num_cases"]),
        sensitivity=_number(said["sensitivity"]),
        specificity=_number(said["specificity"]),
    )


def _number(said: Any) -> float:
    return math.nan if said is None else float(said)


def _null(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def of_endpoint(endpoint: Endpoint, points: Sequence[OperatingPoint]) -> OperatingPoint | None:
    """Returns an endpoint's operating point, the first that bears its name; None where there is none."""
    return next((point for point in points if point.name == endpoint.name), None)
