"""Numbers counted so that they add up: any sharding, in any order, gives exactly the same figures.

A `Values` holds how often each number occurs, as long as few enough differ: stored pixels of a modality do. Beyond
`MOST` different numbers it keeps sums as whole numbers, which no order of adding changes, and for order statistics the
leading bits of each number; a second look at the same data (`Values.within`) then resolves those that are asked for. So
sums, extremes and percentiles are those of all numbers together, not of a sample.
"""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

MOST = 1 << 18  # different numbers that are held one by one
LEVELS = (24, 44, 64)  # leading bits of a number that are kept when there are more: at the first, second, third look
_UNIT = 1126  # sums count 2 ** -_UNIT: every bit of the least float64 is a whole number of these
_CHUNK_BITS = 15
_CHUNK = 1 << _CHUNK_BITS  # numbers that are added at once, in a processor's cache
_MOST_BINS = 1 << 22  # that are counted by their number, without sorting
_LARGE = 2.0**400
_MOST_FLOAT32 = 2.0**127


@dataclass(frozen=True)
class Moments:
    """Count, sums and extremes of numbers, without rounding.

    Attributes:
        count: How many.
        total: Their sum, in units of 2 ** -1126.
        squares: The sum of their squares, in units of 2 ** -2252.
        least: The least; inf of none.
        most: The greatest; -inf of none.
    """

    count: int = 0
    total: int = 0
    squares: int = 0
    least: float = float("inf")
    most: float = float("-inf")

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            min(self.least, other.least),
            max(self.most, other.most),
        )

    @property
    def mean(self) -> float:
        """The mean, rounded once."""
        return self.total / (self.count << _UNIT)

    @property
    def std(self) -> float:
        """The population's standard deviation."""
        spread: int = self.count * self.squares - self.total**2
        return float((spread / (self.count**2 << 2 * _UNIT)) ** 0.5)

    def to_json(self) -> list[Any]:
        """Returns it as plain JSON values."""
        extremes = [self.least.hex(), self.most.hex()]
        return [self.count, hex(self.total), hex(self.squares), *extremes]

    @staticmethod
    def from_json(values: Sequence[Any]) -> "Moments":
        """Returns what `to_json` gave."""
        count, total, squares, least, most = values
        return Moments(count, int(total, 16), int(squares, 16), float.fromhex(least), float.fromhex(most))


def moments(numbers: np.ndarray, counts: np.ndarray | None = None) -> Moments:
    """Returns the moments of finite numbers.

    Args:
        numbers: (n,) float64.
        counts: (n,) int64, how often each occurs; None: once.

    >>> moments(np.array([1e16, 1.0, -1e16])).mean * 3
    1.0
    """
    if not numbers.size:
        return Moments()
    if counts is None:
        return Moments(len(numbers), *_sums(numbers), float(numbers.min()), float(numbers.max()))
    total = squares = 0
    # A count is a sum of powers of two: numbers are added once for each, never one by one.
    for bit in range(int(counts.max()).bit_length()):
        one, square = _sums(numbers[(counts >> bit & 1).astype(bool)])
        total, squares = total + (one << bit), squares + (square << bit)
    return Moments(int(counts.sum()), total, squares, float(numbers.min()), float(numbers.max()))


def _sums(numbers: np.ndarray) -> tuple[int, int]:
    """Returns the exact sum and sum of squares, in units."""
    total = squares = 0
    for start in range(0, len(numbers), _CHUNK):
        chunk = numbers[start : start + _CHUNK]
        size = np.abs(chunk)
        usual = (size < _LARGE) & (size > 1 / _LARGE) | (size == 0)
        if not usual.all():  # their squares have no float64
            for extreme in map(Fraction, chunk[~usual].tolist()):
                total, squares = total + int(extreme * 2**_UNIT), squares + int(extreme**2 * 4**_UNIT)
            chunk = chunk[usual]
        total += _sum(chunk, _UNIT)
        squares += sum(_sum(part, 2 * _UNIT) for part in _squares(chunk))
    return total, squares


def _sum(numbers: np.ndarray, unit: int) -> int:
    """Returns the exact sum of at most `_CHUNK` numbers, in units of 2 ** -unit.

    The leading 36 bits of all, as multiples of one power of two, add up without rounding; then the next 36 of what is
    left. Source: Demmel, Nguyen 2015, Parallel Reproducible Summation (pre-rounding), with nothing thrown away.
    """
    total = 0
    while numbers.size and (top := float(max(numbers.max(), -numbers.min()))):
        coarse = 1.5 * 2.0 ** (np.frexp(top)[1] + _CHUNK_BITS + 1)
        leading = (numbers + coarse) - coarse
        whole, parts = float(leading.sum()).as_integer_ratio()
        total += whole << (unit + 1 - parts.bit_length())
        numbers = numbers - leading
    return total


