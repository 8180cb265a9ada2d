"""Subgroups of cases by what is known of patient and scanner, each held against all other cases."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.evaluation import contrasts, measures, rates
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint
from radkit.evaluation.plan import Plan

FEWEST_PATIENTS = 5
ALL, NOT_TOLD = "all cases", "not told"
Bands = tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class Fact:
    """What cases are grouped by.

    Attributes:
        name: Column of the case table, and field of a record.
        bands: Of numbers: name of a group, from, to below; empty: each text is a group.
    """

    name: str
    bands: Bands = ()

    def groups(self, cases: Cases) -> np.ndarray:
        """Returns the group of each case, (n,) object of str; `NOT_TOLD` where the table does not say.

        Raises:
            UserError: A number that lies in no band.
        """
        if not cases.has(self.name):
            return np.full(len(cases), NOT_TOLD, object)
        if self.bands:
            return np.array([self._band(number) for number in cases.numbers(self.name)], object)
        return np.array([word.strip() or NOT_TOLD for word in cases.words(self.name)], object)

    def ordered(self, groups: set[str]) -> list[str]:
        """Returns groups in the order they are told: bands from below, texts by the alphabet, `NOT_TOLD` last."""
        place = {name: number for number, (name, _, _) in enumerate(self.bands)}
        return sorted(groups, key=lambda name: (name == NOT_TOLD, place.get(name, 0), name))

    def _band(self, number: float) -> str:
        if math.isnan(number):
            return NOT_TOLD
        for name, low, high in self.bands:
            if low <= number < high:
                return name
        raise UserError(f"column {self.name!r} of the cases is {number:g}, in no band; 0 or more was expected")


def _bands(unit: str, *edges: float) -> Bands:
    """Returns bands between edges, from 0 up."""
    between = [(f"{low:g} to below {high:g} {unit}", low, high) for low, high in itertools.pairwise(edges)]
    return (
        (f"below {edges[0]:g} {unit}", 0.0, edges[0]),
        *between,
        (f"{edges[-1]:g} {unit} and more", edges[-1], math.inf),
    )


_AGES = ((0, 18), (18, 40), (40, 60), (60, 80))
FACTS = (
    Fact("sex"),
    Fact(
        "age_years",
        (*((f"{low}-{high - 1} years", float(low), float(high)) for low, high in _AGES), ("80+ years", 80.0, math.inf)),
    ),
    Fact("site"),
    Fact("manufacturer"),
    Fact("manufacturer_model"),
    Fact("field_strength_t", _bands("T", 1.0, 2.0, 4.0)),
    Fact("slice_thickness_mm", _bands("mm", 2.0, 5.0)),
    Fact("kernel"),
    Fact("body_part"),
    Fact("view_position"),
    Fact("laterality"),
)


@dataclass(frozen=True, eq=False)
class Group:
    """Cases that have a fact in common.

    Attributes:
        fact: Its name; empty: all cases.
        value: The group.
        members: Which cases, (n,) bool.
        trained: Which of the cases that were trained on, (m,) bool; None: not known.
    """

    fact: str
    value: str
    members: np.ndarray
    trained: np.ndarray | None


def of_cases(cases: Cases, learned: Cases | None) -> list[Group]:
    """Returns all cases, then the groups of each fact; one that was only learned from has no members.

    Args:
        cases: The table.
        learned: The cases that were trained on; None: not known.
    """
    everyone = np.ones(len(cases), bool)
    found = [Group("", ALL, everyone, None if learned is None else np.ones(len(learned), bool))]
    for fact in FACTS:
        here = fact.groups(cases)
        there = None if learned is None else fact.groups(learned)
        names = set(here) | (set() if there is None else set(there))
        found += [
            Group(fact.name, name, here == name, None if there is None else there == name)
            for name in fact.ordered(names)
        ]
    return found


def tell(cases: Cases, plan: Plan) -> list[dict[str, Any]]:
    """Returns what the report says of subgroups.

    Args:
        cases: The table.
        plan: What is measured, the operating points, the cases that were trained on.

    Returns:
        One a group, all cases first (`fact` empty): fact, value, n, num_patients, positives (endpoint -> sum of its
        known answers, where one in between counts by its share), n_train, num_patients_train and positives_train (None:
        not known), enough (whether it has FEWEST_PATIENTS patients, so that it is measured), figures (leading measures,
        and sensitivity and specificity at the operating points), differences (this group minus the rest; see
        `contrasts.difference`, with `p_adjusted` and `correction`), method. A group without a rest of enough patients
        has no differences; of a fact with two groups the first alone has them, as the second's are the same with the
        other sign.
    """
    learned = Cases(plan.trained_on) if plan.trained_on else None
    groups = of_cases(cases, learned)
    asked = measured(plan)
    rests = [_rest(group, groups, cases) for group in groups]
    wanted = [
        (measure, cases, members)
        for group, rest in zip(groups, rests)
        for measure in asked
        for members in (group.members if enough(cases, group.members) else None, rest)
        if members is not None
    ]
    found = iter(contrasts.drawn(wanted, plan.draws))
    told = []
    for group, rest in zip(groups, rests):
        entry = _counted(group, cases, learned, plan.asked.endpoints)
        for _ in asked if entry["enough"] else ():
            here = next(found)
            entry["figures"].append(here.figure(plan.draws))
            if rest is not None:
                entry["differences"].append(contrasts.difference(here, next(found), plan.draws))
        told.append(entry)
    return _corrected(told)


def measured(plan: Plan) -> list[measures.Measure]:
    """Returns what is told of a group: leading measures, sensitivity and specificity at the operating points."""
    endpoints = plan.asked.endpoints
    at_points = rates.of_points(endpoints, rates.thresholds(endpoints, plan.points))
    return [*measures.leading(plan.asked.measures), *at_points]


def enough(cases: Cases, members: np.ndarray) -> bool:
    """Tells whether a group has the patients that it takes to be measured."""
    return len(np.unique(cases.patients[members])) >= FEWEST_PATIENTS


def _rest(group: Group, groups: Sequence[Group], cases: Cases) -> np.ndarray | None:
    """Returns the cases that a group is held against; None: it is not."""
    there = [one.value for one in groups if one.fact == group.fact and one.members.any()]
    mirrored = len(there) == 2 and group.value == there[1]
    rest = ~group.members
    return rest if not mirrored and enough(cases, group.members) and enough(cases, rest) else None


def _counted(group: Group, cases: Cases, learned: Cases | None, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    trained = group.trained
    is_known = learned is not None and trained is not None
    return {
        "fact": group.fact,
        "value": group.value,
        "n": int(group.members.sum()),
        "num_patients": len(np.unique(cases.patients[group.members])),
        "positives": _positives(endpoints, cases, group.members),
        "n_train": int(trained.sum()) if trained is not None else None,
        "num_patients_train": len(np.unique(learned.patients[trained])) if learned and trained is not None else None,
        "positives_train": _positives(endpoints, learned, trained) if learned and trained is not None else None,
        "enough": enough(cases, group.members),
        "fewest_patients": FEWEST_PATIENTS,
        "figures": [],
        "differences": [],
        "method": f"cases grouped by what their records say; groups of fewer than {FEWEST_PATIENTS} patients are "
        "counted, not measured" + ("" if is_known else "; cases trained on are not known"),
    }


def _positives(endpoints: Sequence[Endpoint], cases: Cases, members: np.ndarray) -> dict[str, float]:
    return {endpoint.name: float(np.nansum(endpoint.truth(cases)[members])) for endpoint in endpoints}


def _corrected(told: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    p = iter(contrasts.adjusted(one["p"] for entry in told for one in entry["differences"]))
    return [
        {
            **entry,
            "differences": [
                {**one, "p_adjusted": next(p), "correction": contrasts.HOLM} for one in entry["differences"]
            ],
        }
        for entry in told
    ]
