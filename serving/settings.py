"""How a model is run: calls at a time, calls that wait, batching; from flags, batching files and what was measured.

`radkit serve --autotune` writes `assets.extra/radkit_serving.json` beside a version; it is read at load.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from radkit import outputs
from radkit.errors import UserError

FILE = Path("assets.extra") / "radkit_serving.json"
# TensorFlow Serving's own where a batching file leaves them out (batching_parameters of its scheduler).
MAX_BATCH_SIZE, MAX_ENQUEUED_BATCHES = 1000, 10


@dataclass(frozen=True)
class Batching:
    """How calls that wait are joined.

    Attributes:
        max_batch_size: Examples of one run.
        timeout_s: How long a run waits for more to come when it could begin.
        allowed_sizes: Runs are filled up to one of these; empty means any.
        measured: Whether joining is known to be faster; otherwise the first calls tell (`serving.trials`).
    """

    max_batch_size: int = MAX_BATCH_SIZE
    timeout_s: float = 0.0
    allowed_sizes: tuple[int, ...] = ()
    measured: bool = False


@dataclass(frozen=True)
class Settings:
    """How one model is run.

    Attributes:
        workers: Calls answered at a time.
        most_waiting: Calls (of batching: batches) that may wait beside them.
        batching: None answers each call for itself.
    """

    workers: int
    most_waiting: int = 64
    batching: Batching | None = None


@dataclass(frozen=True)
class Wishes:
    """What the command line says of every model; None leaves it to what was measured, or to the defaults."""

    workers: int | None = None
    most_waiting: int = 64
    enable_batching: bool = False
    batching: Batching | None = None


def default() -> Settings:
    """Returns what holds where nothing is said: as many calls at a time as processors, no batching."""
    return Settings(os.cpu_count() or 1)


def of(folder: Path, wishes: Wishes) -> Settings:
    """Returns the settings of a version.

    What the command line says goes before what was measured, that before the defaults. Batching that was measured to
    be slower stays off unless a file of parameters asks for it.

    Raises:
        UserError: The file beside the version cannot be read.
    """
    measured = read(folder)
    found = measured or default()
    batching = found.batching if wishes.enable_batching or measured else None
    if wishes.enable_batching and (wishes.batching or not measured):
        batching = wishes.batching or Batching()
    return replace(found, workers=wishes.workers or found.workers, most_waiting=wishes.most_waiting, batching=batching)


def read(folder: Path) -> Settings | None:
    """Returns what was measured for a version, None where nothing was.

    Raises:
        UserError: The file is damaged.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        batching = told["batching"]
        if batching is not None:
            sizes = tuple(int(size) for size in batching["allowed_sizes"])
            batching = Batching(int(batching["max_batch_size"]), float(batching["timeout_s"]), sizes, measured=True)
        return Settings(max(1, int(told["workers"])), batching=batching)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged; remove it, or measure again with radkit serve --autotune") from error


def write(folder: Path, chosen: Settings, measured: Any) -> Path:
    """Stores settings beside a version, with the figures they were chosen by; returns the file."""
    path = folder / FILE
    path.parent.mkdir(exist_ok=True)
    batching = asdict(chosen.batching) if chosen.batching else None
    outputs.write_json(path, {"workers": chosen.workers, "batching": batching, "measured": measured})
    return path
