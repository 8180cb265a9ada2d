"""Content trees: each concept of Table E.3.4-1 has its action, and what is left is a tree that readers know."""

import copy
import json
import shutil
import subprocess
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radkit.deid import codes, concepts, dates, deidentify, verify, wire
from radkit.deid.settings import Settings
from tests.deid.test_engine import KEY, cleaned, header, packed, raw, written

SR = "1.2.840.10008.5.1.4.1.1.88.34"  # Comprehensive 3D SR
KEY_OBJECTS = "1.2.840.10008.5.1.4.1.1.88.59"
CT = "1.2.840.10008.5.1.4.1.1.2"
PATIENT = "PLANTED1"
OPTIONS = (
    "RetainUIDs", "RetainDeviceIdentity", "RetainInstitutionIdentity", "RetainPatientCharacteristics",
    "RetainLongFullDates", "RetainLongModifiedDates", "CleanDescriptors", "CleanStructuredContent",
)  # fmt: skip

# Concepts of the table, and one that it does not list.
ACCESSION, PROCEDURE = ("121022", "DCM", "Accession Number"), ("121065", "DCM", "Procedure Description")
OBSERVER, MOTHER = ("121008", "DCM", "Person Observer Name"), ("121036", "DCM", "Mother of fetus")
FINDING, LENGTH = ("121071", "DCM", "Finding"), ("410668003", "SCT", "Length")
SITE, LUNG = ("363698007", "SCT", "Finding Site"), ("39607008", "SCT", "Lung")
TITLE, SOURCE_IMAGE = ("126000", "DCM", "Imaging Measurement Report"), ("121324", "DCM", "Source image")
GROUP, MILLIMETRE = ("125007", "DCM", "Measurement Group"), ("mm", "UCUM", "mm")


def code(value, scheme, meaning):
    dataset = Dataset()
    dataset.CodeValue, dataset.CodingSchemeDesignator, dataset.CodeMeaning = value, scheme, meaning
    return dataset


def item(value_type, concept=None, relationship="CONTAINS", **values):
    dataset = Dataset()
    dataset.RelationshipType, dataset.ValueType = relationship, value_type
    if concept:
        dataset.ConceptNameCodeSequence = [code(*concept)]
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def text(concept, value, **more):
    return item("TEXT", concept, TextValue=value, **more)


def num(concept, value, **more):
    measured = Dataset()
    measured.NumericValue, measured.MeasurementUnitsCodeSequence = value, [code(*MILLIMETRE)]
    return item("NUM", concept, MeasuredValueSequence=[measured], **more)


def container(concept, *items, **more):
    return item("CONTAINER", concept, ContinuityOfContent="SEPARATE", ContentSequence=list(items), **more)


def reference(uid="1.2.999.3", sop_class=CT):
    dataset = Dataset()
    dataset.ReferencedSOPClassUID, dataset.ReferencedSOPInstanceUID = sop_class, uid
    return dataset


def image(concept=SOURCE_IMAGE, uid="1.2.999.3", value_type="IMAGE", **more):
    return item(value_type, concept, ReferencedSOPSequence=[reference(uid)], **more)


def by_reference(*place):
    dataset = Dataset()
    dataset.RelationshipType, dataset.ReferencedContentItemIdentifier = "INFERRED FROM", list(place)
    return dataset


def report(*items, syntax=ExplicitVRLittleEndian, sop_class=SR):
    """Returns a made-up report."""
    dataset = header(syntax)
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"):
        del dataset[keyword]
    for keyword in ("SamplesPerPixel", "PhotometricInterpretation", "KVP", "ConvolutionKernel"):
        del dataset[keyword]
    dataset.SOPClassUID, dataset.Modality, dataset.SOPInstanceUID = sop_class, "SR", "1.2.999.30"
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.ConceptNameCodeSequence = [code(*TITLE)]
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    dataset.ContentSequence = list(items)
    return dataset


def clean(dataset, *options):
    return deidentify(dataset, KEY, Settings(frozenset(options)))


def concept_of(one):
    found = one.ConceptNameCodeSequence[0]
    return found.CodingSchemeDesignator, found.CodeValue


# --- Table E.3.4-1, row by row -------------------------------------------------------------------------------------

