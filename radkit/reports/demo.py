"""The page of the demonstration: what each step of the chain did, how long it took, and the steps' own pages."""

import html as escaping
from collections.abc import Mapping, Sequence
from typing import Any

from radkit.errors import UserError
from radkit.reports import html, text

_COLUMNS = ("step", "what", "seconds", "figure")


def demo_page(
    steps: Sequence[Mapping[str, Any]],
    sections: Sequence[tuple[str, str]],
    title: str = "radkit: the whole chain",
    lead: str = "From a folder of DICOM to a model that answers",
) -> str:
    """Returns the HTML page of a run of the whole chain.

    Args:
        steps: In order, each with `step` (its name), `what` (it did), `seconds` and `figure` (its main figure: text, a
            number, or None).
        sections: Heading and HTML text each; `html.body_of(page)` makes that of a step's own page.
        title: Plain text.
        lead: Plain text under the title.

    Raises:
        UserError: A step lacks a field.
    """
    for step in steps:
        missing = [name for name in _COLUMNS if name not in step]
        if missing:
            raise UserError(f"a step of the demo lacks {', '.join(missing)}; it needs {', '.join(_COLUMNS)}")
    total = sum(float(step["seconds"]) for step in steps)
    rows = [(s["step"], s["what"], text.duration(s["seconds"]), text.number(s["figure"])) for s in steps]
    rows.append(("all", "", text.duration(total), ""))
    anchors = [(f"part-{place}", *part) for place, part in enumerate(sections, 1)]
    return html.page(
        title,
        html.section("The chain", html.table(("step", "what it did", "time", "main figure"), rows)),
        html.contents([(anchor, heading) for anchor, heading, _ in anchors]),
        *[html.section(heading, body, anchor=anchor) for anchor, heading, body in anchors],
        lead=lead,
    )


def quality_part(said: str, found: Sequence[tuple[str, str, int]], page: str) -> str:
    """Returns what a curation said, as HTML text, with a link to its own page.

    Args:
        said: Its figures, in words.
        found: Severity, kind of finding and how often it was met, the gravest first.
        page: Path of the page, from the demonstration's.
    """
    table = html.table(("severity", "what was found", "how often"), found) if found else html.paragraph("No findings.")
    link = f'<p><a href="{escaping.escape(page, quote=True)}">The page of the curation</a> shows examples.</p>'
    return html.paragraph(said) + table + link
