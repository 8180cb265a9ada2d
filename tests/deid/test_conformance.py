"""The conformance statement says what is done, option by option and attribute by attribute."""

import re

import pytest

from radkit.deid import conformance, profile, safe_private
from radkit.deid.settings import Settings

DECIDED = {"mode": "anonymize", "unlisted": "clean", "escrow": ""}


def statement(*options, **more):
    return conformance.statement(Settings(frozenset(options)), {**DECIDED, **more})


def rows(text):
    """Returns (keyword, action, option) by tag."""
    found = re.findall(r"^\| \(([0-9A-Fx]{4}),([0-9A-Fx]{4})\) \| (\w+) \| (\S+) \| (\w*) \|$", text, re.M)
    return {group + element: (keyword, action, option) for group, element, keyword, action, option in found}


@pytest.mark.parametrize("option", ["", *profile.OPTIONS])
def test_each_option_is_named_with_its_code(option):
    text = statement(*([option] if option else []))
    for name, (code, meaning) in profile.CODES.items():
        assert (f"| {code} | {meaning} |" in text) == (name in ("BasicProfile", option))


def test_all_options_are_named_in_the_standards_order():
    text = statement(*(o for o in profile.OPTIONS if o != "RetainLongModifiedDates"))
    codes = re.findall(r"^\| (\d{6}) \|", text, re.M)
    assert codes == [profile.CODES[n][0] for n in ("BasicProfile", *profile.OPTIONS) if n != "RetainLongModifiedDates"]


def test_every_attribute_of_the_table_has_a_row():
    found = rows(statement())
    assert {f"{tag:08X}" for tag in profile.ATTRIBUTES} <= set(found)
    for tag, row in profile.ATTRIBUTES.items():
        assert found[f"{tag:08X}"] == (row.keyword, row.basic, "")


def test_rows_that_stand_for_many_attributes_are_named_too():
    # Curves, overlays and private attributes: rows of Table E.1-1 like all others.
    for keyword in ("CurveData", "OverlayData", "OverlayComments", "Private"):
        assert re.search(rf"^\| .*{keyword}.* \| .*X", statement(), re.M), keyword


@pytest.mark.parametrize(
    ("options", "tag", "expected"),
    [
        ((), "00080020", ("Z", "")),
        (("RetainLongFullDates",), "00080020", ("K", "RetainLongFullDates")),
        (("RetainLongModifiedDates",), "00080020", ("C", "RetainLongModifiedDates")),
        (("RetainUIDs",), "0020000D", ("K", "RetainUIDs")),
        ((), "0020000D", ("U", "")),
        (("CleanDescriptors",), "00081030", ("C", "CleanDescriptors")),
        (("RetainPatientCharacteristics",), "00101010", ("K", "RetainPatientCharacteristics")),
        (("CleanGraphics",), "00700001", ("C", "CleanGraphics")),
        (("CleanStructuredContent",), "0040A730", ("C", "CleanStructuredContent")),
        (tuple(o for o in profile.OPTIONS if o != "RetainLongModifiedDates"), "00100020", ("Z/D", "")),
    ],
)
def test_a_row_says_the_action_that_holds_and_the_option_it_comes_from(options, tag, expected):
    keyword, action, option = rows(statement(*options))[tag]
    assert keyword
    if tag == "00100020":
        assert option == ""  # no option keeps whom it is of
        assert action == profile.ATTRIBUTES[0x00100020].basic
    else:
        assert (action, option) == expected


def test_rows_agree_with_the_table_under_every_option():
    for option in profile.OPTIONS:
        found = rows(statement(option))
        for tag, row in profile.ATTRIBUTES.items():
            action = row.options.get(option)
            expected = (row.keyword, action or row.basic, option if action else "")
            assert found[f"{tag:08X}"] == expected


def test_what_the_run_decided_is_said():
    assert "Mode: pseudonymize. Text that the table does not list: remove." in statement(
        mode="pseudonymize", unlisted="remove"
    )
    assert "Originals encrypted within each instance: no." in statement()
    assert "Originals encrypted within each instance: yes." in statement(escrow="abcdef")
    assert "abcdef" not in statement(escrow="abcdef")
    assert profile.EDITION in statement()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Dates: removed, emptied or dummies."),
        (("RetainLongFullDates",), "Dates: kept."),
        (("RetainLongModifiedDates",), "Dates: moved back by whole days, 366 to 3652"),
        ((), "Private elements: removed."),
        (("RetainSafePrivate",), f"removed but for {safe_private.count()} listed"),
        ((), "free text is a dummy"),
        (("CleanDescriptors",), "free text keeps only words of a radiology vocabulary"),
        ((), "Pixels: not looked at"),
        (("CleanPixelData",), "blacked out"),
        (("CleanRecognizableVisualFeatures",), "faces in CT and MR of the head are overwritten"),
    ],
)
def test_what_is_done_is_said_in_words(options, said):
    assert said in statement(*options)
