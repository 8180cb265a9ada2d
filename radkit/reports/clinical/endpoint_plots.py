"""Plots of one question of yes or no: ROC, precision and recall, calibration, decision curve."""

from collections.abc import Mapping
from typing import Any

from radkit.reports import plots, text
from radkit.reports.clinical import parts

Told = Mapping[str, Any]
_FAINT = "#6b7785"
_LIMITS = (-0.02, 1.02)


def of(told: Told, place: int) -> list[parts.Drawing]:
    """Returns the plots that an endpoint's figures allow.

    Args:
        told: What the report says of the endpoint.
        place: Its number in the report, from 1, which keeps names of files apart.
    """
    stem = f"{place}-{parts.stem(told['name'])}"
    found = []
    if told["curve"]["roc"]["fpr"]:
        found.append(_roc(told, f"roc-{stem}"))
    if told["curve"]["precision_recall"]["recall"]:
        found.append(_precision(told, f"precision-recall-{stem}"))
    if told["calibration"] and told["calibration"]["bins"]:
        found.append(_calibration(told, f"calibration-{stem}"))
    if told["decision_curve"] and told["decision_curve"]["threshold"]:
        found.append(_decisions(told, f"decision-curve-{stem}"))
    return found


def _figure(told: Told, name: str) -> str:
    """Returns a figure in words, with its interval."""
    at_point = (told["operating_point"] or {"figures": []})["figures"]
    one = next(figure for figure in [*told["figures"], *at_point] if figure["name"] == name)
    if one["value"] is None:
        return "undefined"
    said = text.number(float(one["value"]))
    if one["low"] is None or one["high"] is None:
        return said
    return f"{said} ({text.number(float(one['low']))} to {text.number(float(one['high']))})"


def _called(told: Told) -> Mapping[str, float] | None:
    return told["operating_point"] and told["operating_point"]["confusion"]


def _panel(title: str, x: str, y: str) -> tuple[Any, Any]:
    plot, (axis,) = plots.panels(1, width=4.8, height=4.5)
    plots.label(axis, title, x, y)
    return plot, axis


def _square(axis: Any) -> None:
    axis.set(xlim=_LIMITS, ylim=_LIMITS, aspect="equal")


def _roc(told: Told, stem: str) -> parts.Drawing:
    plot, axis = _panel(f"ROC: {told['name']}", "1 - specificity", "sensitivity")
    curve = told["curve"]["roc"]
    axis.plot([0, 1], [0, 1], color=_FAINT, linestyle=":", linewidth=1, label="chance")
    axis.plot(curve["fpr"], curve["tpr"], color=plots.COLOURS[0], linewidth=1.8, label=f"AUC {_figure(told, 'AUC')}")
    alt = f"ROC curve of {told['name']}: AUC {_figure(told, 'AUC')}, {told['positives']} yes and {told['negatives']} no"
    if counts := _called(told):
        yes, no = counts["tp"] + counts["fn"], counts["fp"] + counts["tn"]
        _mark(axis, counts["fp"] / no, counts["tp"] / yes)
        alt += (
            f"; at the operating point sensitivity {_figure(told, 'sensitivity')}, "
            f"specificity {_figure(told, 'specificity')}"
        )
    _square(axis)
    axis.legend(loc="lower right", fontsize=9, framealpha=0.9, edgecolor="none")
    return parts.Drawing(stem, plot, alt)


def _mark(axis: Any, x: float, y: float) -> None:
    axis.plot([x], [y], marker="D", color="#222", markersize=7, linestyle="none", label="operating point")


