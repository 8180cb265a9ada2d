"""CSA headers: both forms written by hand, cut short, and garbage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit.dicom import csa
from tests.dicom import made_up_siemens

NAMES = st.from_regex(r"\A[A-Z][A-Za-z]{3,30}\Z")
TEXTS = st.from_regex(r"\A[0-9.*A-Za-z+-]{1,40}\Z")
ELEMENTS = st.dictionaries(NAMES, st.lists(TEXTS, max_size=4), min_size=1, max_size=5)


@given(ELEMENTS, st.booleans(), st.sampled_from([77, 205]))
def test_both_forms_answer_what_was_written(elements, marked, check):
    raw = made_up_siemens.csa_header(elements, marked=marked, check=check)
    assert {name: list(csa.values(raw, name)) for name in elements} == elements


def test_a_header_is_read_from_bytes_put_down_by_hand():
    # As a scanner writes "NumberOfImagesInMosaic": one value that is told, five items that are empty.
    name = b"NumberOfImagesInMosaic\0\xff\x12".ljust(64, b"\0")
    element = name + bytes.fromhex("01000000 55530000 11000000 06000000 4d000000")
    item = bytes.fromhex("09000000 09000000 4d000000 09000000") + b"36      \0\0\0\0"
    empty = bytes.fromhex("00000000 00000000 4d000000 00000000")
    raw = b"SV10\4\3\2\1" + bytes.fromhex("01000000 4d000000") + element + item + 5 * empty
    assert csa.values(raw, "NumberOfImagesInMosaic") == ("36",)


@pytest.mark.parametrize("marked", [True, False])
def test_a_name_in_a_text_is_not_an_element(marked):
    elements = {"ImageHistory": ["B_value", "B_value"], "B_value": ["1000"], "Last": ["B_value"]}
    assert csa.values(made_up_siemens.csa_header(elements, marked=marked), "B_value") == ("1000",)


@given(ELEMENTS, st.booleans(), st.integers(0, 400))
def test_what_stands_before_a_cut_is_answered_and_nothing_is_made_up(elements, marked, length):
    raw = made_up_siemens.csa_header(elements, marked=marked)[:length]
    for name, written in elements.items():
        found = csa.values(raw, name)
        assert list(found) == written[: len(found)]


@given(st.binary(max_size=400))
def test_garbage_tells_nothing(raw):
    assert csa.values(raw, "NumberOfImagesInMosaic") == ()
    assert csa.centres(raw) is None


def test_slices_of_the_protocol_are_read_with_their_zeros():
    centres = np.array([[0.0, 12.5, -7.25], [0.0, 0.0, 0.0], [3.0, -12.5, 7.25]])
    np.testing.assert_array_equal(csa.centres(made_up_siemens.protocol(centres)), centres)


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"asSlice[1]", b"asSlice[7]"), (b"12.5000", b"12.5.00"), (b"12.500000000", b"inf"), (b"ASCCONV END", b"")],
)
def test_a_protocol_that_is_not_understood_tells_nothing(old, new):
    raw = made_up_siemens.protocol(np.array([[0.0, 12.5, -7.25], [0.0, 0.0, 1.0]]))
    assert old in raw
    assert csa.centres(raw.replace(old, new)) is None
