"""Questions that a case answers with yes or no, and how sure the model is of yes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from radkit.evaluation.cases import Cases


@dataclass(frozen=True, eq=False)
class Endpoint:
    """One question.

    Attributes:
        name: The class or label that yes stands for; unique in a report.
        truth: (cases) -> (n,) float64: 1 yes, 0 no, between them the share of readers who said yes, nan unknown.
        score: (cases) -> (n,) float64: higher is more of a yes.
        probable: Whether scores are probabilities, so that calibration and net benefit have a meaning.
    """

    name: str
    truth: Callable[[Cases], np.ndarray]
    score: Callable[[Cases], np.ndarray]
    probable: bool = True


@dataclass(frozen=True)
class OperatingPoint:
    """From which score on an endpoint is called yes, and where that comes from.

    Attributes:
        name: The endpoint's.
        rule: `youden`, `min_sensitivity`, `min_specificity` or `min_cost`; `fixed`: nobody chose it by figures.
        value: What the rule demands: the least sensitivity or specificity, or what a missed yes costs in false alarms.
        threshold: A score; nan: no score meets the rule.
        chosen_on: The split whose cases it was chosen on; empty: none.
        num_cases: How many of them were known.
        sensitivity: On those cases.
        specificity: Likewise.
    """

    name: str
    rule: str
    value: float | None
    threshold: float
    chosen_on: str = ""
    num_cases: int = 0
    sensitivity: float = float("nan")
    specificity: float = float("nan")