def _squares(numbers: np.ndarray) -> list[np.ndarray]:
    """Returns numbers that add up to the squares, none of them rounded."""
    high = (
        numbers.astype(np.float32).astype(np.float64)
        if numbers.size and np.abs(numbers).max() < _MOST_FLOAT32
        else None
    )
    if high is not None and np.array_equal(high, numbers):
        return [numbers * numbers]
    large = numbers * (2.0**27 + 1)  # Veltkamp's split: two halves of 26 bits
    high = large - (large - numbers)
    low = numbers - high
    return [high * high, 2 * high * low, low * low]


@dataclass(frozen=True)
class Values:
    """How often each number occurs; beyond `MOST` different ones, how often each beginning of one does.

    Attributes:
        keys: (n,) int64, sorted and unlike: numbers' places in order (see `_keys`), or such places' leading bits.
        counts: (n,) int64.
        shortened: Moments of all numbers where keys are leading bits; None where keys are whole numbers.
        look: Which look this is: how many leading bits are kept.
    """

    keys: np.ndarray
    counts: np.ndarray
    shortened: Moments | None = None
    look: int = 0

    @staticmethod
    def of(numbers: np.ndarray, counts: np.ndarray | None = None, look: int = 0) -> "Values":
        """Returns finite numbers, any shape, each as often as `counts` says, or once."""
        flat = np.asarray(numbers, np.float64).reshape(-1)
        often = None if counts is None else np.asarray(counts, np.int64).reshape(-1)
        return _shortened(Values(*_counted(_keys(flat), often), look=look))

    @staticmethod
    def short(numbers: np.ndarray) -> "Values":
        """Returns the beginnings of finite numbers, each once: for what is added to numbers that are already shortened.

        It is quicker than `of`, and the sum is the same: it is shortened either way.
        """
        flat = np.asarray(numbers, np.float64).reshape(-1)
        return Values(*_counted_beginnings(_keys(flat), LEVELS[0]), moments(flat))

    @staticmethod
    def within(numbers: np.ndarray, counts: np.ndarray | None, beginnings: np.ndarray, look: int) -> "Values":
        """Returns those of the numbers that begin as asked.

        Args:
            numbers: (n,) float64, finite.
            counts: (n,) how often each occurs; None: once.
            beginnings: Sorted keys of the look before.
            look: Which look this is, 1 or 2.
        """
        begins = _beginnings(_keys(numbers), LEVELS[look - 1])
        held = np.isin(begins, beginnings)
        return Values.of(numbers[held], None if counts is None else counts[held], look)

    @property
    def count(self) -> int:
        """How many numbers there are."""
        return int(self.counts.sum())

    @property
    def moments(self) -> Moments:
        """Their exact moments."""
        return self.shortened or moments(_numbers(self.keys), self.counts)

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain JSON values."""
        sums = self.shortened.to_json() if self.shortened else None
        return {"keys": _packed(self.keys), "counts": _packed(self.counts), "shortened": sums, "look": self.look}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Values":
        """Returns what `to_json` gave."""
        sums = Moments.from_json(values["shortened"]) if values["shortened"] else None
        return Values(_unpacked(values["keys"]), _unpacked(values["counts"]), sums, values["look"])


def merge(parts: Sequence[Values]) -> Values:
    """Returns all parts' numbers together; the order does not matter. Parts are of the same look."""
    if not parts:
        return Values.of(np.zeros(0))
    if len(parts) == 1:
        return parts[0]
    look = parts[0].look
    shortened = any(part.shortened for part in parts)
    keys = np.concatenate([part.keys for part in parts])
    if shortened:
        keys = _beginnings(keys, LEVELS[look])
    sums = sum((part.moments for part in parts), Moments()) if shortened else None
    return _shortened(Values(*_counted(keys, np.concatenate([part.counts for part in parts])), sums, look))


def _shortened(values: Values) -> Values:
    """Returns the same when few enough numbers differ; else their beginnings and their moments."""
    if values.shortened or len(values.keys) <= MOST or LEVELS[values.look] == 64:
        return values
    keys, counts = _counted(_beginnings(values.keys, LEVELS[values.look]), values.counts)
    return replace(values, keys=keys, counts=counts, shortened=values.moments)


