"""The page of a data set: balance, histograms, contact sheets, and the records laid out by how they look.

One file, no script: which colours the dots have is chosen by buttons that the page's style reads. It shows pixels and
pseudonymous identifiers.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radkit.reports import html, overview, plots, svg

_STYLE = """<style>
.big{display:flex;flex-wrap:wrap;gap:.4rem 2.4rem;margin:1.2rem 0 .4rem}.big div{color:var(--soft)}
.big b{display:block;color:var(--ink);font-size:1.6rem;line-height:1.3;font-variant-numeric:tabular-nums}
.balance table{width:100%}.balance td,.balance th{padding:.2rem .7rem .2rem .3rem;border:0}
.balance thead th{border-bottom:1px solid var(--line)}.balance tbody tr:nth-child(even){background:none}
.balance tbody th{font-weight:400;overflow-wrap:anywhere;min-width:7rem}.balance td.share{width:38%}
.balance .scroll{margin:.3rem 0 1.2rem}
.balance thead span{display:inline-block;max-width:11rem;overflow:hidden;text-overflow:ellipsis;vertical-align:bottom}
.balance tbody th span{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:3;overflow:hidden}
h3,li,p,figcaption{overflow-wrap:anywhere}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.6rem,1fr));gap:.35rem;margin:.4rem 0 1rem}
.sheet div,.far .pic{aspect-ratio:1;background:#000;display:flex;align-items:center;justify-content:center;
overflow:hidden;border-radius:3px}
.sheet img,.far .pic img{display:block;max-width:none;background:#000;border:0;border-radius:0}
.far{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1.2rem;margin:1rem 0}
.far figure{margin:0;min-width:0}.far figcaption{font-size:.82rem;line-height:1.4;overflow-wrap:anywhere}
.far figcaption b{color:var(--ink)}
.by{margin:.8rem 0}.by input{accent-color:var(--accent);margin:0 .3rem 0 0}.by label{margin-right:1.2rem}
.by .legend{display:none;margin:.7rem 0 .3rem;min-height:1.5rem}
.by .drawn{grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr))}
.by svg{max-width:32rem}
.by circle{fill:var(--g7);fill-opacity:.72}
@media print{.sheet div{break-inside:avoid}}
</style>"""

_OUTLINES = (4, 5, 0, 1, 2, 3)  # colours' numbers; the first two are seen best on grey


@dataclass(frozen=True)
class Tile:
    """A record's picture.

    Attributes:
        name: Its record_uid.
        picture: (rows, columns), or with 3 colours, uint8.
        aspect: Height of a pixel over its width.
        words: Shown below it, where there is room.
    """

    name: str
    picture: np.ndarray
    aspect: float = 1.0
    words: str = ""


@dataclass(frozen=True)
class Balance:
    """How the classes are spread over the groups of one kind.

    Attributes:
        heading: What kind.
        classes: Name and colour's number of each part of the bars.
        rows: Name, records, patients, and records of each class, of each group.
        caption: Below it.
    """

    heading: str
    classes: Sequence[tuple[str, int]]
    rows: Sequence[tuple[str, int, int, Sequence[int]]]
    caption: str = ""


@dataclass(frozen=True)
class Choice:
    """One way to colour the dots.

    Attributes:
        heading: What it is by.
        letter: Dots of its group n have the class `<letter>-<n>`.
        names: Its groups, each with its colour's number.
    """

    heading: str
    letter: str
    names: Sequence[tuple[str, int]]


@dataclass(frozen=True)
class Table:
    """A table with a heading, and a sentence that says how to read it."""

    heading: str
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    words: str = ""


@dataclass(frozen=True)
class Explore:
    """What the page shows, all of it plain text, numbers and small pictures.

    Attributes:
        title: The data set's name.
        lead: What it is, in a line.
        figures: (name, value) of the whole set.
        warnings: Shown before all else.
        notes: Shown below the figures.
        balance: Of the classes.
        tables: Before it: classes that are not exclusive.
        histograms: Of grey values; then of all else.
        shapes: Sizes, spacings, ages ...
        constant: What is the same in all records: name and value; empty where none tells.
        sheets: Heading and tiles each.
        outlines: What the tiles' outlines are of, in the order of the mask's values.
        choices: Ways to colour the dots.
        scatters: Records in planes.
        told: What the features tell.
        outliers: Records unlike the others.
    """

    title: str
    lead: str
    figures: Sequence[tuple[str, str]]
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    balance: Sequence[Balance] = ()
    tables: Sequence[Table] = ()
    histograms: Sequence[svg.Histogram] = ()
    shapes: Sequence[svg.Histogram] = ()
    constant: Sequence[tuple[str, str]] = ()
    sheets: Sequence[tuple[str, Sequence[Tile]]] = ()
    outlines: Sequence[str] = ()
    choices: Sequence[Choice] = ()
    scatters: Sequence[svg.Scatter] = ()
    told: Sequence[Table] = ()
    outliers: Sequence[Tile] = ()


def page(content: Explore) -> str:
    """Returns the HTML document: one file, no script, nothing from elsewhere."""
    return html.page(
        content.title,
        svg.STYLE,
        _STYLE,
        html.notes(content.warnings),
        _figures(content.figures),
        *[html.paragraph(note) for note in content.notes],
        html.section("Balance", *map(_table, content.tables), *map(_balance, content.balance), anchor="balance"),
        html.section("Grey values", _drawn(content.histograms), anchor="values"),
        html.section("Sizes, spacings, facts", _drawn(content.shapes), _constant(content.constant), anchor="sizes"),
        html.section("Contact sheets", _outlines(content), *[_sheet(*s) for s in content.sheets], anchor="sheets"),
        html.section("By how they look", _laid_out(content), *map(_table, content.told), anchor="looks"),
        _outliers(content.outliers),
        lead=content.lead,
    )


def _figures(figures: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<div><b>{svg.plain(value)}</b>{svg.plain(name)}</div>" for name, value in figures)
    return f'<div class="big">{cells}</div>'


def _balance(balance: Balance) -> str:
    """Returns one kind's groups with a bar of shares each, and the counts behind them."""
    heads = "".join(
        f'<th scope="col" class="n"><i class="b{colour}"></i>{_cut(name)}</th>' for name, colour in balance.classes
    )
    lines = []
    for name, records, patients, counts in balance.rows:
        bar = svg.stacked([(c, number, much) for (c, number), much in zip(balance.classes, counts)])
        cells = "".join(f'<td class="n">{number:,}</td>' for number in (records, patients, *counts))
        lines.append(f'<tr><th scope="row">{_cut(name)}</th><td class="share">{bar}</td>{cells}</tr>')
    head = (
        f'<tr><th scope="col">{svg.plain(balance.heading)}</th><th scope="col">shares</th>'
        f'<th scope="col" class="n">records</th><th scope="col" class="n">patients</th>{heads}</tr>'
    )
    region = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{svg.plain(f"Balance by {balance.heading}")}">'
    )
    table = f"{region}<table><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table></div>"
    return (
        f'<div class="balance"><h3>By {svg.plain(balance.heading)}</h3>{html.paragraph(balance.caption)}{table}</div>'
    )


