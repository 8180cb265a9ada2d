"""A record's intensities in modality units, block by block: of the whole image, and of each value of its mask.

int16 pixels are counted as they are stored, 65,536 at most, before they become modality values: one pass a volume.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from radkit.data.figures import tallies
from radkit.data.figures.accumulators import Values, merge

ALL = "all"
_BLOCK = 1 << 20  # voxels that are looked at together
_PENDING = 32  # blocks whose counts are held before they are added up

# A group's name, (n,) float64 modality values, (n,) how often each occurs, or None: once each.
Block = tuple[str, np.ndarray, np.ndarray | None]


def label_group(value: int) -> str:
    """Returns the group of the voxels where the mask has a value."""
    return f"mask {value}"


def blocks(record: Mapping[str, Any]) -> Iterator[Block]:
    """Yields a record's intensities; nan and infinite ones among them."""
    image = tallies.slices_of(record)
    mask = tallies.slices_of(record, "mask") if tallies.has_mask(record) else None
    slopes, intercepts = (np.asarray(record[name], np.float64) for name in ("rescale_slope", "rescale_intercept"))
    for part in _parts(image.shape, slopes, intercepts):
        stored, drawn = image[part].reshape(-1), mask[part].reshape(-1) if mask is not None else None
        slope, intercept = slopes[part[0]][0], intercepts[part[0]][0]
        of_part = _counted if stored.dtype.kind == "i" else _listed
        for group, values, counts in of_part(stored, drawn):
            with np.errstate(invalid="ignore", over="ignore"):
                yield group, values * slope + intercept, counts


def _parts(sizes: tuple[int, ...], slopes: np.ndarray, intercepts: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Yields which slices and rows to look at together: of one slope and intercept, about `_BLOCK` voxels."""
    rows = max(1, min(sizes[1], _BLOCK // max(1, sizes[2])))
    most = max(1, _BLOCK // max(1, sizes[1] * sizes[2]))
    start = 0
    while start < sizes[0]:
        stop = start + 1
        while stop < min(sizes[0], start + most) and _same(slopes, start, stop) and _same(intercepts, start, stop):
            stop += 1
        for row in range(0, sizes[1], rows):
            yield slice(start, stop), slice(row, row + rows)
        start = stop


def _same(of_slices: np.ndarray, one: int, other: int) -> bool:
    return bool(of_slices[one] == of_slices[other])


def _counted(stored: np.ndarray, drawn: np.ndarray | None) -> Iterator[Block]:
    places = stored.astype(np.int64) + 32768
    counts = np.bincount(places)
    held = np.flatnonzero(counts)
    yield ALL, (held - 32768).astype(np.float64), counts[held]
    inside = np.flatnonzero(drawn) if drawn is not None else np.zeros(0, np.int64)
    if drawn is None or not inside.size:
        return
    pairs, often = np.unique(drawn[inside].astype(np.int64) << 16 | places[inside], return_counts=True)
    for value in np.unique(pairs >> 16):
        of_value = pairs >> 16 == value
        yield label_group(int(value)), ((pairs[of_value] & 0xFFFF) - 32768).astype(np.float64), often[of_value]


def _listed(stored: np.ndarray, drawn: np.ndarray | None) -> Iterator[Block]:
    values = stored.astype(np.float64)
    yield ALL, values, None
    if drawn is not None:
        for value in np.flatnonzero(np.bincount(drawn, minlength=1)[1:]) + 1:
            yield label_group(int(value)), values[drawn == value], None


def of_record(record: Mapping[str, Any]) -> tuple[dict[str, Values], int]:
    """Returns a record's intensities by group, and how many are nan or infinite, which are not among them."""
    pending: dict[str, list[Values]] = {}
    not_finite = 0
    for group, values, counts in blocks(record):
        finite = np.isfinite(values)
        if not finite.all():
            if group == ALL:
                not_finite += int((~finite).sum() if counts is None else counts[~finite].sum())
            values, counts = values[finite], None if counts is None else counts[finite]
        is_short = counts is None and any(held.shortened for held in pending.get(group, ()))
        fold(pending, group, Values.short(values) if is_short else Values.of(values, counts))
    return folded(pending), not_finite


def within(record: Mapping[str, Any], wanted: Mapping[str, np.ndarray], look: int) -> dict[str, Values]:
    """Returns those of a record's intensities that a second or third look asks for.

    Args:
        record: Decoded.
        wanted: The beginnings of numbers, by group; see `accumulators.unresolved`.
        look: 1 or 2.
    """
    pending: dict[str, list[Values]] = {}
    for group, values, counts in blocks(record):
        if group in wanted:
            finite = np.isfinite(values)
            often = None if counts is None else counts[finite]
            fold(pending, group, Values.within(values[finite], often, wanted[group], look))
    return folded(pending)


def fold(pending: dict[str, list[Values]], group: str, values: Values) -> None:
    """Adds to what is held of a group; adding up is left until there is enough of it."""
    held = pending.setdefault(group, [])
    held.append(values)
    if len(held) >= _PENDING:
        pending[group] = [merge(held)]


def folded(pending: Mapping[str, list[Values]]) -> dict[str, Values]:
    """Returns the sum of what is held, by group."""
    return {group: merge(held) for group, held in sorted(pending.items())}
