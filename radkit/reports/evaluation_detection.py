"""The page that says how good a detector is.

`summary` is what `radkit.metrics.detection_summary.of` returns, and may hold `test_set`, `look` and `subgroups` as
`radkit.reports.evaluation` tells. What JSON has no word for (nan) may be None.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.reports import html, pictures_of_boxes, plots, sections

DetectionCase = pictures_of_boxes.DetectionCase

_FEWEST = 1 / 16  # false positives an image: where the axis begins, as 0 has no logarithm


def detection_page(
    title: str,
    summary: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    drawn: Sequence[DetectionCase],
    history: Sequence[Mapping[str, Any]],
) -> str:
    """Returns the HTML page of a detector's evaluation.

    Args:
        title: Plain text.
        summary: num_cases, num_patients, num_reference, num_found; figures (name -> value, low, high); froc (rule,
            fp_per_image, sensitivity, rates, value, low, high); precision_recall (class -> recall, precision);
            threshold; sizes (size, n, sensitivity, low, high each); classes (name, num_reference, num_found, ap50, ap,
            sensitivity each).
        cases: At least one; each has `name`, `misses` and `false_positives` (see `box_hits.counts`). Every number is
            listed, worst first.
        labels: Names of class 0, 1, ...
        drawn: The images to draw, only these in memory. Of found boxes those are drawn that reach the threshold.
        history: See `plots.learning_curves`; may be empty.

    Raises:
        UserError: No cases, boxes that do not fit their image, or matplotlib is not installed.
    """
    if not cases:
        raise UserError("a detection page needs at least one case")
    order = sorted(cases, key=lambda case: (-case["misses"], -case["false_positives"], case["name"]))
    told = sections.of_test_set(summary)
    counted = f"{summary['num_cases']} images of {summary['num_patients']} patients, {summary['num_reference']} boxes"
    threshold = _number(summary["threshold"])
    return html.page(
        title,
        sections.warned(summary, []),
        sections.headline(summary, f"{counted}; intervals draw whole patients{told}"),
        html.section("Curves", *_curves(summary)),
        html.section("By size and class", *_tables(summary, threshold)),
        sections.subgroups(summary),
        html.section("Images with boxes", *[picture(case, threshold, labels) for case in drawn]),
        html.section("Cases", _at(threshold), *sections.case_table(order)),
        sections.learning(history),
        lead=f"Evaluation of a detector{told}",
    )


def curves(summary: Mapping[str, Any]) -> Any:
    """Returns a matplotlib figure: the FROC curve with its intervals, and precision over recall of each class."""
    plot, (left, right) = plots.panels(2, width=4.8, height=4.2)
    _froc(left, summary["froc"])
    for place, (name, points) in enumerate(summary["precision_recall"].items()):
        colour = plots.COLOURS[place % len(plots.COLOURS)]
        right.plot(points["recall"], points["precision"], color=colour, linewidth=1.8, label=name)
    right.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    right.legend(loc="lower left", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none")
    plots.label(right, "Precision-recall at IoU 0.5", "recall (sensitivity)", "precision (PPV)")
    return plot


def _curves(summary: Mapping[str, Any]) -> list[str]:
    froc = summary["froc"]
    if not froc["rates"] or math.isnan(_number(froc["value"][-1])):
        return [html.paragraph("Undefined: the reference holds no boxes.")]
    rates = [f"{value:.3f} at {rate:g}" for rate, value in zip(froc["rates"], froc["value"])]
    alt = f"FROC curve: sensitivity {', '.join(rates)} false positives per image; precision-recall curves of each class"
    words = (
        f"Left: a hit is {froc['rule']}; bars are 95 % intervals over patients, the curve holds its last sensitivity. "
        "Right: COCO's rules; at each recall the best precision at it or a higher one."
    )
    return [html.figure(curves(summary), alt, words)]


def _froc(axis: Any, froc: Mapping[str, Any]) -> None:
    rates, values = froc["rates"], froc["value"]
    farthest = max(rates) * 2**0.25
    across = [_FEWEST, *[max(_FEWEST, fp) for fp in froc["fp_per_image"]], max(farthest, *froc["fp_per_image"], 0)]
    along = [0.0, *froc["sensitivity"], froc["sensitivity"][-1] if froc["sensitivity"] else 0.0]
    axis.step(across, along, where="post", color=plots.COLOURS[0], linewidth=1.8)
    for rate, value, low, high in zip(rates, values, froc["low"], froc["high"]):
        if not math.isnan(_number(low)):
            axis.vlines(rate, low, high, color=plots.COLOURS[0], linewidth=1.2, alpha=0.7)
        axis.plot([rate], [value], "o", color=plots.COLOURS[0], markersize=5)
    axis.set_xscale("log", base=2)
    axis.set_xticks(rates, [f"1/{1 / rate:g}" if rate < 1 else f"{rate:g}" for rate in rates])
    axis.minorticks_off()
    axis.set(xlim=(_FEWEST, farthest), ylim=(-0.02, 1.02))
    plots.label(axis, "FROC", "false positives per image", "sensitivity for boxes")


def _tables(summary: Mapping[str, Any], threshold: float) -> list[str]:
    sizes = [
        (row["size"], row["n"], row["sensitivity"], sections.interval(row["low"], row["high"]))
        for row in summary["sizes"]
    ]
    classes = [
        tuple(row[key] for key in ("name", "num_reference", "num_found", "ap50", "ap", "sensitivity"))
        for row in summary["classes"]
    ]
    by_size = ("longest side", "boxes", "sensitivity", "95 % interval")
    by_class = ("class", "boxes", "found boxes", "AP50", "AP", "sensitivity")
    return [
        html.table(by_size, sizes, "Boxes of the reference by size") if sizes else "",
        html.table(by_class, classes, "Found boxes are all, down to the lowest score"),
        _at(threshold),
    ]


def _at(threshold: float) -> str:
    if math.isnan(threshold):
        return html.paragraph("No score keeps to 1 false positive per image; nothing counts as found here.")
    return html.paragraph(f"Found is a score of at least {threshold:.4g}: at most 1 false positive per image.")


def picture(case: DetectionCase, threshold: float, labels: Sequence[str]) -> str:
    """Returns an image with its boxes: the reference's, and those found that reach a threshold."""
    plot = pictures_of_boxes.boxes(case, threshold, labels)
    known = int(np.count_nonzero(np.asarray(case.labels) >= 0))
    alt = f"{case.caption}: {known} reference boxes and the found ones with their scores"
    return html.figure(plot, alt, f"{case.caption}. Reference solid and blue, found dashed and orange with the score.")


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