ROWS = [
    (scheme, value, value_type, basic, options)
    for name, rows in json.loads(Path(concepts.__file__).with_name("concepts.json").read_text())["concepts"].items()
    for scheme, value in [name.split(" ")]
    for value_type, (basic, options) in rows.items()
]
DATES = {"DATE": ("Date", "DA"), "TIME": ("Time", "TM"), "DATETIME": ("DateTime", "DT")}
OLD_DATES = {"DATE": "20200304", "TIME": "112233", "DATETIME": "20200304112233"}


def planted(scheme, value, value_type):
    """Returns a content item that holds a patient's value."""
    concept = (value, scheme, "Concept")
    if value_type in DATES:
        return item(value_type, concept, **{DATES[value_type][0]: OLD_DATES[value_type]})
    return {
        "TEXT": lambda: text(concept, "Lung PLANTED"),
        "PNAME": lambda: item("PNAME", concept, PersonName="PLANTED^NAME"),
        "UIDREF": lambda: item("UIDREF", concept, UID="1.2.999.7"),
        "NUM": lambda: num(concept, "62.5"),
        "CODE": lambda: item("CODE", concept, ConceptCodeSequence=[code(*LUNG)]),
        "CONTAINER": lambda: container(concept, text(FINDING, "PLANTED")),
    }.get(value_type, lambda: image(concept, "1.2.999.7", value_type))()


def expected(value_type, action, options):
    """Returns the value of an item that stays."""
    if value_type in DATES:
        vr, old = DATES[value_type][1], OLD_DATES[value_type]
        moved = dates.shift(old.encode(), vr, KEY.days(PATIENT)).decode()
        return {"K": old, "C": moved}.get(action, {"DA": "19000101", "TM": "000000", "DT": "19000101000000"}[vr])
    mapped = "1.2.999.7" if action == "K" or "RetainUIDs" in options else KEY.uid("1.2.999.7")
    return {
        "TEXT": {"K": "Lung PLANTED", "C": "Lung"}.get(action, "ANONYMIZED"),
        "PNAME": "ANONYMIZED",
        "NUM": "62.5" if action == "K" else "0",
        "CODE": "39607008" if action == "K" else "ANONYMIZED",
    }.get(value_type, mapped)


def value_of(one):
    if one.ValueType in DATES:
        return one[DATES[one.ValueType][0]].value
    return str({
        "TEXT": lambda: one.TextValue,
        "PNAME": lambda: one.PersonName,
        "UIDREF": lambda: one.UID,
        "NUM": lambda: one.MeasuredValueSequence[0].NumericValue,
        "CODE": lambda: one.ConceptCodeSequence[0].CodeValue,
        "CONTAINER": lambda: "container",
    }.get(one.ValueType, lambda: one.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)())  # fmt: skip


@pytest.mark.parametrize("option", ["", *OPTIONS])
def test_each_row_of_the_table_has_its_action(option):
    dataset = report(*(planted(*row[:3]) for row in ROWS))
    after = clean(dataset, *([option] if option else []))
    found = {(*concept_of(one), one.ValueType): one for one in after.ContentSequence}
    for scheme, value, value_type, basic, options in ROWS:
        action = options.get(option) or ("D" if basic == "X/D" else basic)
        one = found.get((scheme, value, value_type))
        assert (one is None) == (action == "X"), (scheme, value, value_type)
        if one is not None and value_type != "CONTAINER":
            assert value_of(one) == expected(value_type, action, [option]), (scheme, value, value_type)


def test_full_dates_stand_before_modified_ones_and_a_birth_date_goes_under_both():
    birth, exam = ("121031", "DCM", "Subject Birth Date"), ("127857", "DCM", "Glomerular Filtration Rate date")
    dataset = report(item("DATE", birth, Date="19620304"), item("DATE", exam, Date="20200304"))
    for option, left in (("RetainLongFullDates", "20200304"), ("RetainLongModifiedDates", None)):
        (one,) = clean(dataset, option).ContentSequence
        assert one.Date == (left or dates.shift(b"20200304", "DA", KEY.days(PATIENT)).decode())


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ((), ("19000101", "000000", "19000101000000")),
        (("RetainLongFullDates",), ("20200304", "112233", "20200304112233.5+0100")),
        (("RetainLongModifiedDates",), None),
    ],
)
def test_dates_of_unlisted_concepts_follow_the_options(options, left):
    when = ("99999", "99HOSPITAL", "When")
    values = {"DATE": "20200304", "TIME": "112233", "DATETIME": "20200304112233.5+0100"}
    dataset = report(*(item(kind, when, **{DATES[kind][0]: value}) for kind, value in values.items()))
    after = tuple(value_of(one) for one in clean(dataset, *options).ContentSequence)
    if left is None:
        days = KEY.days(PATIENT)
        left = tuple(dates.shift(v.encode(), DATES[k][1], days).decode().strip() for k, v in values.items())
        assert left[0] != "20200304"
        assert left[1] == "112233"
    assert after == left


