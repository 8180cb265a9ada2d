"""A page on which a person checks what was blacked out: one row an instance, pictures of the cleaned pixels alone.

One file, no script, nothing from elsewhere; light or dark as the reader's system. It holds new identifiers only. What
the cleaning missed would show on it: keep it where the originals are kept until it was read.
"""

import base64
import html
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radkit.deid.text_in_pixels import boxes, cleaning

_MEANS = {
    "region": "outside the device's image regions",
    "template": "a known device's text area",
    "text": "text was read",
    "name": "reads like the header's patient or visit",
}
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2733;--soft:#5a6775;--paper:#fff;--line:#dbe1e8;--band:#f4f6f9;
--region:#0b62a4;--template:#6a3fb5;--text:#a85b00;--name:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e4e9ef;--soft:#a3afbc;--paper:#14191f;--line:#333d48;--band:#1c232b;
--region:#7ab8ec;--template:#c3a6ff;--text:#ffb454;--name:#ff8a80}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1.25rem;max-width:72rem;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .4rem}p{margin:.4rem 0;max-width:50rem;color:var(--soft)}
table{border-collapse:collapse;width:100%;margin-top:1rem}
th,td{padding:.6rem .8rem .6rem 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{border-bottom:2px solid var(--line)}
.uid{font:.82rem/1.4 ui-monospace,Consolas,monospace;word-break:break-all;font-weight:400;max-width:16rem}
svg{display:block;max-width:100%;height:auto;background:#000;border-radius:4px}
rect{fill:none;stroke-width:2;vector-effect:non-scaling-stroke}
svg .region{stroke:#58a6ff;stroke-dasharray:8 4}svg .template{stroke:#c3a6ff;stroke-dasharray:3 3}
svg .text{stroke:#ffb454}svg .name{stroke:#ff6b60;stroke-width:3}
ul{margin:0;padding:0;list-style:none}
li{white-space:nowrap;padding:.05rem 0}li b{display:inline-block;min-width:2.2rem;text-align:right;margin-right:.5rem;
font-variant-numeric:tabular-nums}
li span,.key span{border-left:.35rem solid;padding-left:.4rem}
span.region{border-color:var(--region)}span.template{border-color:var(--template)}
span.text{border-color:var(--text)}span.name{border-color:var(--name)}
.key{display:flex;flex-wrap:wrap;gap:.3rem 1.4rem;margin:.6rem 0}
@media print{tr{break-inside:avoid}}
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Entry:
    """An instance's row.

    Attributes:
        uid: The new SOPInstanceUID.
        boxes: What was blacked out.
        frames: How many were looked at.
        size: Rows and columns.
        preview: The first frame with boxes, cleaned, reduced; (rows, columns, 3) uint8.
    """

    uid: str
    boxes: tuple[boxes.Box, ...]
    frames: int
    size: tuple[int, int]
    preview: np.ndarray


def entry(uid: str, cleaned: cleaning.Cleaned) -> Entry:
    """Returns the row of a cleaned instance under its new SOPInstanceUID."""
    return Entry(uid, cleaned.boxes, cleaned.frames, cleaned.size, cleaned.preview)


def page(rows: Sequence[str], untouched: int = 0) -> str:
    """Returns the sheet as an HTML document.

    Args:
        rows: One an instance in which something was blacked out, as `row` gives them.
        untouched: How many instances were looked at in which nothing was found.
    """
    key = "".join(f'<span class="{why}">{why}: {html.escape(means)}</span>' for why, means in _MEANS.items())
    head = (
        '<tr><th scope="col">Cleaned</th><th scope="col">New SOPInstanceUID</th><th scope="col">Blacked out</th></tr>'
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Blacked-out pixels</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Blacked-out pixels</h1>
<p>{_instances(len(rows))} with something blacked out, {untouched} looked at in which nothing was found. Outlines
show where. Read on: what is still readable was missed. Keep this page where the originals are until then.</p>
<div class="key">{key}</div>
<table>
<thead>{head}</thead>
<tbody>
{"".join(rows)}
</tbody>
</table>
</body>
</html>
"""


def _instances(count: int) -> str:
    return "1 instance" if count == 1 else f"{count} instances"


def row(one: Entry) -> str:
    """Returns an instance's row."""
    counts = Counter(box.why for box in one.boxes)
    items = "".join(f'<li><span class="{why}"><b>{counts[why]}</b>{why}</span></li>' for why in _MEANS if counts[why])
    touched = len({box.frame for box in one.boxes})
    where = "1 frame" if one.frames == 1 else f"{touched} of {one.frames} frames"
    return (
        f'<tr><td>{_picture(one)}</td><th scope="row" class="uid">{html.escape(one.uid)}</th>'
        f"<td><ul>{items}</ul><p>{where}, {_share(one):.1f} % of the pixels shown</p></td></tr>"
    )


def _first(one: Entry) -> list[boxes.Box]:
    frame = min((box.frame for box in one.boxes), default=0)
    return [box for box in one.boxes if box.frame == frame]


def _share(one: Entry) -> float:
    mask = np.zeros(one.size, bool)
    for box in _first(one):
        mask[box.where] = True
    return 100 * float(mask.mean())


def _picture(one: Entry) -> str:
    rows, columns = one.size
    first = _first(one)
    frame = first[0].frame + 1 if first else 1
    outlines = "".join(
        f'<rect class="{box.why}" x="{box.left}" y="{box.top}" width="{box.right - box.left}" '
        f'height="{box.bottom - box.top}"><title>{box.why}</title></rect>'
        for box in first
    )
    source = base64.b64encode(_png(one.preview)).decode()
    return (
        f'<svg viewBox="0 0 {columns} {rows}" width="{min(columns, 420)}" role="img" '
        f'aria-label="Cleaned frame {frame} with {len(first)} outlines">'
        f'<image href="data:image/png;base64,{source}" width="{columns}" height="{rows}" '
        f'preserveAspectRatio="none"/>{outlines}</svg>'
    )


def _png(picture: np.ndarray) -> bytes:
    """Returns an RGB picture as PNG, the same bytes each time.

    Source: https://www.w3.org/TR/png-3/, sections 5 and 11.
    """
    rows, columns, _ = picture.shape
    lines = np.zeros((rows, 1 + 3 * columns), np.uint8)  # Each line begins with its filter: none.
    lines[:, 1:] = picture.reshape(rows, -1)
    parts = (
        (b"IHDR", struct.pack(">2I5B", columns, rows, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines.tobytes(), 6)),
        (b"IEND", b""),
    )
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
