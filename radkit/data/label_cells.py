"""What the cells of a labels table mean, by `data.label_kind`; values are those of `label_kinds`.

class, ordinal  `data.label`: a name of `data.class_names`, or its place there
multi_label     `data.label`: the names of what is there, joined by "|"; or a column a class: 1, 0, -1 or empty
regression      `data.label`: a number
survival        `data.label`: the time; `data.event`: 1 where the event was seen then, 0 where it was not yet
"""

import re
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from radkit import config
from radkit.data.label_kinds import UNLABELLED, Value
from radkit.errors import did_you_mean

POLICY = "data.annotations.unknown_class='leave_out'"
_FLAGS = {
    **dict.fromkeys(("1", "1.0", "yes", "true"), 1),
    **dict.fromkeys(("0", "0.0", "no", "false"), 0),
    **dict.fromkeys(("", "-1", "-1.0", "unknown", "uncertain"), -1),
}
_NOTHING = {"no finding", "no findings", "none", "normal", "nothing", "[]"}  # what a list without a name says
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MOST = 3.4028234663852886e38  # of float32, in which records hold numbers


class Said(NamedTuple):
    """What cells say.

    Attributes:
        value: The label; None where there is none that could be used.
        unclear: What in them is not understood, in words; empty where all is.
    """

    value: Value | None
    unclear: str = ""


Meaning = Callable[[Sequence[str]], Said]


def columns(data: config.Data, there: Collection[str]) -> tuple[str, ...]:
    """Returns the columns whose cells are the label, of which a table may lack some.

    Args:
        data: The config's data section.
        there: The table's columns.
    """
    if not data.label:
        return ()
    if data.label_kind == "survival":
        return data.label, data.event
    is_list = data.label in there and data.label not in data.class_names
    return data.class_names if data.label_kind == "multi_label" and not is_list else (data.label,)


def expected(data: config.Data) -> str:
    """Returns the columns that a labels table needs, in words.

    >>> expected(config.Data("d", label="months", label_kind="survival", event="died", report="text"))
    "'months' and 'died' and 'text'"
    """
    said = [repr(name) for name in (data.label, data.event, data.report) if name]
    if data.label_kind == "multi_label":
        said[0] = f"{data.label!r} (names joined by '|') or a column for each of {', '.join(data.class_names)}"
    return " and ".join(said)


def known(data: config.Data) -> set[str]:
    """Returns the names of all columns that a labels table may have for its labels and reports."""
    classes = data.class_names if data.label_kind == "multi_label" else ()
    return {data.label, data.event, data.report, *classes} - {""}


def called(data: config.Data) -> str:
    """Returns what a row says of its image, in a word for messages."""
    return ("class" if data.label_kind in ("class", "ordinal") else "label") if data.label else "report"


def meaning(data: config.Data, read: Sequence[str]) -> Meaning:
    """Returns what tells the meaning of a row's cells, of which one at least is not empty.

    Args:
        data: The config's data section.
        read: The columns of the cells, from `columns`.
    """
    if not data.label:
        return lambda cells: Said(UNLABELLED)
    if data.label_kind == "multi_label":
        return _flags(read) if tuple(read) == data.class_names else listed(data)
    if data.label_kind == "regression":
        return _number
    return _time if data.label_kind == "survival" else _place(data)


def _place(data: config.Data) -> Meaning:
    names = data.class_names
    numbers = {str(place): place for place in range(len(names))}
    if data.label_kind == "ordinal":
        # Of grades that are numbers (1 to 5) a place is mistaken for a grade; programs write 3.0 beside empty cells.
        numbers = {} if any(_NUMBER.fullmatch(name) for name in names) else numbers
        numbers |= {f"{name}.0": place for place, name in enumerate(names) if name.isdecimal()}
    places = {**numbers, **{name: place for place, name in enumerate(names)}}

    def said(cells: Sequence[str]) -> Said:
        place = places.get(cells[0])
        return Said(place) if place is not None else Said(None, _no_class(cells[0], names))

    return said


def _no_class(name: str, names: Sequence[str]) -> str:
    return f"class {name!r} is none of {', '.join(names)}{did_you_mean(name, names)}"


def _flags(read: Sequence[str]) -> Meaning:
    def said(cells: Sequence[str]) -> Said:
        found = [_FLAGS.get(cell.lower()) for cell in cells]
        wrong = [column for column, flag in zip(read, found) if flag is None]
        if wrong:
            return Said(None, f"column {wrong[0]!r} is none of 1 (yes), 0 (no), -1 or empty (unknown)")
        return Said(tuple(flag for flag in found if flag is not None))

    return said


def listed(data: config.Data) -> Meaning:
    """Returns what tells the meaning of a list of what is there, as "Effusion|Mass": what it does not name is not.

    Capitals, blanks and underscores do not matter. "No Finding" (or none, normal) is an empty list, where no class
    bears that name. Names of no class are told as unclear, and the others count.
    """
    places = {plain(name): place for place, name in enumerate(data.class_names)}
    nothing = _NOTHING - places.keys()

    def said(cells: Sequence[str]) -> Said:
        names = {plain(part): part.strip() for part in cells[0].split("|") if part.strip()}
        if not names or (nothing & names.keys() and names.keys() - nothing):
            what = "says that nothing is there and names findings, too" if names else "holds no name"
            return Said(None, f"the list of column {data.label!r} {what}")
        flags = tuple(int(name in names) for name in places)
        other = [part for name, part in names.items() if name not in places and name not in nothing]
        return Said(flags, _no_class(other[0], data.class_names) if other else "")

    return said


def plain(name: str) -> str:
    """Returns a name as lists of findings are compared.

    >>> plain("Pleural_Thickening "), plain("pleural  thickening")
    ('pleural thickening', 'pleural thickening')
    """
    return " ".join(name.replace("_", " ").lower().split())


def _number(cells: Sequence[str]) -> Said:
    if not _NUMBER.fullmatch(cells[0]):
        return Said(None, "the label is no number; digits and a decimal point were expected")
    value = float(cells[0]) + 0.0  # -0 is 0: equal numbers are equal bytes
    return Said(value) if abs(value) <= _MOST else Said(None, "the label is larger than float32 holds")


def _time(cells: Sequence[str]) -> Said:
    time, event = _number(cells), _FLAGS.get(cells[1].lower(), -1)
    if time.unclear:
        return Said(None, time.unclear.replace("the label", "the time"))
    if event == -1:
        return Said(None, "the event is neither 1 (seen) nor 0 (not seen by then)")
    if not (isinstance(time.value, float) and time.value >= 0):
        return Said(None, "the time is below 0")
    return Said((time.value, event))


def cells(value: Value, data: config.Data) -> tuple[str, ...]:
    """Returns a label as the cells of a table's columns: of several labels one a class; `meaning` gives it back."""
    if not data.label:
        return ()
    if isinstance(value, tuple):
        return tuple(map(str, value))
    if data.label_kind not in ("class", "ordinal"):
        return (repr(float(value)),)
    number = str(int(value))
    same = _place(data)((number,)).value == value  # unless the classes' names are numbers
    return (number if same else data.class_names[int(value)],)