def test_a_date_that_cannot_be_read_does_not_stay_under_modified_dates():
    dataset = report(Dataset())
    dataset.ContentSequence = [item("DATE", ("99999", "99HOSPITAL", "When"))]
    dataset.ContentSequence[0].add(raw(0x0040A121, "DA", b"PLANTED "))
    assert clean(dataset, "RetainLongModifiedDates").ContentSequence[0].Date == "19000101"


# --- values of concepts that no table lists --------------------------------------------------------------------------


def test_free_text_is_a_dummy_and_under_clean_descriptors_its_known_words():
    dataset = report(text(("99999", "99HOSPITAL", "Remark"), "Lung of PLANTED"), text(FINDING, "Ms. PLANTED"))
    assert [i.TextValue for i in clean(dataset).ContentSequence] == ["ANONYMIZED"] * 2
    after = clean(dataset, "CleanDescriptors").ContentSequence
    assert [i.TextValue for i in after] == ["Lung", "ANONYMIZED"]  # where no word is known, the dummy


@pytest.mark.parametrize(("options", "stays"), [((), False), (("CleanStructuredContent",), True)])
def test_measurements_and_findings_stay_under_clean_structured_content(options, stays):
    local = code("PLANTED1", "99PLANTED", "PLANTED^NAME")
    after = clean(
        report(
            num(LENGTH, "62.5"),
            item("CODE", SITE, ConceptCodeSequence=[code(*LUNG)]),
            item("CODE", SITE, ConceptCodeSequence=[local]),
        ),
        *options,
    )
    length, site, unknown = after.ContentSequence
    measured = length.MeasuredValueSequence[0]
    units = measured.MeasurementUnitsCodeSequence[0]
    assert (measured.NumericValue, units.CodeValue) == ((62.5, "mm") if stays else (0, "ANONYMIZED"))
    found = site.ConceptCodeSequence[0]
    assert found.CodeValue == ("39607008" if stays else "ANONYMIZED")
    assert [e.value for e in unknown.ConceptCodeSequence[0]] == list(codes.UNKNOWN)
    assert concept_of(length) == ("SCT", "410668003")
    assert "PLANTED" not in str(after)


def test_the_name_of_a_private_concept_stays_without_its_words():
    after = clean(report(text(("L-17", "99HOSPITAL", "Lung of PLANTED"), "PLANTED")))
    name = after.ContentSequence[0].ConceptNameCodeSequence[0]
    assert (name.CodeValue, name.CodingSchemeDesignator, name.CodeMeaning) == ("L-17", "99HOSPITAL", "Lung")


def test_a_persons_name_goes_under_every_option():
    dataset = report(item("PNAME", OBSERVER, PersonName="PLANTED^NAME"), item("PNAME", MOTHER, PersonName="PLANTED^M"))
    for options in ((), ("CleanDescriptors", "CleanStructuredContent", "RetainPatientCharacteristics")):
        assert "PLANTED" not in str(clean(dataset, *options))


def test_a_value_under_another_type_than_the_item_says_goes():
    stray = num(LENGTH, "1")
    stray.TextValue, stray.PersonName, stray.Date = "PLANTED", "PLANTED^NAME", "19620304"
    unnamed, untyped = text(None, "PLANTED"), text(FINDING, "PLANTED")
    del untyped.ValueType
    unknown = text(FINDING, "PLANTED")
    unknown.ValueType = "NOVEL"
    disguised = text(ACCESSION, "PLANTED")
    disguised.ValueType = "CODE"
    wrong = item("TEXT", FINDING, PersonName="PLANTED^NAME")
    after = clean(report(stray, unnamed, untyped, unknown, disguised, wrong), "CleanStructuredContent")
    assert "PLANTED" not in str(after)
    assert "19620304" not in str(after)