def _cut(name: str) -> str:
    """A name that the page's style cuts where it is long; all of it appears when it is pointed at."""
    return f'<span title="{svg.plain(name)}">{svg.plain(name)}</span>'


def _table(table: Table) -> str:
    if not table.rows:
        return ""
    words = html.paragraph(table.words)
    return f"<h3>{svg.plain(table.heading)}</h3>{words}{html.table(table.header, table.rows)}"


def _drawn(histograms: Sequence[svg.Histogram]) -> str:
    return f'<div class="drawn">{"".join(map(svg.histogram, histograms))}</div>' if histograms else ""


def _constant(facts: Sequence[tuple[str, str]]) -> str:
    """Returns what all records share, and what none of them tells."""
    told = [(name, value) for name, value in facts if value]
    untold = ", ".join(name for name, value in facts if not value)
    table = html.table(("the same in all records", "value"), told) if told else ""
    return table + html.paragraph(f"Told by no record: {untold}." if untold else "")


def _outlines(content: Explore) -> str:
    """Returns what the outlines are of; nothing where there are no tiles."""
    names = [(name, _OUTLINES[place % len(_OUTLINES)]) for place, name in enumerate(content.outlines)]
    return svg.legend(names) if content.sheets else ""


def _sheet(heading: str, tiles: Sequence[Tile]) -> str:
    cells = "".join(f"<div>{_image(tile)}</div>" for tile in tiles)
    return f'<h3>{svg.plain(heading)}</h3><div class="sheet">{cells}</div>' if tiles else ""


