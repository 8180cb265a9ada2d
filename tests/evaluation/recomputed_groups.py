"""Subgroups, fairness, comparisons and robustness of a report, recomputed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.evaluation import recomputed_classes
from tests.evaluation import recomputed_statistics as plain
from tests.evaluation.recomputed import Job, Statistic, Table

_FEWEST = 5
_BANDS = {
    "age_years": [("0-17 years", 0, 18), ("18-39 years", 18, 40), ("40-59 years", 40, 60), ("60-79 years", 60, 80)]
    + [("80+ years", 80, math.inf)],
    "field_strength_t": [("below 1 T", 0, 1), ("1 to below 2 T", 1, 2), ("2 to below 4 T", 2, 4)]
    + [("4 T and more", 4, math.inf)],
    "slice_thickness_mm": [("below 2 mm", 0, 2), ("2 to below 5 mm", 2, 5), ("5 mm and more", 5, math.inf)],
}


@dataclass(frozen=True, eq=False)
class Asked:
    """A figure of a group: how, of which cases it can be, its interval by formula of some of them."""

    of: Statistic
    known: np.ndarray
    closed: Any = None
    yes: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Found:
    """A figure as it came out: value, draws, and of which cases."""

    value: float
    drawn: np.ndarray
    about: np.ndarray


def members_of(table: Table, fact: str, value: str) -> np.ndarray:
    """Returns the cases of a group."""
    if not fact:
        return np.ones(len(table), bool)
    if fact not in table.columns:
        return np.full(len(table), value == "not told")
    if fact in _BANDS:
        numbers = table.numbers(fact)
        if value == "not told":
            return np.isnan(numbers)
        low, high = next((low, high) for name, low, high in _BANDS[fact] if name == value)
        return (numbers >= low) & (numbers < high)
    return np.array([(row[fact].strip() or "not told") == value for row in table.rows])


def rate(job: Job, name: str, endpoint: str, threshold: float, table: Table | None = None) -> Asked:
    """Returns a rate of calls at a threshold."""
    from tests.evaluation import recomputed_sections

    table = table or job.table
    names = [one["name"] for one in job.report["endpoints"]]
    (question,) = recomputed_sections.questions(job.report["task"], table, [endpoint], names)
    return of_calls(job, name, question.truth, question.score, threshold)


def of_calls(job: Job, name: str, y: np.ndarray, s: np.ndarray, threshold: float) -> Asked:
    """Returns a rate of calls by truth and scores, nan unknown or not answered."""
    whole = np.nan_to_num({"sensitivity": y, "share called positive": np.ones_like(y)}.get(name, 1 - y))
    whole = np.where(np.isnan(y), 0.0, whole)
    called = np.where(np.isnan(s), 1.0 if name in ("specificity", "false positive rate") else 0.0, s >= threshold)
    part = whole * (1 - called if name == "specificity" else called)

    def of(rows: np.ndarray) -> float:
        return plain.share(part[rows].sum(), whole[rows].sum())

    def closed(about: np.ndarray) -> tuple[float, float]:
        if not np.isin(whole[about], (0, 1)).all():
            return math.nan, math.nan
        return plain.proportion(part[about].sum(), whole[about].sum(), job.settings["level"], "exact")

    return Asked(of, whole > 0, closed)


def thresholds(points: Sequence[Any]) -> Callable[[str], float]:
    """Returns from which score a question is called yes; of images that of boxes where it has none of its own."""
    at = {one["name"]: one["threshold"] for one in points if one["threshold"] is not None}
    return lambda name: float(at.get(name, at.get("boxes", math.nan)))


def asked(job: Job, name: str, table: Table | None = None, points: Sequence[Any] | None = None) -> Asked:
    """Returns a figure that groups are told by, by its name."""
    from tests.evaluation import recomputed_sections

    kind, _, endpoint = name.partition(", ")
    if kind in ("sensitivity", "specificity"):
        endpoint = endpoint or job.report["endpoints"][0]["name"]
        points = job.report["operating_points"] if points is None else points
        return rate(job, kind, endpoint, thresholds(points)(endpoint), table)
    found = recomputed_sections.measure(job, name, table)
    return Asked(found.of, found.known, found.closed, found.yes)


def check(job: Job) -> None:
    """Recomputes what is told of groups, of other models and of perturbed images."""
    _subgroups(job)
    for place, said in enumerate(job.report["fairness"] or ()):
        _fairness(job, ("fairness", place), said)
    _comparisons(job)
    if job.report["robustness"] is not None and job.perturbed is not None:
        _robustness(job, job.perturbed)


def difference(job: Job, path: tuple[Any, ...], this: Found, other: Found, n: int, table: Table) -> float:
    """Checks a difference; returns its p value."""
    with np.errstate(invalid="ignore"):
        apart, value = this.drawn - other.drawn, this.value - other.value
    defined, level = apart[np.isfinite(apart)], job.settings["level"]
    patients = min(table.patients(this.about), table.patients(other.about))
    low, high = plain.interval(value, apart, patients, level) if math.isfinite(value) else (math.nan, math.nan)
    se = defined.std(ddof=1) if not math.isnan(low) else math.nan
    scale = 1e-12 * max(abs(this.value), abs(other.value))
    if math.isnan(se):
        p = math.nan
    elif se <= scale:
        p = 1.0 if abs(value) <= scale else math.nan
    else:
        p = 2 * plain.stats.t.sf(abs(value) / se * math.sqrt((patients - 1) / patients), patients - 1)
    told = {"difference": value, "low": low, "high": high, "se": se, "p": p, "n": n, "num_patients": patients}
    job.ledger.check(path, {**told, "num_undefined": apart.size - defined.size})
    return float(p)


def corrected(job: Job, places: list[tuple[tuple[Any, ...], float]]) -> None:
    """Checks p values corrected by Holm's method."""
    for (path, _), value in zip(places, plain.holm([p for _, p in places])):
        job.ledger.check((*path, "p_adjusted"), value)