def test_an_option_that_keeps_a_code_or_a_number_keeps_no_name_beside_it():
    sex = item("CODE", ("121032", "DCM", "Subject Sex"), ConceptCodeSequence=[code("M", "DCM", "Male")])
    age = num(("121033", "DCM", "Subject Age"), "62")
    for one in (sex, age):
        one.TextValue, one.PersonName, one.Date = "PLANTED", "PLANTED^NAME", "19620304"
    after = clean(report(sex, age), "RetainPatientCharacteristics")
    assert after.ContentSequence[0].ConceptCodeSequence[0].CodeValue == "M"
    assert after.ContentSequence[1].MeasuredValueSequence[0].NumericValue == 62
    assert "PLANTED" not in str(after)
    assert "19620304" not in str(after)


def test_uids_are_mapped_and_references_kept_when_asked():
    dataset = report(item("UIDREF", ("99999", "99HOSPITAL", "Which"), UID="1.2.999.7"), image(uid="1.2.999.7"))
    for options, uid in (((), KEY.uid("1.2.999.7")), (("RetainUIDs",), "1.2.999.7")):
        after = clean(dataset, *options).ContentSequence
        assert str(after[0]["UID"].value) == KEY.uid("1.2.999.7")  # (0040,A124) is U under every option
        assert after[1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == uid
        assert after[1].ReferencedSOPSequence[0].ReferencedSOPClassUID == CT


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_private_code_that_may_name_a_concept_may_not_be_its_value(depth):
    local = ("L-17", "99HOSPITAL", "Lung")
    inner = item("CODE", local, ConceptCodeSequence=[code(*local)])
    for _ in range(depth):
        inner = container(GROUP, inner)
    after = clean(report(inner), "CleanStructuredContent").ContentSequence[0]
    for _ in range(depth):
        (after,) = after.ContentSequence
    assert after.ConceptNameCodeSequence[0].CodeValue == "L-17"
    assert after.ConceptCodeSequence[0].CodeValue == "ANONYMIZED"


def test_geometry_stays():
    scoord = item("SCOORD", SOURCE_IMAGE, GraphicType="POINT", GraphicData=[1.5, 2.5])
    space = item("SCOORD3D", SOURCE_IMAGE, GraphicType="POINT", GraphicData=[1.0, 2.0, 3.0])
    space.ReferencedFrameOfReferenceUID = "1.2.999.4"
    flat, solid = clean(report(scoord, space)).ContentSequence
    assert (flat.GraphicData, flat.GraphicType) == ([1.5, 2.5], "POINT")
    assert solid.GraphicData == [1, 2, 3]
    assert solid.ReferencedFrameOfReferenceUID == KEY.uid("1.2.999.4")


# --- the tree ----------------------------------------------------------------------------------------------------


def deep(depth):
    """Returns items at each depth: one that goes with all below it, one that stays, one container."""
    if not depth:
        return [text(FINDING, "PLANTED"), num(LENGTH, "3")]
    gone = text(ACCESSION, f"PLANTED {depth}")
    gone.ContentSequence = [num(LENGTH, "9"), text(FINDING, "PLANTED")]
    return [gone, num(LENGTH, str(depth)), container(GROUP, *deep(depth - 1))]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_what_goes_goes_with_all_below_it_at_every_depth(tmp_path, syntax, undefined):
    dataset = report(*deep(4), syntax=syntax)
    for element in dataset.iterall():
        if undefined and element.VR == "SQ":
            element.is_undefined_length = True
            for one in element.value:
                one.is_undefined_length_sequence_item = True
    chosen = Settings(frozenset(("CleanStructuredContent",)))
    output = cleaned(written(dataset, tmp_path), tmp_path / "out", chosen=chosen)
    assert b"PLANTED" not in output.read_bytes()
    after = pydicom.dcmread(output)
    below, numbers = after, []
    for _ in range(4):
        length, below = below.ContentSequence
        numbers.append(length.MeasuredValueSequence[0].NumericValue)
    assert numbers == [4, 3, 2, 1]
    assert [i.ValueType for i in below.ContentSequence] == ["TEXT", "NUM"]
    assert verify.file(output) == []


def test_a_container_whose_items_all_go_has_no_empty_sequence():
    after = clean(report(container(GROUP, text(ACCESSION, "PLANTED")), num(LENGTH, "1")))
    group, _ = after.ContentSequence
    assert group.ValueType == "CONTAINER"
    assert "ContentSequence" not in group  # Type 1C: one item at least


def test_a_report_whose_items_all_go_is_cleaned():
    after = clean(report(text(ACCESSION, "PLANTED")))
    assert "PLANTED" not in str(after)
    assert not after.get("ContentSequence")


@pytest.mark.parametrize("nested", [False, True])
def test_a_content_tree_written_as_un_is_cleaned_item_by_item(tmp_path, nested):
    # Under UN items are implicit, whatever the file is (PS3.5 6.2.2).
    items = [packed(one, wire.IMPLICIT) for one in (text(FINDING, "PLANTED"), num(LENGTH, "62.5"))]
    unknown = raw(0x0040A730, "UN", b"".join(wire.item_header(len(one), wire.IMPLICIT) + one for one in items))
    dataset = report()
    if nested:
        dataset.ContentSequence = [container(GROUP)]
        dataset.ContentSequence[0].add(unknown)
    else:
        dataset.add(unknown)
    output = cleaned(written(dataset, tmp_path), tmp_path / "out")
    after = pydicom.dcmread(output)
    below = after.ContentSequence[0] if nested else after
    assert b"PLANTED" not in output.read_bytes()
    assert [one.get("ValueType") for one in below.ContentSequence] == ["TEXT", "NUM"]
    assert below.ContentSequence[0].TextValue == "ANONYMIZED"


# --- items that name one another by position (PS3.3 C.17.3.2.5) ----------------------------------------------------


def places(dataset, above=(1,)):
    """Yields every item with its position."""
    for number, one in enumerate(dataset.get("ContentSequence", []), start=1):
        yield (*above, number), one
        yield from places(one, (*above, number))


def target(one):
    found = one.ReferencedContentItemIdentifier
    return (found,) if isinstance(found, int) else tuple(found)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_references_by_position_are_numbered_anew_and_name_the_same_item(tmp_path, syntax):
    named = num(LENGTH, "7")
    reason = num(LENGTH, "8")
    reason.ContentSequence = [by_reference(1, 2, 3), by_reference(1, 2, 1)]
    dataset = report(
        text(ACCESSION, "PLANTED"),
        container(GROUP, text(ACCESSION, "PLANTED"), num(LENGTH, "6"), named),
        reason,
        syntax=syntax,
    )
    chosen = Settings(frozenset(("CleanStructuredContent",)))
    after = pydicom.dcmread(cleaned(written(dataset, tmp_path), tmp_path / "out", chosen=chosen))
    found = dict(places(after))
    # 1.1 went, so the container is 1.1; in it the first went, so 1.2.3 is 1.1.2. Who named what went, went.
    (left,) = found[1, 2].ContentSequence
    assert target(left) == (1, 1, 2)
    assert found[target(left)].MeasuredValueSequence[0].NumericValue == 7


def test_a_reference_below_what_went_goes_and_those_after_it_are_numbered_right():
    gone = text(ACCESSION, "PLANTED")
    gone.ContentSequence = [num(LENGTH, "1")]
    first = num(LENGTH, "2")
    first.ContentSequence = [by_reference(1, 1, 1), by_reference(1, 3), num(LENGTH, "4")]
    last = num(LENGTH, "3")
    last.ContentSequence = [by_reference(1, 2, 3)]
    found = dict(places(clean(report(gone, first, last), "CleanStructuredContent")))
    assert target(found[1, 1, 1]) == (1, 2)
    assert target(found[1, 2, 1]) == (1, 1, 2)
    assert found[1, 1, 2].MeasuredValueSequence[0].NumericValue == 4


def test_a_chain_of_references_to_what_went_goes_whole():
    holder = num(LENGTH, "2")
    # The first names the second, which names what goes; the third must be told its neighbour's new number.
    holder.ContentSequence = [by_reference(1, 2, 2), by_reference(1, 1), num(LENGTH, "4"), by_reference(1, 2, 3)]
    found = dict(places(clean(report(text(ACCESSION, "PLANTED"), holder), "CleanStructuredContent")))
    assert [kind for place, one in found.items() if (kind := one.get("ValueType"))] == ["NUM", "NUM"]
    (left,) = [one for one in found.values() if "ReferencedContentItemIdentifier" in one]
    assert found[target(left)].MeasuredValueSequence[0].NumericValue == 4


def test_a_reference_to_the_root_or_to_nowhere_stays():
    holder = num(LENGTH, "2")
    holder.ContentSequence = [by_reference(1), by_reference(1, 9, 9)]
    found = dict(places(clean(report(text(ACCESSION, "PLANTED"), holder))))
    assert target(found[1, 1, 1]) == (1,)
    assert target(found[1, 1, 2]) == (1, 9, 9)


# --- other content trees -------------------------------------------------------------------------------------------


def test_key_objects_keep_what_they_point_to():
    dataset = report(
        text(("113012", "DCM", "Key Object Description"), "PLANTED"),
        image(None, "1.2.999.3"),
        image(None, "1.2.999.8"),
        sop_class=KEY_OBJECTS,
    )
    dataset.Modality = "KO"
    dataset.ConceptNameCodeSequence = [code("113000", "DCM", "Of Interest")]
    study, series = Dataset(), Dataset()
    study.StudyInstanceUID, series.SeriesInstanceUID = "1.2.999.1", "1.2.999.2"
    series.ReferencedSOPSequence = [reference("1.2.999.3"), reference("1.2.999.8")]
    study.ReferencedSeriesSequence = [series]
    dataset.CurrentRequestedProcedureEvidenceSequence = [study]
    after = clean(dataset)
    uids = [KEY.uid("1.2.999.3"), KEY.uid("1.2.999.8")]
    images = [i for i in after.ContentSequence if i.ValueType == "IMAGE"]
    assert [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in images] == uids
    evidence = after.CurrentRequestedProcedureEvidenceSequence[0]
    assert evidence.StudyInstanceUID == after.StudyInstanceUID == KEY.uid("1.2.999.1")
    listed = evidence.ReferencedSeriesSequence[0]
    assert listed.SeriesInstanceUID == KEY.uid("1.2.999.2")
    assert [i.ReferencedSOPInstanceUID for i in listed.ReferencedSOPSequence] == uids
    assert after.ConceptNameCodeSequence[0].CodeValue == "113000"
    assert "PLANTED" not in str(after)


@pytest.mark.parametrize("keyword", ["AcquisitionContextSequence", "SpecimenPreparationSequence"])
def test_contexts_are_cleaned_item_by_item_under_the_option_only(keyword):
    dataset = header()
    when = item("DATETIME", ("111527", "DCM", "DateTime started"), DateTime="20200304112233")
    items = [num(LENGTH, "62.5"), text(FINDING, "Lung PLANTED"), text(ACCESSION, "PLANTED"), when]
    if keyword == "SpecimenPreparationSequence":
        step, specimen = Dataset(), Dataset()
        step.SpecimenPreparationStepContentItemSequence = items
        specimen.SpecimenIdentifier, specimen.SpecimenUID = "PLANTED", "1.2.999.50"
        specimen.SpecimenPreparationSequence = [step]
        dataset.SpecimenDescriptionSequence = [specimen]
    else:
        dataset[keyword] = pydicom.DataElement(keyword, "SQ", items)

    def left(after):
        if keyword == "AcquisitionContextSequence":
            return after.get(keyword)
        steps = after.SpecimenDescriptionSequence[0].get(keyword) if "SpecimenDescriptionSequence" in after else None
        return steps[0].SpecimenPreparationStepContentItemSequence if steps else None

    without = clean(dataset)
    assert "PLANTED" not in str(without)
    assert not left(without)
    after = clean(dataset, "CleanStructuredContent", "CleanDescriptors")
    length, finding = left(after)
    assert length.MeasuredValueSequence[0].NumericValue == 62.5
    assert finding.TextValue == "Lung"
    assert "PLANTED" not in str(after)


# --- readers ---------------------------------------------------------------------------------------------------------


def measurement_report():
    """Returns a TID 1500 report as highdicom makes it."""
    import highdicom as hd
    from highdicom import sr
    from pydicom.sr.codedict import codes as dictionary

    source = header()
    source.PatientSex, source.PatientAge, source.StudyID, source.AccessionNumber = "O", "062Y", "PLANTED", "PLANTED"
    source.StudyDate, source.StudyTime, source.ReferringPhysicianName = "20200304", "112233", "PLANTED"
    person = sr.PersonObserverIdentifyingAttributes(name="PLANTED^NAME")
    observer = sr.ObserverContext(dictionary.DCM.Person, person)
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier("1.2.999.77", "PLANTED lesion"),
        finding_type=sr.CodedConcept("108369006", "SCT", "Neoplasm"),
        measurements=[sr.Measurement(sr.CodedConcept(*LENGTH), 62.5, sr.CodedConcept("mm", "UCUM", "millimeter"))],
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_person_context=observer),
        procedure_reported=sr.CodedConcept("363679005", "SCT", "Imaging procedure"),
        imaging_measurements=[group],
    )
    made = hd.sr.Comprehensive3DSR(
        evidence=[source], content=content, series_number=1, instance_number=1, manufacturer="Made up",
        series_instance_uid="1.2.999.22", sop_instance_uid="1.2.999.33",
    )  # fmt: skip
    made.file_meta = getattr(made, "file_meta", None) or FileMetaDataset()
    return made


