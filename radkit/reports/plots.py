"""What plots share: matplotlib when it is there, one look, colours that a colour-blind reader tells apart."""

import importlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.metrics import agreement

# Okabe and Ito's palette, yellow left out (too pale on white): https://jfly.uni-koeln.de/color/
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_GREY = "#6b7785"
_NO_CURVES = ("step", "learning_rate", "seconds", "skipped_steps", "memory_mib")


def matplotlib(module: str) -> Any:
    """Returns a module of matplotlib, such as `figure`.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise UserError("reports need matplotlib, which is not installed; pip install 'radkit[reports]'") from error


def panels(count: int, width: float = 4.6, height: float = 3.6, columns: int = 3) -> tuple[Any, list[Any]]:
    """Returns a matplotlib figure and its axes, side by side, in rows of at most `columns`.

    Args:
        count: How many axes.
        width: Of one, inches.
        height: Of one, inches.
        columns: Most axes in a row.
    """
    across = min(count, columns)
    down = math.ceil(count / across)
    # Not pyplot: it keeps every figure alive and asks for a screen.
    plot = matplotlib("figure").Figure(figsize=(width * across, height * down), layout="constrained")
    plot.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    axes = [plot.add_subplot(down, across, place + 1) for place in range(count)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(_GREY)
        axis.tick_params(colors="#333", labelsize=9)
        axis.grid(True, color="#e6eaee", linewidth=0.8)
        axis.set_axisbelow(True)
    return plot, axes


def label(axis: Any, title: str, x: str, y: str) -> None:
    """Writes title and axis labels; the title to the left, as headings stand."""
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axis.set_xlabel(x, fontsize=9)
    axis.set_ylabel(y, fontsize=9)


def learning_curves(history: Sequence[Mapping[str, Any]]) -> Any:
    """Returns a matplotlib figure of how training went: one panel a figure, training and validation together.

    Args:
        history: One mapping a report, with `step`, `loss` and whatever else was measured then; `val_x` and
            `validation_x` are drawn into the panel of `x`.

    Raises:
        UserError: Nothing to draw.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted({key for entry in history for key in entry if key not in _NO_CURVES}):
        if _points(history, name)[0]:
            groups.setdefault(name.removeprefix("val_").removeprefix("validation_"), []).append(name)
    if not groups:
        raise UserError("history holds no measured values; each entry needs 'step' and 'loss'")
    order = sorted(groups, key=lambda name: (name != "loss", name))
    plot, axes = panels(len(order))
    for axis, group in zip(axes, order):
        for place, name in enumerate(groups[group]):
            _curve(axis, *_points(history, name), name, COLOURS[place % len(COLOURS)])
        label(axis, group.replace("_", " "), "step", "")
        if groups[group] != [group]:
            axis.legend(frameon=False, fontsize=9)
    return plot


def strip(values: Mapping[str, Sequence[float]], title: str, unit: str) -> Any:
    """Returns a matplotlib figure with one dot a case and a bar at the median, one column a group.

    Args:
        values: Group -> values of its cases; nan is left out.
        title: Above the plot.
        unit: Label of the vertical axis.
    """
    plot, (axis,) = panels(1, width=max(4.6, 1.1 * len(values) + 2), height=3.6)
    for place, (name, column) in enumerate(values.items()):
        numbers = np.array([value for value in column if not math.isnan(value)])
        # Spread by rank, not at random: the same cases give the same picture.
        offset = 0.24 * ((np.arange(numbers.size) * 0.618034) % 1 - 0.5)
        colour = COLOURS[place % len(COLOURS)]
        axis.plot(place + offset, numbers, "o", color=colour, alpha=0.6, markersize=5, markeredgewidth=0, label=name)
        if numbers.size:
            axis.hlines(np.median(numbers), place - 0.3, place + 0.3, color="#222", linewidth=2)
    axis.set_xticks(range(len(values)), list(values))
    axis.set_xlim(-0.6, len(values) - 0.4)
    axis.set_ylim(-0.03, 1.03)
    axis.grid(False, axis="x")
    label(axis, title, "", unit)
    return plot


def bland_altman(reference: np.ndarray, predicted: np.ndarray, unit: str, what: str = "Volume") -> Any:
    """Returns a matplotlib figure: predicted - reference over their mean, with bias and limits of agreement.

    Args:
        reference: (cases,).
        predicted: (cases,), the same unit.
        unit: As `mL`; empty: none.
        what: What was measured.
    """
    limits = agreement.bland_altman(predicted, reference)
    plot, (axis,) = panels(1, width=6.4)
    axis.plot((predicted + reference) / 2, predicted - reference, "o", color=COLOURS[0], alpha=0.7, markersize=5)
    lines = (
        ("bias", limits["bias"], "-"),
        ("-1.96 sd", limits["loa_low"], "--"),
        ("+1.96 sd", limits["loa_high"], "--"),
    )
    for name, height, style in lines:
        if math.isnan(height):
            continue
        axis.axhline(height, color=COLOURS[1], linestyle=style, linewidth=1.3)
        axis.annotate(
            f"{name} {height:.2f}",
            (1.01, height),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    axis.axhline(0, color=_GREY, linewidth=0.8)
    of = f" ({unit})" if unit else ""
    label(axis, f"{what}: prediction minus reference", f"mean of both{of}", f"difference{of}")
    return plot


def _points(history: Sequence[Mapping[str, Any]], name: str) -> tuple[list[float], list[float]]:
    kept = [
        (float(entry["step"]), float(entry[name]))
        for entry in history
        if "step" in entry and isinstance(entry.get(name), int | float | np.number) and math.isfinite(entry[name])
    ]
    return [step for step, _ in kept], [value for _, value in kept]


def _curve(axis: Any, steps: list[float], values: list[float], name: str, colour: str) -> None:
    # Few points are measurements, to be seen; many are a curve.
    marker = "o" if len(steps) <= 20 else ""
    axis.plot(steps, values, color=colour, linewidth=1.6, marker=marker, markersize=4, label=name.replace("_", " "))