def _subgroups(job: Job) -> None:
    places = []
    for place, said in enumerate(job.report["subgroups"] or ()):
        path, table = ("subgroups", place), job.table
        members = members_of(table, said["fact"], said["value"])
        patients = table.patients(members)
        counted = {"n": int(members.sum()), "num_patients": patients, "enough": patients >= _FEWEST}
        job.ledger.check(path, {**counted, "positives": _positives(job, table, members), **_trained(job, said)})
        found = {}
        for number, figure in enumerate(said["figures"]):
            one = asked(job, figure["name"])
            about = one.known & members
            closed = one.closed(about) if one.closed else None
            value, drawn = job.figure((*path, "figures", number), one.of, about, closed, yes=one.yes)
            found[figure["name"]] = Found(value, drawn, about)
        for number, told in enumerate(said["differences"]):
            here, one = found[told["name"]], asked(job, told["name"])
            about = one.known & ~members
            rest = Found(one.of(np.flatnonzero(about)), job.drawn(one.of, about), about)
            n, where = int((here.about | about).sum()), (*path, "differences", number)
            places.append((where, difference(job, where, here, rest, n, table)))
    corrected(job, places)


def _trained(job: Job, said: Any) -> dict[str, Any]:
    """Returns how many cases of a group were trained on."""
    learned = job.trained_on
    if learned is None:
        return {"n_train": None, "num_patients_train": None, "positives_train": None}
    members = members_of(learned, said["fact"], said["value"])
    told = {"n_train": int(members.sum()), "num_patients_train": learned.patients(members)}
    return {**told, "positives_train": _positives(job, learned, members)}


def _positives(job: Job, table: Table, members: np.ndarray) -> dict[str, float]:
    from tests.evaluation import recomputed_sections

    task, names = job.report["task"], [one["name"] for one in job.report["endpoints"]]
    classes = recomputed_classes.class_names(job.table)
    truths = {name: recomputed_sections.truth(task, table, names, name, classes) for name in names}
    return {name: float(np.nansum(truth[members])) for name, truth in truths.items()}


