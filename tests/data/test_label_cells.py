"""What the cells of a labels table mean, kind by kind; what is written is read back."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit import config
from radkit.data import label_cells
from radkit.data.label_cells import Said
from tests.data.test_label_kinds import KINDS, VALUES, data

FINDINGS = config.Data(
    "d", label="findings", label_kind="multi_label", class_names=("Mass", "Pleural Thickening", "Effusion")
)


def read(asked: config.Data, *cells: str, columns: tuple[str, ...] = ()) -> Said:
    return label_cells.meaning(asked, columns or label_cells.columns(asked, ()))(cells)


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_what_is_written_is_read_back(kind: str, drawn: st.DataObject) -> None:
    value = drawn.draw(VALUES[kind])
    cells = label_cells.cells(value, data(kind))
    assert len(cells) == len(label_cells.columns(data(kind), ()))
    assert read(data(kind), *cells) == Said(value)


@pytest.mark.parametrize("kind", ["class", "ordinal"])
@given(st.lists(st.sampled_from([*"0123456789", "10", "mild", "3.0"]), min_size=2, max_size=9, unique=True), st.data())
def test_classes_whose_names_are_numbers_are_read_back(kind: str, names: list[str], drawn: st.DataObject) -> None:
    asked = dataclasses.replace(data(kind), class_names=tuple(names))
    value = drawn.draw(st.integers(0, len(names) - 1))
    assert read(asked, *label_cells.cells(value, asked)) == Said(value)
    assert read(asked, names[value]) == Said(value)


class TestColumns:
    def test_each_kind_has_its_columns(self) -> None:
        found = {kind: label_cells.columns(data(kind), ()) for kind in KINDS}
        names = data("class").class_names
        assert found == {**dict.fromkeys(KINDS, ("x",)), "multi_label": names, "survival": ("x", "died")}

    def test_findings_are_a_list_where_the_table_has_its_column(self) -> None:
        assert label_cells.columns(FINDINGS, {"findings", "Mass"}) == ("findings",)
        assert label_cells.columns(FINDINGS, {"Mass"}) == FINDINGS.class_names
        one = dataclasses.replace(FINDINGS, label="Mass", class_names=("Mass",))
        assert label_cells.columns(one, {"Mass"}) == ("Mass",)
        assert read(one, "1") == Said((1,))

    def test_reports_alone_are_no_label(self) -> None:
        asked = config.Data("d", report="text")
        assert label_cells.columns(asked, {"text"}) == ()
        assert label_cells.expected(asked) == "'text'"
        assert label_cells.cells(-1, asked) == ()
        assert label_cells.meaning(asked, ())(()) == Said(-1)

    def test_what_is_expected_is_told(self) -> None:
        told = label_cells.expected(dataclasses.replace(FINDINGS, report="text"))
        names = "Mass, Pleural Thickening, Effusion"
        assert told == f"'findings' (names joined by '|') or a column for each of {names} and 'text'"


class TestSeveralLabels:
    @pytest.mark.parametrize(
        ("cells", "flags"),
        [
            (("1", "0", "-1"), (1, 0, -1)),
            (("1.0", "0.0", "-1.0"), (1, 0, -1)),
            (("yes", "No", ""), (1, 0, -1)),
            (("TRUE", "false", "Unknown"), (1, 0, -1)),
            (("", "", "uncertain"), (-1, -1, -1)),
        ],
    )
    def test_columns_of_flags(self, cells: tuple[str, ...], flags: tuple[int, ...]) -> None:
        assert read(FINDINGS, *cells) == Said(flags)

    @pytest.mark.parametrize("cell", ["2", "-2", "0.5", "maybe", "1,0", "01"])
    def test_other_flags_are_told_by_their_column_alone(self, cell: str) -> None:
        value, unclear = read(FINDINGS, "1", cell, "0")
        assert value is None
        assert unclear == "column 'Pleural Thickening' is none of 1 (yes), 0 (no), -1 or empty (unknown)"

    @pytest.mark.parametrize(
        ("text", "flags"),
        [
            ("Mass", (1, 0, 0)),
            ("Mass|Effusion", (1, 0, 1)),
            (" effusion | pleural_thickening |", (0, 1, 1)),
            ("Pleural  Thickening", (0, 1, 0)),
            ("No Finding", (0, 0, 0)),
            ("none", (0, 0, 0)),
            ("[]", (0, 0, 0)),
            ("Mass|Mass", (1, 0, 0)),
        ],
    )
    def test_lists_of_what_is_there(self, text: str, flags: tuple[int, ...]) -> None:
        assert read(FINDINGS, text, columns=("findings",)) == Said(flags)

    def test_a_name_of_no_class_is_told_and_the_others_count(self) -> None:
        value, unclear = read(FINDINGS, "Mass|Efusion", columns=("findings",))
        assert value == (1, 0, 0)
        assert unclear.startswith("class 'Efusion' is none of Mass, Pleural Thickening, Effusion")
        assert "did you mean 'Effusion'" in unclear

    @pytest.mark.parametrize("text", ["No Finding|Mass", "|", " | "])
    def test_a_list_that_contradicts_itself_says_nothing(self, text: str) -> None:
        value, unclear = read(FINDINGS, text, columns=("findings",))
        assert value is None
        assert "the list of column 'findings'" in unclear

    def test_no_finding_may_be_a_class(self) -> None:
        asked = dataclasses.replace(FINDINGS, class_names=("No Finding", "Support Devices"))
        assert read(asked, "No Finding|Support Devices", columns=("findings",)) == Said((1, 1))
        assert read(asked, "Support Devices", columns=("findings",)) == Said((0, 1))


class TestDegrees:
    def test_names_or_places(self) -> None:
        assert [read(data("ordinal"), cell).value for cell in ("none", "severe", "0", "2")] == [0, 2, 0, 2]
        assert "none of none, mild, severe" in read(data("ordinal"), "3").unclear

    def test_grades_that_are_numbers_have_no_places(self) -> None:
        grades = dataclasses.replace(data("ordinal"), class_names=("1", "2", "3", "4", "5"))
        assert [read(grades, cell).value for cell in ("1", "5", "5.0", "0", "0.0")] == [0, 4, 4, None, None]


class TestNumbers:
    @given(st.floats(allow_nan=False, allow_infinity=False, width=32))
    def test_every_float32_is_read(self, number: float) -> None:
        value = read(data("regression"), repr(number)).value
        assert isinstance(value, float)
        assert value == number
        assert np.float32(value) == np.float32(number)
        assert math.copysign(1, value) > 0 or value < 0  # no minus zero, whose bytes are others

    @pytest.mark.parametrize(
        "cell", ["3,5", "1_000", "nan", "inf", "-inf", "1e", "0x10", "4 mm", "\u0663", "1e39", "--1"]
    )
    def test_what_is_no_number_is_not_shown(self, cell: str) -> None:
        value, unclear = read(data("regression"), cell)
        assert value is None
        assert unclear.startswith("the label is")
        assert cell not in unclear

    def test_times_have_events(self) -> None:
        assert read(data("survival"), "365", "1") == Said((365.0, 1))
        assert read(data("survival"), "0", "0.0") == Said((0.0, 0))
        assert read(data("survival"), ".5", "yes") == Said((0.5, 1))

    @pytest.mark.parametrize(
        ("cells", "said"),
        [
            (("365", ""), "the event is neither 1"),
            (("365", "2"), "the event is neither 1"),
            (("365", "-1"), "the event is neither 1"),
            (("", "1"), "the time is no number"),
            (("soon", "1"), "the time is no number"),
            (("-1", "1"), "the time is below 0"),
        ],
    )
    def test_times_and_events_that_are_none_are_told(self, cells: tuple[str, ...], said: str) -> None:
        value, unclear = read(data("survival"), *cells)
        assert value is None
        assert unclear.startswith(said)
