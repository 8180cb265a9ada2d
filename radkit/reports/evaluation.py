"""Pages that say how good a model is: one for classifiers, one for segmentation.

`result` is what an evaluation saves, as plain values:

- `figures`: name -> a number, or a mapping with `value` and, when known, `low`, `high` (95 % interval), `undefined`
  and `set_to_worst` (cases). Without `figures`, the numbers and such mappings of `result` itself are shown.
- `subgroups`: name of the subgroup -> mapping of figures (numbers or mappings with `value`).
- `test_set`, `look`: mappings with `told`, how the test set was made and how often it was seen, in words; `look` with
  `warning`, empty where there is nothing to warn of.
- `operating_point`: mapping with `threshold` (classification; 0.5 when it is not given or nan).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.metrics import agreement, classification
from radkit.reports import curves, html, pictures, plots, sections, text

learning_curves = plots.learning_curves


@dataclass(frozen=True, eq=False)
class Case:
    """One segmented volume to draw.

    Args:
        caption: Which case it is; pseudonymous.
        image: (z, y, x), float, any unit.
        reference: Labels, integers, the same shape; 0 is background.
        predicted: Labels, the same shape.
        spacing_mm: (z, y, x).
    """

    caption: str
    image: np.ndarray
    reference: np.ndarray
    predicted: np.ndarray
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)


def classification_page(
    title: str,
    result: Mapping[str, Any],
    y_true: np.ndarray,
    y_score: np.ndarray,
    class_names: Sequence[str],
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    notes: Sequence[str],
    history: Sequence[Mapping[str, Any]],
) -> str:
    """Returns the HTML page of a classifier's evaluation.

    Args:
        title: Plain text.
        result: See this module.
        y_true: Class number, (n,).
        y_score: Probability of class 1, (n,), or of each class, (n, classes).
        class_names: What 0, 1, ... mean.
        images: The worst cases, (rows, columns) each, worst first.
        captions: One an image.
        notes: Warnings, shown before anything else.
        history: See `learning_curves`; may be empty.

    Raises:
        UserError: Arguments that do not fit together, or matplotlib is not installed.
    """
    if len(images) != len(captions):
        raise UserError(f"each image needs a caption, but there are {len(images)} images and {len(captions)} captions")
    drawn = curves.one_against_rest(y_true, y_score, class_names)
    threshold = _threshold(result) if len(drawn) == 1 else None
    return html.page(
        title,
        sections.warned(result, notes),
        sections.headline(result, f"{len(y_true)} cases{sections.of_test_set(result)}"),
        html.section("Discrimination", *discrimination(drawn, threshold)),
        html.section("Calibration and scores", calibration(drawn, threshold)),
        html.section("Calls", *_calls(drawn, np.asarray(y_true), np.asarray(y_score), threshold, class_names)),
        sections.subgroups(result),
        html.section("Worst cases", html.gallery([sections.picture(*pair) for pair in zip(images, captions)])),
        sections.learning(history),
        lead=f"Evaluation of a classifier{sections.of_test_set(result)}",
    )


def segmentation_page(
    title: str,
    result: Mapping[str, Any],
    cases: Sequence[Mapping[str, Any]],
    labels: Sequence[str],
    shown: Sequence[Case],
    notes: Sequence[str],
    history: Sequence[Mapping[str, Any]],
) -> str:
    """Returns the HTML page of a segmentation's evaluation.

    Args:
        title: Plain text.
        result: See this module.
        cases: At least one; each has `name`, `dice` (the mean), `dice LABEL` of each and, for a Bland-Altman plot,
            `ref_ml` and `pred_ml`. Every number is listed.
        labels: The labels' names.
        shown: The cases to draw, only these in memory.
        notes: Warnings, shown before anything else.
        history: See `learning_curves`; may be empty.

    Raises:
        UserError: No cases, masks that do not fit their image, or matplotlib is not installed.
    """
    _check(cases, shown)
    order = sorted(range(len(cases)), key=lambda k: (cases[k]["dice"], cases[k]["name"]))
    return html.page(
        title,
        sections.warned(result, notes),
        sections.headline(result, f"{len(cases)} cases{sections.of_test_set(result)}"),
        html.section("Overlap of each case", _strip(cases, labels)),
        _volumes(cases),
        sections.subgroups(result),
        html.section("Cases in pictures", *[example(case) for case in shown]) if shown else "",
        html.section("Cases", *sections.case_table([cases[k] for k in order])),
        sections.learning(history),
        lead=f"Evaluation of a segmentation{sections.of_test_set(result)}",
    )


def discrimination(drawn: Sequence[curves.Curve], threshold: float | None) -> list[str]:
    """Returns ROC and precision-recall curves, and in words which classes have none."""
    missing = [curve.name for curve in drawn if not curve.both_classes]
    parts = []
    if missing:
        parts.append(html.paragraph(f"Undefined, as all cases are alike in it: {', '.join(missing)}."))
    if len(missing) < len(drawn):
        alt = f"ROC and precision-recall curves of {', '.join(curve.name for curve in drawn if curve.both_classes)}"
        caption = "Dotted: what chance gives."
        parts.append(html.figure(curves.roc_and_precision(drawn, threshold), alt, caption))
    return parts


def calibration(drawn: Sequence[curves.Curve], threshold: float | None) -> str:
    """Returns the reliability diagram and the scores."""
    alt = f"Reliability diagram and histogram of scores of {', '.join(curve.name for curve in drawn)}"
    caption = "Left: ten bins with 95 % Wilson intervals; on the dotted line a probability means what it says."
    return html.figure(curves.calibration_and_scores(drawn, threshold), alt, caption)


def _calls(
    drawn: Sequence[curves.Curve],
    y_true: np.ndarray,
    y_score: np.ndarray,
    threshold: float | None,
    class_names: Sequence[str],
) -> list[str]:
    several = threshold is None
    calls = y_score.argmax(axis=1) if several else (drawn[0].score >= threshold).astype(int)
    count = y_score.shape[1] if several else 2
    names = list(class_names) or [str(number) for number in range(count)]
    table = classification.confusion_table(y_true.astype(int), calls, range(count))
    rule = "the class of the largest score" if several else f"positive is a score of at least {threshold:.4g}"
    header = ["reference", *[f"called {name}" for name in names]]
    parts = [html.table(header, [(name, *row) for name, row in zip(names, table.tolist())], f"Calls: {rule}")]
    if not several:
        parts.append(_rates(table))
    return parts


def _rates(table: np.ndarray) -> str:
    (tn, fp), (fn, tp) = table.tolist()
    rows = []
    for name, k, n in (
        ("sensitivity", tp, tp + fn),
        ("specificity", tn, tn + fp),
        ("positive predictive value", tp, tp + fp),
        ("negative predictive value", tn, tn + fn),
    ):
        interval = classification.proportion_ci(k, n)
        low, high = text.number(interval["wilson_low"]), text.number(interval["wilson_high"])
        rows.append((name, f"{k} of {n}", k / n if n else float("nan"), f"{low} to {high}" if n else ""))
    return html.table(("rate", "cases", "value", "95 % interval (Wilson)"), rows, "At this threshold")


def _threshold(result: Mapping[str, Any]) -> float:
    threshold = float((result.get("operating_point") or {}).get("threshold", 0.5))
    return 0.5 if np.isnan(threshold) else threshold


def _check(cases: Sequence[Mapping[str, Any]], shown: Sequence[Case]) -> None:
    if not cases:
        raise UserError("a segmentation page needs at least one case")
    for case in shown:
        shapes = {case.image.shape, case.reference.shape, case.predicted.shape}
        if len(shapes) > 1 or case.image.ndim != 3:
            raise UserError(f"image, reference and predicted must be of one shape (z, y, x), not {sorted(shapes)}")


def _strip(cases: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    columns = {label: [case[f"dice {label}"] for case in cases] for label in labels}
    alt = "Dice of each case, by label; medians " + ", ".join(f"{n} {np.median(v):.3f}" for n, v in columns.items())
    return html.figure(plots.strip(columns, "Dice", "Dice coefficient"), alt, "One dot a case; the bar is the median.")


def _volumes(cases: Sequence[Mapping[str, Any]]) -> str:
    if not all({"ref_ml", "pred_ml"} <= set(case) for case in cases):
        return ""
    reference, predicted = (np.array([case[key] for case in cases], float) for key in ("ref_ml", "pred_ml"))
    limits = agreement.bland_altman(predicted, reference)
    alt = f"Bland-Altman plot of {len(cases)} volumes: bias {text.number(limits['bias'])} mL"
    rows = [(sections.words(name), value) for name, value in limits.items()]
    table = html.table(("prediction minus reference", "mL"), rows)
    return html.section("Volumes", html.figure(plots.bland_altman(reference, predicted, "mL"), alt), table)


def example(case: Case) -> str:
    """Returns a segmented case as a picture."""
    plot = pictures.outlines(case.image, case.reference, case.predicted, case.spacing_mm)
    return html.figure(plot, f"{case.caption}: slice, reference and prediction outlined", case.caption)
