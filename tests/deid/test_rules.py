"""Which action holds where: facts worked out by hand from Table E.1-1 and the IODs of PS3.3 Annex A."""

import itertools

import pytest
from pydicom.datadict import tag_for_keyword

from radkit.deid import deidentify, profile, rules, settings, unlisted
from radkit.deid.settings import Settings
from tests.deid.test_engine import CT, KEY, SEGMENTATION, header

PLAN, ENHANCED_MR, UNKNOWN = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.999.66"
BASIC = Settings()


def code(keyword, sop_class=CT, *path, chosen=BASIC, vr=None):
    """Returns the engine's code for an attribute at a path of sequences."""
    node = rules.root(chosen, sop_class)
    for sequence in path:
        tag = int(tag_for_keyword(sequence))
        node = node.child(tag, node.rule(tag, None).code)
    return node.rule(int(tag_for_keyword(keyword)), vr).code


@pytest.mark.parametrize(
    ("keyword", "in_ct", "in_segmentation", "in_enhanced_mr", "unknown"),
    [
        # Plain codes hold whatever the Type.
        ("StudyDate", "Z", "Z", "Z", "Z"),
        ("AccessionNumber", "Z", "Z", "Z", "Z"),
        ("StudyDescription", "X", "X", "X", "X"),
        ("PatientAge", "X", "X", "X", "X"),
        ("StudyInstanceUID", "U", "U", "U", "U"),
        # Type 3, 3, 3: X of X/D; nobody knows: D.
        ("SeriesDate", "X", "X", "X", "D"),
        # Type 2C, 1, 1: of Z/D.
        ("ContentDate", "Z", "D", "D", "D"),
        # Type 3, absent, 1C: of X/Z/D.
        ("AcquisitionDateTime", "X", "X", "D", "D"),
        # Of General Equipment Type 3, of Enhanced General Equipment Type 1.
        ("DeviceSerialNumber", "X", "D", "D", "D"),
        # Type 2 of Contrast/Bolus; a segmentation has no such module, so Type 3: Z of Z/D.
        ("ContrastBolusAgent", "Z", "Z", "Z", "D"),
        ("AcquisitionDate", "X", "X", "X", "Z"),
        # References: gone where optional, mapped where they must stand and where nobody knows.
        ("SourceImageSequence", "X", "X", "X", "items"),
        # X/Z, and an empty one is valid where it is Type 2 only.
        ("ReferencedStudySequence", "X", "X", "X", "X"),
        # Not listed: what names a kind stays, what names a thing is mapped, text goes where no IOD has it.
        ("SOPClassUID", "K", "K", "K", "K"),
        ("Rows", "K", "K", "K", "K"),
        ("ConvolutionKernel", "K", "X", "X", "K"),
        ("DocumentTitle", "X", "X", "X", "X"),
    ],
)  # fmt: skip
def test_compound_codes_go_by_the_type_in_the_iod(keyword, in_ct, in_segmentation, in_enhanced_mr, unknown):
    said = tuple(code(keyword, sop_class) for sop_class in (CT, SEGMENTATION, ENHANCED_MR, UNKNOWN))
    assert said == (in_ct, in_segmentation, in_enhanced_mr, unknown)


def test_types_hold_at_their_path():
    # Type 2 within a beam; at the top of a plan no IOD has it.
    assert code("TreatmentMachineName", PLAN, "BeamSequence") == "Z"
    assert code("TreatmentMachineName", PLAN) == "X"
    assert code("RTPlanDate", PLAN) == "D"  # Type 2, of X/D
    assert code("OperatorsName", PLAN) == "Z"  # Type 2, of X/Z/D
    shared = "SharedFunctionalGroupsSequence"
    # Type 2 within a derivation: X/Z/U* maps it; SegmentLabel is Type 1 of a segment only.
    assert code("SourceImageSequence", SEGMENTATION, shared, "DerivationImageSequence") == "items"
    assert code("SegmentLabel", SEGMENTATION, "SegmentSequence") == "K"
    assert code("SegmentLabel", SEGMENTATION) == "X"


@pytest.mark.parametrize("keyword", ["StudyDate", "PatientID", "StudyInstanceUID", "PatientAge"])
def test_rules_hold_at_every_depth(keyword):
    path = ["SharedFunctionalGroupsSequence", "DerivationImageSequence", "ReferencedPerformedProcedureStepSequence"]
    for depth in range(1, 3):
        assert code(keyword, ENHANCED_MR, *path[:depth]) == code(keyword, ENHANCED_MR)


