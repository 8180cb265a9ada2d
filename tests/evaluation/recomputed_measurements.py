"""Masks, volumes and numbers of a report, recomputed: means, agreement, parts, sizes, failures."""

import itertools
import math
from typing import Any

import numpy as np

from tests.evaluation import recomputed_lesions
from tests.evaluation import recomputed_statistics as plain
from tests.evaluation.recomputed import Job, Statistic, Table

_FEWEST = 5
_MOST_POINTS = 2000
_UNITS = {"ref_ml": "mL", "ref_cm2": "cm2"}
_COLUMNS = {"mean Dice": "dice", "Dice": "dice ", "HD95": "hd95_mm ", "ASSD": "assd_mm ", "NSD": "nsd "}


def labelled(table: Table) -> np.ndarray:
    """Returns in which cases any voxel was labelled."""
    if "known_voxels" not in table.columns:
        return np.ones(len(table), bool)
    return table.numbers("known_voxels") > 0


def _worst(table: Table, column: str) -> np.ndarray:
    values = table.numbers(column)
    return np.where(np.isinf(values), table.numbers("diagonal_mm"), values) if np.isinf(values).any() else values


def _mean_of(values: np.ndarray) -> Statistic:
    return lambda rows: float(values[rows].mean()) if rows.size else math.nan


def measure(task: str, table: Table, name: str) -> tuple[Statistic, np.ndarray]:
    """Returns a figure over all cases by its name: how, and of which cases."""
    if task == "regression":
        return _of_numbers(table, name)
    known, (kind, _, label) = labelled(table), name.partition(", ")
    if kind == "Dice where present":
        there = known & (table.numbers(f"ref_voxels {label}") > 0)
        return _mean_of(_worst(table, f"dice {label}")), there
    if kind == "missed or invented":
        sizes = [table.numbers(f"{side}_voxels {label}") > 0 for side in ("ref", "pred")]
        return _mean_of((sizes[0] != sizes[1]) * 1.0), known
    column = f"{_COLUMNS[kind]}{label}"
    return _mean_of(_worst(table, column)), known & ~np.isnan(table.numbers(column))


def _of_numbers(table: Table, name: str) -> tuple[Statistic, np.ndarray]:
    truth, found = table.numbers("label"), table.numbers("value")
    error = found - truth

    def r2(rows: np.ndarray) -> float:
        rest = np.sum(error[rows] ** 2)
        return 1 - plain.share(rest, np.sum((truth[rows] - truth[rows].mean()) ** 2)) if rows.size else math.nan

    by_name: dict[str, Statistic] = {
        "mean absolute error": _mean_of(np.abs(error)),
        "bias": _mean_of(error),
        "root mean squared error": lambda rows: math.sqrt(np.mean(error[rows] ** 2)) if rows.size else math.nan,
        "median absolute error": lambda rows: float(np.median(np.abs(error[rows]))) if rows.size else math.nan,
        "R2": r2,
    }
    return by_name[name], np.isfinite(truth)


def check(job: Job) -> None:
    """Recomputes what stands in a report beside its figures and questions."""
    for place, said in enumerate(job.report["agreement"]):
        _agreement(job, ("agreement", place), said)
    if job.report["task"] == "detection":
        recomputed_lesions.check(job)
    elif job.report["lesions"] is not None:
        _parts(job)
    if job.report["sizes"] is not None and job.report["task"] != "detection":
        _sizes(job)
    if job.report["failures"] is not None:
        _failures(job)


