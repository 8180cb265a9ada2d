"""A network as a picture: boxes of layers, coarser ones lower down, and arrows of what reads what."""

import html
import math
from collections.abc import Sequence
from typing import Any

from radkit.models.measures import groups
from radkit.models.measures.groups import Group

_WIDTH, _HEIGHT, _GAP, _ROW, _SIDE, _TOP = 94, 44, 22, 74, 20, 54
_STYLE = (
    "<style>text{font:12px sans-serif;fill:#1b2733;text-anchor:middle}.small{font-size:10.5px;fill:#51606e}"
    ".title{font-size:15px;font-weight:600;text-anchor:start}rect{fill:#d9e8f5;stroke:#2b6ca3;stroke-width:1.2}"
    ".up rect{fill:#dff1e4;stroke:#2f8052}.end rect{fill:#f7e6d3;stroke:#b06a1c}"
    ".image rect{fill:#eceff2;stroke:#7b8894}"
    "path{fill:none;stroke:#51606e;stroke-width:1.3;marker-end:url(#tip)}.skip{stroke:#2f8052;stroke-dasharray:5 3}"
    "</style>"
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 8 4 0 8z" style="fill:#51606e;stroke:none;marker-end:none"/></marker></defs>'
)


def draw(network: Any, title: str = "") -> str:
    """Returns the network as an SVG picture, text.

    Args:
        network: A functional network, its sizes given.
        title: Above it; the network's name if empty.
    """
    boxes = groups.gather(network)
    rows = _rows(boxes)
    places = [(_SIDE + n * (_WIDTH + _GAP), _TOP + rows[n] * _ROW) for n in range(len(boxes))]
    width = 2 * _SIDE + len(boxes) * (_WIDTH + _GAP) - _GAP
    height = _TOP + (max(rows) + 1) * _ROW - (_ROW - _HEIGHT) + 34
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'role="img">',
        f"<title>{html.escape(title or network.name)}</title>",
        _STYLE,
        '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>',
        f'<text class="title" x="{_SIDE}" y="24">{html.escape(title or network.name)}</text>',
        *(_arrow(places, rows, read, at) for at, box in enumerate(boxes) for read in sorted(box.reads)),
        *(_box(boxes, at, place) for at, place in enumerate(places)),
        "</svg>",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _rows(boxes: Sequence[Group]) -> list[int]:
    """Returns each box's row: one for each size that there is, the largest on top; vectors stand on the last."""
    of_boxes = [box.level(boxes[0]) for box in boxes]
    levels = sorted(set(of_boxes))
    return [levels.index(level) for level in of_boxes]


def _box(boxes: Sequence[Group], at: int, place: tuple[float, float]) -> str:
    box, (x, y) = boxes[at], place
    middle = x + _WIDTH / 2
    first, second = _words(box, is_image=at == 0)
    sizes = " x ".join("?" if size is None else str(size) for size in box.sizes) or "vector"
    return (
        f'<g class="{_kind(boxes, at)}"><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="4"/>'
        f'<text x="{middle}" y="{y + 18}">{first}</text><text class="small" x="{middle}" y="{y + 34}">{second}</text>'
        f'<text class="small" x="{middle}" y="{y + _HEIGHT + 13}">{sizes}</text></g>'
    )


def _words(box: Group, *, is_image: bool) -> tuple[str, str]:
    channels = f"{box.channels} channel" + ("s" if box.channels != 1 else "")
    if is_image:
        return "image", channels
    number = box.convolutions
    attention = sum(count for kind, count in box.kinds.items() if "Attention" in kind)
    if attention:
        return channels, f"{attention} attention" + ("s" if attention > 1 else "")
    if number:
        return channels, f"{number} convolution" + ("s" if number > 1 else "")
    dense = sum(count for kind, count in box.kinds.items() if kind in ("Dense", "LSTM", "GRU", "Bidirectional"))
    if dense and not any(size and size > 1 for size in box.sizes):
        return channels.replace("channel", "number"), f"{dense} dense"
    names = [kind for kind in box.kinds if kind not in ("InputLayer", "Activation", "ReLU")]
    return channels, _plain(names[0]) if names else "activation"


def _plain(kind: str) -> str:
    """MaxPooling2D is max pooling."""
    words = "".join(
        f" {letter.lower()}" if letter.isupper() else letter for letter in kind.replace("2D", "").replace("3D", "")
    )
    return html.escape(words.strip())


def _kind(boxes: Sequence[Group], at: int) -> str:
    if at == 0:
        return "image"
    if at == len(boxes) - 1 or not any((size or 2) > 1 for size in boxes[at].sizes):
        return "end"
    before = [boxes[n] for n in boxes[at].reads if n]
    own = boxes[at].level(boxes[0])
    return "up" if any(box.level(boxes[0]) > own for box in before) else "down"


def _arrow(places: Sequence[tuple[float, float]], rows: Sequence[int], read: int, at: int) -> str:
    (x0, y0), (x1, y1) = places[read], places[at]
    if at == read + 1:
        return _step(x0, y0, x1, y1)
    start, end = x0 + _WIDTH, x1
    if rows[read] == rows[at]:
        between = [rows[n] for n in range(read + 1, at)]
        if all(row != rows[at] for row in between):
            y = y0 + _HEIGHT / 2
            return f'<path class="skip" d="M{start} {y}H{end - 1}"/>'
        y = y0 - 8 - 3 * math.log2(at - read)
        middle = x1 + _WIDTH / 2
        return f'<path class="skip" d="M{start - _WIDTH / 2} {y0}V{y}H{middle}V{y1 - 1}"/>'
    bend = end - _GAP / 2
    return f'<path class="skip" d="M{start} {y0 + _HEIGHT / 2}H{bend}V{y1 + _HEIGHT / 2}H{end - 1}"/>'


def _step(x0: float, y0: float, x1: float, y1: float) -> str:
    """An arrow to the next box: straight, or down (up) at its side."""
    start, end = x0 + _WIDTH, x1
    if y0 == y1:
        return f'<path d="M{start} {y0 + _HEIGHT / 2}H{end - 1}"/>'
    bend = start + _GAP / 2
    return f'<path d="M{start} {y0 + _HEIGHT / 2}H{bend}V{y1 + _HEIGHT / 2}H{end - 1}"/>'
