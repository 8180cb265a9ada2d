"""What workers do for `check-leakage`; a module of its own, to be imported.

What a worker found is written as one file, last, and read by the driver: no pixels travel through the pipeline.
"""

import dataclasses
from functools import lru_cache
from pathlib import Path

import threadpoolctl

from beam_jobs import runner
from radkit import config, outputs
from radkit.data.leakage import fingerprints, pairs
from radkit.errors import UserError

LOOKS, CHOSEN, JUDGED = "looks", "chosen", "judged"  # below the folder of a run's work


@dataclasses.dataclass(frozen=True)
class Shard:
    """A shard to look at: its number in the run, which side it belongs to, its path and its config's data section."""

    number: int
    side: str
    path: str
    data: config.Data


def look(shard: Shard, work: str, ledger: str) -> None:
    """Keeps what is needed of a shard to compare its records; a damaged one is told in a file instead."""
    folder = Path(work, LOOKS)
    try:
        with threadpoolctl.threadpool_limits(1):  # the processes share the processors already
            fingerprints.write_shard(folder, shard.number, shard.side, Path(shard.path), shard.data)
    except UserError as error:
        outputs.write_text(folder / f"{shard.number}.error", str(error))
    runner.finished(ledger, shard.number, 1)


def rows_of(work: Path, num_shards: int) -> list[fingerprints.Row]:
    """Returns all shards' rows, in the shards' order.

    Raises:
        UserError: A shard was damaged.
    """
    for number in range(num_shards):
        told = work / LOOKS / f"{number}.error"
        if told.exists():
            raise UserError(told.read_text(encoding="utf-8"))
    return [row for n in range(num_shards) for row in fingerprints.Store.read_rows(work / LOOKS, n)]


def judge(batch: int, work: str, num_shards: int, ledger: str) -> None:
    """Lays the pairs of a batch on each other and writes those that show one image."""
    folder = Path(work)
    chosen = outputs.read_json(folder / CHOSEN / f"{batch}.json")
    with threadpoolctl.threadpool_limits(1):
        found = pairs.judged([(first, second) for first, second in chosen], _store(folder, num_shards))
    outputs.write_json(folder / JUDGED / f"{batch}.json", [dataclasses.asdict(pair) for pair in found])
    runner.finished(ledger, f"batch-{batch}", len(chosen))


@lru_cache(maxsize=1)
def _store(work: Path, num_shards: int) -> fingerprints.Store:
    return fingerprints.Store(work / LOOKS, rows_of(work, num_shards))
