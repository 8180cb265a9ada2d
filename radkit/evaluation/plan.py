"""What an evaluation is about, beside its cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from radkit import config
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.endpoints import Endpoint, OperatingPoint
from radkit.evaluation.measures import Measure


@dataclass(frozen=True, eq=False)
class Asked:
    """What a task wants measured.

    Attributes:
        measures: Figures over all cases.
        endpoints: Questions of yes or no.
        sized_by: Column of the case table by which cases (or their lesions) are small or large; empty: none.
        size_unit: Of that column.
    """

    measures: Sequence[Measure]
    endpoints: Sequence[Endpoint] = ()
    sized_by: str = ""
    size_unit: str = ""


@dataclass(frozen=True, eq=False)
class Plan:
    """An evaluation.

    Attributes:
        task: The task's name.
        data: The config's data section.
        asked: What the task wants measured.
        draws: How patients are drawn for intervals.
        points: Operating points, one an endpoint.
        cost_of_miss: What a missed yes costs, in false alarms.
        trained_on: Facts (see `subgroups.FACTS`) of the cases that the model learned from, with their labels; empty:
            not known.
        beside: Other evaluations' cases of the same records by name: other models, for comparison.
        points_beside: Their operating points by the same names; a model without has no calls to compare.
        readers: Rows of the readers' table; empty: none.
        elsewhere: Other test sets of the same run: name -> its report.
        test_set: What the report says of how this test set was made: `type`, `told`, `of_the_runs_records`.
        perturbed: Rows of cases answered again with perturbed images, with `perturbation` and `amount`; empty: none.
    """

    task: str
    data: config.Data
    asked: Asked
    draws: Draws = field(default_factory=Draws)
    points: Sequence[OperatingPoint] = ()
    cost_of_miss: float = 1.0
    trained_on: Sequence[Mapping[str, Any]] = ()
    beside: Mapping[str, Cases] = field(default_factory=dict)
    readers: Sequence[Mapping[str, str]] = ()
    elsewhere: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    perturbed: Sequence[Mapping[str, Any]] = ()
    points_beside: Mapping[str, Sequence[OperatingPoint]] = field(default_factory=dict)
    test_set: Mapping[str, Any] = field(default_factory=dict)
