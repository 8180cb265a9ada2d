"""Plots as files for papers: SVG, and PNG at 300 dots an inch. The same plot gives the same bytes."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

from radkit.errors import UserError
from radkit.reports import plots
from radkit.reports.clinical import parts

_DPI = 300
_SETTINGS = {"svg.hashsalt": "radkit", "svg.fonttype": "path"}  # as paths: a journal need not have the font


def files(drawings: Sequence[parts.Drawing]) -> Iterator[tuple[str, bytes]]:
    """Yields name and contents of each file: the SVG tells what it shows as its title.

    Args:
        drawings: Of a page.

    Raises:
        UserError: Two would have the same name.
    """
    stems = [drawing.stem for drawing in drawings]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise UserError(f"two plots would be one file: {', '.join(twice)}; each needs a stem of its own")
    for drawing in drawings:
        yield f"{drawing.stem}.svg", _saved(drawing.plot, "svg", {"Title": drawing.alt, "Date": None, "Creator": None})
        yield f"{drawing.stem}.png", _saved(drawing.plot, "png", {"Description": drawing.alt, "Software": None})


def _saved(plot: Any, kind: str, told: dict[str, str | None]) -> bytes:
    file = io.BytesIO()
    plots.matplotlib("figure")  # says how to install it
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        plot.savefig(file, format=kind, dpi=_DPI, metadata=told)
    return file.getvalue()