@pytest.fixture(scope="module")
def made_report(tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = measurement_report()
        path = tmp_path_factory.mktemp("report") / "in.dcm"
        dataset.save_as(path, enforce_file_format=True)
    return path


def validator_errors(path):
    said = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False).stderr
    return {line for line in said.splitlines() if line.startswith("Error")}


@pytest.mark.parametrize("options", [(), ("CleanStructuredContent",), ("CleanDescriptors", "CleanStructuredContent")])
def test_a_report_is_read_by_highdicom_as_before(tmp_path, made_report, options):
    import highdicom as hd

    output = cleaned(made_report, tmp_path, chosen=Settings(frozenset(options)))
    assert b"PLANTED" not in output.read_bytes()
    after = hd.sr.srread(output)
    (group,) = after.content.get_image_measurement_groups()
    (length,) = group.get_measurements()
    assert length.value == (62.5 if "CleanStructuredContent" in options else 0)
    assert group.tracking_uid == KEY.uid("1.2.999.77")
    assert verify.file(output) == []


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy is not installed")
@pytest.mark.parametrize("options", [(), ("CleanDescriptors", "CleanStructuredContent"), ("RetainLongModifiedDates",)])
def test_a_valid_report_is_valid_afterwards(tmp_path, made_report, options):
    before = validator_errors(made_report)
    after = validator_errors(cleaned(made_report, tmp_path, chosen=Settings(frozenset(options))))
    assert after - before == set()


