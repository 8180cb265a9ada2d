"""The methods paragraph of a paper, from a report's settings and from which parts it has; no result stands in it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import radkit

_RULES = {
    "youden": "the largest sum of sensitivity and specificity (Youden's index)",
    "min_sensitivity": "the highest specificity at a sensitivity of at least {value:g}",
    "min_specificity": "the highest sensitivity at a specificity of at least {value:g}",
    "min_cost": "the lowest expected cost, a missed positive costing as much as {value:g} false alarms",
    "fp_per_image": "the highest sensitivity at no more than {value:g} false positives an image",
    "fixed": "a threshold that was set beforehand",
}
_FACTS = {"age_years": "age", "field_strength_t": "field strength", "slice_thickness_mm": "slice thickness"}


def tell(report: Mapping[str, Any]) -> str:
    """Returns the methods in words, a paragraph a blank line.

    Args:
        report: As `report.json` has it; parts that are null or missing are not spoken of.
    """
    told = (_cases, _intervals, _calls, _subgroups, _comparisons, _readers, _robustness, _software)
    return "\n\n".join(text for text in (one(report) for one in told) if text)


def _cases(report: Mapping[str, Any]) -> str:
    cases, data = report.get("cases") or {}, report.get("data") or {}
    test_set, look = report.get("test_set") or {}, report.get("look") or {}
    words = [
        f"The model for {str(report['task']).replace('_', ' ')} was evaluated on {_counted(cases.get('n'), 'case')} of "
        f"{_counted(cases.get('num_patients'), 'patient')}"
        + (f" of the data set {data['dataset']}" if data.get("dataset") else "")
        + (f" (test set: {test_set['told']})." if test_set.get("told") else ".")
    ]
    if look.get("told"):
        words.append(f"The test set's use is recorded: {look['told']}.")
    standards = cases.get("reference_standards") or {}
    if standards:
        listed = _listed(f"{str(name).replace('_', ' ')} ({count})" for name, count in standards.items())
        words.append(f"The reference standard was {listed}.")
    left_out = {name: count for name, count in (cases.get("left_out") or {}).items() if count}
    if left_out:
        listed = _listed(f"{_counted(count, 'case')} {name}" for name, count in left_out.items())
        words.append(f"Not evaluated were {listed}.")
    return " ".join(words)


def _intervals(report: Mapping[str, Any]) -> str:
    settings = report.get("settings") or {}
    if "resamples" not in settings:
        return ""
    formulas = [one["closed"] for one in figures(report) if isinstance(one.get("closed"), Mapping)]
    closed = sorted({str(one["method"]) for one in formulas if _defined(one.get("low"))})
    by_formula = f" Intervals by formula stand beside: {'; '.join(closed)}."
    return (
        f"Figures are given with {100 * float(settings['level']):g} % confidence intervals from a percentile bootstrap "
        f"that draws patients with all their cases ({settings['resamples']} draws, seed {settings['seed']}); its "
        "quantiles are expanded for the number of patients, of those of the rarer answer where a figure holds yes "
        "against no (Hesterberg 2015)."
        + (by_formula if closed else "")
        + " Draws that leave a figure undefined are left out of its interval and counted."
    )


def _calls(report: Mapping[str, Any]) -> str:
    endpoints = report.get("endpoints") or []
    if not endpoints:
        return ""
    boxes = [one for one in report.get("operating_points") or [] if one.get("name") == "boxes"]
    words = [
        f"{'Positive was' if len(endpoints) == 1 else 'Each of these was a question of its own:'} "
        f"{_listed(str(one['name']) for one in endpoints)}."
    ]
    words += [f"Found boxes count from the operating point on: {said}." for said in _rules_of(boxes)]
    for said, names in _rules(endpoints).items():
        whose = "" if len(endpoints) == 1 else f" of {_listed(names)}"
        words.append(f"The operating point{whose} was {said}.")
    unknown = sum(int(one.get("unknown") or 0) for one in endpoints)
    if unknown:
        words.append(f"Labels that are not known ({unknown}) are left out of their question only, and counted.")
    soft = sum(int(one.get("soft") or 0) for one in endpoints)
    if soft:
        words.append(
            f"Labels on which readers differed ({soft}) count as positive and negative in the shares that the readers "
            "gave."
        )
    return " ".join(words)


def _rules(endpoints: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Returns how thresholds were chosen, in words, and for which endpoints."""
    found: dict[str, list[str]] = {}
    for one in endpoints:
        for said in _rules_of([one.get("operating_point") or {}]):
            found.setdefault(said, []).append(str(one["name"]))
    return found


