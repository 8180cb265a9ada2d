"""Plots as text in the page: overlaid histograms, stacked bars, dots in a plane. No plotting library, light and dark.

Groups have numbers; a group's colour is the same in all plots of a page that give it the same number.
"""

import html as escaping
import math
from collections.abc import Sequence
from dataclasses import dataclass

from radkit.reports import plots, text

NUM_COLOURS = len(plots.COLOURS) + 1  # the last is grey, of what is not known or is joined
_GREY = NUM_COLOURS - 1
_WIDTH, _HEIGHT, _SIDE, _FOOT = 420, 190, 8, 36  # of a histogram, SVG units
_PLANE, _MARGIN = 400, 12  # of a scatter
_MANY = 500  # dots are smaller from here on

_LIGHT = "".join(f"--g{number}:{colour};" for number, colour in enumerate((*plots.COLOURS, "#8a949e")))
STYLE = (
    "<style>\n:root{" + _LIGHT + "}\n@media(prefers-color-scheme:dark){:root{--g0:#4da3e0;--g2:#1fbf90;--g6:#f2f2f2}}\n"
    ".drawn{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:1rem 1.8rem}\n"
    ".drawn figure{margin:.3rem 0;min-width:0}.drawn h3{margin:.4rem 0 .2rem;font-size:1rem}\n"
    ".drawn svg{display:block;width:100%;height:auto}.drawn text{fill:var(--soft);font-size:13px}\n"
    ".drawn .axis{stroke:var(--soft);fill:none}.drawn .curve{fill:none;stroke-width:2}\n"
    ".legend{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;font-size:.88rem;margin:.3rem 0;padding:0;list-style:none}\n"
    ".legend i,.stack i,th i{print-color-adjust:exact;-webkit-print-color-adjust:exact}\n"
    ".legend i,th i{display:inline-block;width:.75rem;height:.75rem;border-radius:50%;margin-right:.35rem}\n"
    ".stack{display:flex;height:.95rem;min-width:12rem;margin-top:.28rem;border-radius:2px;overflow:hidden}\n"
    ".stack i{display:block}\n"
    + "".join(f".c{n}{{stroke:var(--g{n})}}.b{n}{{background:var(--g{n})}}\n" for n in range(NUM_COLOURS))
    + "</style>"
)


@dataclass(frozen=True)
class Curve:
    """One group's histogram: a name, its colour's number, and its share in each bin."""

    name: str
    colour: int
    heights: Sequence[float]


@dataclass(frozen=True)
class Histogram:
    """Curves over one axis.

    Attributes:
        heading: What is counted.
        unit: Of the axis.
        low: Where the first bin begins.
        high: Where the last ends.
        curves: Of the same bins.
        caption: Below it, plain text.
        whole: Whether values are whole numbers; the axis names such only.
        cut: Whether bins far higher than all others may leave the top.
    """

    heading: str
    unit: str
    low: float
    high: float
    curves: Sequence[Curve]
    caption: str = ""
    whole: bool = False
    cut: bool = False


@dataclass(frozen=True)
class Scatter:
    """Dots in a plane.

    Attributes:
        heading: What the plane is.
        axes: Names of either axis; empty where they mean nothing.
        points: (x, y), any scale; dots that are not finite are left out.
        words: What is told of each dot when it is pointed at.
        classes: CSS classes of each dot, that the page colours it by.
        caption: Below it, plain text.
    """

    heading: str
    axes: tuple[str, str]
    points: Sequence[tuple[float, float]]
    words: Sequence[str]
    classes: Sequence[str]
    caption: str = ""


def colour(place: int) -> int:
    """Returns the number of a colour for the group at a place; grey when there are no more."""
    return min(place, _GREY)


def legend(names: Sequence[tuple[str, int]], css_class: str = "") -> str:
    """Returns what the colours mean: (name, colour's number) each."""
    items = "".join(f'<li><i class="b{number}"></i>{plain(name)}</li>' for name, number in names)
    return f'<ul class="legend {plain(css_class)}">{items}</ul>' if names else ""


def stacked(parts: Sequence[tuple[str, int, float]]) -> str:
    """Returns one bar of parts, (name, colour's number, how much) each, as shares of their sum."""
    total = sum(much for _, _, much in parts)
    if not total:
        return '<div class="stack"></div>'
    cells = "".join(
        f'<i class="b{number}" style="width:{100 * much / total:.2f}%" '
        f'title="{plain(f"{name}: {text.number(much)}")}"></i>'
        for name, number, much in parts
        if much
    )
    return f'<div class="stack">{cells}</div>'


