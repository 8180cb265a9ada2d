"""The methods paragraph, as it may be copied into a paper."""

from radkit.reports import html
from radkit.reports.clinical import parts


def part(told: str | None) -> parts.Part:
    """Returns the paragraphs."""
    return parts.Part("\n".join(html.paragraph(text) for text in (told or "").split("\n\n")) if told else "")
