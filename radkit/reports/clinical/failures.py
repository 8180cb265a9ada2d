"""Where the model fails: the worst cases, and the error by size, site and confidence."""

from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import html, text
from radkit.reports.clinical import parts, sizes


def part(told: Mapping[str, Any] | None) -> parts.Part:
    """Returns the worst cases and where errors gather; nothing where nothing is measured case by case."""
    if not told:
        return parts.Part("")
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for case in told["cases"]:
        kinds.setdefault(str(case["kind"]), []).append(case)
    none = "" if kinds else html.paragraph("No case has any error.")
    listed = [html.subsection(f"Worst cases: {kind}", _worst(kind, cases)) for kind, cases in kinds.items()]
    tables = [
        sizes.table(
            [{**group, one["fact"]: group["value"]} for group in one["groups"]],
            one["fact"],
            "cases",
            list(dict.fromkeys(figure["name"] for group in one["groups"] for figure in group["figures"])),
            f"{one['error']} by {one['fact']}",
        )
        for one in told["by"]
    ]
    gathered = html.subsection("Where errors gather", *tables)
    words = html.paragraph(f"{told['method'][:1].upper()}{told['method'][1:]}.")
    return parts.Part("\n".join(piece for piece in [none, *listed, gathered, words] if piece))


def _worst(kind: str, cases: Sequence[Mapping[str, Any]]) -> str:
    has_endpoint = any(case["why"] != f"large {kind}" for case in cases)
    numbers = list(cases[0]["numbers"])
    unit = f" ({cases[0]['unit']})" if cases[0]["unit"] else ""
    rows = [
        (
            case["name"],
            "no number" if case["error"] is None else _plain(case["error"]),
            *([str(case["why"]).removeprefix(f"large {kind} of ")] if has_endpoint else []),
            *[_plain(case["numbers"][name]) for name in numbers],
        )
        for case in cases
    ]
    return html.table(("case", f"error{unit}", *(["of"] if has_endpoint else []), *numbers), rows, "Worst first")


def _plain(value: float | None) -> str:
    """Returns a number as people read it; counts without decimals."""
    return text.number(int(value) if value is not None and value == int(value) else value)
