"""How often a test set was looked at: each evaluation on it adds a line to `test_looks.jsonl` in the data set's folder.

A test set tells how a model does on patients it has never seen, as long as nobody goes by its figures. A second look is
not forbidden, but it is counted, and said wherever the figures are.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radkit.errors import UserError

LOOKS = "test_looks.jsonl"


@dataclass(frozen=True)
class Look:
    """One look at a test set.

    Attributes:
        number: 1 is the first; 0: it could not be recorded.
        weights: How many different networks have been looked at with it, this one counted.
    """

    number: int
    weights: int

    @property
    def told(self) -> str:
        """What a report says of it."""
        if not self.number:
            return "this look at the test set is not recorded: its folder cannot be written to"
        if self.number == 1:
            return "look 1 at this test set"
        networks = "one network" if self.weights == 1 else f"{self.weights} networks"
        return f"look {self.number} at this test set, of {networks}"

    @property
    def warning(self) -> str:
        """What a person must know of the figures; empty at a first look."""
        if self.number == 1:
            return ""
        if not self.number:
            return f"{self.told}. Nobody can tell how many there were"
        return (
            f"{self.told}: it is no longer unseen. If earlier figures changed anything - a setting, a threshold, which "
            "network is taken - these are too good; only patients whom nobody has looked at tell how good it is"
        )


def require(folder: Path) -> None:
    """Refuses before any work is done where a look could not be recorded.

    Raises:
        UserError: The data set's folder cannot be written to.
    """
    file = folder / LOOKS
    if not os.access(file if file.exists() else folder, os.W_OK):
        raise UserError(not_recorded(folder, "it cannot be written to"))


def not_recorded(folder: Path, reason: str) -> str:
    """Returns what is said where a look cannot be recorded."""
    return (
        f"looks at the test set are counted in {folder / LOOKS}: {reason}; make its folder writable, or give "
        "--unrecorded: the report then says that this look was not counted"
    )


def look(folder: Path, about: Mapping[str, Any], of: tuple[str, ...] = ("test_set",)) -> Look:
    """Records a look at a test set and returns its number.

    Args:
        folder: The data set's version folder.
        about: What is known of the look, as plain JSON values: `weights`, the digest of the network's, and what tells
            test sets of one folder apart.
        of: Names in `about` by which looks are at the same test set.

    Raises:
        OSError: It could not be recorded.
    """
    with (folder / LOOKS).open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # two evaluations at once are two looks
        file.seek(0)
        before = file.read()
        earlier = [one for one in _looks(before) if all(one.get(name, about[name]) == about[name] for name in of)]
        number = len(earlier) + 1
        line = json.dumps({"look": number, **about}, sort_keys=True)
        gap = b"" if not before or before.endswith(b"\n") else b"\n"  # after a line that was cut short
        file.write(gap + line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    weights = {str(one.get("weights")) for one in earlier} | {str(about["weights"])}
    return Look(number, len(weights))


def _looks(held: bytes) -> list[dict[str, Any]]:
    """Returns the lines of the file; one that cannot be read is a look of which nothing is known."""
    return [_read(line) for line in held.splitlines() if line.strip()]


def _read(line: bytes) -> dict[str, Any]:
    try:
        read = json.loads(line)
    except ValueError:
        return {}
    return read if isinstance(read, dict) else {}
