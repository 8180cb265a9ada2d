"""Patients dealt so that each side has its share of every kind of patient: of strata, or of labels that come together.

`apportion` rounds a table so that rows, columns and cells are all right at once; `deal` fills its places by a keyed
hash; `deal_tags` is for labels of which a patient may have several.
"""

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from math import ceil, floor

from radkit.data import splits

_Table = list[list[int]]


def shares_of(wanted: Sequence[float]) -> list[Fraction]:
    """Returns shares that add to 1 exactly, as they were written.

    >>> shares_of((0.7, 0.1, 0.2))
    [Fraction(7, 10), Fraction(1, 10), Fraction(1, 5)]
    """
    exact = [Fraction(str(share)) for share in wanted]
    return [share / sum(exact) for share in exact]


def apportion(sizes: Sequence[int], shares: Sequence[Fraction]) -> _Table:
    """Returns how many of each row go to each column.

    Every cell is its row's size times the column's share, rounded up or down; every row adds to its size; and every
    column adds to its share of all, rounded up or down. Without the last, a hundred strata of one patient each would
    all go to the largest share.

    Args:
        sizes: Of the rows.
        shares: Of the columns; they add to 1.

    Source: Cox and Ernst 1982, Controlled rounding, INFOR 20(4): such a table always exists.

    >>> apportion([3, 3, 4], [Fraction(1, 2), Fraction(1, 2)])
    [[2, 1], [1, 2], [2, 2]]
    """
    ideal = [[size * share for share in shares] for size in sizes]
    table = [[floor(cell) for cell in row] for row in ideal]
    behind = [Fraction(0)] * len(shares)  # how much each column is behind its share, so far
    for row, wanted, size in zip(table, ideal, sizes):
        behind = [late + cell - have for late, cell, have in zip(behind, wanted, row)]
        open_ = [column for column, cell in enumerate(wanted) if cell.denominator > 1]
        open_.sort(key=lambda column: (-behind[column], column))
        for column in open_[: size - sum(row)]:
            row[column] += 1
            behind[column] -= 1
    return _mended(table, ideal, [sum(sizes) * share for share in shares])


def _mended(table: _Table, ideal: Sequence[Sequence[Fraction]], wanted: Sequence[Fraction]) -> _Table:
    """Moves single patients between columns, within cells' rounding, until each column is its share, rounded."""
    while True:
        have = [sum(row[column] for row in table) for column in range(len(wanted))]
        over = [column for column, count in enumerate(have) if count > ceil(wanted[column])]
        under = [column for column, count in enumerate(have) if count < floor(wanted[column])]
        if not over and not under:
            return table
        givers = over[:1] or [column for column, count in enumerate(have) if count > floor(wanted[column])]
        takers = under[:1] or [column for column, count in enumerate(have) if count < ceil(wanted[column])]
        for row, giver, taker in _path(table, ideal, givers, takers):
            table[row][giver] -= 1
            table[row][taker] += 1


def _path(
    table: _Table, ideal: Sequence[Sequence[Fraction]], givers: Collection[int], takers: Collection[int]
) -> list[tuple[int, int, int]]:
    """Returns (row, from, to) of the fewest moves that take one patient from a giver to a taker."""
    came: dict[int, list[tuple[int, int, int]]] = {column: [] for column in givers}
    waiting = deque(came)
    while waiting:
        column = waiting.popleft()
        if column in takers and came[column]:
            return came[column]
        for row, (cells, wanted) in enumerate(zip(table, ideal)):
            if cells[column] <= floor(wanted[column]):
                continue
            for other, cell in enumerate(cells):
                if other not in came and cell < ceil(wanted[other]):
                    came[other] = [*came[column], (row, column, other)]
                    waiting.append(other)
    raise AssertionError("a table always has a controlled rounding")


def deal(
    stratum_of: Mapping[str, str],
    names: Sequence[str],
    shares: Sequence[Fraction],
    seed: str,
    kept: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Returns which of the names each patient falls to, each name having its share of every stratum.

    Args:
        stratum_of: By patient.
        names: What is dealt to.
        shares: One a name; they add to 1.
        seed: Another seed deals anew.
        kept: Patients that stay where they were dealt before; the others fill up to the shares.
    """
    kept = {patient: name for patient, name in (kept or {}).items() if patient in stratum_of}
    members: dict[str, list[str]] = {}
    for patient in _in_order(stratum_of, seed):
        members.setdefault(stratum_of[patient], []).append(patient)
    strata = sorted(members)
    quotas = apportion([len(members[stratum]) for stratum in strata], shares)
    dealt = dict(kept)
    for stratum, quota in zip(strata, quotas):
        new = [patient for patient in members[stratum] if patient not in kept]
        held = Counter(kept[patient] for patient in members[stratum] if patient in kept)
        counts = _filled([n - held[name] for n, name in zip(quota, names)], len(new))
        places = [name for name, count in zip(names, counts) for _ in range(count)]
        dealt.update(zip(new, places))
    return dealt


def _filled(lacking: Sequence[int], count: int) -> list[int]:
    """Returns how many of `count` new patients go to each name: always to the one that lacks most."""
    left, given = list(lacking), [0] * len(lacking)
    for _ in range(count):
        most = max(range(len(left)), key=lambda column: (left[column], -column))
        left[most] -= 1
        given[most] += 1
    return given


def _in_order(patients: Collection[str], seed: str) -> list[str]:
    """Returns patients in the order of the keyed hash that `splits.split_of` uses, whatever the order they came in."""
    return sorted(patients, key=lambda patient: (splits.place(f"{seed}\0{patient}"), patient))


def deal_tags(
    tags_of: Mapping[str, Collection[str]],
    names: Sequence[str],
    shares: Sequence[Fraction],
    seed: str,
    kept: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Returns which of the names each patient falls to, each name having about its share of every tag.

    Strata would be as many as there are combinations; here the rarest tag is dealt first.

    Args:
        tags_of: By patient: the labels that it has.
        names: See `deal`, and so for the others.

    Source: Sechidis, Tsoumakas, Vlahavas 2011, On the stratification of multi-label data, algorithm 1; ties, which are
        broken at random there, go to the first name.
    """
    dealt = {patient: name for patient, name in (kept or {}).items() if patient in tags_of}
    lacking = {name: len(tags_of) * share for name, share in zip(names, shares)}
    counts = Counter(tag for tags in tags_of.values() for tag in set(tags))
    of_tag = {tag: {name: count * share for name, share in zip(names, shares)} for tag, count in counts.items()}
    left = {patient: sorted(set(tags_of[patient])) for patient in _in_order(tags_of, seed)}

    def give(patient: str, name: str) -> None:
        lacking[name] -= 1
        for tag in left.pop(patient):
            of_tag[tag][name] -= 1
        dealt[patient] = name

    for patient, name in list(dealt.items()):
        give(patient, name)
    while remaining := Counter(tag for tags in left.values() for tag in tags):
        rarest = min(remaining, key=lambda tag: (remaining[tag], tag))
        for patient in [one for one, tags in left.items() if rarest in tags]:
            wanted = of_tag[rarest]
            give(patient, max(names, key=lambda name: (wanted[name], lacking[name], -names.index(name))))
    for patient in list(left):
        give(patient, max(names, key=lambda name: (lacking[name], -names.index(name))))
    return dealt
