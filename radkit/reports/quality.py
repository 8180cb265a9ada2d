"""The page of a curation: what to mend first, then the examples, how values spread, and what was kept.

Series are numbered as in the tables beside the page; it holds no names and no identifiers. Bars and histograms are
drawn as text (HTML and SVG), so that the page needs no plotting library and follows light and dark.
"""

import html as escaping
import math
from collections.abc import Sequence
from dataclasses import dataclass

from radkit.reports import html

_GRAVEST_FIRST = ("fault", "warning", "note")
_FIRST_SCREEN = 8  # kinds of findings that are listed open; more is no short list
_MOST_BARS = 16
_WIDTH, _HEIGHT, _LEFT, _FOOT = 420, 170, 8, 34  # of a histogram, SVG units; below the bars stand ticks and marks

_STYLE = """<style>
:root{--bad:#a3152a;--bad-paper:#fdeef0}
@media(prefers-color-scheme:dark){:root{--bad:#ff97a3;--bad-paper:#3a1a20}}
@media print{:root{--bad:#000;--bad-paper:#fff}}
.big{display:flex;flex-wrap:wrap;gap:.4rem 1.7rem;margin:1.1rem 0 .2rem}.big div{color:var(--soft)}
.big b{display:block;color:var(--ink);font-size:1.6rem;line-height:1.3;font-variant-numeric:tabular-nums}
.fix{list-style:none;padding:0;margin:.6rem 0}
.fix li{border-left:5px solid var(--line);background:var(--band);border-radius:4px;padding:.5rem .9rem;margin:.5rem 0;
break-inside:avoid}
.fix .fault{border-color:var(--bad);background:var(--bad-paper)}.fix .warning{border-color:var(--warn);
background:var(--warn-paper)}
.fix a{font-weight:600}.fix p{margin:.1rem 0 0;max-width:none}
.mark{font-size:.78rem;font-weight:600;letter-spacing:.03em;text-transform:uppercase;margin-right:.5rem}
.fault .mark,.mark.fault{color:var(--bad)}.warning .mark,.mark.warning{color:var(--warn)}
.note .mark,.mark.note{color:var(--soft)}
.fix .count{float:right;margin-left:1rem;font-variant-numeric:tabular-nums}
summary{cursor:pointer;color:var(--accent);margin:.5rem 0}
.bars table{width:100%;max-width:46rem}.bars td,.bars th{padding:.2rem .5rem;border:0;font-weight:400}
.bars th{overflow-wrap:anywhere}.bars tbody tr:nth-child(even){background:none}
.bar{width:38%}.bar i{display:block;height:.7rem;margin-top:.38rem;background:var(--accent);border-radius:2px}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.6rem,1fr));gap:1.1rem .9rem;margin:1rem 0}
.tiles figure{margin:0;min-width:0}.tiles .pic{width:100%;aspect-ratio:1;background:#000;border:1px solid var(--line);
border-radius:4px;display:flex;align-items:center;justify-content:center;overflow:hidden}
.tiles .pic img{max-width:none;border:0;border-radius:0;background:#000}
.tiles .none{background:var(--band);color:var(--soft);font-size:.78rem;padding:.7rem;text-align:center}
.tiles figcaption{font-size:.82rem;line-height:1.35;overflow-wrap:anywhere}
.tiles figcaption b{color:var(--ink);font-weight:600}
.plots{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,19rem),1fr));gap:1rem 1.6rem}
.plots figure{margin:.3rem 0;min-width:0}.plots h3{margin:.4rem 0 .2rem;font-size:1rem}
.plots svg{display:block;width:100%;height:auto}
.plots rect{fill:var(--accent)}.plots path{stroke:var(--soft);fill:none}.plots .out{fill:var(--warn);stroke:none}
.plots text{fill:var(--soft);font-size:13px}
.told td,.told th{overflow-wrap:anywhere}.told table{font-size:.88rem}
@media(max-width:30rem){.fix .count{float:none;display:block;margin:0}}
</style>"""


@dataclass(frozen=True)
class Tile:
    """A series' picture.

    Attributes:
        title: Which series, in a word or two.
        why: Why it is shown.
        png: The picture, base64; empty when there is none.
        aspect: Height over width, as it is shown.
    """

    title: str
    why: str
    png: str = ""
    aspect: float = 1.0


