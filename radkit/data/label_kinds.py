"""Labels of every kind as plain values, which a record and a plan's JSON hold as they are; several made one; degrees.

A class or a degree is its place in `data.class_names`; of several labels each is 1 (yes), 0 (no) or -1 (unknown); a
regression's label is a number; a survival's (time, event).
"""

import itertools
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from radkit import config

Value = int | float | tuple[int, ...] | tuple[float, int]
UNLABELLED = -1  # the value where the config asks for no label
_SAID = {1: "yes", 0: "no", -1: "unknown"}


class Elected(NamedTuple):
    """What several readers' labels come to.

    Attributes:
        value: The label; None where they are tied, or may not differ and do.
        tied: Places of the classes of which as many readers say yes as no.
    """

    value: Value | None
    tied: tuple[int, ...] = ()


def elected(values: Sequence[Value], data: config.Data) -> Elected:
    """Returns what the labels of several readers come to, one vote each.

    Classes: the one with the most votes. Degrees: the middle one; of an even number both middle ones must be the same.
    Numbers: the median. Of each of several labels what most readers say who know; as many yes as no is unknown. Times
    and events are measured, not judged: they must be the same.

    >>> elected([(1, 0), (1, 1), (-1, 0)], config.Data("d", label="x", label_kind="multi_label")).value
    (1, 0)
    """
    if data.label_kind == "multi_label":
        return _each(values)
    if data.label_kind == "ordinal":
        low, high = statistics.median_low(values), statistics.median_high(values)  # type: ignore[type-var]
        return Elected(low if low == high else None)
    if data.label_kind == "regression":
        return Elected(float(statistics.median(values)))  # type: ignore[type-var, arg-type]
    counts = Counter(values).most_common(2)
    if data.label_kind == "survival" or len(counts) == 1:
        return Elected(counts[0][0] if len(counts) == 1 else None)
    return Elected(counts[0][0] if counts[0][1] > counts[1][1] else None)


def middle_degree(probabilities: Sequence[float]) -> int:
    """Returns the median degree: the first at which half of the probability is reached.

    >>> middle_degree([0.4, 0.3, 0.3])
    1
    """
    # Half of a probability that was rounded to float32 counts as half.
    reached = (share >= 0.5 - 1e-7 for share in itertools.accumulate(map(float, probabilities)))
    return next((place for place, is_half in enumerate(reached) if is_half), len(probabilities) - 1)


def at_least(probabilities: Sequence[float]) -> list[float]:
    """Returns for every degree but the lowest how likely it, or a higher one, is.

    >>> at_least([0.25, 0.25, 0.5])
    [0.75, 0.5]
    """
    from_above = list(itertools.accumulate(map(float, reversed(probabilities))))[-2::-1]
    return [min(1.0, share) for share in from_above]


def _each(values: Sequence[Any]) -> Elected:
    flags, tied = [], []
    for place, votes in enumerate(zip(*values)):
        yes, no = votes.count(1), votes.count(0)
        flags.append(1 if yes > no else 0 if no > yes else -1)
        tied += [place] if yes == no and yes else []
    return Elected(tuple(flags), tuple(tied))


def words(value: Value, data: config.Data, places: Sequence[int] = ()) -> str:
    """Returns a label in words.

    Args:
        value: The label.
        data: The config's data section.
        places: Of several labels, which are told; empty: all.
    """
    if isinstance(value, tuple) and data.label_kind == "multi_label":
        told = places or range(len(value))
        return ", ".join(f"{data.class_names[place]} {_SAID[int(value[place])]}" for place in told)
    if isinstance(value, int) and data.label_kind in ("class", "ordinal"):
        return data.class_names[value]
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def fields(value: Value, data: config.Data) -> dict[str, Any]:
    """Returns a label as fields of a record."""
    if data.label_kind == "survival" and isinstance(value, tuple):
        return {"label": float(value[0]), "event": int(value[1])}
    return {"label": list(value) if isinstance(value, tuple) else value}


def from_json(value: Any) -> Value:
    """Returns a label from what JSON made of it.

    >>> from_json([1, -1]), from_json(2.5)
    ((1, -1), 2.5)
    """
    made: Value = tuple(value) if isinstance(value, list) else value
    return made
