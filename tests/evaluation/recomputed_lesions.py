"""What a report tells of a detector's boxes beside its figures, recomputed: lesions, sizes, failures, pairs."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.evaluation import recomputed_detection as detection
from tests.evaluation import recomputed_statistics as plain
from tests.evaluation.recomputed import Job, Statistic

POINT = "boxes"
_FEWEST = 5
_MOST_POINTS = 500
_EDGES_MM = (0.0, 3.0, 6.0, 10.0, 20.0, 30.0, 50.0, 100.0, math.inf)
_BANDS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def point(job: Job) -> Mapping[str, Any]:
    """Returns the operating point of boxes: the given one, else the lowest score with 1 false positive a case."""
    given = next((one for one in job.report["operating_points"] if one["name"] == POINT), None)
    if given is not None:
        return {**given, "threshold": math.nan if given["threshold"] is None else given["threshold"]}
    table = job.table
    enough = [one for one in detection.froc(table) if one[2] <= len(table) * (1 + 1e-12)]
    listed = detection.images(table)
    total = sum(len(detection.lesions(one)) for one in listed)
    at, hits = (enough[-1][0], enough[-1][1]) if enough else (math.nan, math.nan)
    quiet = [detection.highest(one) < at for one in listed if not detection.lesions(one)]
    told = {"name": POINT, "rule": "fp_per_image", "value": 1.0, "threshold": at, "num_cases": len(table)}
    told |= {"sensitivity": plain.share(hits, total), "chosen_on": ""}
    return {**told, "specificity": float(np.mean(quiet)) if quiet and enough else math.nan}


def of_counts(name: str, counts: np.ndarray) -> Statistic:
    """Returns a figure of hits, false positives and misses that are added over cases."""

    def of(rows: np.ndarray) -> float:
        hits, false, misses = counts[rows].sum(0)
        return {
            "sensitivity": plain.share(hits, hits + misses),
            "precision": plain.share(hits, hits + false),
            "F1": plain.share(2 * hits, 2 * hits + false + misses),
            "false positives per case": plain.share(false, rows.size),
        }[name]

    return of


def check(job: Job) -> None:
    """Recomputes lesions and sizes."""
    table, at, everyone = job.table, point(job), np.ones(len(job.table), bool)
    listed = detection.images(table)
    found = [of for one in listed for of, hit in zip(one.found_labels, one.hits) if hit != detection.NOT_COUNTED]
    total = sum(len(detection.lesions(one)) for one in listed)
    told = {"n": len(table), "num_patients": table.patients(everyone), "num_found": len(found), "num_reference": total}
    job.ledger.check(("lesions",), told)
    _froc(job, total)
    said = job.report["lesions"]
    names = [one["name"].removeprefix("image with ") for one in job.report["endpoints"]]
    for place, curve in enumerate(said["precision_recall"]):
        of = detection.ranked(table, names.index(curve["name"]))
        heights = detection.precision(of, 0, np.ones(len(table)))
        told = {"n": int(of.references.sum()), "recall": detection.RECALLS, "precision": heights}
        job.ledger.check(("lesions", "precision_recall", place), told)
    counts = detection.counts_at(table, at["threshold"])
    path: tuple[Any, ...] = ("lesions", "operating_point")
    kinds = ("hits", "false_positives", "misses")
    job.ledger.check(path, {**at, "counts": dict(zip(kinds, counts.sum(0)))})
    for place, figure in enumerate(said["operating_point"]["figures"]):
        job.figure((*path, "figures", place), of_counts(figure["name"], counts), everyone)
    for label, one in enumerate(said["classes"]):
        path = ("lesions", "classes", label)
        there = sum(len(detection.lesions(image, label)) for image in listed)
        told = {"name": names[label], "num_reference": there, "num_found": found.count(label)}
        job.ledger.check(path, {**told, "threshold": at["threshold"]})
        of_class = detection.counts_at(table, at["threshold"], label)
        for place, figure in enumerate(one["figures"]):
            name = figure["name"]
            precision = detection.average_precision(table, [label], [0])
            of_figure = precision if name == "AP50" else of_counts(name, of_class)
            job.figure((*path, "figures", place), of_figure, everyone)
    if job.report["sizes"] is not None:
        _sizes(job, at["threshold"])


def _froc(job: Job, total: int) -> None:
    points = detection.froc(job.table) if total else []
    kept = {round(float(place)) for place in np.linspace(0, len(points) - 1, min(_MOST_POINTS, len(points)))}
    listed = [points[place] for place in sorted(kept)]
    told = {
        "n": total,
        "score": [score for score, _, _ in listed],
        "sensitivity": [hits / total for _, hits, _ in listed],
        "fp_per_image": [false / len(job.table) for _, _, false in listed],
    }
    job.ledger.check(("lesions", "froc"), told)


def _sizes(job: Job, threshold: float) -> None:
    sizes, hit, owner = [], [], []
    for number, image in enumerate(detection.images(job.table)):
        rated = detection.best(image)
        for place in detection.lesions(image):
            sizes.append(image.longest(image.reference[place]))
            hit.append(rated.get(place, -math.inf) >= threshold)
            owner.append(number)
    job.ledger.check(("sizes",), {"n": len(sizes), "threshold": threshold})
    size, of_case = np.array(sizes), np.array(owner)
    groups = [(low, high, (size >= low) & (size < high)) for low, high in itertools.pairwise(_EDGES_MM)]
    groups.append((math.nan, math.nan, np.isnan(size)))
    groups = [one for one in groups if one[2].any()]
    assert len(groups) == len(job.report["sizes"]["groups"])
    for place, (low, high, inside) in enumerate(groups):
        path = ("sizes", "groups", place)
        about = np.isin(np.arange(len(job.table)), of_case[inside])
        found, patients = np.array(hit)[inside], job.table.patients(about)
        told = {"low": low, "high": high, "n": int(inside.sum()), "num_found": int(found.sum())}
        job.ledger.check(path, {**told, "num_patients": patients, "too_few": patients < _FEWEST})
        for number in range(len(job.ledger.at(path)["figures"])):
            job.figure((*path, "figures", number), _mean_of_lesions(found, of_case[inside], len(job.table)), about)


def _mean_of_lesions(hit: np.ndarray, owner: np.ndarray, cases: int) -> Statistic:
    def of(rows: np.ndarray) -> float:
        times = np.bincount(rows, minlength=cases)[owner]
        return plain.share(float(times @ hit), float(times.sum()))

    return of


def pairs(job: Job) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the longest sides of references and of the best boxes that hit them, and of which cases they are."""
    threshold = point(job)["threshold"]
    found = []
    for number, image in enumerate(detection.images(job.table)):
        for place, score in sorted(detection.best(image).items()):
            if score >= threshold:
                hits = zip(image.scores, image.hits, image.found)
                box = next(box for one, hit, box in hits if hit == place and one == score)
                found.append((image.longest(image.reference[place]), image.longest(box), number))
    told = np.array(found, float).reshape(len(found), 3)
    return told[:, 0], told[:, 1], told[:, 2].astype(int)


def errors(job: Job) -> dict[str, np.ndarray]:
    """Returns counts of each case at the operating point by name."""
    counts = detection.counts_at(job.table, point(job)["threshold"])
    return dict(zip(("hits", "false positives", "misses"), counts.T))


def bands(job: Job) -> list[np.ndarray]:
    """Returns cases by the highest score of what was found in them, those with nothing first."""
    sure = np.array([detection.highest(image) for image in detection.images(job.table)])
    found: Sequence[np.ndarray] = [
        (sure >= low) & ((sure <= high) if high == _BANDS[-1] else (sure < high))
        for low, high in itertools.pairwise(_BANDS)
    ]
    return [members for members in [np.isneginf(sure), *found] if members.any()]
