"""A page is built of pieces of HTML text: each function here returns one, everything given to it escaped.

One file, no script, no font and no picture from elsewhere (a content security policy in the page says so too); light
or dark as the reader's system; fit to print. The same input gives the same bytes.
"""

import base64
import html
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

import radkit
from radkit.errors import UserError
from radkit.reports import text

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2733;--soft:#5a6775;--paper:#fff;--line:#dbe1e8;--band:#f4f6f9;--accent:#0b62a4;
--warn:#8a4b00;--warn-paper:#fff5e6}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ef;--soft:#a3afbc;--paper:#14191f;--line:#333d48;--band:#1c232b;
--accent:#7ab8ec;--warn:#ffc070;--warn-paper:#33260f}}
*{box-sizing:border-box}
body{margin:0;padding:0 1.25rem;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;overflow-wrap:break-word}
header,main,footer{max-width:62rem;margin:0 auto}
header{padding-top:2.2rem;padding-bottom:.6rem;border-bottom:3px solid var(--accent)}
h1{font-size:1.9rem;line-height:1.2;margin:0}
h2{font-size:1.35rem;margin:2.4rem 0 .6rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
h3{font-size:1.1rem;margin:1.6rem 0 .4rem}h4{font-size:1rem;margin:1.2rem 0 .3rem}
summary{cursor:pointer;margin-top:1rem}summary h3{display:inline}
p{margin:.6rem 0;max-width:46rem}.lead{color:var(--soft);font-size:1.05rem;margin:.5rem 0 .4rem}
a{color:var(--accent)}
.scroll{overflow-x:auto;margin:.9rem 0}
table{border-collapse:collapse;font-size:.93rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);font-size:.9rem;padding-bottom:.35rem}
th,td{padding:.38rem .9rem .38rem .5rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{border-bottom:2px solid var(--line);font-weight:600;white-space:nowrap}
tbody th{font-weight:500}tbody td:not(.n){min-width:6.5rem}tbody tr:nth-child(even){background:var(--band)}
.n{text-align:right;white-space:nowrap}
figure{margin:1rem 0}figure img{display:block;max-width:100%;height:auto;background:#fff;border:1px solid var(--line);
border-radius:6px}
figcaption{color:var(--soft);font-size:.9rem;margin-top:.35rem;max-width:46rem}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1rem;align-items:start}
.gallery figure{margin:0}.gallery img{width:100%;background:#000}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:0 1.2rem;align-items:start}
.notes{background:var(--warn-paper);border-left:5px solid var(--warn);border-radius:4px;padding:.7rem 1rem;
margin:1.2rem 0}
.notes strong{color:var(--warn)}.notes ul{margin:.3rem 0 0;padding-left:1.2rem}
nav ul{columns:2;column-gap:2rem;padding-left:1.2rem;margin:.8rem 0}
footer{color:var(--soft);font-size:.85rem;margin-top:3rem;padding-bottom:2rem}
@media print{:root{--ink:#000;--soft:#444;--paper:#fff;--line:#bbb;--band:#fff;--accent:#000;--warn:#000;
--warn-paper:#fff}body{font-size:10.5pt}figure,tr,.notes{break-inside:avoid}h2,h3{break-after:avoid}
.scroll{overflow:visible}details::details-content{content-visibility:visible;block-size:auto}}
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
_DPI = 200


def page(title: str, *parts: str, lead: str = "") -> str:
    """Returns a whole HTML document.

    Args:
        title: Plain text; heading and window title.
        parts: What `section`, `table`, `figure` ... returned, in order.
        lead: Plain text under the title.

    Example:
        >>> "<td>&lt;b&gt;</td>" in page("Made up", table(("name", "value"), [("a", "<b>")]))
        True
    """
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
            f"<header>\n<h1>{_escape(title)}</h1>",
            f'<p class="lead">{_escape(lead)}</p>\n</header>' if lead else "</header>",
            "<main>",
            *[part for part in parts if part],
            "</main>",
            f"<footer>radkit {_escape(radkit.__version__)}</footer>\n</body>\n</html>\n",
        ]
    )