def _fairness(job: Job, path: tuple[Any, ...], said: Any) -> None:
    table = job.table
    groups = [members_of(table, said["fact"], group["value"]) for group in said["groups"]]
    compared, untold = np.any(groups, axis=0), members_of(table, said["fact"], "not told")
    threshold = thresholds(job.report["operating_points"])(said["endpoint"]) if said["endpoint"] else math.nan
    told = {"n": int(compared.sum()), "num_patients": table.patients(compared)}
    told |= {"num_too_few": int((~compared & ~untold).sum()), "num_not_told": int((~compared & untold).sum())}
    job.ledger.check(path, {**told, "threshold": threshold})
    found: dict[str, list[Found]] = {}
    for place, (group, members) in enumerate(zip(said["groups"], groups)):
        here = (*path, "groups", place)
        job.ledger.check(here, {"n": int(members.sum()), "num_patients": table.patients(members)})
        for number, figure in enumerate(group["figures"]):
            name = figure["name"]
            one = rate(job, name, said["endpoint"], said["threshold"]) if said["endpoint"] else asked(job, name)
            about = one.known & members
            closed = one.closed(about) if one.closed else None
            value, drawn = job.figure((*here, "figures", number), one.of, about, closed, yes=one.yes)
            found.setdefault(name, []).append(Found(value, drawn, about))
    undefined = [any(math.isnan(figures[place].value) for figures in found.values()) for place in range(len(groups))]
    job.ledger.check((*path, "num_undefined"), sum(undefined))
    for number, gap in enumerate(said["gaps"]):
        names = [gap["name"].removeprefix("gap in ")]
        names = ["sensitivity", "false positive rate"] if names == ["equalised odds difference"] else names
        _gap(job, (*path, "gaps", number), [found[name] for name in names])


def _gap(job: Job, path: tuple[Any, ...], kinds: list[list[Found]]) -> None:
    def spread(values: list[float]) -> float:
        defined = [value for value in values if not math.isnan(value)]
        return max(defined) - min(defined) if len(defined) > 1 else math.nan

    def largest(spreads: list[float]) -> float:
        return math.nan if any(math.isnan(one) for one in spreads) else max(spreads)

    value = largest([spread([one.value for one in groups]) for groups in kinds])
    count = kinds[0][0].drawn.size
    drawn = np.array(
        [largest([spread([float(one.drawn[draw]) for one in groups]) for groups in kinds]) for draw in range(count)]
    )
    listed = [one for groups in kinds for one in groups]
    patients = min((job.table.patients(one.about) for one in listed if not math.isnan(one.value)), default=0)
    low, high = plain.interval(value, drawn, patients, job.settings["level"])
    n = int(np.any([one.about for one in listed], axis=0).sum())
    told = {"value": value, "low": low, "high": high, "n": n, "num_undefined": int((~np.isfinite(drawn)).sum())}
    job.ledger.check(path, told)


def _comparisons(job: Job) -> None:
    places = []
    for place, said in enumerate(job.report["comparisons"] or ()):
        other = job.beside.get(said["with"])
        if other is None:
            continue
        path = ("comparisons", place)
        mine = {row["record_uid"]: row for row in job.table.rows}
        theirs = {row["record_uid"]: row for row in other.rows}
        shared = [uid for uid in mine if uid in theirs]
        here, there = Table([mine[uid] for uid in shared]), Table([theirs[uid] for uid in shared])
        counted = {"n": len(here), "num_patients": here.patients(np.ones(len(here), bool))}
        counted |= {"only_here": len(job.table) - len(here), "only_there": len(other) - len(there)}
        job.ledger.check(path, counted)
        for number, figure in enumerate(said["figures"]):
            where = (*path, "figures", number)
            places.append((where, _paired(job, where, figure["name"], (here, there), said)))
        for number, test in enumerate(said["tests"]):
            where = (*path, "tests", number)
            of = _delong_test if test["test"] == "DeLong" else _mcnemar
            places.append((where, of(job, where, test, here, there)))
    corrected(job, places)


def _paired(job: Job, path: tuple[Any, ...], name: str, tables: tuple[Table, Table], said: Any) -> float:
    found = []
    points = [
        [
            {"name": one["endpoint"], "threshold": one[f"threshold_{whose}"]}
            for one in said["tests"]
            if "threshold_this" in one
        ]
        for whose in ("this", "other")
    ]
    both = [asked(job, name, table, at or None) for table, at in zip(tables, points)]
    known = both[0].known & both[1].known
    for one, table in zip(both, tables):
        found.append(Found(one.of(np.flatnonzero(known)), job.drawn(one.of, known, table), known))
    job.ledger.check(path, {"this": found[0].value, "other": found[1].value})
    return difference(job, path, found[0], found[1], int(known.sum()), tables[0])


