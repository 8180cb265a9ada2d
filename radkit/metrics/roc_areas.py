"""Areas under parts of a ROC curve and under the curves of several classes."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError, did_you_mean
from radkit.metrics import inputs, roc

_FOCUSES = ("specificity", "sensitivity")


def partial_auc(
    y_true: ArrayLike, y_score: ArrayLike, focus: str = "specificity", range: Sequence[float] = (0.9, 1.0)
) -> dict[str, float]:
    """Returns the area under the part of the ROC curve that matters, as it is and standardised.

    The curve's points, one per observed score, are joined by straight lines, also where the range cuts between two.

    Args:
        y_true: Reference, 0 or 1, (n,).
        y_score: Higher is more positive, (n,).
        focus: Which of the two figures the range is of. "specificity": sensitivity is summed over specificities;
            "sensitivity": specificity is summed over sensitivities.
        range: The lowest and the highest value of that figure, in [0, 1].

    Returns:
        raw: the area, at most hi - lo.
        mcclish: (1 + (raw - chance) / (hi - lo - chance)) / 2, where chance is the diagonal's area in the range: 0.5
        for chance, 1 for a perfect curve; nan when the part lies below the diagonal, where it has no meaning.
        Both are nan with one class only.

    Raises:
        UserError: Another focus, or not 0 <= lo < hi <= 1.

    Source: McClish 1989, https://doi.org/10.1177/0272989X8900900307; as R's pROC with direction "<" and
        partial.auc.correct, https://doi.org/10.1186/1471-2105-12-77.

    Example:
        >>> partial_auc([0, 0, 1, 1], [1, 2, 3, 4], focus="specificity", range=[0.5, 1])
        {'raw': 0.5, 'mcclish': 1.0}
    """
    low, high = _interval(focus, range)
    _, tp, fp = roc.counts_by_threshold(y_true, y_score)
    if not tp.size or tp[-1] == 0 or fp[-1] == 0:
        return {"raw": math.nan, "mcclish": math.nan}
    sensitivity = np.append(0.0, tp / tp[-1])
    specificity = np.append(1.0, (fp[-1] - fp) / fp[-1])
    if focus == "specificity":
        area = _area(specificity[::-1], sensitivity[::-1], low, high)
    else:
        area = _area(sensitivity, specificity, low, high)
    width = high - low
    chance = width * (1 - (low + high) / 2)
    # A curve on the diagonal itself must not fall below it by rounding.
    defined = area >= chance - 1e-12
    return {"raw": area, "mcclish": (1 + (area - chance) / (width - chance)) / 2 if defined else math.nan}


def multiclass_auc(y_true: ArrayLike, proba: ArrayLike, labels: Sequence[Any] | None = None) -> dict[str, Any]:
    """Returns the mean area under the ROC curves of several classes, in the two usual ways.

    Args:
        y_true: Reference class of each case, (n,).
        proba: Score of each class, (n, classes); only the order within a column counts.
        labels: The class of each column; None: 0, 1, 2 ...

    Returns:
        ovr_macro: mean over classes of the area of that class against all others.
        ovo_macro_hand_till: mean over pairs of classes, on the cases of the two, of the areas by either one's column.
        per_class: the areas of the first. A class without cases has no area (nan) and is left out of both means;
        num_undefined counts such classes. Both means are nan with fewer than two classes among the cases.

    Raises:
        UserError: Shapes that do not fit, a class that no column is of, nan.

    Source: Hand and Till 2001, https://doi.org/10.1023/A:1010920819831; as scikit-learn's roc_auc_score with
        average="macro", which refuses classes without cases.
    """
    score = inputs.numbers("proba", proba)
    if score.ndim != 2 or score.shape[1] < 2 or np.isnan(score).any():
        raise UserError(f"proba must be numbers, (cases, 2 or more classes), without nan, not of shape {score.shape}")
    inputs.same_length(y_true=np.asarray(y_true), proba=score)
    columns = list(np.arange(score.shape[1])) if labels is None else list(labels)
    position = {label: place for place, label in enumerate(columns)}
    if len(position) != score.shape[1]:
        raise UserError(f"labels must name each of proba's {score.shape[1]} columns once, not {columns}")
    truth = inputs.positions(np.asarray(y_true), position, "y_true")
    per_class = [roc.auc(truth == k, score[:, k]) for k in np.arange(score.shape[1])]
    pairs = [_of_pair(truth, score, a, b) for a, b in itertools.combinations(np.unique(truth).tolist(), 2)]
    defined = [area for area in per_class if not math.isnan(area)]
    return {
        "ovr_macro": float(np.mean(defined)) if defined else math.nan,
        "ovo_macro_hand_till": float(np.mean(pairs)) if pairs else math.nan,
        "per_class": per_class,
        "num_undefined": len(per_class) - len(defined),
    }


def _interval(focus: str, limits: Sequence[float]) -> tuple[float, float]:
    if focus not in _FOCUSES:
        raise UserError(f"no focus is named {focus!r}{did_you_mean(focus, _FOCUSES)}; there are: {', '.join(_FOCUSES)}")
    if len(limits) != 2 or not 0 <= limits[0] < limits[1] <= 1:
        raise UserError(f"range must be [lo, hi] with 0 <= lo < hi <= 1, such as [0.9, 1.0], not {list(limits)}")
    return float(limits[0]), float(limits[1])


def _area(x: np.ndarray, y: np.ndarray, low: float, high: float) -> float:
    """Returns the area under straight lines between points with rising x, from low to high."""
    rising = np.diff(x) > 0
    x0, x1, y0 = x[:-1][rising], x[1:][rising], y[:-1][rising]
    slope = (y[1:][rising] - y0) / (x1 - x0)
    begin = np.clip(x0, low, high)
    end = np.clip(x1, low, high)
    middle = y0 + slope * ((begin + end) / 2 - x0)
    return float((end - begin) @ middle)


def _of_pair(truth: np.ndarray, score: np.ndarray, a: int, b: int) -> float:
    rows = (truth == a) | (truth == b)
    is_a = truth[rows] == a
    return (roc.auc(is_a, score[rows, a]) + roc.auc(~is_a, score[rows, b])) / 2
