"""Dates move by whole days, to the byte."""

import datetime

import hypothesis
import pytest
from hypothesis import strategies as st

from radkit.deid import dates

DAYS = st.integers(-4000, 4000)
DATES = st.dates(datetime.date(1850, 1, 1), datetime.date(2200, 12, 31))
CLOCKS = st.times()
OFFSETS = st.sampled_from(["", "+0000", "-0500", "+0530", "+1400", "-1200"])


def da(date: datetime.date) -> bytes:
    return date.strftime("%Y%m%d").encode()


@pytest.mark.parametrize(
    ("value", "days", "moved"),
    [
        (b"20240301", -1, b"20240229"),
        (b"20230301", -1, b"20230228"),
        (b"20240229", -366, b"20230228"),
        (b"19000301", -1, b"19000228"),
        (b"20000301", -1, b"20000229"),
        (b"19991231", 1, b"20000101"),
        (b"00010102", -1, b"00010101"),
        (b"2024.03.01", -1, b"2024.02.29"),
        (b"2024", -366, b"2023"),
        (b"2024", -183, b"2024"),
        (b"2024", -184, b"2023"),
        (b"202403", -16, b"202402"),
        (b"202403", -15, b"202403"),
        (b"20240301\\20240302", -1, b"20240229\\20240301 "),
        (b"20240301\\\\20240302 ", -1, b"20240229\\\\20240301"),
        (b"20240301\0", -1, b"20240229  "),
        (b"20240101-20240102", -1, b"20231231-20240101 "),
        (b"-20240101", -1, b"-20231231 "),
        (b"20240101-", -1, b"20231231- "),
        (b"2020-2024", -366, b"2019-2023 "),
        (b"", -1, b""),
        (b"  ", -1, b"  "),
    ],
)
def test_a_date_moves(value: bytes, days: int, moved: bytes) -> None:
    expected = moved.rstrip(b" ").ljust(len(value) + len(value) % 2)
    assert dates.shift(value, "DA", days) == expected


@pytest.mark.parametrize(
    ("value", "days", "moved"),
    [
        (b"20240301", -1, b"20240229"),
        (b"2024030112", -1, b"2024022912"),
        (b"202403011200+0100", -1, b"202402291200+0100 "),
        (b"20240301120000.123456-0500", -1, b"20240229120000.123456-0500"),
        (b"20161231235960", 1, b"20170101235960"),
        (b"20240228240000", 1, b"20240229240000"),
        (b"2024+0100", -366, b"2023+0100 "),
        (b"202403", -16, b"202402"),
        # An instant of 2001 in New York, not the years 2001 to 500; the others are ranges.
        (b"2001-0500", -366, b"2000-0500 "),
        (b"2001-2003", -366, b"2000-2002 "),
        (b"2001-0500-2003-0500", -366, b"2000-0500-2002-0500 "),
        (b"20240301-0500-", -1, b"20240229-0500-"),
        (b"-20240301120000", -1, b"-20240229120000 "),
        (b"20240301120000-", -1, b"20240229120000- "),
        (b"202403011200\\202403011300+0000", -1, b"202402291200\\202402291300+0000"),
    ],
)
def test_a_datetime_moves(value: bytes, days: int, moved: bytes) -> None:
    assert dates.shift(value, "DT", days) == moved.rstrip(b" ").ljust(len(value) + len(value) % 2)


@pytest.mark.parametrize(
    "value",
    [b"12", b"1259", b"125960", b"120000.123456", b"12:00:00", b"12:00:00.5 ", b"24", b"240000", b"1000-1200", b"-1200",
     b"0900-", b"1200\\1300 ", b""],
)  # fmt: skip
def test_a_time_stays(value: bytes) -> None:
    assert dates.shift(value, "TM", -1000) == value + b" " * (len(value) % 2)


