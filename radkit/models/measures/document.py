"""Writes the table of models and the families' diagrams into the documentation, from the networks themselves.

    python -m radkit.models.measures.document docs

It replaces what stands between the two marks in `models.md`, and `diagrams/*.svg`; some minutes.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from radkit import folder, models
from radkit.errors import UserError
from radkit.models import measures

BEGIN, END = "<!-- table: python -m radkit.models.measures.document docs -->", "<!-- end of table -->"
_SHAPES = {
    ("classification", 2): (224, 224, 3),
    ("classification", 3): (96, 96, 96, 1),
    ("segmentation", 2): (256, 256, 1),
    ("segmentation", 3): (96, 96, 96, 1),
    ("detection", 2): (512, 512, 1),
    ("detection", 3): (96, 96, 96, 1),
}
_CLASSES = {("classification", 2): 1000}  # of others 2
_COLUMNS = 12  # of a table, where a network takes one
_PROPOSALS = 100  # regions, where they are given
_PAPER = re.compile(r"([A-Z][\w'-]+(?: et al\.| (?:&|and) [A-Z][\w'-]+)? \d{4})[^;]*?(https?://[^\s,;)]+[^\s,;).])")


@dataclass(frozen=True)
class Figures:
    """A network of one rank, measured."""

    parameters: int
    flops: int
    field: tuple[int, ...]


def measure(name: str, rank: int) -> tuple[Figures, Any]:
    """Returns a network's figures, and the network, built as the table has it."""
    task = folder.find(models.__name__, models.find(name)[0], "TASK")
    shape = _SHAPES[task, rank] if rank > 1 else (_COLUMNS,)
    given: dict[str, Any] = {"num_proposals": _PROPOSALS} if models.find(name)[0] == "fast_rcnn" else {}
    network = models.build(name, input_shape=shape, num_classes=_CLASSES.get((task, rank), 2), **given)
    # What a detector lists, places of several maps behind each other, has no field along space.
    field = measures.receptive_field(network) if rank > 1 and task != "detection" else ()
    return Figures(network.count_params(), measures.flops(network), field), network


def spell(figures: Figures | None) -> str:
    """Returns three cells of the table.

    >>> spell(Figures(25_636_712, 7_700_000_000, (483, 483)))
    '25,636,712 | 7.70 | 483'
    """
    if figures is None:
        return " | | "
    alike = len(set(figures.field)) == 1
    field = str(figures.field[0]) if alike else " x ".join(map(str, figures.field))
    billions = figures.flops / 1e9
    return f"{figures.parameters:,} | {f'{billions:.3g}' if billions < 1 else f'{billions:.2f}'} | {field}"


def sources(file: str) -> str:
    """Returns links to the papers that a factory's docstring names."""
    text = " ".join((folder.find(models.__name__, file, "__doc__") or "").split())
    found = dict((url, who) for who, url in reversed(_PAPER.findall(text)))
    return ", ".join(f"[{who}]({url})" for url, who in reversed(found.items()))


def rows(names: Sequence[str], diagrams: Path | None = None) -> Iterator[str]:
    """Yields the table's rows; of a family the network that bears its name, or its first, is drawn on the way."""
    drawn = {models.find(name)[0]: name for name in reversed(names)}
    drawn |= {name: name for name in names if name in drawn}
    for name in names:
        file = models.find(name)[0]
        figures: dict[int, Figures | None] = {2: None, 3: None}
        for rank in models.ranks(name):
            keras.backend.clear_session()
            figures[max(rank, 2)], network = measure(name, rank)
            if diagrams is not None and drawn[file] == name and rank == models.ranks(name)[0]:
                (diagrams / f"{file}.svg").write_text(measures.draw(network, name), encoding="utf-8")
        yield f"| `{name}` | {spell(figures[2])} | {spell(figures[3])} | {sources(file)} |"


def header() -> list[str]:
    """Returns the table's first lines."""
    return [
        "| name | 2-D parameters | GFLOP | field | 3-D parameters | GFLOP | field | source |",
        "|---|--:|--:|--:|--:|--:|--:|---|",
    ]


def main(argv: Sequence[str]) -> int:
    """Writes `models.md` and `diagrams` of the folder that the command line names."""
    if len(argv) != 2 or not (Path(argv[1]) / "models.md").is_file():
        print("name the documentation's folder, which holds models.md", file=sys.stderr)
        return 2
    page, diagrams = Path(argv[1]) / "models.md", Path(argv[1]) / "diagrams"
    text = page.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise UserError(f"{page} must hold {BEGIN!r} and {END!r}, once each")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    diagrams.mkdir(exist_ok=True)
    lines = []
    for row in rows(models.names(), diagrams):
        print(row, flush=True)
        lines.append(row)
    page.write_text("\n".join([before + BEGIN, *header(), *lines, *pictures(diagrams), END]) + after, encoding="utf-8")
    return 0


def pictures(diagrams: Path) -> list[str]:
    """Returns the lines that show the diagrams."""
    shown = [line for path in sorted(diagrams.glob("*.svg")) for line in (f"![{path.stem}](diagrams/{path.name})", "")]
    return [
        "",
        "## Diagrams",
        "",
        "A box is what happens at one size: its channels, its convolutions, the size of its maps; finer maps stand",
        "higher. Dashed lines are skips. Of a family one network is drawn, at the table's size.",
        "",
        *shown,
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