@dataclass(frozen=True)
class Table:
    """Some rows of a table, and what holds the others."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    total: int
    file: str


@dataclass(frozen=True)
class Kind:
    """Findings of one kind.

    Attributes:
        name: An identifier, unique on the page.
        severity: `fault`, `warning` or `note`.
        title: What it is.
        advice: What to do about it.
        count: Its weight among those as grave.
        concerns: What it concerns, in words: "12 series of 9 patients".
        tiles: Pictures of examples.
        examples: What was found, in words.
        said: What was found of the folder as a whole, in words, with its numbers.
    """

    name: str
    severity: str
    title: str
    advice: str
    count: int
    concerns: str
    tiles: Sequence[Tile]
    examples: Table
    said: str = ""


@dataclass(frozen=True)
class Histogram:
    """How something spreads over the series.

    Attributes:
        heading: What.
        unit: Of the axis.
        heights: Of the bars, which are all as wide.
        ticks: (place, text) along the axis; 0 is where the first bar begins, 1 where it ends.
        marks: Places of what stands out.
        caption: In words.
    """

    heading: str
    unit: str
    heights: Sequence[float]
    ticks: Sequence[tuple[float, str]]
    marks: Sequence[float] = ()
    caption: str = ""


@dataclass(frozen=True)
class Quality:
    """What the page shows, all of it plain text and numbers.

    Attributes:
        figures: (name, value) of the whole folder.
        kinds: What was found in the series that were read; in any order.
        warnings: Shown before all else.
        notes: Shown below the figures.
        rejections: (title, number of series) that a rule leaves out.
        histograms: How values and geometry spread.
        outliers: The series that stand out.
        kept: Pictures of some kept series.
        num_kept: How many there are.
        overrides: What persons decided.
    """

    figures: Sequence[tuple[str, str]]
    kinds: Sequence[Kind]
    rejections: Sequence[tuple[str, int]]
    histograms: Sequence[Histogram]
    outliers: Table
    kept: Sequence[Tile]
    num_kept: int
    overrides: Table
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()


def page(quality: Quality) -> str:
    """Returns the HTML document: one file, no script, nothing from elsewhere."""
    kinds = by_weight(quality.kinds)
    return html.page(
        "Quality of the images",
        _STYLE,
        _figures(quality.figures),
        html.notes(quality.warnings),
        _to_mend(kinds),
        *[html.paragraph(note) for note in quality.notes],
        _rejections(quality.rejections),
        html.section("What was found", *[_kind(kind) for kind in kinds]),
        _plots(quality.histograms),
        _outliers(quality.outliers),
        _kept(quality.kept, quality.num_kept),
        _overrides(quality.overrides),
        lead="What to mend first, with examples below. Series have the numbers of curation.csv and findings.csv.",
    )


def by_weight(kinds: Sequence[Kind]) -> list[Kind]:
    """Returns kinds, the gravest and most frequent first."""
    return sorted(kinds, key=lambda kind: (_GRAVEST_FIRST.index(kind.severity), -kind.count, kind.title))


def _figures(figures: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<div><b>{_plain(value)}</b>{_plain(name)}</div>" for name, value in figures)
    return f'<div class="big">{cells}</div>'


def _to_mend(kinds: Sequence[Kind]) -> str:
    """Returns the first screen's list; what is grave stands open, the rest behind a line to press."""
    if not kinds:
        return html.section("What to mend", html.paragraph("Nothing was found."))
    shown = [kind for kind in kinds if kind.severity != "note"][:_FIRST_SCREEN]
    rest = kinds[len(shown) :]
    opened = f'<ol class="fix">{"".join(map(_item, shown))}</ol>' if shown else html.paragraph("Nothing grave.")
    if not rest:
        return html.section("What to mend", opened)
    word = "kind" if len(rest) == 1 else "kinds"
    more = f'<ol class="fix">{"".join(map(_item, rest))}</ol>'
    named = ", ".join(kind.title for kind in rest)  # all are told of at first sight, if not what to do
    said = f"<summary>{len(rest)} more {word} of findings, less grave or less frequent: {_plain(named)}</summary>"
    return html.section("What to mend", opened, f"<details>{said}{more}</details>")


def _item(kind: Kind) -> str:
    count = f'<span class="count">{_plain(kind.concerns)}</span>' if kind.concerns else ""
    said = _plain(_sentences(kind.said, kind.advice))
    return (
        f'<li class="{_plain(kind.severity)}">{count}<span class="mark">{_plain(kind.severity)}</span>'
        f'<a href="#{_plain(kind.name)}">{_plain(kind.title)}</a><p>{said}</p></li>'
    )


def _kind(kind: Kind) -> str:
    pictures = f'<div class="tiles">{"".join(map(_tile, kind.tiles))}</div>' if kind.tiles else ""
    head = f'<h3 id="{_plain(kind.name)}"><span class="mark {_plain(kind.severity)}">{_plain(kind.severity)}</span>'
    said = html.paragraph(_sentences(kind.concerns, kind.advice, f"All of them: {kind.examples.file}"))
    return "\n".join(
        part
        for part in (f"{head}{_plain(kind.title)}</h3>", said, pictures, _table(kind.examples, bool(kind.tiles)))
        if part
    )


def _sentences(*parts: str) -> str:
    """Returns what there is of sentences, each with its full stop."""
    return " ".join(part if part.endswith(".") else f"{part}." for part in parts if part)


def _table(table: Table, others: bool = False) -> str:
    """Returns rows, and what is not shown; `others` than those whose pictures are."""
    if not table.rows:
        return ""
    more = table.total - len(table.rows)
    beside = " others" if others else ""
    caption = f"{len(table.rows):,} of {table.total:,}{beside} are listed; {table.file} holds all" if more > 0 else ""
    return f'<div class="told">{html.table(table.header, table.rows, caption)}</div>'


