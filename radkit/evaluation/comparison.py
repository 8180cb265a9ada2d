"""This model and others on the same cases: leading figures by paired draws, DeLong's and McNemar's tests."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.evaluation import contrasts, measures, paired, rates
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint
from radkit.evaluation.plan import Plan


def tell(cases: Cases, plan: Plan) -> list[dict[str, Any]]:
    """Returns what the report says of other models beside this one.

    Args:
        cases: This model's table.
        plan: What is measured, `beside` (the other models' tables), `points` and `points_beside`.

    Returns:
        One a model: with, n, num_patients (of the cases that both have), only_here, only_there, several_a_patient
        (whether patients have several cases, so that McNemar's test takes for independent what is not),
        figures (name, this, other, difference (this minus other), low, high, se, p, p_adjusted, correction, n,
        num_patients, num_undefined, better, unit, method: leading measures; sensitivity and specificity where both have
        an operating point), tests (DeLong of each endpoint, McNemar where both have an operating point: test, endpoint,
        n, left_out, p, p_adjusted, correction, method and their own numbers), method. p values are corrected over all
        models, figures and tests together.

    Raises:
        UserError: The tables share no case, name a case twice, or do not agree on whose it is or on its truth.
    """
    told = [_compared(cases, other, name, plan) for name, other in plan.beside.items()]
    p = iter(contrasts.adjusted(one["p"] for entry in told for kind in ("figures", "tests") for one in entry[kind]))
    return [{**entry, **{kind: _with(entry[kind], p) for kind in ("figures", "tests")}} for entry in told]


def _with(found: Sequence[Mapping[str, Any]], p: Iterator[float]) -> list[dict[str, Any]]:
    return [{**one, "p_adjusted": next(p), "correction": contrasts.HOLM} for one in found]


def _compared(cases: Cases, other: Cases, name: str, plan: Plan) -> dict[str, Any]:
    here, there = matched(cases, other, name)
    endpoints = plan.asked.endpoints
    _check_truths(here, there, name, endpoints)
    points = rates.thresholds(endpoints, plan.points), rates.thresholds(endpoints, plan.points_beside.get(name, ()))
    tests = [
        test
        for endpoint in endpoints
        for test in (_delong(endpoint, here, there), _mcnemar(endpoint, here, there, *points))
        if test is not None
    ]
    return {
        "with": name,
        "n": len(here),
        "num_patients": here.num_patients,
        "only_here": len(cases) - len(here),
        "only_there": len(other) - len(there),
        "several_a_patient": here.num_patients < len(here),
        "figures": _figures(here, there, points, plan),
        "tests": tests,
        "method": "cases that both models answered, matched by record; intervals draw patients, the same for both",
    }


def _figures(
    here: Cases, there: Cases, points: tuple[Mapping[str, float], Mapping[str, float]], plan: Plan
) -> list[dict[str, Any]]:
    leading, endpoints = measures.leading(plan.asked.measures), plan.asked.endpoints
    both = points[0].keys() & points[1].keys()
    of_points = [rates.of_points(endpoints, {name: at[name] for name in both}) for at in points]
    pairs = [*zip(leading, leading), *zip(*of_points)]
    wanted: list[contrasts.Wanted] = []
    for this, that in pairs:
        known = this.known(here) & that.known(there)
        wanted += [(this, here, known), (that, there, known)]
    drawn = iter(contrasts.drawn(wanted, plan.draws))
    return [_figure(next(drawn), next(drawn), plan) for _ in pairs]


def _figure(this: contrasts.Drawn, other: contrasts.Drawn, plan: Plan) -> dict[str, Any]:
    found = contrasts.difference(this, other, plan.draws)
    return {
        **found,
        "this": this.value,
        "other": other.value,
        "n": int((this.about & other.about).sum()),
        "better": this.measure.better,
        "method": f"{this.measure.method}; {found['method']}",
    }


def matched(cases: Cases, other: Cases, name: str) -> tuple[Cases, Cases]:
    """Returns the rows of both tables that are of the same records, in the first table's order.

    Args:
        cases: One table.
        other: Another.
        name: The other's, for the message.

    Raises:
        UserError: They share no record, a record stands twice in a table, or belongs to different patients.
    """
    first, second = _by_record(cases, "this evaluation"), _by_record(other, name)
    shared = [record for record in first if record in second]
    if not shared:
        raise UserError(
            f"{name}: none of its {len(second)} records is among the {len(first)} of this evaluation; compare models "
            "that were evaluated on the same split of the same data set"
        )
    moved = sum(first[record]["patient_id"] != second[record]["patient_id"] for record in shared)
    if moved:
        raise UserError(
            f"{name}: {moved} of {len(shared)} shared records belong to other patients there; evaluate both models on "
            "the same data set"
        )
    return Cases([first[record] for record in shared]), Cases([second[record] for record in shared])


def _by_record(cases: Cases, where: str) -> dict[str, Mapping[str, Any]]:
    found = dict(zip(cases.words("record_uid"), cases.rows))
    if len(found) < len(cases):
        raise UserError(
            f"{where}: {len(cases) - len(found)} of {len(cases)} cases have the record_uid of another; each record "
            "must stand in a table once"
        )
    return found


def _check_truths(here: Cases, there: Cases, name: str, endpoints: Sequence[Endpoint]) -> None:
    for endpoint in endpoints:
        differs = ~np.isclose(endpoint.truth(here), endpoint.truth(there), rtol=0, atol=1e-6, equal_nan=True)
        if differs.any():
            raise UserError(
                f"{name}: {int(differs.sum())} of {len(here)} shared cases have another reference for {endpoint.name!r}"
                " there; evaluate both models on the same version of the data set"
            )


def _delong(endpoint: Endpoint, here: Cases, there: Cases) -> dict[str, Any]:
    both = paired.answered(endpoint, here, there)
    return {
        "test": "DeLong",
        "endpoint": endpoint.name,
        "n": both.truth.size,
        "positives": int(both.truth.sum()),
        "left_out": len(here) - both.truth.size,
        "unanswered": int((both.unanswered | both.other_unanswered).sum()),
        **paired.areas(both),
        "method": paired.DELONG,
    }


def _mcnemar(
    endpoint: Endpoint, here: Cases, there: Cases, at: Mapping[str, float], at_there: Mapping[str, float]
) -> dict[str, Any] | None:
    if endpoint.name not in at or endpoint.name not in at_there:
        return None
    both = paired.answered(endpoint, here, there)
    thresholds = at[endpoint.name], at_there[endpoint.name]
    return {
        "test": "McNemar",
        "endpoint": endpoint.name,
        "n": both.truth.size,
        "left_out": len(here) - both.truth.size,
        "unanswered": int((both.unanswered | both.other_unanswered).sum()),
        "threshold_this": thresholds[0],
        "threshold_other": thresholds[1],
        **paired.mcnemar(both, *thresholds),
        "method": paired.MCNEMAR,
    }