def _measured(job: Job, said: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns what reference and model measured, nan unknown or undefined, and of which case."""
    if job.report["task"] == "detection":
        return recomputed_lesions.pairs(job)
    truth, found = _columns_of(said, job.table)
    return np.where(labelled(job.table), truth, np.nan), found, np.arange(len(job.table))


def _columns_of(said: Any, table: Table) -> tuple[np.ndarray, np.ndarray]:
    if "value" in table.columns and "label" in table.columns:
        return table.numbers("label"), table.numbers("value")
    _, _, label = said["name"].partition(" of ")
    column = f"ref_{said['unit'].lower()} {'' if label == 'all labels' else label}".rstrip()
    return table.numbers(column), table.numbers(column.replace("ref_", "pred_", 1))


def _agreement(job: Job, path: tuple[Any, ...], said: Any) -> None:
    table, level = job.table, job.settings["level"]
    truth, found, case = _measured(job, said)
    known = np.isfinite(truth)
    both = known & np.isfinite(found)
    x, y, case = found[both], truth[both], case[both]
    about = np.isin(np.arange(len(table)), case)
    difference, patients = x - y, table.patients(about)
    n, several = x.size, patients < x.size
    sd = difference.std(ddof=1) if n > 1 else math.nan
    bias = difference.mean() if n else math.nan
    half = plain.stats.t.ppf((1 + level) / 2, n - 1) * sd / math.sqrt(n) if n > 1 else math.nan
    student = (math.nan, math.nan) if several else (bias - half, bias + half)
    icc = plain.icc2(np.stack([x, y], 1), level)
    counted = {"n": n, "num_cases": int(about.sum()), "num_patients": patients}
    counted |= {"num_unknown": int((~known).sum()), "num_undefined": int((known & ~both).sum())}
    job.ledger.check(
        path,
        {
            **counted,
            "bland_altman": {**plain.bland_altman(x, y), "independent": not several},
            "icc": dict(zip(("icc", "lo", "hi"), icc)),
        },
    )
    job.ledger.check((*path, "ccc"), plain.concordance(x, y))
    order = np.argsort(x + y, kind="stable")
    order = order[sorted({round(float(place)) for place in np.linspace(0, n - 1, min(_MOST_POINTS, n))})]
    job.ledger.check((*path, "points"), {"mean": ((x + y) / 2)[order], "difference": difference[order]})
    closed = {"bias": student, "ICC(2,1)": (math.nan, math.nan) if several else icc[1:]}
    for place, figure in enumerate(said["figures"]):
        name = figure["name"]
        job.figure((*path, "figures", place), _agreeing(name, x, y, case), about, closed.get(name))


def _agreeing(name: str, x: np.ndarray, y: np.ndarray, case: np.ndarray) -> Statistic:
    shift = {"bias": 0.0, "lower limit of agreement": -1.96, "upper limit of agreement": 1.96}

    def of(cases: np.ndarray) -> float:
        if not cases.size:
            return math.nan
        rows = np.repeat(np.arange(x.size), np.bincount(cases, minlength=case.max() + 1)[case])
        a, b = x[rows], y[rows]
        if name in shift:
            sd = (a - b).std(ddof=1) if rows.size > 1 else math.nan
            return float((a - b).mean() + (shift[name] * sd if shift[name] else 0.0))
        if name == "slope of differences":
            middle = (a + b) / 2
            away = middle - middle.mean()
            spread = np.sum(away**2)
            return plain.share(np.sum(away * (a - b)), spread if spread > 1e-18 * np.sum(middle**2) else 0.0)
        if name == "Lin's concordance":
            return plain.concordance(a, b)
        return plain.icc2(np.stack([a, b], 1), 0.95)[0]

    return of


def _parts(job: Job) -> None:
    table, known = job.table, labelled(job.table)
    job.ledger.check(("lesions",), {"n": int(known.sum()), "num_patients": table.patients(known)})
    for place, said in enumerate(job.report["lesions"]["labels"]):
        label = said["name"]
        there, found = (table.numbers(f"{side}_voxels {label}") > 0 for side in ("ref", "pred"))
        parts, parts_found, hit = (table.numbers(f"{name} {label}") for name in ("parts", "parts_found", "parts_hit"))
        told = {
            "n": int(known.sum()),
            "unknown": int((~known).sum()),
            "both_empty": int((known & ~there & ~found).sum()),
            "missed": int((known & there & ~found).sum()),
            "invented": int((known & found & ~there).sum()),
            "num_at_worst": int((np.isinf(table.numbers(f"hd95_mm {label}")) & known).sum()),
            "parts": {"reference": parts[known].sum(), "found": parts_found[known].sum(), "hit": hit[known].sum()},
        }
        path = ("lesions", "labels", place)
        job.ledger.check(path, told)
        for number, figure in enumerate(said["figures"]):
            of = of_counts(figure["name"], hit, parts_found - hit, parts - hit)
            job.figure((*path, "figures", number), of, known)


def of_counts(name: str, hits: np.ndarray, false: np.ndarray, misses: np.ndarray) -> Statistic:
    """Returns a figure of counts that are added over cases, by its name."""

    def of(rows: np.ndarray) -> float:
        h, f, m = hits[rows].sum(), false[rows].sum(), misses[rows].sum()
        return {
            "sensitivity": plain.share(h, h + m),
            "precision": plain.share(h, h + f),
            "F1": plain.share(2 * h, 2 * h + f + m),
            "false positives per case": plain.share(f, rows.size),
        }[name]

    return of


def size_groups(job: Job) -> list[tuple[float | None, float | None, np.ndarray]]:
    """Returns low, high and members of each group of sizes."""
    size = np.where(labelled(job.table), job.table.numbers(job.report["sizes"]["by"]), np.nan)
    there = size > 0
    edges = [float(np.quantile(size[there], share)) for share in (0, 1 / 3, 2 / 3, 1)]
    found: list[tuple[float | None, float | None, np.ndarray]] = []
    for place, (low, high) in enumerate(itertools.pairwise(edges)):
        found.append((low, high, there & (size <= high) & ((size > low) if place else (size >= low))))
    found += [(0.0, 0.0, size == 0), (None, None, np.isnan(size))]
    return [one for one in found if one[2].any()]


def _sizes(job: Job) -> None:
    job.ledger.check(("sizes", "n"), len(job.table))
    groups = size_groups(job)
    assert len(groups) == len(job.report["sizes"]["groups"])
    for place, (low, high, members) in enumerate(groups):
        path = ("sizes", "groups", place)
        patients = job.table.patients(members)
        told = {"low": low, "high": high, "n": int(members.sum()), "num_patients": patients}
        job.ledger.check(path, {**told, "too_few": patients < _FEWEST})
        for number, figure in enumerate(job.ledger.at(path)["figures"]):
            of, known = measure(job.report["task"], job.table, figure["name"])
            job.figure((*path, "figures", number), of, known & members)


def _errors(job: Job, why: str) -> np.ndarray:
    """Returns the error of each case that a kind of failure means, nan unknown."""
    table, task = job.table, job.report["task"]
    if task == "regression":
        found = np.abs(table.numbers("value") - table.numbers("label"))
        return np.where(np.isnan(table.numbers("label")), np.nan, np.where(np.isfinite(found), found, np.inf))
    if task == "detection":
        return recomputed_lesions.errors(job)[why.removesuffix(" at the operating point")]
    if task == "segmentation":
        known = labelled(table)
        values = 1 - table.numbers("dice") if "Dice" in why else _worst(table, f"hd95_mm {why[6:]}")
        return np.where(known, values, np.nan)
    return _gaps(job)[0]


def _gaps(job: Job) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns of each case the largest gap over questions, and the truth and the score of that question."""
    from tests.evaluation import recomputed_sections

    table, names = job.table, [one["name"] for one in job.report["endpoints"]]
    asked = recomputed_sections.questions(job.report["task"], table, names)
    found = np.full((3, len(table)), np.nan)
    found[1:] = asked[0].truth, asked[0].score
    for row in range(len(table)):
        for one in asked:
            gap = abs(one.score[row] - one.truth[row]) if not np.isnan(one.score[row]) else math.inf
            if not np.isnan(one.truth[row]) and not gap <= found[0, row]:
                found[:, row] = gap, one.truth[row], one.score[row]
    return found[0], found[1], found[2]


def _told_beside(job: Job, why: str, numbers: dict[str, Any], row: int) -> dict[str, float]:
    table, task = job.table, job.report["task"]
    if task == "regression":
        return {"truth": table.numbers("label")[row], "prediction": table.numbers("value")[row]}
    if task == "detection":
        return {name: values[row] for name, values in recomputed_lesions.errors(job).items()}
    if task == "segmentation":
        label = why[6:] if why.startswith("HD95") else ""
        return {name: table.numbers(f"{name} {label}" if label else name)[row] for name in numbers}
    _, truth, score = _gaps(job)
    return {"truth": truth[row], "probability": score[row]}


def _failures(job: Job) -> None:
    said = job.report["failures"]
    job.ledger.check(("failures", "n"), len(job.table))
    uids = [row["record_uid"] for row in job.table.rows]
    for kind, group in itertools.groupby(range(len(said["cases"])), key=lambda place: said["cases"][place]["kind"]):
        places, error = list(group), _errors(job, kind)
        order = sorted((row for row in range(len(uids)) if error[row] > 0), key=lambda row: -error[row])[:8]
        assert len(order) == len(places)
        for place, row in zip(places, order):
            path = ("failures", "cases", place)
            beside = _told_beside(job, kind, said["cases"][place]["numbers"], row)
            job.ledger.check(path, {"record_uid": uids[row], "error": error[row], "numbers": beside})
    for place, table in enumerate(said["by"]):
        _gathered(job, ("failures", "by", place), table)


def _gathered(job: Job, path: tuple[Any, ...], said: Any) -> None:
    error = _errors(job, said["error"])
    known = ~np.isnan(error)
    job.ledger.check((*path, "n"), int(known.sum()))
    if said["fact"] == "size":
        groups = [members for _, _, members in size_groups(job)]
    elif said["fact"] == "site":
        words = np.array([row["site"] for row in job.table.rows])
        groups = [words == value for value in sorted(set(words.tolist()))]
    else:
        groups = recomputed_lesions.bands(job) if job.report["task"] == "detection" else _bands(job)
    groups = [members & known for members in groups if (members & known).any()]
    assert len(groups) == len(said["groups"])
    for number, about in enumerate(groups):
        here = (*path, "groups", number)
        patients = job.table.patients(about)
        told = {"n": int(about.sum()), "num_patients": patients, "too_few": patients < _FEWEST}
        job.ledger.check(here, told)
        for place in range(len(said["groups"][number]["figures"])):
            # An answer that is no number is an infinite error, and leaves the mean undefined.
            job.figure((*here, "figures", place), _mean_of(np.where(np.isinf(error), np.nan, error)), about)


def _bands(job: Job) -> list[np.ndarray]:
    _, _, score = _gaps(job)
    sure = np.maximum(score, 1 - score)
    edges = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    found = [(sure >= low) & ((sure < high) | (high == 1.0)) for low, high in itertools.pairwise(edges)]
    return [members for members in found if members.any()]
