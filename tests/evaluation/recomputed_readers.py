"""What a report tells of readers and of other test sets, recomputed from `readers.csv` and the cases."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.evaluation import recomputed_detection as detection
from tests.evaluation import recomputed_groups
from tests.evaluation import recomputed_statistics as plain
from tests.evaluation.recomputed import Job, Path_, Statistic
from tests.evaluation.recomputed_groups import Asked, Found

_YES = ("1", "yes", "true")
_POWERS = {"unweighted": 0, "linear": 1, "quadratic": 2}
Said = dict[tuple[str, str], dict[str, np.ndarray]]  # kind, question -> reader -> answers, nan not read


def check(job: Job) -> None:
    """Recomputes readers and test sets."""
    if job.report["readers"] is not None and job.readers:
        _readers(job)
    if job.report["test_sets"] is not None:
        _test_sets(job)


def _readers(job: Job) -> None:
    said, table, uids = job.report["readers"], job.table, [row["record_uid"] for row in job.table.rows]
    rows = [row for row in job.readers if row["record_uid"] in uids]
    read = np.isin(uids, [row["record_uid"] for row in rows])
    told = {"readers": sorted({row["reader"] for row in rows}), "n": int(read.sum())}
    told |= {"num_patients": table.patients(read), "num_elsewhere": len(job.readers) - len(rows)}
    job.ledger.check(("readers",), told)
    marked, answers = any("lesion" in row for row in rows), _answers(job, rows, uids)
    places: list[tuple[Path_, float]] = []
    for section, of in (("calls", _calls), ("ratings", _ratings), ("values", _values)):
        questions = [question for kind, question in sorted(answers) if kind == section[:-1] and not marked]
        assert len(questions) == len(said[section])
        for place, question in enumerate(questions):
            path = ("readers", section, place)
            found = answers[section[:-1], question]
            job.ledger.check((*path, "n"), int(np.any([~np.isnan(one) for one in found.values()], axis=0).sum()))
            places += of(job, path, question, dict(sorted(found.items())))
    if marked:
        places += _marks(job, rows, uids)
    recomputed_groups.corrected(job, places)


def _answers(job: Job, rows: list[Mapping[str, str]], uids: list[str]) -> Said:
    found: Said = {}
    for row in rows:
        for kind in ("call", "rating", "value"):
            text = row.get(kind, "").strip()
            if not text:
                continue
            question = row.get("question", "").strip()
            if not question:
                columns = [name for name in ("value", "called") if name in job.table.columns]
                question = columns[0] if kind == "value" else job.report["endpoints"][0]["name"]
            number = float(text.lower() in _YES) if kind == "call" else float(text)
            of_reader = found.setdefault((kind, question), {})
            of_reader.setdefault(row["reader"], np.full(len(uids), math.nan))[uids.index(row["record_uid"])] = number
    return found


def _of_kappa(a: np.ndarray, b: np.ndarray, power: int = 0) -> tuple[Statistic, np.ndarray]:
    return (lambda rows: plain.kappa(a[rows], b[rows], power)), ~np.isnan(a) & ~np.isnan(b)


def _rate(job: Job, name: str, truth: np.ndarray, score: np.ndarray, threshold: float) -> Asked:
    return recomputed_groups.of_calls(job, name, truth, score, threshold)


def _calls(job: Job, path: Path_, question: str, readers: dict[str, np.ndarray]) -> list[tuple[Path_, float]]:
    from tests.evaluation import recomputed_sections

    (asked,) = recomputed_sections.questions(job.report["task"], job.table, [question], _names(job))
    at = recomputed_groups.thresholds(job.report["operating_points"])(question)
    job.ledger.check((*path, "threshold"), at)
    own = None if math.isnan(at) else np.where(np.isnan(asked.score), np.nan, asked.score >= at)
    places = []
    for place, (reader, calls) in enumerate(readers.items()):
        here = (*path, "readers", place)
        read = ~np.isnan(calls)
        told = {"reader": reader, "n": int(read.sum()), "num_unknown": int((read & ~asked.known).sum())}
        job.ledger.check(here, told)
        hard = np.where(np.isin(asked.truth, (0, 1)), asked.truth, np.nan)
        job.figure((*here, "figures", 2), *_of_kappa(calls, hard))
        for number, name in enumerate(("sensitivity", "specificity")):
            both = []
            for side, score, threshold in (("figures", calls, 0.5), ("model", asked.score, at)):
                if side == "figures" or own is not None:
                    one = _rate(job, name, asked.truth, score, threshold)
                    about = one.known & read
                    drawn = job.figure((*here, side, number), one.of, about, one.closed(about))
                    both.append(Found(*drawn, about))
            if own is not None:
                where = (*here, "tests", number)
                n = int(both[0].about.sum())
                places.append((where, recomputed_groups.difference(job, where, both[1], both[0], n, job.table)))
        if own is not None:
            job.figure((*here, "kappa_with_model"), *_of_kappa(calls, own))
            places.append(_mcnemar(job, (*here, "tests", 2), asked, calls, own))
    tables = list(readers.values())
    for place, (a, b) in enumerate(itertools.combinations(readers, 2)):
        job.ledger.check((*path, "between", place), {"a": a, "b": b})
        job.figure((*path, "between", place), *_of_kappa(readers[a], readers[b]))
    _fleiss(job, (*path, "fleiss"), tables)
    if own is not None:
        _fleiss(job, (*path, "fleiss_with_model"), [*tables, own])
    return places


def _names(job: Job) -> list[str]:
    return [one["name"] for one in job.report["endpoints"]]


def _mcnemar(job: Job, path: Path_, asked: Any, calls: np.ndarray, own: np.ndarray) -> tuple[Path_, float]:
    read = ~np.isnan(calls)
    kept = read & np.isin(asked.truth, (0, 1))
    right, theirs = own[kept] == asked.truth[kept], calls[kept] == asked.truth[kept]
    told = plain.mcnemar(int((right & ~theirs).sum()), int((theirs & ~right).sum()), int(kept.sum()))
    job.ledger.check(path, {**told, "n": int(kept.sum()), "left_out": int((read & ~kept).sum())})
    return path, told["p"]


def _fleiss(job: Job, path: Path_, tables: list[np.ndarray]) -> None:
    if len(tables) < 2:
        job.ledger.check(path, None)
        return
    calls = np.stack(tables, 1)
    job.ledger.check((*path, "num_readers"), len(tables))
    job.figure(path, lambda rows: plain.fleiss(calls[rows]), ~np.isnan(calls).any(1))


def _ratings(job: Job, path: Path_, question: str, readers: dict[str, np.ndarray]) -> list[tuple[Path_, float]]:
    from tests.evaluation import recomputed_sections

    (asked,) = recomputed_sections.questions(job.report["task"], job.table, [question], _names(job))
    places: list[tuple[Path_, float]] = []
    for place, (reader, rating) in enumerate(readers.items()):
        here, read = (*path, "readers", place), ~np.isnan(rating)
        kept = read & np.isin(asked.truth, (0, 1))
        y, patient = asked.truth[kept], job.table.patient[kept]
        low, high = plain.delong(y, rating[kept], patient, 0.95)
        test = plain.paired_delong(y, asked.worst[kept], rating[kept], patient)
        told = {"reader": reader, "n": int(kept.sum()), "positives": int(y.sum())}
        told |= {"left_out": int((read & ~kept).sum()), "auc": test["other"], "model": test["this"]}
        job.ledger.check(here, {**told, "low": low, "high": high})
        where = (*here, "tests", 0)
        half = plain.stats.norm.ppf(0.975) * test["se"]
        between = {"low": test["difference"] - half, "high": test["difference"] + half, "n": int(kept.sum())}
        job.ledger.check(where, {**{name: test[name] for name in ("difference", "z", "p")}, **between})
        places.append((where, test["p"]))
    return places


def _values(job: Job, path: Path_, question: str, readers: dict[str, np.ndarray]) -> list[tuple[Path_, float]]:
    own = job.table.numbers(question)
    own = np.where(np.isfinite(own), own, np.nan)
    job.ledger.check((*path, "num_undefined"), int(np.isnan(own).sum()))
    for place, (reader, value) in enumerate(readers.items()):
        here, read = (*path, "readers", place), ~np.isnan(value)
        kept = read & ~np.isnan(own)
        a, b = own[kept], value[kept]
        told = {"reader": reader, "n": int(kept.sum()), "left_out": int((read & ~kept).sum())}
        told |= {"bland_altman": plain.bland_altman(a, b), "ccc": plain.concordance(a, b)}
        job.ledger.check(here, told)
        for number, figure in enumerate(job.ledger.at(here)["kappas"]):
            job.figure((*here, "kappas", number), *_of_kappa(value, own, _POWERS[figure["name"].split()[0]]))
    tables = list(readers.values())
    for name, several in (("icc", tables), ("icc_with_model", [*tables, own])):
        together = np.stack(several, 1)
        complete = together[~np.isnan(together).any(1)]
        value, low, high = plain.icc2(complete, 0.95)
        told = {"value": value, "low": low, "high": high, "n": len(complete), "num_readers": len(several)}
        job.ledger.check((*path, name), told)
    return []


def _marks(job: Job, rows: list[Mapping[str, str]], uids: list[str]) -> list[tuple[Path_, float]]:
    path: Path_ = ("readers", "marks", 0)
    images = detection.images(job.table)
    there = np.array([len(detection.lesions(image)) for image in images])
    anybody = np.isin(uids, [row["record_uid"] for row in rows])
    job.ledger.check((*path, "n"), int(anybody.sum()))
    own, places = detection.jafroc(job.table), []
    for place, reader in enumerate(sorted({row["reader"] for row in rows})):
        mine = [row for row in rows if row["reader"] == reader]
        read = np.isin(uids, [row["record_uid"] for row in mine])
        here, ratings = (*path, "readers", place), []
        highest = [-math.inf] * len(uids)
        for number, uid in enumerate(uids):
            marks = [
                (row["lesion"], float(row["rating"])) for row in mine if row["record_uid"] == uid and row["rating"]
            ]
            highest[number] = max((rating for _, rating in marks), default=-math.inf)
            names = sorted({lesion for lesion, _ in marks if lesion})
            rated = [max(rating for lesion, rating in marks if lesion == name) for name in names]
            ratings += [(number, rating) for rating in [*rated, *[-math.inf] * (int(there[number]) - len(rated))]]
        told = {"reader": reader, "n": int(read.sum()), "num_normal": int((read & (there == 0)).sum())}
        job.ledger.check(here, {**told, "num_lesions": int(there[read].sum())})
        of = detection.rated_above(ratings, highest, (there == 0).tolist())
        theirs = Found(*job.figure((*here, "figures", 0), of, read), read)
        model = Found(*job.figure((*here, "model", 0), own, read), read)
        where, n = (*here, "tests", 0), int(read.sum())
        places.append((where, recomputed_groups.difference(job, where, model, theirs, n, job.table)))
    return places


def _test_sets(job: Job) -> None:
    said = job.report["test_sets"]
    job.ledger.check(("test_sets", "n"), len(said["sets"]))
    everyone = np.ones(len(job.table), bool)
    told = {"n": len(job.table), "num_patients": job.table.patients(everyone)}
    job.ledger.check(("test_sets", "sets", 0), told)
    for number, figure in enumerate(said["sets"][0]["figures"]):
        one = recomputed_groups.asked(job, figure["name"])
        closed = one.closed(one.known) if one.closed else None
        job.figure(("test_sets", "sets", 0, "figures", number), one.of, one.known, closed, yes=one.yes)
    for place, other in enumerate(said["sets"][1:], 1):
        report = job.reports.get(other["name"])
        if report is not None:
            _as_reported(job, ("test_sets", "sets", place), other, report)
    _apart(job, said)


def _as_reported(job: Job, path: Path_, said: Any, report: Any) -> None:
    job.ledger.check(path, {name: report["cases"][name] for name in ("n", "num_patients")})
    whole = [entry["figures"] for entry in report["subgroups"] if not entry["fact"]]
    figures = {one["name"]: one for one in itertools.chain(*whole, report["figures"])}
    for number, figure in enumerate(said["figures"]):
        job.ledger.check((*path, "figures", number), figures[figure["name"]])


def _apart(job: Job, said: Any) -> None:
    level, places = job.settings["level"], []
    quantile = plain.stats.norm.ppf((1 + level) / 2)
    for place, one in enumerate(said["differences"]):
        other = next(entry for entry in said["sets"] if entry["name"] == one["with"])
        pair = [next(f for f in of["figures"] if f["name"] == one["name"]) for of in (said["sets"][0], other)]
        value, low, high = ([_number(f[name]) for f in pair] for name in ("value", "low", "high"))
        se = math.hypot(*((up - down) / (2 * quantile) for down, up in zip(low, high)))
        apart = value[0] - value[1]
        p = 2 * plain.stats.norm.sf(abs(apart) / se) if se else 1.0 if apart == 0 else math.nan
        told = {"difference": apart, "se": se, "low": apart - quantile * se, "high": apart + quantile * se, "p": p}
        path: Path_ = ("test_sets", "differences", place)
        job.ledger.check(path, {**told, "n": pair[0]["n"] + pair[1]["n"]})
        places.append((path, float(p)))
    recomputed_groups.corrected(job, places)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
