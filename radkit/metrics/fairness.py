"""Whether calls treat groups of patients alike."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError
from radkit.metrics import classification, inputs


def fairness(y_true: ArrayLike, y_pred: ArrayLike, group: Sequence[Any] | np.ndarray) -> dict[str, Any]:
    """Returns how far apart the rates of groups of patients are.

    Args:
        y_true: Reference, 0 or 1, (n,).
        y_pred: Calls, 0 or 1, (n,).
        group: Group of each case, numbers or words, (n,).

    Returns:
        demographic_parity_difference: largest - smallest share of positive calls.
        tpr_difference, fpr_difference: the same of sensitivities and of false positive rates.
        equalized_odds_difference: the larger of these two.
        tpr, fpr, selection_rate, n: {group: sensitivity, false positive rate, share of positive calls, cases}.
        num_undefined: how many groups lack a tpr or a fpr, having no positives or no negatives; such a rate is nan
        and left out of the difference. fairlearn takes 0 there, which makes a gap of what was not measured. A
        difference of fewer than two rates is nan, and so is the larger of two of which one is nan.

    Raises:
        UserError: Other values than 0 and 1, differing lengths, missing groups.

    Source: Hardt et al. 2016, https://arxiv.org/abs/1610.02413; differences as fairlearn's between_groups,
        https://fairlearn.org.

    Example:
        >>> fairness([1, 0, 1, 0], [1, 0, 0, 0], ["a", "a", "b", "b"])["tpr"]
        {'a': 1.0, 'b': 0.0}
    """
    truth, calls = inputs.binary("y_true", y_true), inputs.binary("y_pred", y_pred)
    inputs.same_length(y_true=truth, y_pred=calls, group=group)
    rates: dict[str, dict[Any, float]] = {"tpr": {}, "fpr": {}, "selection_rate": {}, "n": {}}
    for name, rows in _rows(group):
        tp, fp, fn, tn = classification.counts(truth[rows], calls[rows])
        rates["tpr"][name] = _ratio(tp, tp + fn)
        rates["fpr"][name] = _ratio(fp, fp + tn)
        rates["selection_rate"][name] = _ratio(tp + fp, tp + fp + fn + tn)
        rates["n"][name] = tp + fp + fn + tn
    tpr, fpr = _difference(rates["tpr"]), _difference(rates["fpr"])
    return {
        "demographic_parity_difference": _difference(rates["selection_rate"]),
        "equalized_odds_difference": math.nan if math.isnan(tpr) or math.isnan(fpr) else max(tpr, fpr),
        "tpr_difference": tpr,
        "fpr_difference": fpr,
        **rates,
        "num_undefined": sum(math.isnan(rates["tpr"][name] + rates["fpr"][name]) for name in rates["n"]),
    }


def _rows(group: Sequence[Any] | np.ndarray) -> list[tuple[Any, np.ndarray]]:
    places: dict[Any, list[int]] = {}
    for row, name in enumerate(np.asarray(group).tolist()):
        places.setdefault(name, []).append(row)
    missing = sum(len(rows) for name, rows in places.items() if name is None or name != name)
    if missing:
        raise UserError(
            f"group must name each case's group, but {missing} are missing; give those a name, as 'unknown'"
        )
    return [(name, np.array(places[name])) for name in sorted(places)]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _difference(rates: dict[Any, float]) -> float:
    defined = [rate for rate in rates.values() if not math.isnan(rate)]
    return max(defined) - min(defined) if len(defined) > 1 else math.nan
