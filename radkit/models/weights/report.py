"""What of some weights fitted a network."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

_SHOWN = 3
_TITLES = {"loaded": "loaded", "adapted": "adapted", "new": "left new"}


@dataclass(frozen=True)
class Row:
    """What became of one of the network's layers.

    Attributes:
        layer: Its name.
        outcome: `loaded` as it was, `adapted` to another shape, or left `new`.
        how: What was done, or why not.
        num_parameters: Of the layer.
    """

    layer: str
    outcome: Literal["loaded", "adapted", "new"]
    how: str
    num_parameters: int


@dataclass(frozen=True)
class Report:
    """What of some weights fitted a network.

    Attributes:
        source: Where they came from.
        rows: One for each of the network's layers that have weights.
        unused: The file's layers that the network has no place for.
        sha256: Of the file.
    """

    source: str
    rows: tuple[Row, ...]
    unused: tuple[str, ...]
    sha256: str = ""

    def of(self, outcome: str) -> list[Row]:
        """Returns the layers of an outcome."""
        return [row for row in self.rows if row.outcome == outcome]

    def text(self) -> str:
        """Returns a short table."""
        lines = [f"weights from {self.source}"]
        for outcome, title in _TITLES.items():
            rows = self.of(outcome)
            told = [f"{row.layer} ({row.how})" if row.how else row.layer for row in rows]
            parameters = sum(row.num_parameters for row in rows)
            lines.append(f"  {title:<9}{len(rows):>5} layers {parameters:>13,} parameters  {_few(told)}".rstrip())
        lines.append(f"  {'unused':<9}{len(self.unused):>5} layers of the file{'':>15}{_few(self.unused)}".rstrip())
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Returns what the run's folder keeps."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "layers": [dataclasses.asdict(row) for row in self.rows],
            "unused": list(self.unused),
        }

    def differences(self) -> list[str]:
        """Returns a line for each layer that is not the file's own."""
        new = [f"{row.layer}: {row.how}" for row in self.rows if row.outcome != "loaded"]
        return new + [f"{name}: only in the file" for name in self.unused]


def _few(words: Any) -> str:
    shown, more = list(words)[:_SHOWN], len(words) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def few_lines(lines: list[str], most: int = 8) -> str:
    """Returns lines as one text, the first of them where there are many."""
    return "; ".join(lines[:most]) + (f"; and {len(lines) - most} more" if len(lines) > most else "")