def _precision(told: Told, stem: str) -> parts.Drawing:
    plot, axis = _panel(f"Precision and recall: {told['name']}", "recall (sensitivity)", "precision (PPV)")
    curve, share = told["curve"]["precision_recall"], told["prevalence"]
    axis.axhline(share, color=_FAINT, linestyle=":", linewidth=1, label=f"chance {text.number(float(share))}")
    axis.step(
        [0, *curve["recall"]],
        [curve["precision"][0], *curve["precision"]],
        where="pre",
        color=plots.COLOURS[0],
        linewidth=1.8,
        label=f"AP {_figure(told, 'average precision')}",
    )
    alt = (
        f"Precision over recall of {told['name']}: average precision {_figure(told, 'average precision')}, "
        f"share of yes {text.number(float(share))}"
    )
    counts = _called(told)
    if counts and counts["tp"] + counts["fp"]:
        _mark(axis, counts["tp"] / (counts["tp"] + counts["fn"]), counts["tp"] / (counts["tp"] + counts["fp"]))
        alt += f"; at the operating point PPV {_figure(told, 'PPV')}"
    _square(axis)
    axis.legend(loc="lower left", fontsize=9, framealpha=0.9, edgecolor="none")
    return parts.Drawing(stem, plot, alt)


def _calibration(told: Told, stem: str) -> parts.Drawing:
    plot, axis = _panel(f"Calibration: {told['name']}", "mean probability in the bin", "share of yes")
    bins = told["calibration"]["bins"]
    axis.plot([0, 1], [0, 1], color=_FAINT, linestyle=":", linewidth=1, label="ideal")
    mean, share = [one["mean"] for one in bins], [one["fraction"] for one in bins]
    axis.plot(mean, share, color=plots.COLOURS[0], marker="o", markersize=5, linewidth=1.4, label="model")
    for one in bins:
        if one["wilson_low"] is not None and one["wilson_high"] is not None:
            axis.vlines(one["mean"], one["wilson_low"], one["wilson_high"], color=plots.COLOURS[0], linewidth=1)
    _square(axis)
    axis.legend(loc="upper left", fontsize=9, framealpha=0.9, edgecolor="none")
    listed = ", ".join(f"{one['fraction']:.2f} of {one['count']} at {one['mean']:.2f}" for one in bins)
    alt = (
        f"Calibration of {told['name']}: slope {_figure(told, 'calibration slope')}, in the large "
        f"{_figure(told, 'calibration in the large')}; share of yes by mean probability: {listed}"
    )
    level = f"{100 * told['calibration']['level']:g} %"
    return parts.Drawing(stem, plot, alt, f"Bars: Wilson's {level} interval of each bin's share.")


def _decisions(told: Told, stem: str) -> parts.Drawing:
    plot, axis = _panel(f"Decision curve: {told['name']}", "threshold probability", "net benefit")
    curve = told["decision_curve"]
    x = curve["threshold"]
    axis.plot(x, curve["model"], color=plots.COLOURS[0], linewidth=1.8, label="act on the model")
    axis.plot(x, curve["all"], color=plots.COLOURS[1], linewidth=1.4, linestyle="--", label="act on everybody")
    axis.axhline(0, color="#222", linewidth=1, linestyle="-.", label="act on nobody")
    axis.axvline(curve["at_cost"], color=_FAINT, linewidth=1, linestyle=":", label="the cost that was set")
    most = max(*curve["model"], *curve["all"], 0.01)
    # Acting on everybody falls without end; below a little harm nothing is to be compared.
    axis.set(xlim=(0, 1), ylim=(-max(most / 3, 0.05), most * 1.1))
    axis.legend(loc="upper right", fontsize=9, framealpha=0.9, edgecolor="none")
    shown = [place for place, threshold in enumerate(x) if round(threshold * 100) in (5, 10, 20, 50)]
    listed = ", ".join(f"{curve['model'][k]:.3f} and {curve['all'][k]:.3f} at {x[k]:.2f}" for k in shown)
    alt = f"Decision curve of {told['name']}: net benefit of acting on the model and on everybody {listed}"
    caption = "A threshold of 0.1 says that a missed yes is as bad as nine false alarms."
    return parts.Drawing(stem, plot, alt, caption)
