"""The page of an index: what a folder holds, in counts, thumbnails and a list of series. No names, no identifiers."""

import base64
import html as escaping
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radkit.reports import html

_STYLE = """<style>
.counts{display:grid;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));gap:1.2rem 2rem;margin:1rem 0}
.counts h3{margin:.2rem 0 .4rem}.counts table{width:100%}.counts td,.counts th{padding:.16rem .4rem;border:0;
font-weight:400}.counts th{overflow-wrap:anywhere}.counts tbody tr:nth-child(even){background:none}
.counts .rest{color:var(--soft)}
.bar{width:38%}.bar i{display:block;height:.7rem;margin-top:.38rem;background:var(--accent);border-radius:2px}
.big{display:flex;flex-wrap:wrap;gap:.4rem 2.4rem;margin:1.2rem 0 .4rem}.big div{color:var(--soft)}
.big b{display:block;color:var(--ink);font-size:1.6rem;line-height:1.3;font-variant-numeric:tabular-nums}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.2rem,1fr));gap:1.1rem .9rem;margin:1rem 0}
.tiles figure{margin:0}.tiles .pic{width:100%;aspect-ratio:1;background:#000;border:1px solid var(--line);
border-radius:4px;display:flex;align-items:center;justify-content:center;overflow:hidden}
.tiles .pic img{max-width:none;border:0;border-radius:0;background:#000}
.tiles .none{background:var(--band);color:var(--soft);font-size:.78rem;line-height:1.35;padding:.7rem;
text-align:center;overflow-wrap:anywhere}
.tiles figcaption{font-size:.82rem;line-height:1.35;overflow-wrap:anywhere}
.tiles figcaption b{color:var(--ink);font-weight:600}
.list table{font-size:.82rem}.list th,.list td{padding:.3rem .7rem .3rem .3rem}.list td{white-space:nowrap}
.list tbody th{min-width:11rem;overflow-wrap:anywhere}
</style>"""


@dataclass(frozen=True)
class Tile:
    """A series' picture.

    Attributes:
        title: What it is, in a word or two.
        detail: More of it.
        picture: (rows, columns), or with 3 colours, uint8; None when there is none.
        reason: Why there is none.
        aspect: Height of a pixel over its width.
    """

    title: str
    detail: str
    picture: np.ndarray | None
    reason: str = ""
    aspect: float = 1.0


@dataclass(frozen=True)
class Count:
    """How many series there are of each kind.

    Attributes:
        heading: What kind.
        names: (name, number of series), in the order shown.
        left_out: How many names more there are.
        untold: Series whose headers do not tell.
    """

    heading: str
    names: Sequence[tuple[str, int]]
    left_out: int = 0
    untold: int = 0


@dataclass(frozen=True)
class Overview:
    """What the page shows, all of it plain text and numbers.

    Attributes:
        figures: (name, value) of the whole folder.
        counts: What is counted.
        tiles: Pictures of some series.
        header: Columns of the list of series.
        rows: The list's rows.
        num_series: How many series there are in all.
        warnings: Shown before all else.
        notes: Shown below the figures.
    """

    figures: Sequence[tuple[str, str]]
    counts: Sequence[Count]
    tiles: Sequence[Tile]
    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    num_series: int
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()


def page(overview: Overview) -> str:
    """Returns the HTML document: one file, no script, nothing from elsewhere."""
    shown = len(overview.rows)
    more = overview.num_series - shown
    caption = f"{shown} of {overview.num_series} series; the tables beside this page hold all" if more > 0 else ""
    table = html.table(overview.header, overview.rows, caption) if overview.rows else ""
    without = overview.num_series - len(overview.tiles)
    return html.page(
        "Index of a DICOM folder",
        _STYLE,
        html.notes(overview.warnings, "This page must stay where the images are"),
        _figures(overview.figures),
        *[html.paragraph(note) for note in overview.notes],
        html.section("Series by", f'<div class="counts">{"".join(map(_count, overview.counts))}</div>'),
        html.section(
            "Pictures",
            html.paragraph(
                "The middle slice of one series of each kind"
                + (f", {len(overview.tiles)} of {overview.num_series} series." if without else ".")
            ),
            f'<div class="tiles">{"".join(map(_tile, overview.tiles))}</div>',
        )
        if overview.tiles
        else "",
        html.section("Series", f'<div class="list">{table}</div>' if table else html.paragraph("There are none.")),
        lead="What the headers of its files say. Counts are of series; hints are guesses from words and names.",
    )


def _figures(figures: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<div><b>{_plain(value)}</b>{_plain(name)}</div>" for name, value in figures)
    return f'<div class="big">{cells}</div>'


def _count(count: Count) -> str:
    most = max((number for _, number in count.names), default=1)
    rows = "".join(
        f'<tr><th scope="row">{_plain(name)}</th><td class="n">{number}</td>'
        f'<td class="bar"><i style="width:{max(1, round(100 * number / most))}%"></i></td></tr>'
        for name, number in count.names
    )
    if count.left_out:
        rows += f'<tr class="rest"><td colspan="3">and {count.left_out} more</td></tr>'
    if count.untold:
        rows += f'<tr class="rest"><th scope="row">not told</th><td class="n">{count.untold}</td><td></td></tr>'
    return f"<div><h3>{_plain(count.heading)}</h3><table><tbody>{rows}</tbody></table></div>"


def _tile(tile: Tile) -> str:
    words = f"<figcaption><b>{_plain(tile.title)}</b> {_plain(tile.detail)}</figcaption>"
    if tile.picture is None:
        return f'<figure><div class="pic none">{_plain(tile.reason or "no picture")}</div>{words}</figure>'
    source = base64.b64encode(png(tile.picture)).decode()
    rows, columns = tile.picture.shape[:2]
    # Pixels need not be square: the picture's box has the patient's proportions.
    height = max(1, round(rows * tile.aspect))
    side = "height:100%;width:auto" if height > columns else "width:100%;height:auto"
    style = f"aspect-ratio:{columns}/{height};{side}"
    image = f'<img alt="{_plain(tile.title)}" style="{style}" src="data:image/png;base64,{source}">'
    return f'<figure><div class="pic">{image}</div>{words}</figure>'


def png(picture: np.ndarray) -> bytes:
    """Returns a picture, (rows, columns) or (rows, columns, 3) uint8, as PNG; the same bytes for the same picture.

    Source: W3C, Portable Network Graphics (third edition), 5 and 11.2.
    """
    rows, columns = picture.shape[:2]
    flat = picture.reshape(rows, -1)
    lines = np.zeros((rows, flat.shape[1] + 1), np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = flat
    parts = (
        (b"IHDR", struct.pack(">2I5B", columns, rows, 8, 2 if picture.ndim == 3 else 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _plain(words: str) -> str:
    return escaping.escape(str(words), quote=True)