@pytest.mark.parametrize(
    ("option", "keyword", "expected"),
    [
        ("RetainUIDs", "StudyInstanceUID", "K"),
        ("RetainUIDs", "MultiFrameSourceSOPInstanceUID", "K"),  # not listed
        ("RetainDeviceIdentity", "DeviceSerialNumber", "K"),
        ("RetainDeviceIdentity", "StudyDate", "Z"),
        ("RetainInstitutionIdentity", "InstitutionName", "K"),
        ("RetainPatientCharacteristics", "PatientAge", "K"),
        ("RetainPatientCharacteristics", "PatientBirthDate", "Z"),
        ("RetainLongFullDates", "StudyDate", "K"),
        ("RetainLongFullDates", "PatientBirthDate", "Z"),
        ("RetainLongModifiedDates", "StudyDate", "date"),
        ("RetainLongModifiedDates", "StudyTime", "date"),
        ("CleanDescriptors", "StudyDescription", "text"),
        ("CleanDescriptors", "PatientName", "patient"),
    ],
)
def test_an_option_overrides_the_basic_profile(option, keyword, expected):
    assert code(keyword, chosen=Settings(frozenset([option]))) == expected


def test_an_option_that_keeps_wins_over_one_that_cleans():
    both = [(t, row) for t, row in profile.ATTRIBUTES.items() if {"K", "C"} <= set(row.options.values())]
    assert len(both) > 100
    for tag, row in both:
        options = frozenset(row.options)
        if len({option for option in options if option.startswith("RetainLong")}) == 2:  # they exclude each other
            options -= {"RetainLongModifiedDates"}
        said = rules.root(Settings(options), CT).rule(tag, None)
        assert said.action == "K", row.keyword
        assert row.options[said.option] == "K"


def test_what_cannot_be_cleaned_takes_the_basic_action():
    for tag, row in profile.ATTRIBUTES.items():
        for option in (option for option, action in row.options.items() if action == "C"):
            said = rules.root(Settings(frozenset([option])), CT).rule(tag, None)
            basic = rules.root(BASIC, CT).rule(tag, None)
            if said.action == "C" and said.code in (rules.TEXT, rules.DATE):
                assert rules.with_fallback(said).code in (basic.code, basic.action), row.keyword
            elif said.action != "C":
                assert said.code == basic.code, row.keyword


@pytest.mark.parametrize("chosen", [BASIC, Settings(frozenset(profile.OPTIONS) - {settings.FULL_DATES}, "remove")])
def test_nobody_keeps_groups_of_commands_meta_and_directories(chosen):
    for tag in (0x00000900, 0x00020016, 0x00041220, 0x00100000, 0x7FE00000):
        assert rules.root(chosen, CT).rule(tag, None).code == "X"


def test_private_elements_curves_and_overlays_go():
    for tag in (0x00090010, 0x00091001, 0x50003000, 0x501E0110, 0x60000010, 0x601E3000, 0x60020022, 0x60111001):
        assert rules.root(BASIC, CT).rule(tag, "OB").code == "X"
    safe = rules.root(Settings(frozenset(["RetainSafePrivate"])), CT).rule(0x00091001, "OB")
    assert safe.code == rules.PRIVATE


def test_a_sequence_under_another_vr_goes():
    """It cannot be read item by item, so nobody can tell what is in it."""
    for keyword in ("ReferencedSeriesSequence", "RequestAttributesSequence", "SharedFunctionalGroupsSequence"):
        for vr, chosen in itertools.product(("OB", "LO", "UT"), (BASIC, Settings(frozenset(profile.OPTIONS[:5])))):
            assert code(keyword, ENHANCED_MR, chosen=chosen, vr=vr) == "X"


def test_the_stricter_of_two_vrs_holds():
    assert code("Rows", vr="US") == "K"
    assert code("Rows", vr="PN") == "D"  # of Type 1
    assert code("TubeAngle", vr="PN") == "X"
    assert code("ConvolutionKernel", vr="UT") == "X"


