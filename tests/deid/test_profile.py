"""The standard's table, as it is checked in."""

import pytest
from pydicom.sr.codedict import codes

from radkit.deid import profile, unlisted


def test_the_table_is_the_editions_652_tags_three_masks_and_a_rule_for_private_ones():
    assert profile.EDITION == "DICOM PS3.15 2026c"
    assert len(profile.ATTRIBUTES) == 652
    assert len(profile.MASKED) == 3
    assert profile.PRIVATE == "X"
    assert {row.basic for row in profile.ATTRIBUTES.values()} == {
        *("X", "Z", "D", "U"),
        *("X/D", "X/Z", "X/Z/D", "Z/D", "X/Z/U*"),
    }


@pytest.mark.parametrize(
    ("tag", "action"),
    [
        (0x00100010, "Z"),  # PatientName
        (0x00080018, "U"),  # SOPInstanceUID
        (0x00081140, "X/Z/U*"),  # ReferencedImageSequence
        (0x50003000, "X"),
        (0x501E0042, "X"),
        (0x60003000, "X"),
        (0x601E4000, "X"),
        (0x60000010, None),  # OverlayRows
        (0x00091001, "X"),  # private
        (0x00280010, None),  # Rows
    ],
)
def test_actions_are_those_of_the_table(tag, action):
    assert profile.action(tag) == action


def test_vrs_are_there_also_for_tags_that_the_data_dictionary_lacks():
    assert unlisted.entry(0x00100011) is None
    assert profile.vr(0x00100011) == "SQ"
    assert all(row.vr for row in profile.ATTRIBUTES.values())


def test_options_are_the_columns_of_the_table():
    assert profile.OPTIONS == (
        "RetainSafePrivate",
        "RetainUIDs",
        "RetainDeviceIdentity",
        "RetainInstitutionIdentity",
        "RetainPatientCharacteristics",
        "RetainLongFullDates",
        "RetainLongModifiedDates",
        "CleanDescriptors",
        "CleanStructuredContent",
        "CleanGraphics",
        "CleanPixelData",
        "CleanRecognizableVisualFeatures",
    )
    assert profile.ATTRIBUTES[0x0020000D].options == {"RetainUIDs": "K"}
    used = {(name, action) for row in profile.ATTRIBUTES.values() for name, action in row.options.items()}
    assert {name for name, _ in used} <= set(profile.OPTIONS)
    assert {action for _, action in used} <= {"K", "C", "X", "Z", "D", "U"}


def test_every_option_and_the_profile_itself_have_their_code_of_cid_7050():
    ours = {code: meaning for code, meaning in profile.CODES.values()}
    assert ours == {code.value: code.meaning for code in (getattr(codes.cid7050, n) for n in codes.cid7050.dir())}
    assert profile.CODES["BasicProfile"][0] == "113100"
    assert profile.CODES["CleanPixelData"][0] == "113101"
    assert profile.CODES["RetainLongModifiedDates"][0] == "113107"
    assert profile.CODES["RetainInstitutionIdentity"][0] == "113112"


@pytest.mark.parametrize(
    ("tag", "vr", "action"),
    [
        (0x00420010, "ST", "X"),  # DocumentTitle: a hole of the table
        (0x00140104, "PN", "X"),  # SecondaryReviewerName
        (0x0040A160, None, "X"),  # TextValue
        (0x00620005, "LO", "K"),  # SegmentLabel
        (0x00620006, "ST", "X"),  # SegmentDescription
        (0x00620020, "UT", "D"),  # TrackingID: required where TrackingUID is
        (0x00080104, "LO", "K"),  # CodeMeaning
        (0x00080119, "UC", "K"),  # LongCodeValue
        (0x00080060, "CS", "K"),  # Modality
        (0x00280010, "LT", "X"),  # Rows, which the file calls free text
        (0x00081150, "UI", "K"),  # ReferencedSOPClassUID
        (0x00081167, "UI", "U"),  # MultiFrameSourceSOPInstanceUID
        (0x04000500, "SQ", "X"),  # earlier escrow
        (0x7FE00010, "OW", "K"),
        (0x7FE00010, "UN", "K"),
        (0x00080051, "SQ", "X"),  # IssuerOfAccessionNumberSequence
        (0x00FE0002, "LO", "X"),  # known to nobody
    ],
)
def test_what_the_table_does_not_list_goes_by_its_vr_and_name(tag, vr, action):
    assert unlisted.action(tag, vr) == action
