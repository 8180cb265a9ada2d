"""How figures fall when images get worse: each step of the grid, and a slope over its amounts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.evaluation import measures, perturbations
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.measures import Measure
from radkit.evaluation.plan import Plan

_METHOD = (
    "The same cases were answered again with perturbed images; figures, their changes and slopes are of the same draws "
    "of patients"
)
_SLOPE = "least squares line through the figure over the amounts, the images as they are at 0"


@dataclass(frozen=True, eq=False)
class _Measured:
    """A measure of one table: of all cases, and of each draw of patients, (resamples,)."""

    value: float
    drawn: np.ndarray


def tell(cases: Cases, plan: Plan) -> dict[str, Any] | None:
    """Returns how the leading measures change with perturbed images; None where none were answered.

    Args:
        cases: As the images are.
        plan: `perturbed` holds a row a record, perturbation and amount.

    Returns:
        n, num_patients, method and `perturbations`: each with name, unit, what, n, `steps` (amount, from 0, the
        images as they are; n, references_lost and `figures`: as `measures.figure` has them, with change, change_low,
        change_high: from the images as they are)
        and `slopes` (name, slope, low, high, per, method, n, num_patients, num_undefined).

    Raises:
        UserError: Steps are of other records, of each other or of the table.
    """
    if not plan.perturbed:
        return None
    grid = _grid(plan.perturbed)
    asked = measures.leading(plan.asked.measures)
    wanted = {str(row["record_uid"]) for row in plan.perturbed}
    as_is = Cases([row for row in cases.rows if str(row["record_uid"]) in wanted])
    tables = {
        name: {0.0: as_is} | {amount: _in_order(as_is, rows, name, amount) for amount, rows in steps.items()}
        for name, steps in grid.items()
    }
    return {
        "n": len(as_is),
        "num_patients": as_is.num_patients,
        "method": _METHOD,
        "perturbations": [_told(name, as_is, steps, asked, plan.draws) for name, steps in tables.items()],
    }


def _grid(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[float, list[Mapping[str, Any]]]]:
    found: dict[str, dict[float, list[Mapping[str, Any]]]] = {}
    for row in rows:
        name, amount = perturbations.find(str(row["perturbation"])).name, float(row["amount"])
        if not amount > 0:
            raise UserError(f"a perturbed case has an amount above 0, not {amount} of {name!r}")
        found.setdefault(name, {}).setdefault(amount, []).append(row)
    return {name: dict(sorted(steps.items())) for name, steps in found.items()}


def _in_order(as_is: Cases, rows: Sequence[Mapping[str, Any]], name: str, amount: float) -> Cases:
    """Returns a step's cases in the table's order, so that the same draws draw the same patients."""
    by_record = {str(row["record_uid"]): row for row in rows}
    wanted = [str(row["record_uid"]) for row in as_is.rows]
    if len(rows) != len(wanted) or by_record.keys() != set(wanted):
        raise UserError(
            f"{name!r} of {amount:g} has {len(rows)} cases of {len(by_record)} records, not one of each of the "
            f"{len(wanted)} records that the evaluation and the other steps have; evaluate again"
        )
    return Cases([by_record[record] for record in wanted])


def _told(
    name: str, as_is: Cases, steps: Mapping[float, Cases], asked: Sequence[Measure], draws: Draws
) -> dict[str, Any]:
    one = perturbations.find(name)
    told: list[dict[str, Any]] = [
        {"amount": amount, "n": len(cases), "references_lost": _lost(cases), "figures": []}
        for amount, cases in steps.items()
    ]
    slopes = []
    for measure in asked:
        about = np.all([measure.known(table) for table in steps.values()], axis=0)
        found = [_measured(measure, table, draws, about) for table in steps.values()]
        patients = len(np.unique(as_is.patients[about]))
        shared = {"n": int(about.sum()), "num_patients": patients}
        decide = measures.deciding(measure, as_is, about)
        for step, of in zip(told, found):
            step["figures"].append({**_figure(measure, found[0], of, (decide, patients), draws), **shared})
        slopes.append({**_slope(measure, list(steps), found, patients, draws), **shared, "per": one.unit})
    return {"name": name, "unit": one.unit, "what": one.what, "n": len(as_is), "steps": told, "slopes": slopes}


def _lost(cases: Cases) -> int:
    return int(np.nansum(cases.numbers("references_lost"))) if cases.has("references_lost") else 0


def _measured(measure: Measure, cases: Cases, draws: Draws, about: np.ndarray) -> _Measured:
    return _Measured(measures.value(measure, cases, about), measures.drawn(measure, cases, draws, about))


def _figure(
    measure: Measure, before: _Measured, of: _Measured, patients: tuple[int, int], draws: Draws
) -> dict[str, Any]:
    low, high = measures.interval(of.value, of.drawn, patients[0], draws.level)
    change = of.value - before.value
    change_low, change_high = measures.interval(change, of.drawn - before.drawn, patients[1], draws.level)
    return {
        "name": measure.name,
        "value": of.value,
        "low": low,
        "high": high,
        "change": change,
        "change_low": change_low,
        "change_high": change_high,
        "level": draws.level,
        "unit": measure.unit,
        "better": measure.better,
        "method": measure.method,
        "interval": draws.told,
        "num_deciding": patients[0],
        "num_undefined": int((~np.isfinite(of.drawn)).sum()),
    }


def _slope(
    measure: Measure, amounts: Sequence[float], found: Sequence[_Measured], patients: int, draws: Draws
) -> dict[str, Any]:
    away = np.asarray(amounts) - np.mean(amounts)
    parts = away / np.sum(away**2)
    # Of changes, not of values: where nothing changes the slope is 0, and not what rounding leaves of it.
    slope = float(parts @ [one.value - found[0].value for one in found])
    drawn = parts @ np.array([one.drawn - found[0].drawn for one in found])
    low, high = measures.interval(slope, drawn, patients, draws.level)
    return {
        "name": measure.name,
        "slope": slope,
        "low": low,
        "high": high,
        "level": draws.level,
        "unit": measure.unit,
        "better": measure.better,
        "method": _SLOPE,
        "interval": draws.told,
        "num_undefined": int((~np.isfinite(drawn)).sum()),
    }