def test_of_unlisted_text_remove_keeps_only_what_is_named():
    remove = Settings(frozenset(), "remove")
    assert code("FilterType") == "K"
    assert code("FilterType", chosen=remove) == "X"
    assert code("ConvolutionKernel", chosen=remove) == "K"
    assert code("SegmentLabel", SEGMENTATION, "SegmentSequence", chosen=remove) == "K"
    assert code("BodyPartExamined", chosen=remove) == "K"  # CS: terms, not text
    assert code("Rows", chosen=remove) == "K"


@pytest.mark.parametrize("text", settings.UNLISTED)
def test_unlisted_text_that_stays_has_a_reason(text):
    """Of every text of the data dictionary that no table lists: what stays is in the IOD, allowed, or a code's own."""
    node = rules.root(Settings(frozenset(), text), CT)
    for tag in (t for t in _dictionary() if profile.attribute(t) is None and rules.true_vr(t) in ("LO", "SH")):
        if node.rule(tag, None).code == "K" and tag not in unlisted.CODE_TAGS:
            assert unlisted.allowed(tag) if text == "remove" else tag in node.iod.types, f"{tag:08X}"
        assert tag >> 16 not in (0, 2) or node.rule(tag, None).code == "X"


def _dictionary():
    from pydicom.datadict import DicomDictionary

    return [int(tag) for tag in DicomDictionary]


@pytest.mark.parametrize("text", settings.UNLISTED)
@pytest.mark.parametrize("keyword", ["CodeMeaning", "CodeValue", "LongCodeValue"])
def test_a_codes_words_outside_any_code_do_not_stay(text, keyword):
    """Within items they are cleaned with their code; at the top of an instance nothing cleans them."""
    dataset = header()
    setattr(dataset, keyword, "PLANTED")
    after = deidentify(dataset, KEY, Settings(frozenset(), text))
    assert "PLANTED" not in str(after.get(keyword, ""))


def test_modes_say_what_becomes_of_labels_in_a_sequence():
    tag, label = int(tag_for_keyword("SharedFunctionalGroupsSequence")), int(tag_for_keyword("FilterType"))
    root = rules.root(BASIC, CT)
    expected = {rules.ITEMS: "X", rules.ITEMS_KEPT: "K", rules.ITEMS_DUMMIES: "X", rules.ITEMS_CODES: "X"}
    assert {c: root.child(tag, c).rule(label, "SH").code for c in expected} == expected
    # Where nobody knows the SOP class, text stays, and a dummy makes one of it.
    unknown = rules.root(BASIC, UNKNOWN)
    expected = {rules.ITEMS: "K", rules.ITEMS_KEPT: "K", rules.ITEMS_DUMMIES: "D", rules.ITEMS_CODES: "K"}
    assert {c: unknown.child(tag, c).rule(label, "SH").code for c in expected} == expected
    number = int(tag_for_keyword("NumericValue"))
    assert unknown.child(tag, rules.ITEMS_DUMMIES).rule(number, "DS").code == "D"
    assert unknown.child(tag, rules.ITEMS_DUMMIES).rule(0x00280010, "US").code == "K"


def test_dummies_and_codes_reach_the_leaves():
    unknown, tag = rules.root(BASIC, UNKNOWN), int(tag_for_keyword("ReferencedSeriesSequence"))
    assert unknown.child(tag, rules.ITEMS_DUMMIES).child(tag, rules.ITEMS).mode == rules.DUMMIES
    assert unknown.child(tag, rules.ITEMS_DUMMIES).child(tag, rules.ITEMS_KEPT).mode == rules.DUMMIES
    assert unknown.child(tag, rules.ITEMS_CODES).child(tag, rules.ITEMS).mode == rules.CODES
    assert rules.root(BASIC, CT).child(tag, rules.ITEMS_KEPT).child(tag, rules.ITEMS).mode == rules.KEPT


def test_every_listed_attribute_has_an_action_that_its_row_allows():
    letters = {"X": {"X"}, "Z": {"Z"}, "D": {"D", "U", "Z"}, "U": {"U"}, "X/Z/U*": {"X", "U"}}
    for sop_class, (tag, row) in itertools.product((CT, PLAN, ENHANCED_MR, UNKNOWN), profile.ATTRIBUTES.items()):
        said = rules.root(BASIC, sop_class).rule(tag, None)
        allowed = letters.get(row.basic, {*row.basic.split("/"), "U"}) | ({"X"} if tag >> 16 in (0, 2, 4) else set())
        if tag not in (rules.PATIENT_NAME, rules.PATIENT_ID):
            assert said.action in allowed, row.keyword