@pytest.mark.parametrize(
    ("value", "vr"),
    [
        (b"20230229", "DA"), (b"19000229", "DA"), (b"20241301", "DA"), (b"00000000", "DA"), (b"00010101", "DA"),
        (b"0000", "DA"), (b"199", "DA"), (b"19991", "DA"), (b"1999-12-31", "DA"), (b"99991231\\1", "DA"),
        (b"19990230-20000101", "DA"), (b"-", "DA"), (b"Jan 1999", "DA"), (b"1999 101", "DA"), (b"1999.1.1", "DA"),
        (b"19990101120000", "DA"), (b"20240301\n", "DA"), ("\uff12\uff10\uff12\uff14".encode(), "DA"),
        (b"20240230", "DT"), (b"2024030125", "DT"), (b"202403012401", "DT"), (b"20240301120061", "DT"),
        (b"20240301120000.", "DT"), (b"20240301120000.1234567", "DT"), (b"20240301+1500", "DT"), (b"2024.03.01", "DT"),
        (b"1", "TM"), (b"25", "TM"), (b"1260", "TM"), (b"2401", "TM"), (b"120061", "TM"), (b"noon", "TM"),
        (b"12:0", "TM"), (b"20240301", "TM"), (b"Roe", "PN"), (b"20240301", "LO"),
    ],
)  # fmt: skip
def test_what_cannot_be_moved_is_none(value: bytes, vr: str) -> None:
    assert dates.shift(value, vr, -1) is None


def test_a_date_stays_within_the_calendar() -> None:
    assert dates.shift(b"99991231", "DA", 1) is None
    assert dates.shift(b"99991231", "DA", 10**30) is None
    assert dates.shift(b"9999", "DA", -1) == b"9999"


@hypothesis.given(DATES, DATES, DAYS)
def test_intervals_are_kept(first: datetime.date, second: datetime.date, days: int) -> None:
    moved = [dates.shift(da(date), "DA", days) for date in (first, second)]
    assert None not in moved
    begin, end = (datetime.datetime.strptime((one or b"").decode(), "%Y%m%d").date() for one in moved)
    assert end - begin == second - first
    assert begin - first == datetime.timedelta(days)


@hypothesis.given(DATES, CLOCKS, st.sampled_from([2, 4, 6, 8, 13]), OFFSETS, DAYS)
def test_a_datetime_keeps_its_clock(
    date: datetime.date, clock: datetime.time, kept: int, offset: str, days: int
) -> None:
    tail = (clock.strftime("%H%M%S.%f")[:kept] + offset).encode()
    moved = dates.shift(da(date) + tail, "DT", days)
    assert moved == ((dates.shift(da(date), "DA", days) or b"") + tail).ljust(8 + len(tail) + len(tail) % 2)


@hypothesis.given(DATES, st.sampled_from([4, 6, 8]), DAYS)
def test_precision_is_kept_and_the_error_is_half_a_period(date: datetime.date, digits: int, days: int) -> None:
    moved = dates.shift(da(date)[:digits], "DA", days)
    assert moved is not None
    assert len(moved) == digits
    true = dates.shift(da(date), "DA", days) or b""
    months = [12 * int(value[:4]) + int(value[4:6] or b"1") for value in (moved, true[:digits])]
    assert abs(months[0] - months[1]) <= {4: 12, 6: 1, 8: 0}[digits]


@hypothesis.given(st.lists(DATES, min_size=1, max_size=5), DAYS)
def test_moving_back_restores(some: list[datetime.date], days: int) -> None:
    value = b"\\".join(da(date) for date in some)
    moved = dates.shift(value, "DA", days)
    assert moved is not None
    assert (dates.shift(moved, "DA", -days) or b"").rstrip() == value


@hypothesis.given(
    st.one_of(st.binary(max_size=40), st.text("0123456789-+.:\\ &", max_size=30).map(str.encode)),
    st.sampled_from(["DA", "DT", "TM", "UN"]),
    st.integers(),
)
def test_any_bytes_give_an_even_value_or_none(value: bytes, vr: str, days: int) -> None:
    moved = dates.shift(value, vr, days)
    assert moved is None or len(moved) == len(value) + len(value) % 2