_MAIN = re.compile(r"<main>\n(.*)\n?</main>", re.DOTALL)


def is_ours(document: str) -> bool:
    """Returns whether `page` made a document, so that `body_of` can take what it holds."""
    return _MAIN.search(document) is not None


def body_of(document: str) -> str:
    """Returns what a `page` holds, without its title, headings one level lower: to embed it in another page.

    Raises:
        UserError: The text is no page of ours.
    """
    found = _MAIN.search(document)
    if found is None:
        raise UserError("only a page that radkit.reports.html.page made can be embedded; it has no <main>")
    return _lowered(found[1])


def section_of(document: str, anchor: str) -> str:
    """Returns one section of a `page`, headings one level lower: to embed it in another page; nothing where it lacks.

    Args:
        document: The page.
        anchor: As `section` was given it; the embedded section bears none, as another page may have one of that name.
    """
    begins = f'<section id="{_escape(anchor)}">'
    at = document.find(begins)
    if at < 0:
        return ""
    depth = 0
    for tag in re.finditer(r"<(/?)section\b[^>]*>", document[at:]):
        depth += -1 if tag[1] else 1
        if not depth:
            return _lowered("<section>" + document[at + len(begins) : at + tag.end()])
    raise UserError("the page is cut off: a section of it does not end")


def _lowered(part: str) -> str:
    return re.sub(r"(</?h)([2-5])>", lambda tag: f"{tag[1]}{int(tag[2]) + 1}>", part)


def section(heading: str, *parts: str, anchor: str = "") -> str:
    """Returns a part of the page under its own heading; nothing when it would be empty.

    Args:
        heading: Plain text.
        parts: HTML text; empty ones are left out.
        anchor: Identifier that links in the same page may use.
    """
    held = [part for part in parts if part]
    if not held:
        return ""
    identity = f' id="{_escape(anchor)}"' if anchor else ""
    return "\n".join([f"<section{identity}>\n<h2>{_escape(heading)}</h2>", *held, "</section>"])


def subsection(heading: str, *parts: str) -> str:
    """Returns a part of a section under a smaller heading; nothing when it would be empty.

    Args:
        heading: Plain text.
        parts: HTML text; empty ones are left out.
    """
    held = [part for part in parts if part]
    return "\n".join([f"<section>\n<h3>{_escape(heading)}</h3>", *held, "</section>"]) if held else ""


def folded(heading: str, *parts: str) -> str:
    """Returns a subsection that is shown once its heading is asked for, and in print; nothing when it would be empty.

    Args:
        heading: Plain text.
        parts: HTML text; empty ones are left out.
    """
    held = [part for part in parts if part]
    above = f"<details>\n<summary><h3>{_escape(heading)}</h3></summary>"
    return "\n".join([above, *held, "</details>"]) if held else ""


def paragraph(words: str) -> str:
    """Returns a paragraph of plain text; nothing for no text."""
    return f"<p>{_escape(words)}</p>" if words else ""


def notes(lines: Sequence[str], heading: str = "Read this first") -> str:
    """Returns warnings in a box that cannot be overlooked; nothing for no lines."""
    if not lines:
        return ""
    items = "".join(f"<li>{_escape(line)}</li>" for line in lines)
    return f'<div class="notes" role="note"><strong>{_escape(heading)}</strong><ul>{items}</ul></div>'


