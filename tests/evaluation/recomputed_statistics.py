"""Plain formulas for what a report says, by numpy, scipy or loops; nothing of radkit is used here.

`y` is the truth, in [0, 1]: a share counts as so much of a yes and the rest of a no. `s` is a score.
"""

import itertools
import math

import numpy as np
from scipy import optimize, stats

EPSILON = float(np.finfo(float).eps)
NAN = math.nan


def both(y: np.ndarray) -> bool:
    return y.sum() > 0 and (1 - y).sum() > 0


def auc(y: np.ndarray, s: np.ndarray) -> float:
    if not both(y):
        return NAN
    if np.isin(y, (0, 1)).all():
        ranks, yes = stats.rankdata(s), y == 1
        return (ranks[yes].sum() - yes.sum() * (yes.sum() + 1) / 2) / (yes.sum() * (~yes).sum())
    order = (s[:, None] > s) + 0.5 * (s[:, None] == s)
    return float(y @ order @ (1 - y) / (y.sum() * (1 - y).sum()))


def steps(y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns weights of yes and of no at or above each score that there is, highest first."""
    order = np.argsort(-s, kind="stable")
    last = np.flatnonzero(np.append(np.diff(s[order]) != 0, True))
    return np.cumsum(y[order])[last], np.cumsum(1 - y[order])[last]


def average_precision(y: np.ndarray, s: np.ndarray) -> float:
    if not y.sum() > 0:
        return NAN
    tp, fp = steps(y, s)
    gained = np.diff(np.append(0.0, tp)) / y.sum()
    return float(np.sum(gained * tp / (tp + fp)))


def partial_auc(y: np.ndarray, s: np.ndarray, most_false: float = 0.1) -> float:
    if not both(y):
        return NAN
    tp, fp = steps(y, s)
    x, up = np.append(0, fp / (1 - y).sum()), np.append(0, tp / y.sum())
    inside = x <= most_false
    # Up to the last point inside, then along the straight line that crosses the limit.
    area = float(np.trapezoid(up[inside], x[inside]))
    if not inside.all():
        k = int(np.argmin(inside))
        end = up[k - 1] + (up[k] - up[k - 1]) * (most_false - x[k - 1]) / (x[k] - x[k - 1])
        area += (most_false - x[k - 1]) * (up[k - 1] + end) / 2
    return area


def mcclish(area: float, most_false: float = 0.1) -> float:
    chance = most_false**2 / 2
    return (1 + (area - chance) / (most_false - chance)) / 2 if area >= chance - 1e-12 else NAN


def brier(y: np.ndarray, s: np.ndarray) -> float:
    return float(np.mean((s - y) ** 2)) if y.size else NAN


def log_loss(y: np.ndarray, s: np.ndarray) -> float:
    p = np.clip(s, EPSILON, 1 - EPSILON)
    return float(-np.mean(y * np.log(p) + (1 - y) * np.log1p(-p))) if y.size else NAN


def in_bin(s: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((s > low) | ((low == 0) & (s == 0))) & (s <= high)


def ece(y: np.ndarray, s: np.ndarray) -> float:
    edges = np.linspace(0, 1, 11)
    gaps = [abs((y - s)[in_bin(s, low, high)].sum()) for low, high in itertools.pairwise(edges)]
    return sum(gaps) / y.size if y.size else NAN


def _logit(s: np.ndarray) -> np.ndarray:
    p = np.clip(s, EPSILON, 1 - EPSILON)
    return np.log(p) - np.log1p(-p)


def slope(y: np.ndarray, s: np.ndarray) -> float:
    x = _logit(s)
    yes, no = x[y > 0], x[y < 1]
    if not (yes.size and no.size and yes.min() < no.max() and no.min() < yes.max()):
        return NAN
    mean, scale = x.mean(), x.std()
    z = (x - mean) / scale

    def loss(beta: np.ndarray) -> float:
        linear = beta[0] + beta[1] * z
        return float(np.sum(np.logaddexp(0, linear) - y * linear))

    beta = np.zeros(2)
    for _ in range(100):
        p = 1 / (1 + np.exp(-(beta[0] + beta[1] * z)))
        spread, missing = p * (1 - p), p - y
        curvature = np.array([[spread.sum(), (spread * z).sum()], [(spread * z).sum(), (spread * z * z).sum()]])
        step = np.linalg.solve(curvature, np.array([missing.sum(), (missing * z).sum()]))
        while loss(beta - step) > loss(beta) + 1e-12 and np.abs(step).max() > 1e-12:
            step /= 2
        beta = beta - step
        if np.abs(step).max() < 1e-11:
            break
    return float(beta[1] / scale)


def intercept(y: np.ndarray, s: np.ndarray) -> float:
    if not both(y):
        return NAN
    x = _logit(s)

    def over(a: float) -> float:
        return float(np.sum(1 / (1 + np.exp(-(a + x))) - y))

    return float(optimize.brentq(over, -80, 80, xtol=1e-13, rtol=1e-14))


def counts(y: np.ndarray, called: np.ndarray, unanswered: np.ndarray) -> tuple[float, float, float, float]:
    """Returns tp, fp, fn, tn; what has no answer is wrong either way."""
    yes, no = called & ~unanswered, called | unanswered
    return y[yes].sum(), (1 - y)[no].sum(), y[~yes].sum(), (1 - y)[~no].sum()


def share(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else NAN


def of_counts(tp: float, fp: float, fn: float, tn: float) -> dict[str, float]:
    n, sensitivity, specificity = tp + fp + fn + tn, share(tp, tp + fn), share(tn, tn + fp)
    expected = share((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn), n * n)
    agreed = share(tp + tn, n)

    def ratio(of_yes: float, of_no: float) -> float:
        return math.inf if of_no == 0 and of_yes > 0 else share(of_yes, of_no)

    return {
        "sensitivity": sensitivity,
        "specificity": specificity,
        "PPV": 0.0 if tp + fp == 0 and fn > 0 else share(tp, tp + fp),
        "NPV": 0.0 if tn + fn == 0 and fp > 0 else share(tn, tn + fn),
        "accuracy": agreed,
        "balanced accuracy": (sensitivity + specificity) / 2,
        "F1": 1.0 if tp + fp + fn == 0 and n > 0 else share(2 * tp, 2 * tp + fp + fn),
        "MCC": share(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
        "LR+": ratio(sensitivity, 1 - specificity),
        "LR-": ratio(1 - sensitivity, specificity),
        "kappa": share(agreed - expected, 1 - expected),
    }


def proportion(part: float, whole: float, level: float, method: str) -> tuple[float, float]:
    """Returns Clopper-Pearson's (`exact`) or Wilson's (`wilson`) interval."""
    if not whole or part % 1 or whole % 1:
        return NAN, NAN
    found = stats.binomtest(round(part), round(whole)).proportion_ci(level, method)
    return found.low, found.high


def likelihood_ratio(a: float, yes: float, b: float, no: float, level: float) -> tuple[float, float]:
    if not (a > 0 and b > 0):
        return NAN, NAN
    half = stats.norm.ppf((1 + level) / 2) * math.sqrt(1 / a - 1 / yes + 1 / b - 1 / no)
    middle = math.log((a / yes) / (b / no))
    return math.exp(middle - half), math.exp(middle + half)


def delong(y: np.ndarray, s: np.ndarray, patient: np.ndarray, level: float) -> tuple[float, float]:
    """Returns DeLong's interval, sums of placements taken by patient (Obuchowski 1997): where patients have several
    cases by log odds and Student's t."""
    if not (np.isin(y, (0, 1)).all() and both(y)):
        return NAN, NAN
    area, yes, no = auc(y, s), s[y == 1], s[y == 0]
    above = {key: 0.0 for key in patient.tolist()}
    below = dict(above)
    for key, truth, score in zip(patient.tolist(), y, s):
        if truth == 1:
            above[key] += np.mean((score > no) + 0.5 * (score == no)) - area
        else:
            below[key] += np.mean((yes > score) + 0.5 * (yes == score)) - area
    i, j = len(set(patient[y == 1].tolist())), len(set(patient[y == 0].tolist()))
    if min(i, j) < 2:
        return NAN, NAN
    first, second = np.array(list(above.values())), np.array(list(below.values()))
    m = len(above)
    variance = (
        i / (i - 1) * np.sum(first**2) / yes.size**2
        + j / (j - 1) * np.sum(second**2) / no.size**2
        + 2 * m / (m - 1) * np.sum(first * second) / (yes.size * no.size)
    )
    if m == y.size or not 0 < area < 1 or variance == 0:
        half = stats.norm.ppf((1 + level) / 2) * math.sqrt(variance) if variance >= 0 else NAN
        return max(0.0, area - half), min(1.0, area + half)
    sides = (i / (i - 1) * np.sum(first**2) / yes.size**2, j / (j - 1) * np.sum(second**2) / no.size**2)
    freedom = sum(sides) ** 2 / (sides[0] ** 2 / (i - 1) + sides[1] ** 2 / (j - 1))
    half = stats.t.ppf((1 + level) / 2, min(freedom, m - 1)) * math.sqrt(variance) if variance >= 0 else NAN
    odds = [area / (1 - area) * math.exp(sign * half / (area * (1 - area))) for sign in (-1, 1)]
    return odds[0] / (1 + odds[0]), odds[1] / (1 + odds[1])


def paired_delong(y: np.ndarray, a: np.ndarray, b: np.ndarray, patient: np.ndarray) -> dict[str, float]:
    """Returns two areas on the same cases and their test, sums of placements taken by patient (Obuchowski 1997)."""
    areas = auc(y, a), auc(y, b)
    told = {"this": areas[0], "other": areas[1], "difference": areas[0] - areas[1], "z": NAN, "p": NAN, "se": NAN}
    if not both(y):
        return told
    keys = sorted(set(patient.tolist()))
    i, j, m = len(set(patient[y == 1].tolist())), len(set(patient[y == 0].tolist())), len(keys)
    if min(i, j) < 2:
        return told
    above, below = np.zeros(m), np.zeros(m)
    for sign, s, area in ((1, a, areas[0]), (-1, b, areas[1])):
        yes, no = s[y == 1], s[y == 0]
        for key, truth, score in zip(patient.tolist(), y, s):
            if truth == 1:
                above[keys.index(key)] += sign * (np.mean((score > no) + 0.5 * (score == no)) - area)
            else:
                below[keys.index(key)] += sign * (np.mean((yes > score) + 0.5 * (yes == score)) - area)
    n_yes, n_no = int((y == 1).sum()), int((y == 0).sum())
    variance = (
        i / (i - 1) * np.sum(above**2) / n_yes**2
        + j / (j - 1) * np.sum(below**2) / n_no**2
        + 2 * m / (m - 1) * np.sum(above * below) / (n_yes * n_no)
    )
    told["se"] = math.sqrt(max(0.0, variance))
    if variance > 0:
        told["z"] = told["difference"] / math.sqrt(variance)
        told["p"] = 2 * stats.norm.sf(abs(told["z"]))
    elif told["difference"] == 0:
        told |= {"z": 0.0, "p": 1.0}
    return told


def of_table(name: str, truth: np.ndarray, calls: np.ndarray, classes: int) -> float:
    """Returns a figure of calls among classes by its name."""
    if not truth.size:
        return NAN
    table = np.zeros((classes, classes))
    np.add.at(table, (truth, calls), 1)
    there, called, hits, n = table.sum(1), table.sum(0), np.diag(table), truth.size
    if name == "accuracy":
        return float(np.mean(truth == calls))
    if name == "balanced accuracy":
        return float(np.mean([hits[k] / there[k] for k in range(classes) if there[k]]))
    if name == "macro F1":
        used = [k for k in range(classes) if there[k] + called[k]]
        return float(np.mean([2 * hits[k] / (there[k] + called[k]) for k in used]))
    if name == "MCC":
        spread = (n * n - there @ there) * (n * n - called @ called)
        return share(n * hits.sum() - there @ called, math.sqrt(spread))
    power = {"kappa": 0, "linear kappa": 1, "quadratic kappa": 2}[name]
    cost = [[float(abs(a - b) ** power) if a != b else 0.0 for b in range(classes)] for a in range(classes)]
    return 1 - share(float(np.sum(cost * table)) * n, float(there @ cost @ called))


def icc2(pairs: np.ndarray, level: float) -> tuple[float, float, float]:
    """Returns ICC(2,1) and its interval by McGraw and Wong 1996, (n, 2) in."""
    n, k = pairs.shape
    if n < 2:
        return NAN, NAN, NAN
    whole = pairs.mean()
    rows, columns = pairs.mean(1), pairs.mean(0)
    msr, msc = k * np.sum((rows - whole) ** 2) / (n - 1), n * np.sum((columns - whole) ** 2) / (k - 1)
    mse = np.sum((pairs - rows[:, None] - columns + whole) ** 2) / ((n - 1) * (k - 1))
    value = share(msr - mse, msr + (k - 1) * mse + k * (msc - mse) / n)
    if math.isnan(value) or not (mse or msc):
        return value, NAN, NAN
    # Times n (1 - value), which may be 0.
    a, b = k * value * msc, (n * (1 - value) + k * value * (n - 1)) * mse
    spread = a**2 / (k - 1) + b**2 / ((n - 1) * (k - 1))
    freedom = (a + b) ** 2 / spread if spread else 1.0
    low, high = stats.f.ppf((1 + level) / 2, n - 1, freedom), stats.f.ppf((1 + level) / 2, freedom, n - 1)
    rest = k * msc + (k * n - k - n) * mse
    return (
        value,
        share(n * (msr - low * mse), low * rest + n * msr),
        share(n * (high * msr - mse), rest + n * high * msr),
    )


def concordance(x: np.ndarray, y: np.ndarray) -> float:
    if not x.size:
        return NAN
    return share(2 * np.mean((x - x.mean()) * (y - y.mean())), x.var() + y.var() + (x.mean() - y.mean()) ** 2)


def mcnemar(only: int, only_other: int, n: int) -> dict[str, float]:
    """Returns the exact test of cases that one of two has right, of n."""
    apart = only + only_other
    p = (stats.binomtest(only, apart).pvalue if apart else 1.0) if n else NAN
    squared = max(0.0, abs(only - only_other) - 1) ** 2 / apart if apart else NAN
    return {"only_this_right": only, "only_other_right": only_other, "p": p, "chi2_corrected": squared}


def kappa(a: np.ndarray, b: np.ndarray, power: int) -> float:
    """Returns Cohen's kappa, a disagreement weighted by a power of its size; 0: all alike."""
    if not a.size:
        return NAN

    def apart(x: float, y: float) -> float:
        return abs(x - y) ** power if x != y else 0.0

    found = sum(apart(x, y) for x, y in zip(a, b)) / a.size
    ones, others = ([(one, float(np.mean(side == one))) for one in np.unique(side)] for side in (a, b))
    by_chance = sum(p * q * apart(x, y) for x, p in ones for y, q in others)
    return 1 - share(found, by_chance)


def fleiss(calls: np.ndarray) -> float:
    """Returns Fleiss's kappa of calls (cases, readers), 0 or 1."""
    if not calls.size:
        return NAN
    readers, yes = calls.shape[1], calls.sum(1)
    agreed = np.mean((yes * (yes - 1) + (readers - yes) * (readers - yes - 1)) / (readers * (readers - 1)))
    p = yes.sum() / calls.size
    by_chance = p**2 + (1 - p) ** 2
    return share(agreed - by_chance, 1 - by_chance if by_chance < 1 - 1e-12 else 0.0)


def bland_altman(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """Returns bias and limits of agreement of a - b, the bias's interval by Student's t at 95 %."""
    difference, n = a - b, a.size
    bias = float(difference.mean()) if n else NAN
    sd = float(difference.std(ddof=1)) if n > 1 else NAN
    half = stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n) if n > 1 else NAN
    told = {"bias": bias, "sd": sd, "loa_low": bias - 1.96 * sd, "loa_high": bias + 1.96 * sd}
    told |= {"bias_ci_low": bias - half, "bias_ci_high": bias + half}
    return {**told, "repeatability_coefficient": 1.96 * math.sqrt(np.mean(difference**2)) if n else NAN}


def holm(p: list[float]) -> list[float]:
    """Returns corrected p values, nan left out."""
    known = sorted((value, place) for place, value in enumerate(p) if not math.isnan(value))
    found, least = list(p), 0.0
    for rank, (value, place) in enumerate(known):
        least = max(least, min(1.0, value * (len(known) - rank)))
        found[place] = least
    return found


def outside(level: float, patients: int) -> float:
    """Returns the share of draws outside an interval (Hesterberg 2015)."""
    if patients < 2:
        return NAN
    quantile = stats.t.ppf((1 + level) / 2, patients - 1) * math.sqrt(patients / (patients - 1))
    return 2 * stats.norm.sf(quantile)


def interval(value: float, drawn: np.ndarray, patients: int, level: float) -> tuple[float, float]:
    """Returns percentiles of what is defined among draws."""
    defined, out = drawn[np.isfinite(drawn)], outside(level, patients)
    if defined.size < 2 or math.isnan(value) or math.isnan(out):
        return NAN, NAN
    low, high = np.quantile(defined, [out / 2, 1 - out / 2])
    return float(low), float(high)