def _counted(keys: np.ndarray, counts: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if counts is None:
        keys = np.sort(keys)
    else:
        order = np.argsort(keys, kind="stable")
        keys, counts = keys[order], counts[order]
    if not keys.size:
        return keys, np.zeros(0, np.int64)
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    often = np.diff(first, append=keys.size) if counts is None else np.add.reduceat(counts, first)
    return keys[first], often.astype(np.int64)


def _counted_beginnings(keys: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    beginnings = keys >> (64 - bits)
    first = int(beginnings.min()) if keys.size else 0
    if not keys.size or int(beginnings.max()) - first > _MOST_BINS:
        return _counted(_beginnings(keys, bits), None)
    counts = np.bincount(beginnings - first)
    held = np.flatnonzero(counts)
    return (held + first) << (64 - bits), counts[held]


def _keys(numbers: np.ndarray) -> np.ndarray:
    """Returns int64 that are ordered as the float64 are: of what is below 0, all bits but the sign turn round."""
    return _turned((numbers + 0.0).view(np.int64))  # -0.0 is 0.0


def _numbers(keys: np.ndarray) -> np.ndarray:
    return _turned(keys).view(np.float64)


def _turned(bits: np.ndarray) -> np.ndarray:
    """Returns bits with all but the sign turned round where it is below 0; twice is as before."""
    return bits ^ (bits >> 63 & np.int64(2**63 - 1))


def _beginnings(keys: np.ndarray, bits: int) -> np.ndarray:
    return keys & np.int64(-(1 << (64 - bits)))


def _packed(whole: np.ndarray) -> str:
    steps = np.diff(whole, prepend=np.int64(0)).astype("<i8")  # small where numbers lie near each other
    return base64.b64encode(zlib.compress(steps.tobytes(), 1)).decode()


def _unpacked(text: str) -> np.ndarray:
    steps = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<i8")
    return np.cumsum(steps, dtype=np.int64)


def percentile(looks: Sequence[Values], share: float) -> float:
    """Returns numpy's percentile ("linear") of all numbers.

    Args:
        looks: What the first look gave and, where `unresolved` asked for it, the second and third.
        share: In percent, 0 to 100.

    Returns:
        The percentile: exact where `unresolved` is empty, else low by less than 2 ** -12 of itself.
    """
    before, after, weight = _ranks(looks[0].count, share)
    low, high = (float(_numbers(np.array([_at(looks, rank)[0]]))[0]) for rank in (before, after))
    # As numpy interpolates, to the last bit.
    return high - (high - low) * (1 - weight) if weight >= 0.5 else low + (high - low) * weight


def unresolved(looks: Sequence[Values], shares: Sequence[float]) -> np.ndarray:
    """Returns the beginnings, sorted, that `Values.within` of the next look must tell apart for these percentiles."""
    ranks = {rank for share in shares for rank in _ranks(looks[0].count, share)[:2]} if looks[0].count else set()
    found = [_at(looks, rank) for rank in sorted(ranks)]
    return np.unique(np.array([key for key, is_whole in found if not is_whole], np.int64))


def _ranks(count: int, share: float) -> tuple[int, int, float]:
    place = float(np.true_divide(share, 100) * (count - 1))
    before = int(place)
    return before, min(before + 1, count - 1), place - before


def _at(looks: Sequence[Values], rank: int) -> tuple[int, bool]:
    """Returns the key at a place in order, and whether it is a whole number's."""
    key, found = 0, Values.of(np.zeros(0))
    for number, found in enumerate(looks):
        keys, counts = found.keys, found.counts
        if number:
            held = _beginnings(keys, LEVELS[number - 1]) == key
            keys, counts = keys[held], counts[held]
        ends = np.cumsum(counts)
        at = int(np.searchsorted(ends, rank, side="right"))
        key, rank = int(keys[at]), rank - int(ends[at - 1] if at else 0)
        if not found.shortened:
            return key, True
    return key, False


def histogram(values: Values, least: float, most: float, bins: int) -> list[int]:
    """Returns how many numbers lie in each of `bins` equal parts of least to most; the last holds `most`, too.

    Where numbers were too many to be held one by one, each counts where its beginning lies: low by less than 2 ** -12
    of itself.
    """
    if least == most:
        most = least + 1
    counts, _ = np.histogram(_numbers(values.keys), bins=bins, range=(least, most), weights=values.counts)
    return [int(count) for count in counts]
