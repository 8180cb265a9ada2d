"""What every section of the page gives: its HTML, and its plots as they go into papers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from radkit.reports import html


@dataclass(frozen=True, eq=False)
class Drawing:
    """A plot.

    Attributes:
        stem: Name of its files in `figures/`, without `.svg` and `.png`; letters, digits, `-` and `_`.
        plot: A matplotlib figure.
        alt: What it shows, in words with its numbers, for those who do not see it.
        caption: Plain text below; may be empty.
    """

    stem: str
    plot: Any
    alt: str
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Part:
    """A section.

    Attributes:
        body: HTML; empty: there is nothing to tell.
        drawings: The plots in it.
    """

    body: str
    drawings: Sequence[Drawing] = ()


def shown(drawing: Drawing) -> str:
    """Returns a plot as HTML."""
    return html.figure(drawing.plot, drawing.alt, drawing.caption)


def stem(words: str) -> str:
    """Returns words as the name of a file: letters, digits and `-`.

    >>> stem("Dice, left lung (1)")
    'dice-left-lung-1'
    """
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-") or "plot"
