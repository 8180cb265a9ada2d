"""Moves dates by whole days (option RetainLongModifiedDates); pure, on a value's bytes."""

import datetime
import functools
import re

# PS3.5 6.2. Components of a value may be missing from the right. Hour 24 is ISO 8601's midnight at a day's end, second
# 60 a leap second: both are written, and a move by whole days keeps both.
_SECOND = rb"(?:[0-5][0-9]|60)(?:\.[0-9]{1,6})?"
_CLOCK = rb"(?:(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:%b)?)?|24(?:00(?:00(?:\.0{1,6})?)?)?)" % _SECOND
# ACR-NEMA's form, which PS3.5 asks readers to know.
_OLD_CLOCK = rb"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::%b)?" % _SECOND
_OFFSET = rb"(?:\+(?:0[0-9]|1[0-3])[0-5][0-9]|\+1400|-(?:0[0-9]|1[01])[0-5][0-9]|-1200)"

_DATE = rb"[0-9]{8}|[0-9]{6}|[0-9]{4}|[0-9]{4}\.[0-9]{2}\.[0-9]{2}"
_DATETIME = rb"(?:[0-9]{8}(?:%b)?|[0-9]{6}|[0-9]{4})(?:%b)?" % (_CLOCK, _OFFSET)
_TIME = rb"%b|%b" % (_CLOCK, _OLD_CLOCK)

# The middle of a year and of a month: an error of a moved date that is only that precise is least from there.
_MIDDLE_OF_YEAR = b"0702"
_MIDDLE_OF_MONTH = b"16"
_LAST_DAY = datetime.date.max.toordinal()
_PADDING = b" \0"


def _forms(pattern: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Returns what matches one value and what matches a range of two, either of which may be missing."""
    return re.compile(rb"(?:%b)" % pattern), re.compile(rb"(%b)?-(%b)?" % (pattern, pattern))


_FORMS = {"DA": _forms(_DATE), "DT": _forms(_DATETIME), "TM": _forms(_TIME)}


def shift(value: bytes, vr: str, days: int) -> bytes | None:
    r"""Returns a DA, DT or TM value moved by whole days, as long and as precise as it was.

    A date without day or month moves by the middle of its period. TM stays as it is: a day has no part in it. Several
    values, ranges of queries, an offset from UTC and the old forms `YYYY.MM.DD` and `HH:MM:SS` are known.

    ```python
    shift(b"20240301", "DA", -1)  # b"20240229"
    shift(b"202403011200+0100", "DT", -1)  # b"202402291200+0100 "
    ```

    Args:
        value: As stored, padded or not, values parted by a backslash; or an SR item's text.
        vr: DA, DT or TM.
        days: Days to add; most often negative.

    Returns:
        The moved value, as long as the old one and padded by a space to an even length. None if any of its values is
        not of the VR, or would leave the years 1 to 9999, or the VR is another.

    Source: DICOM PS3.5 6.2 (VRs), PS3.4 C.2.2.2.5 (ranges), PS3.15 E.3.6.
    """
    if len(value) == 8 and vr == "DA" and value.isdigit():
        return _day(value, days)
    if vr not in _FORMS:
        return None
    moved = []
    for part in value.split(b"\\"):
        one = _part(part.strip(_PADDING), vr, days)
        if one is None:
            return None
        moved.append(one)
    return b"\\".join(moved).ljust(len(value) + len(value) % 2)


def _part(part: bytes, vr: str, days: int) -> bytes | None:
    """Returns one of several values, moved; an empty one is empty still."""
    if not part:
        return part
    one, two = _FORMS[vr]
    if one.fullmatch(part):
        return _moved(part, vr, days)
    # Only now: `2001-0500` is an instant with its offset, `2001-2003` a range.
    span = two.fullmatch(part)
    if span is None or not any(span.groups()):
        return None
    ends = [_moved(end, vr, days) if end else b"" for end in span.groups()]
    return None if ends[0] is None or ends[1] is None else ends[0] + b"-" + ends[1]


def _moved(one: bytes, vr: str, days: int) -> bytes | None:
    """Returns one date, instant or time that has the form of its VR, moved."""
    if vr == "TM":
        return one
    if one[4:5] == b".":
        day = _day(one.replace(b".", b""), days)
        return None if day is None else b".".join((day[:4], day[4:6], day[6:]))
    digits = len(one) - len(one.lstrip(b"0123456789"))
    known = min(digits, 8)
    day = _day(_completed(one[:known]), days)
    return None if day is None else day[:known] + one[known:]


def _completed(date: bytes) -> bytes:
    """Returns YYYY and YYYYMM as the day in their middle."""
    if len(date) == 4:
        return date + _MIDDLE_OF_YEAR
    return date + _MIDDLE_OF_MONTH if len(date) == 6 else date


# The instances of a series, and a series' many date attributes, hold the same few dates.
@functools.lru_cache(maxsize=1 << 14)
def _day(date: bytes, days: int) -> bytes | None:
    """Returns YYYYMMDD moved, or None if there is no such day before or after."""
    try:
        ordinal = datetime.date(int(date[:4]), int(date[4:6]), int(date[6:])).toordinal() + days
    except ValueError:
        return None
    if not 1 <= ordinal <= _LAST_DAY:
        return None
    moved = datetime.date.fromordinal(ordinal)
    return b"%04d%02d%02d" % (moved.year, moved.month, moved.day)