def test_cleaning_a_report_twice_changes_no_item(tmp_path):
    dataset = report(*deep(2), image(), item("PNAME", OBSERVER, PersonName="PLANTED^NAME"))
    once = clean(dataset, "CleanStructuredContent", "CleanDescriptors")
    twice = clean(copy.deepcopy(once), "CleanStructuredContent", "CleanDescriptors")
    shape = [[(place, one.ValueType, value_of(one)) for place, one in places(d)] for d in (once, twice)]
    assert [s[:2] for s in shape[0]] == [s[:2] for s in shape[1]]
    assert [s[2] for s in shape[0] if s[1] == "NUM"] == [s[2] for s in shape[1] if s[1] == "NUM"]


def test_a_concept_that_stays_does_not_let_the_same_code_stay_elsewhere():
    # Concept names keep a private scheme's code; what was remembered of one must not be taken for a value's.
    own = pydicom.Dataset()
    own.CodeValue, own.CodingSchemeDesignator, own.CodeMeaning = "77", "99LOCAL", "ANONYMIZED"
    dataset = report()
    first, second = pydicom.Dataset(), pydicom.Dataset()
    first.ConceptNameCodeSequence, second.ConceptCodeSequence = [own], [own]
    dataset.SharedFunctionalGroupsSequence = [first, second]
    after = clean(dataset)
    named, valued = after.SharedFunctionalGroupsSequence
    assert named.ConceptNameCodeSequence[0].CodingSchemeDesignator == "99LOCAL"
    assert valued.ConceptCodeSequence[0].CodingSchemeDesignator == "99RADKIT"