def histogram(plot: Histogram) -> str:
    """Returns overlaid steps, one line a group; what is far higher than all else is cut, and the caption says so."""
    base = _HEIGHT - _FOOT
    heights = [height for curve in plot.curves for height in curve.heights]
    top = _top(heights) if plot.cut else max([*heights, 1e-12])
    lines = "".join(_curve(curve, top, base) for curve in plot.curves)
    ticks = "".join(_tick((value - plot.low) / (plot.high - plot.low), value, base) for value in _told(plot))
    said = " ".join(
        part
        for part in (plot.caption, "Lines that leave the top are higher." if max([*heights, 0]) > top else "")
        if part
    )
    names = ", ".join(curve.name for curve in plot.curves)
    return _figure(
        f"{plot.heading}{f' ({plot.unit})' if plot.unit else ''}",
        f'<svg role="img" aria-label="{plain(f"Histogram: {plot.heading}, of {names}")}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}">{lines}<path class="axis" d="M{_SIDE} {base}H{_WIDTH - _SIDE}"></path>'
        f"{ticks}</svg>",
        legend([(curve.name, curve.colour) for curve in plot.curves]) if len(plot.curves) > 1 else "",
        said,
    )


def _top(heights: Sequence[float]) -> float:
    """How high the plot reaches: air is half of many volumes, and would press all else flat."""
    high = sorted(height for height in heights if height > 0)
    return min(high[-1], 2.5 * high[int(0.9 * (len(high) - 1))]) if high else 1.0


def _told(plot: Histogram) -> list[float]:
    """The values that an axis names."""
    width = plot.high - plot.low
    values = [plot.low + share * width for share in (0, 0.25, 0.5, 0.75, 1)]
    if not plot.whole:
        return values
    # Bins lie around whole numbers: those half a step inside the ends are meant.
    inside = (min(max(round(value), math.ceil(plot.low)), math.floor(plot.high)) for value in values)
    return sorted({float(value) for value in inside})


def _curve(curve: Curve, top: float, base: float) -> str:
    across = (_WIDTH - 2 * _SIDE) / max(1, len(curve.heights))
    room = base - 8
    steps = "".join(f"V{base - min(1.02, share / top) * room:.1f}h{across:.2f}" for share in curve.heights)
    return f'<path class="curve c{curve.colour}" d="M{_SIDE} {base}{steps}V{base}"></path>'


def _tick(share: float, value: float, base: float) -> str:
    x = _SIDE + share * (_WIDTH - 2 * _SIDE)
    anchor = "start" if share < 0.04 else "end" if share > 0.96 else "middle"
    return (
        f'<path class="axis" d="M{x:.1f} {base}v5"></path>'
        f'<text x="{x:.1f}" y="{_HEIGHT - 14}" text-anchor="{anchor}">{plain(_number(value))}</text>'
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else f"{value:.3g}"


def scatter(plot: Scatter) -> str:
    """Returns dots, each with its words for those who point at it; the page's style says which colour they have."""
    kept = [(n, x, y) for n, (x, y) in enumerate(plot.points) if math.isfinite(x) and math.isfinite(y)]
    across, along = _scale([x for _, x, _ in kept]), _scale([y for _, _, y in kept])
    radius = 3.4 if len(kept) <= _MANY else 2.4
    dots = "".join(
        f'<circle class="{plain(plot.classes[n])}" cx="{_at(x, across):.1f}" cy="{_PLANE - _at(y, along):.1f}" '
        f'r="{radius}"><title>{plain(plot.words[n])}</title></circle>'
        for n, x, y in kept
    )
    names = _axes(*plot.axes) if any(plot.axes) else ""
    frame = f'<path class="axis" d="M1 16V{_PLANE}H{_PLANE}"></path>'
    return _figure(
        plot.heading,
        f'<svg role="img" aria-label="{plain(f"Dots in a plane: {plot.heading}, {len(kept)} records")}" '
        f'viewBox="0 0 {_PLANE} {_PLANE + 20}">{frame}{dots}{names}</svg>',
        "",
        plot.caption,
    )


def _axes(across: str, along: str) -> str:
    return (
        f'<text x="{_PLANE - 4}" y="{_PLANE + 16}" text-anchor="end">{plain(across)} →</text>'
        f'<text x="2" y="12">↑ {plain(along)}</text>'
    )


def _scale(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    return (low, high) if high > low else (low - 1, high + 1)


def _at(value: float, scale: tuple[float, float]) -> float:
    return _MARGIN + (value - scale[0]) / (scale[1] - scale[0]) * (_PLANE - 2 * _MARGIN - 14)


def _figure(heading: str, drawn: str, below: str, caption: str) -> str:
    words = f"<figcaption>{plain(caption)}</figcaption>" if caption else ""
    return f"<figure><h3>{plain(heading)}</h3>{drawn}{below}{words}</figure>"


def plain(words: object) -> str:
    """Returns text that a page shows as it is."""
    return escaping.escape(str(words), quote=True)
