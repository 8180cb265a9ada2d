"""Response to treatment by RECIST 1.1, and how fast a nodule grows."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from radkit.errors import UserError
from radkit.metrics import inputs

NONTARGET = ("none", "present", "CR", "non-CR/non-PD", "PD", "NE")
NORMAL_NODE_MM = 10.0
_ROUNDING_MM = 1e-9  # 0.7 x 100.1 mm is not 70.07 mm in binary


def recist(
    timepoints: Sequence[Sequence[float | None]] | np.ndarray,
    nodal: ArrayLike,
    new_lesion: ArrayLike,
    nontarget: Sequence[str | None] | np.ndarray,
) -> dict[str, list[Any]]:
    """Returns each visit's response by RECIST 1.1; the first visit is the baseline.

    Target lesions, in this order:

    - CR: every node is below 10 mm, every other lesion is gone (0 mm). Nodes count in the sum even then.
    - PD: the sum is at least 20 % and at least 5 mm above the smallest earlier sum (the nadir; the baseline counts).
      Lesions that could not be measured need not be known when the others reach this alone. After a CR, a target
      that is back (a node from 10 mm) is PD at any size.
    - NE: a lesion was not measured, now or at the baseline.
    - PR: the sum is at least 30 % below the baseline's. SD: anything else.

    Overall (tables 1 and 2): a new lesion or non-target PD is PD whatever the targets do; CR of the targets is PR
    while non-targets remain or were not evaluated; otherwise the targets decide. Without targets the non-targets do:
    CR, "non-CR/non-PD" or NE. No confirmation is asked for, and targets are not judged for measurability.

    Args:
        timepoints: Diameter of each target in mm, (visits, targets): the short axis of a node, the longest diameter of
            anything else; None or nan: not evaluable. Too small to measure but there is 5 mm by the standard.
        nodal: 1 for a lymph node, 0 for another lesion, (targets,).
        new_lesion: 1 when an unequivocal new lesion was seen, (visits,); 0 at the baseline.
        nontarget: Non-target lesions, (visits,): "none", "present" (as "non-CR/non-PD"), "CR", "non-CR/non-PD", "PD",
            "NE" or None (not evaluated). At the baseline only whether there are any matters.

    Returns:
        sums: mm, (visits,); nan where a target was not measured or where there are none.
        response: "baseline", then CR, PR, SD, PD or NE of each visit.
        target: the same of the targets alone ("NE" without targets).
        nadir: the smallest sum before each visit, mm; nan at the baseline.

    Raises:
        UserError: Lengths that differ, negative diameters, an unknown word, or a new lesion at the baseline.

    Example:
        >>> found = recist([[30, 20], [20, 8], [20, 15]], nodal=[0, 1], new_lesion=[0, 0, 0], nontarget=["none"] * 3)
        >>> found["sums"], found["response"]
        ([50.0, 28.0, 35.0], ['baseline', 'PR', 'PD'])

    Source: Eisenhauer et al. 2009, https://doi.org/10.1016/j.ejca.2008.10.026, 4.3 and tables 1-2; lesions that come
    back after CR: the RECIST group's answers, https://recist.eortc.org/faq/abnormal-lymph-node-2/.
    """
    nodes = inputs.binary("nodal", nodal)
    sizes = _diameters(timepoints, nodes.size)
    new = inputs.binary("new_lesion", new_lesion)
    others = _nontargets(nontarget)
    inputs.same_length(timepoints=sizes, new_lesion=new, nontarget=others)
    if new[:1].any():
        raise UserError(
            "new_lesion of the first visit must be 0: it is the baseline, before which nothing was seen; "
            "put the baseline first in every argument"
        )
    sums = sizes.sum(axis=1) if nodes.size else np.full(len(sizes), math.nan)
    nadirs = [_smallest(sums[:visit]) for visit in range(len(sizes))]
    targets, response = ["baseline"][: len(sizes)], ["baseline"][: len(sizes)]
    for visit in range(1, len(sizes)):
        target = _target_response(sizes[visit], nodes, float(sums[0]), nadirs[visit], after_cr="CR" in response)
        targets.append(target)
        response.append(_overall(target, others[visit], bool(new[visit]), has_targets=bool(nodes.size)))
    return {"sums": sums.tolist(), "response": response, "target": targets, "nadir": nadirs}


def volume_doubling_time(v1: float, v2: float, days: float) -> dict[str, float]:
    """Returns in how many days a volume doubles at the growth seen between two scans.

    Args:
        v1: Earlier volume, any unit.
        v2: Later volume, the same unit.
        days: Days from the first scan to the second.

    Returns:
        days: days / log2(v2 / v1); negative when it shrinks (the days in which it halves), inf when both are the
        same, nan when a volume is 0 or no time passed.

    Raises:
        UserError: A negative or infinite number, or nan.

    Example:
        >>> volume_doubling_time(v1=100.0, v2=200.0, days=90)
        {'days': 90.0}

    Source: Schwartz 1961, https://doi.org/10.1002/1097-0142(196111/12)14:6%3C1272::AID-CNCR2820140618%3E3.0.CO;2-H.
    """
    first, second, time = inputs.measurements("v1, v2, days", [v1, v2, days]).tolist()
    if min(first, second, time) < 0:
        raise UserError(f"v1, v2 and days must be >= 0, not {first:g}, {second:g}, {time:g}; the earlier scan is v1")
    if 0 in (first, second, time):
        return {"days": math.nan}
    doublings = math.log2(second / first)
    return {"days": time / doublings if doublings else math.inf}


def _diameters(timepoints: Sequence[Any] | np.ndarray, targets: int) -> np.ndarray:
    """Returns diameters in mm, float64, (visits, targets), nan where not evaluable."""
    if not len(timepoints):
        return np.zeros((0, targets))
    try:
        sizes = np.asarray(timepoints, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"timepoints must be numbers or None, as many at each visit: {error}") from error
    if sizes.ndim != 2 or sizes.shape[1] != targets:
        raise UserError(
            f"timepoints must hold one diameter a target at each visit, (visits, {targets}) by nodal, not {sizes.shape}"
        )
    if (sizes < 0).any() or np.isinf(sizes).any():
        raise UserError(
            f"timepoints must hold diameters in mm from 0, but runs from {np.nanmin(sizes):g} to {np.nanmax(sizes):g}; "
            "use None for what was not evaluable"
        )
    return sizes


def _nontargets(nontarget: Sequence[str | None] | np.ndarray) -> list[str]:
    words = ["NE" if word is None else str(word) for word in nontarget]
    unknown = [word for word in words if word not in NONTARGET]
    if unknown:
        raise UserError(f"nontarget holds {unknown[0]!r}; expected one of {', '.join(NONTARGET)} at each visit")
    # None left of those that the baseline had is their CR.
    return ["CR" if word == "none" and words[0] != "none" else word for word in words]


def _smallest(sums: np.ndarray) -> float:
    known = sums[~np.isnan(sums)]
    return float(known.min()) if known.size else math.nan


def _target_response(sizes: np.ndarray, nodal: np.ndarray, baseline: float, nadir: float, after_cr: bool) -> str:
    """Returns the targets' response at one visit.

    Args:
        sizes: Diameters of this visit in mm, (targets,), nan where not evaluable.
        nodal: Which are nodes, bool, (targets,).
        baseline: Sum at the baseline in mm, nan when a target was not measured.
        nadir: Smallest earlier sum in mm.
        after_cr: An earlier visit's overall response was CR.
    """
    if not nodal.size:
        return "NE"
    missing = np.isnan(sizes)
    there = np.where(nodal, sizes >= NORMAL_NODE_MM, sizes > 0)  # a missing one is neither there nor gone
    if not there.any() and not missing.any():
        return "CR"
    total = float(sizes[~missing].sum())
    grown = total - nadir >= max(0.2 * nadir, 5.0) - _ROUNDING_MM
    if grown or (after_cr and there.any()):
        return "PD"
    if missing.any() or math.isnan(baseline):
        return "NE"
    return "PR" if total <= 0.7 * baseline + _ROUNDING_MM else "SD"


def _overall(target: str, nontarget: str, new_lesion: bool, has_targets: bool) -> str:
    """Returns the overall response: table 1, or table 2 without targets."""
    if new_lesion or "PD" in (target, nontarget):
        return "PD"
    if not has_targets:
        return {"CR": "CR", "present": "non-CR/non-PD", "non-CR/non-PD": "non-CR/non-PD"}.get(nontarget, "NE")
    if target == "CR" and nontarget not in ("CR", "none"):
        return "PR"
    return target
