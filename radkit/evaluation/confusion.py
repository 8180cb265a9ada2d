"""What a report tells of calls among three classes or more: which is called which, and how often rightly."""

import functools
from typing import Any

import numpy as np

from radkit.evaluation import calls, classes, contrasts, degrees
from radkit.evaluation.cases import Cases
from radkit.evaluation.measures import Measure
from radkit.evaluation.plan import Plan

_LARGEST = "the class with the highest probability is called"


def tell(cases: Cases, plan: Plan) -> dict[str, Any] | None:
    """Returns the table of classes and calls; None where the task has no three exclusive classes.

    Args:
        cases: The table.
        plan: What is asked.

    Returns:
        labels, counts (rows: what a case is; columns: what it is called), rule, figures (of each class how often it is
        called as what it is, and how often a call of it is right), n, num_patients, unknown (cases of unknown class,
        left out), set_to_worst (cases that the model gave no number, called wrongly), method.
    """
    names = plan.data.class_names
    if len(names) < 3 or not cases.has("label") or not all(cases.has(f"probability {name}") for name in names):
        return None
    caller, rule = (degrees.called, degrees.RULE) if plan.task == "ordinal" else (classes.called, _LARGEST)
    found = caller(cases, names)
    counts = classes.table(names, caller, cases, np.ones((1, len(cases))))[0]
    everyone = np.ones(len(cases), bool)
    wanted = [(measure, cases, everyone) for measure in _of_classes(names, caller)]
    worst = "; those without a number are called wrongly" if found.unanswered.any() else ""
    return {
        "labels": list(names),
        "counts": counts.astype(int).tolist(),
        "rule": rule,
        "figures": [one.figure(plan.draws) for one in contrasts.drawn(wanted, plan.draws)],
        "n": found.truth.size,
        "num_patients": int(np.unique(cases.patients[found.known]).size),
        "unknown": int((~found.known).sum()),
        "set_to_worst": int(found.unanswered.sum()),
        "method": f"counts of cases; cases of unknown class are left out{worst}",
    }


def _of_classes(names: tuple[str, ...], caller: classes.Caller) -> list[Measure]:
    found = []
    for number, name in enumerate(names):
        for what, axis, method in (
            ("sensitivity", 2, f"share of {name} that is called so"),
            ("PPV", 1, f"share of calls of {name} that are right; depends on how common classes are"),
        ):
            share = functools.partial(_share, names, caller, number, axis)
            about = functools.partial(_about, names, caller, number, axis)
            closed = functools.partial(_clopper, names, caller, number, axis)
            found.append(Measure(f"{what}, {name}", method, share, about, closed=closed))
    return found


def _share(
    names: tuple[str, ...], caller: classes.Caller, number: int, axis: int, cases: Cases, weights: np.ndarray
) -> np.ndarray:
    part, whole = _counts(names, caller, number, axis, cases, weights)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _counts(
    names: tuple[str, ...], caller: classes.Caller, number: int, axis: int, cases: Cases, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    table = classes.table(names, caller, cases, weights)
    return table[:, number, number], table.sum(axis=axis)[:, number]


def _about(names: tuple[str, ...], caller: classes.Caller, number: int, axis: int, cases: Cases) -> np.ndarray:
    """Returns which cases are of the class (axis 2) or called so (axis 1), (n,) bool."""
    found = caller(cases, names)
    about = found.known.copy()
    about[found.known] = (found.truth if axis == 2 else found.calls) == number
    return about


def _clopper(
    names: tuple[str, ...],
    caller: classes.Caller,
    number: int,
    axis: int,
    cases: Cases,
    members: np.ndarray,
    level: float,
) -> tuple[float, float, str]:
    part, whole = (float(one[0]) for one in _counts(names, caller, number, axis, cases, members[None].astype(float)))
    return calls.proportion(part, whole, level, "clopper", is_hard=True)