def table(header: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "") -> str:
    """Returns a table; the first column names the row, numbers stand to the right.

    Args:
        header: Plain text, one a column.
        rows: Plain text, numbers (see `text.number`) or None, one a column.
        caption: Plain text above the table.

    Raises:
        UserError: A row has another number of cells than the header.
    """
    for row in rows:
        if len(row) != len(header):
            raise UserError(f"a table of {len(header)} columns has a row of {len(row)} cells")
    numeric = [bool(rows) and all(_is_number(row[column]) for row in rows) for column in range(len(header))]
    kinds = [' class="n"' if right else "" for right in numeric]
    heads = "".join(f'<th scope="col"{kind}>{_escape(name)}</th>' for name, kind in zip(header, kinds))
    above = f"<caption>{_escape(caption)}</caption>" if caption else ""
    # A keyboard must reach what scrolls sideways.
    region = f'<div class="scroll" tabindex="0" role="region" aria-label="{_escape(caption or header[0])}">'
    lines = [f"<tr>{_cells(row, kinds)}</tr>" for row in rows]
    return "\n".join(
        [f"{region}<table>{above}", f"<thead><tr>{heads}</tr></thead>\n<tbody>", *lines, "</tbody></table></div>"]
    )


def figure(plot: Any, alt: str, caption: str = "") -> str:
    """Returns a plot or picture, inlined as PNG.

    Args:
        plot: A matplotlib figure, or a picture: uint8, (rows, columns) grey or (rows, columns, 3).
        alt: What it shows, in words, for those who do not see it.
        caption: Plain text below.

    Raises:
        UserError: No alternative text, or matplotlib is not installed.
    """
    if not alt:
        raise UserError("a figure needs an alternative text that says what it shows")
    # Plots are drawn at twice the size they are shown at, to be sharp on dense screens.
    width = plot.shape[1] if isinstance(plot, np.ndarray) else round(plot.get_figwidth() * _DPI / 2)
    below = f"<figcaption>{_escape(caption)}</figcaption>" if caption else ""
    source = f"data:image/png;base64,{base64.b64encode(png(plot)).decode()}"
    return f'<figure><img alt="{_escape(alt)}" width="{width}" src="{source}">{below}</figure>'


def contents(links: Sequence[tuple[str, str]]) -> str:
    """Returns a list of links to sections of this page, (anchor, heading) each; nothing for none."""
    items = "".join(f'<li><a href="#{_escape(anchor)}">{_escape(heading)}</a></li>' for anchor, heading in links)
    return f'<nav aria-label="Contents"><ul>{items}</ul></nav>' if links else ""


def gallery(figures: Sequence[str]) -> str:
    """Returns figures side by side, as many as fit; nothing for none."""
    return "\n".join(['<div class="gallery">', *figures, "</div>"]) if figures else ""


def side_by_side(figures: Sequence[str]) -> str:
    """Returns plots two in a row where the screen is wide enough to read them so; nothing for none."""
    return "\n".join(['<div class="pair">', *figures, "</div>"]) if figures else ""


def png(plot: Any) -> bytes:
    """Returns a plot or picture, as `figure` takes it, as PNG.

    Raises:
        UserError: matplotlib is not installed.
    """
    return _png_of_picture(plot) if isinstance(plot, np.ndarray) else _png_of_plot(plot)


def _png_of_plot(plot: Any) -> bytes:
    file = io.BytesIO()
    plot.savefig(file, format="png", dpi=_DPI, metadata={"Software": None})
    return file.getvalue()


def _png_of_picture(picture: np.ndarray) -> bytes:
    from radkit.reports import plots  # It imports matplotlib, or says how to install it.

    file = io.BytesIO()
    image = plots.matplotlib("image")
    grey = {"cmap": "gray", "vmin": 0, "vmax": 255} if picture.ndim == 2 else {}
    image.imsave(file, picture, format="png", metadata={"Software": None}, **grey)
    return file.getvalue()


def _cells(row: Sequence[Any], kinds: Sequence[str]) -> str:
    shown = [_escape(text.number(value)) for value in row]
    first = f'<th scope="row"{kinds[0]}>{shown[0]}</th>'
    return first + "".join(f"<td{kind}>{value}</td>" for value, kind in zip(shown[1:], kinds[1:]))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | np.number) and not isinstance(value, bool))


def _escape(words: str) -> str:
    return html.escape(str(words), quote=True)