def _rejections(rejections: Sequence[tuple[str, int]]) -> str:
    most = max((number for _, number in rejections), default=1)
    more = len(rejections) - _MOST_BARS
    rows = "".join(
        f'<tr><th scope="row">{_plain(name)}</th><td class="n">{number:,}</td>'
        f'<td class="bar"><i style="width:{max(1, round(100 * number / most))}%"></i></td></tr>'
        for name, number in rejections[:_MOST_BARS]
    )
    if not rows:
        return ""
    said = html.paragraph("Series that are left out; one of several reasons counts under each.")
    bars = f'<div class="bars"><table><tbody>{rows}</tbody></table></div>'
    rest = html.paragraph(f"{more} reasons more are less frequent; summary.json holds all.") if more > 0 else ""
    return html.section("Left out, by reason", said, bars, rest)


def _tile(tile: Tile) -> str:
    words = f"<figcaption><b>{_plain(tile.title)}</b> {_plain(tile.why)}</figcaption>"
    if not tile.png:
        return f'<figure><div class="pic none">no picture</div>{words}</figure>'
    side = "height:100%;width:auto" if tile.aspect > 1 else "width:100%;height:auto"
    style = f"aspect-ratio:1/{tile.aspect:.4g};{side}"
    alt = _plain(f"{tile.title}, middle slice. {tile.why}".strip())
    image = f'<img alt="{alt}" style="{style}" src="data:image/png;base64,{tile.png}">'
    return f'<figure><div class="pic">{image}</div>{words}</figure>'


def _plots(histograms: Sequence[Histogram]) -> str:
    drawn = [_histogram(histogram) for histogram in histograms if any(histogram.heights)]
    if not drawn:
        return ""
    return html.section("How values spread", f'<div class="plots">{"".join(drawn)}</div>')


def _histogram(plot: Histogram) -> str:
    """Returns bars over an axis; a triangle below it for each thing that stands out."""
    base, most = _HEIGHT - _FOOT, max(plot.heights)
    across = (_WIDTH - 2 * _LEFT) / len(plot.heights)
    bars = "".join(
        f'<rect x="{_LEFT + number * across:.1f}" y="{base - tall:.1f}" width="{max(across - 1, 0.8):.1f}" '
        f'height="{tall:.1f}"></rect>'
        for number, height in enumerate(plot.heights)
        if (tall := _tall(height / most, base - 6))
    )
    ticks = "".join(_tick(place, words, base) for place, words in plot.ticks)
    marks = "".join(_mark(place, base) for place in sorted({round(place, 3) for place in plot.marks}))
    alt = f"Histogram: {plot.heading}. {plot.caption}".strip()
    axis = f'<path d="M{_LEFT} {base}H{_WIDTH - _LEFT}"></path>'
    unit = f" ({plot.unit})" if plot.unit else ""
    return (
        f"<figure><h3>{_plain(plot.heading)}{_plain(unit)}</h3>"
        f'<svg role="img" aria-label="{_plain(alt)}" viewBox="0 0 {_WIDTH} {_HEIGHT}">{bars}{axis}{ticks}{marks}</svg>'
        f"<figcaption>{_plain(plot.caption)}</figcaption></figure>"
    )


def _tall(share: float, room: float) -> float:
    """Returns a bar's height; what is there at all is seen."""
    return 0.0 if not share or math.isnan(share) else max(1.5, share * room)


def _tick(place: float, words: str, base: float) -> str:
    x = _LEFT + place * (_WIDTH - 2 * _LEFT)
    anchor = "start" if place < 0.04 else "end" if place > 0.96 else "middle"
    return (
        f'<path d="M{x:.1f} {base}v5"></path>'
        f'<text x="{x:.1f}" y="{_HEIGHT - 4}" text-anchor="{anchor}">{_plain(words)}</text>'
    )


def _mark(place: float, base: float) -> str:
    x = _LEFT + place * (_WIDTH - 2 * _LEFT)
    return f'<path class="out" d="M{x:.1f} {base + 2}l5 10h-10z"></path>'


def _outliers(table: Table) -> str:
    if not table.rows:
        return ""
    return html.section("Series that stand out", _table(table), anchor="outliers")


def _kept(tiles: Sequence[Tile], total: int) -> str:
    if not tiles:
        return ""
    said = f"{len(tiles):,} of the {total:,} series that are kept; curation.csv holds all."
    pictures = f'<div class="tiles">{"".join(map(_tile, tiles))}</div>'
    return html.section("Kept", html.paragraph(said), pictures)


def _overrides(table: Table) -> str:
    if not table.rows:
        return ""
    said = "What persons decided stands over the rules; the rules' own finding is beside it."
    return html.section("Decided by persons", html.paragraph(said), _table(table))


def _plain(words: object) -> str:
    return escaping.escape(str(words), quote=True)
