"""Which record is a step's: a function of the seed and the example's number, so that any step is reached at once.

Numbers are drawn by hashing integers (splitmix64), not by a generator: each is a function of the seed, of what it is
for and of its place, the same with every version of numpy and on every machine.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_ALL = 0xFFFFFFFFFFFFFFFF
_ORDER, _DEAL, _OFFSET, _SHUFFLE = range(4)  # what a number of an epoch is drawn for
_KEPT_EPOCHS = 3


def drawn(*numbers: int) -> float:
    """Returns a number in [0, 1) that depends on these numbers alone.

    Source: Steele, Lea, Flood 2014, Fast splittable pseudorandom number generators (splitmix64's last step).

    >>> drawn(0, 1) == drawn(0, 1), drawn(0, 1) == drawn(1, 0)
    (True, False)
    """
    state = 0
    for number in numbers:
        state = (state + _GOLDEN + number) & _ALL
        state = ((state ^ state >> 30) * _MIX[0]) & _ALL
        state = ((state ^ state >> 27) * _MIX[1]) & _ALL
        state ^= state >> 31
    return (state >> 11) / 2**53


def many(count: int, *numbers: int) -> np.ndarray:
    """Returns `drawn(*numbers, n)` for n from 0 to `count` - 1 as (count,) float64."""
    state = np.zeros(count, np.uint64)
    places = np.arange(count, dtype=np.uint64)
    for number in (*(np.full(count, n & _ALL, np.uint64) for n in numbers), places):
        state = state + np.uint64(_GOLDEN) + number
        state = (state ^ state >> np.uint64(30)) * np.uint64(_MIX[0])
        state = (state ^ state >> np.uint64(27)) * np.uint64(_MIX[1])
        state = state ^ state >> np.uint64(31)
    return (state >> np.uint64(11)).astype(np.float64) / 2**53


@dataclass(frozen=True)
class Order:
    """Endless epochs of as many examples as there are records, each epoch in an order of its own.

    Attributes:
        records: The numbers of a host's records.
        weights: How often each is seen, relative to the others. Equal ones: each once an epoch. Else each as often as
            its share says, to within one, and over the epochs exactly so on average (systematic sampling).
        seed: The trainer's.
    """

    records: Sequence[int]
    weights: np.ndarray
    seed: int
    _epochs: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def record(self, number: int) -> int:
        """Returns the record of a host's example `number`, counted from 0."""
        epoch, place = divmod(number, len(self.records))
        with self._lock:
            if epoch not in self._epochs:
                while len(self._epochs) >= _KEPT_EPOCHS:
                    self._epochs.pop(min(self._epochs))
                self._epochs[epoch] = self._dealt(epoch)
            return self.records[self._epochs[epoch][place]]

    def _dealt(self, epoch: int) -> np.ndarray:
        count = len(self.records)
        order = np.argsort(many(count, self.seed, epoch, _ORDER), kind="stable")
        if np.all(self.weights == self.weights[0]):
            return order
        # Along a line each record has a stretch as long as its share; a comb of `count` teeth is laid upon it.
        ends = np.cumsum(self.weights[order])
        teeth = (np.arange(count) + drawn(self.seed, epoch, _OFFSET)) * (ends[-1] / count)
        picked = order[np.minimum(np.searchsorted(ends, teeth, side="right"), count - 1)]
        return picked[np.argsort(many(count, self.seed, epoch, _SHUFFLE), kind="stable")]


def of_host(shards: Sequence[int], host: int, num_hosts: int) -> list[int]:
    """Returns which records are a host's: those of every `num_hosts`-th shard, or, of fewer shards, such records.

    Args:
        shards: The shard of each record.
        host: From 0 on.
        num_hosts: How many there are.

    >>> of_host([0, 0, 1, 2], 0, 2), of_host([0, 0, 0], 1, 2)
    ([0, 1, 3], [1])
    """
    held = sorted(set(shards))
    if len(held) < num_hosts:
        return list(range(host, len(shards), num_hosts))
    mine = set(held[host::num_hosts])
    return [number for number, shard in enumerate(shards) if shard in mine]