def _image(tile: Tile) -> str:
    """Returns a tile's picture, fitted into a square with the patient's proportions."""
    rows, columns = tile.picture.shape[:2]
    height = rows * tile.aspect
    side = "height:100%;width:auto" if height > columns else "width:100%;height:auto"
    source = base64.b64encode(overview.png(tile.picture)).decode()
    name = svg.plain(tile.name)
    return (
        f'<img alt="{name}" title="{name}" style="aspect-ratio:{columns}/{height:.4g};{side}" '
        f'src="data:image/png;base64,{source}">'
    )


def outlined(grey: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns a picture of twice the size with each label's outline in its colour, (2 rows, 2 columns, 3) uint8.

    Args:
        grey: (rows, columns) uint8.
        mask: Likewise; 0 is background.
    """
    labels = np.pad(np.repeat(np.repeat(mask, 2, 0), 2, 1), 1)
    inside = labels[1:-1, 1:-1]
    around = (labels[:-2, 1:-1], labels[2:, 1:-1], labels[1:-1, :-2], labels[1:-1, 2:])
    edge = (inside > 0) & np.any([inside != other for other in around], axis=0)
    colours = np.array([_rgb(plots.COLOURS[number]) for number in _OUTLINES])
    picture = np.repeat(np.repeat(np.repeat(grey[..., None], 3, 2), 2, 0), 2, 1)
    picture[edge] = colours[(inside[edge].astype(int) - 1) % len(colours)]
    return picture.astype(np.uint8)


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _laid_out(content: Explore) -> str:
    """Returns the planes, and buttons that say what the dots are coloured by."""
    if not content.scatters:
        return ""
    rules, buttons, legends = [], [], []
    for place, choice in enumerate(content.choices):
        key = f"by-{choice.letter}"
        checked = " checked" if place == 0 else ""
        buttons.append(
            f'<input type="radio" name="by" id="{key}"{checked}><label for="{key}">{svg.plain(choice.heading)}</label>'
        )
        rules.append(f"#{key}:checked~.of-{choice.letter}{{display:flex}}")
        rules += [
            f"#{key}:checked~.drawn .{choice.letter}-{number}{{fill:var(--g{colour})}}"
            for number, (_, colour) in enumerate(choice.names)
        ]
        legends.append(svg.legend(choice.names, f"of-{choice.letter}"))
    words = "One dot is one record; point at it to see which. Choose what the colours mean: "
    dots = "".join(map(svg.scatter, content.scatters))
    return (
        f"{html.paragraph(words)}<style>{''.join(rules)}</style>"
        f'<div class="by">{"".join(buttons)}{"".join(legends)}<div class="drawn">{dots}</div></div>'
    )


def _outliers(tiles: Sequence[Tile]) -> str:
    if not tiles:
        return ""
    figures = "".join(
        f'<figure><div class="pic">{_image(tile)}</div><figcaption><b>{svg.plain(tile.name)}</b><br>'
        f"{svg.plain(tile.words)}</figcaption></figure>"
        for tile in tiles
    )
    words = (
        "Records far from all others by their features, the furthest first. Most outliers are other projections, "
        "inverted greys, implants, phantoms or cut-off images; look before leaving any out."
    )
    return html.section("Outliers", html.paragraph(words), f'<div class="far">{figures}</div>', anchor="outliers")