def _rules_of(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns how each operating point was chosen, in words; those of an unknown rule are left out."""
    said = []
    for point in points:
        if point.get("rule") not in _RULES:
            continue
        value = point.get("value")
        rule = _RULES[point["rule"]].format(value=float("nan") if value is None else float(value))
        where = f", chosen on the {point['chosen_on']} split" if point.get("chosen_on") else ""
        count = f" ({_counted(point['num_cases'], 'case')})" if where and point.get("num_cases") else ""
        said.append(f"{rule}{where}{count}")
    return said


def _subgroups(report: Mapping[str, Any]) -> str:
    groups = report.get("subgroups") or []
    if not groups:
        return ""
    named = [str(group["fact"]) for group in groups if group["fact"]]
    # What all cases have in common, or what none tells, parts nobody from anybody.
    facts = [_FACTS.get(fact, fact.replace("_", " ")) for fact in dict.fromkeys(named) if named.count(fact) > 1]
    if not facts:
        return ""
    adjusted = (
        " P values are two-sided, of the difference between a subgroup and the rest in the same draws of patients, and "
        "adjusted over all of them by Holm's method."
        if any(group.get("differences") for group in groups)
        else ""
    )
    fairness = " Rates at the operating point were compared between groups." if _has_rates(report) else ""
    return f"Subgroups were formed by {_listed(facts)}.{adjusted}{fairness}"


def _has_rates(report: Mapping[str, Any]) -> bool:
    return any(one.get("endpoint") is not None for one in report.get("fairness") or [])


def _comparisons(report: Mapping[str, Any]) -> str:
    others = report.get("comparisons") or []
    if not others:
        return ""
    tests = list(dict.fromkeys(str(test["method"]) for one in others for test in one.get("tests") or []))
    return (
        f"The model was compared with {_listed(str(one['with']) for one in others)} on the same cases: differences are "
        "of the same draws of patients" + (f"; tests: {'; '.join(tests)}." if tests else ".")
    )


def _readers(report: Mapping[str, Any]) -> str:
    if not report.get("readers"):
        return ""
    return "Readers' answers on the same cases were compared with the reference, with the model and with each other."


def _robustness(report: Mapping[str, Any]) -> str:
    told = report.get("robustness") or {}
    if not told.get("perturbations"):
        return ""
    done = _listed(_one_way(one) for one in told["perturbations"])
    return (
        f"Robustness was tested on {_counted(told['n'], 'case')} of {_counted(told['num_patients'], 'patient')}, whose "
        f"images were perturbed one way at a time: {done}. Slopes are of a least squares line through the figure over "
        "the amounts."
    )


def _one_way(one: Mapping[str, Any]) -> str:
    amounts = ", ".join(f"{step['amount']:g}" for step in one["steps"] if step["amount"])
    return f"{one['name']} ({one['what']}; {amounts} {one['unit']})"


def _software(report: Mapping[str, Any]) -> str:
    weights = str((report.get("run") or {}).get("weights_sha256") or "")
    of = f"; the model's weights have the SHA-256 that begins with {weights[:12]}" if weights else ""
    return f"Evaluated with radkit {radkit.__version__}{of}."


def figures(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Returns every figure of a report, wherever it stands: each mapping with a name, a value and a method."""
    found: list[Mapping[str, Any]] = []
    pending: list[Any] = [report]
    while pending:
        held = pending.pop()
        if isinstance(held, Mapping):
            if {"name", "value", "method"} <= held.keys():
                found.append(held)
            pending += reversed(list(held.values()))
        elif isinstance(held, list | tuple):
            pending += reversed(held)
    return found


def _defined(value: Any) -> bool:
    return value is not None and not math.isnan(value)


def _counted(count: Any, what: str) -> str:
    number = 0 if count is None else int(count)
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _listed(words: Iterable[str]) -> str:
    """Returns words as one says them.

    >>> _listed(["a"]), _listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    named = list(words)
    return " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else "".join(named)