def _two(job: Job, path: tuple[Any, ...], test: Any, tables: tuple[Table, Table]) -> Any:
    """Returns what two models say of the cases whose truth is yes or no: truth, scores, whether they say, patients."""
    from tests.evaluation import recomputed_sections

    task = job.report["task"]
    names = [one["name"] for one in job.report["endpoints"]]
    this, that = (recomputed_sections.questions(task, table, [test["endpoint"]], names)[0] for table in tables)
    kept = np.isin(this.truth, (0, 1))
    missing = this.unanswered[kept], that.unanswered[kept]
    told = {"n": int(kept.sum()), "left_out": int((~kept).sum()), "unanswered": int((missing[0] | missing[1]).sum())}
    job.ledger.check(path, told)
    return this.truth[kept], (this.worst[kept], that.worst[kept]), missing, tables[0].patient[kept]


def _delong_test(job: Job, path: tuple[Any, ...], test: Any, here: Table, there: Table) -> float:
    y, scores, _, patient = _two(job, path, test, (here, there))
    told = plain.paired_delong(y, *scores, patient)
    said = {name: value for name, value in told.items() if name in test}
    job.ledger.check(path, {**said, "positives": int(y.sum())})
    if "low" in test:
        half = plain.stats.norm.ppf(0.975) * told["se"]
        job.ledger.check(path, {"low": told["difference"] - half, "high": told["difference"] + half})
    return told["p"]


def _mcnemar(job: Job, path: tuple[Any, ...], test: Any, here: Table, there: Table) -> float:
    y, scores, missing, _ = _two(job, path, test, (here, there))
    at = test["threshold_this"], test["threshold_other"]
    right, other = (((s >= t) == (y == 1)) & ~gone for s, t, gone in zip(scores, at, missing))
    only, only_other = int((right & ~other).sum()), int((other & ~right).sum())
    told = plain.mcnemar(only, only_other, y.size)
    job.ledger.check(path, told)
    return told["p"]


def _robustness(job: Job, perturbed: Table) -> None:
    said = job.report["robustness"]
    wanted = {row["record_uid"] for row in perturbed.rows}
    before = Table([row for row in job.table.rows if row["record_uid"] in wanted])
    told = {"n": len(before), "num_patients": before.patients(np.ones(len(before), bool))}
    job.ledger.check(("robustness",), told)
    for place, one in enumerate(said["perturbations"]):
        path = ("robustness", "perturbations", place)
        job.ledger.check((*path, "n"), len(before))
        amounts = [0.0, *sorted({float(r["amount"]) for r in perturbed.rows if r["perturbation"] == one["name"]})]
        tables = [before, *(_step(perturbed, before, one["name"], amount) for amount in amounts[1:])]
        for step, (amount, table) in enumerate(zip(amounts, tables)):
            lost = 0 if step == 0 else int(np.nansum(table.numbers("references_lost")))
            told = {"amount": amount, "n": len(table), "references_lost": lost}
            job.ledger.check((*path, "steps", step), told)
        for number, slope in enumerate(one["slopes"]):
            _sloping(job, path, number, slope["name"], amounts, tables)


def _step(perturbed: Table, before: Table, name: str, amount: float) -> Table:
    by_record = {
        row["record_uid"]: row
        for row in perturbed.rows
        if row["perturbation"] == name and float(row["amount"]) == amount
    }
    return Table([by_record[row["record_uid"]] for row in before.rows])


def _sloping(
    job: Job, path: tuple[Any, ...], number: int, name: str, amounts: list[float], tables: list[Table]
) -> None:
    parts = [asked(job, name, table) for table in tables]
    about = np.all([one.known for one in parts], axis=0)
    patients, level = tables[0].patients(about), job.settings["level"]
    first: Found | None = None
    heights = []
    for step, (one, table) in enumerate(zip(parts, tables)):
        where = (*path, "steps", step, "figures", number)
        found = Found(*job.figure(where, one.of, about, None, table, one.yes), about)
        first = first or found
        change, drawn = found.value - first.value, found.drawn - first.drawn
        low, high = plain.interval(change, drawn, patients, level)
        job.ledger.check(where, {"change": change, "change_low": low, "change_high": high})
        heights.append(found)

    def line(values: list[float]) -> float:
        return float(np.polyfit(amounts, values, 1)[0]) if np.isfinite(values).all() else math.nan

    slope = line([one.value for one in heights])
    lines = np.array([line([float(one.drawn[k]) for one in heights]) for k in range(heights[0].drawn.size)])
    low, high = plain.interval(slope, lines, patients, level)
    told = {"slope": slope, "low": low, "high": high, "n": int(about.sum()), "num_patients": patients}
    job.ledger.check((*path, "slopes", number), {**told, "num_undefined": int((~np.isfinite(lines)).sum())})
