"""Measurement reports: values as they stand there, figures as boxes around them, other images' left out."""

import contextlib
import dataclasses
import math

import highdicom
import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.sr.codedict import codes

from radkit import config
from radkit.dicom import read_volumes
from radkit.dicom.annotations import form, sr
from radkit.dicom.annotations.form import AnnotationError
from tests import made_up
from tests.dicom.annotations import made_up_sr as make

SIZE = (40, 50)
LONG_AXIS = make.code("103339001", "SCT", "Long axis")
VOLUME = make.code("118565006", "SCT", "Volume")
FRAME = made_up.header()["FrameOfReferenceUID"]
QUICK = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct")
    made_up.ct_series(folder, size=SIZE, place=made_up.affine(angles=(10, -20, 30), tilt=8))
    return read_volumes(folder)[0]


def read(tmp_path, volume, *groups, labels=None, wishes=form.WISHES, **more):
    return sr.read(make.save(make.report(*groups, **more), tmp_path / "sr.dcm"), volume, labels, wishes)


def measured(tmp_path, *groups, **more):
    return sr.measurements(make.save(make.report(*groups, **more), tmp_path / "sr.dcm"))


def test_a_group_is_read_in_full(tmp_path, volume):
    margins = make.coded(make.code("C1", "99X", "Margins"), make.code("C2", "99X", "spiculated"))
    remark = make.item("TEXT", make.code("C3", "99X", "Density"), TextValue="part solid")
    group = make.nodule(make.number(LONG_AXIS, "12.30"), make.number(VOLUME, "1.5", "cm3"), margins, remark)
    found = read(tmp_path, volume, group, context=[make.person()])
    about = {"lesion_id": make.LESION, "finding": "Nodule", "site": "Lung"}
    assert found.measurements[:2] == (
        form.Measurement("Long axis", 12.3, "mm", code="103339001 SCT", **about),
        form.Measurement("Volume", 1.5, "cm3", code="118565006 SCT", **about),
    )
    judged = [(one.name, one.text, one.code) for one in found.measurements[2:]]
    assert judged == [("Margins", "spiculated", "C1 99X"), ("Density", "part solid", "C3 99X")]
    assert all(math.isnan(one.value) and one.unit == "" for one in found.measurements[2:])
    assert (found.reader, found.date, found.reference_standard) == ("Reader A", "2024-03-05", "reader")
    assert found.findings == ()


@pytest.mark.slow
@QUICK
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4))
def test_highdicom_writes_numbers_and_radkit_reads_the_same(tmp_path, volume, values):
    sources = [pydicom.dcmread(path) for path in volume.paths]
    group = highdicom.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(make.LESION, "one"),
        finding_type=codes.SCT.Nodule,
        finding_sites=[highdicom.sr.FindingSite(codes.SCT.Lung)],
        measurements=[highdicom.sr.Measurement(codes.SCT.Length, value, codes.UCUM.Millimeter) for value in values],
        qualitative_evaluations=[highdicom.sr.QualitativeEvaluation(codes.DCM.LevelOfSignificance, codes.SCT.Normal)],
        source_images=[highdicom.sr.SourceImageForMeasurementGroup.from_source_image(sources[0])],
    )
    observer = highdicom.sr.ObserverContext(
        codes.DCM.Device, highdicom.sr.DeviceObserverIdentifyingAttributes("1.2.3", name="machine")
    )
    content = highdicom.sr.MeasurementReport(
        highdicom.sr.ObservationContext(observer_device_context=observer), codes.LN.CTUnspecifiedBodyRegion, [group]
    )
    highdicom.sr.Comprehensive3DSR(sources, content[0], "1.2.3.4", 1, "1.2.3.5", 1, "maker").save_as(tmp_path / "hd")
    found = sr.read(tmp_path / "hd", volume)
    (theirs,) = highdicom.sr.srread(tmp_path / "hd").content.get_image_measurement_groups()
    assert [one.value for one in found.measurements[:-1]] == [one.value for one in theirs.get_measurements()] == values
    assert {one.lesion_id for one in found.measurements} == {theirs.tracking_uid}
    assert {one.finding for one in found.measurements} == {theirs.finding_type.meaning}
    assert found.measurements[-1].text == "Normal"
    assert (found.reader, found.reference_standard) == ("machine", "model")


NUMBERS = {
    "text alone": (make.number(LONG_AXIS, "0.1"), 0.1, "mm", ""),
    "16 characters": (make.number(LONG_AXIS, "-1.234567890e+05"), -1.23456789e5, "mm", ""),
    "floating point beside the text": (make.number(LONG_AXIS, "0.3333", FloatingPointValue=1 / 3), 1 / 3, "mm", ""),
    "rational alone": (
        make.number(LONG_AXIS, None, RationalNumeratorValue=1, RationalDenominatorValue=7), 1 / 7, "mm", ""),
    "no unit": (make.number(LONG_AXIS, "3", ""), 3.0, "", ""),
    "centimetres stay": (make.number(LONG_AXIS, "3.2", "cm"), 3.2, "cm", ""),
    "qualifier": (
        make.item("NUM", LONG_AXIS, NumericValueQualifierCodeSequence=[make.code("114006", meaning="Failure")]),
        math.nan, "", "Failure"),
    "a denominator of 0": (
        make.number(LONG_AXIS, None, RationalNumeratorValue=1, RationalDenominatorValue=0), math.nan, "mm", ""),
    "removed by radkit anonymize": (
        make.number(LONG_AXIS, "0", "ANONYMIZED"), math.nan, "", "removed by de-identification"),
    "nothing": (make.item("NUM", LONG_AXIS, MeasuredValueSequence=[]), math.nan, "", "Not a number"),
}  # fmt: skip


@pytest.mark.parametrize("how", NUMBERS)
def test_a_number_stands_as_in_the_file(tmp_path, how):
    num, value, unit, text = NUMBERS[how]
    (found,) = measured(tmp_path, make.nodule(num))
    np.testing.assert_equal((found.value, found.unit, found.text), (value, unit, text))


def test_what_a_number_was_derived_by_stands_behind_its_name(tmp_path):
    def suv(value, how):
        derived = make.coded(make.code("121401"), how, "HAS CONCEPT MOD")
        return make.number(make.code("126401", meaning="SUVbw"), value, "{SUVbw}g/ml", derived)

    mean, peak = make.code("373098007", "SCT", "Mean"), make.code("126031", meaning="Peak")
    found = measured(tmp_path, make.nodule(suv("2", mean), suv("5", peak)))
    assert [(one.name, one.value) for one in found] == [("SUVbw, Mean", 2), ("SUVbw, Peak", 5)]
    assert found[0].code == "126401 DCM, 373098007 SCT"


def test_a_long_axis_is_as_long_as_its_line_with_the_spacing_of_rows_and_columns(tmp_path, volume):
    header = pydicom.dcmread(volume.paths[1])
    (c0, r0), (c1, r1) = (3.25, 4.5), (21.0, 30.75)
    rows, columns = map(float, header.PixelSpacing)
    length = math.hypot((r1 - r0) * rows, (c1 - c0) * columns)
    line = make.figure("POLYLINE", (c0, r0, c1, r1), make.image(header.SOPInstanceUID))
    num = make.number(LONG_AXIS, f"{length:.10f}", "mm", line)
    found = read(tmp_path, volume, make.nodule(num))
    (box,) = found.boxes
    span = (np.array(box.high) - box.low) * volume.spacing_mm
    assert found.measurements[0].value == pytest.approx(np.hypot(*span[1:]))
    ends = form.to_mm([[1.5, r0, c0], [1.5, r1, c1]], volume)
    assert length == pytest.approx(np.linalg.norm(ends[1] - ends[0]))


def test_groups_of_other_images_are_left_out(tmp_path, volume):
    here = make.nodule(make.number(LONG_AXIS, "1"), make.image(volume.instance_uids[0]))
    there = make.nodule(make.number(LONG_AXIS, "2"), make.image("1.2.3"))
    found = read(tmp_path, volume, here, there)
    assert [one.value for one in found.measurements] == [1]
    assert [(one.name, one.severity) for one in found.findings] == [("other_images_too", "note")]


ELSEWHERE = {
    "image": ("other_instances", make.image("1.2.3")),
    "series": ("other_instances", make.item("UIDREF", make.code("121232"), UID="1.2.3")),
    "frame of reference": ("other_frame_of_reference", make.figure_3d("POINT", (1.0, 2.0, 3.0), "1.2.3")),
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_a_report_on_other_images_goes_by_the_policy(tmp_path, volume, what):
    name, item = ELSEWHERE[what]
    group = make.nodule(make.number(LONG_AXIS, "1"), item)
    with pytest.raises(AnnotationError, match="groups of the report are") as caught:
        read(tmp_path, volume, group)
    assert caught.value.finding == name
    if what == "frame of reference":
        middle = form.to_mm([2.5, 20.5, 20.5], volume)
        group = make.nodule(make.number(LONG_AXIS, "1"), make.figure_3d("POINT", middle, "1.2.3"))
    found = read(tmp_path, volume, group, wishes=config.Annotations(**{name: "report"}))
    assert found.findings[0].name == name
    assert len(found.measurements) == 1
    assert len(found.boxes) == (what == "frame of reference")


def test_the_evidence_tells_where_a_group_does_not(tmp_path, volume):
    segment = make.image("1.2.3.4", sop_class=make.SEG, ReferencedSegmentNumber=1)
    group = make.nodule(make.number(VOLUME, "1", "mL"), segment)
    own = (volume.meta["SeriesInstanceUID"], volume.instance_uids[0])
    assert len(read(tmp_path, volume, group).measurements) == 1
    assert len(read(tmp_path, volume, group, evidence=[("1.2", "1.2.3"), own]).measurements) == 1
    with pytest.raises(AnnotationError):
        read(tmp_path, volume, group, evidence=[("1.2", "1.2.3")])
    interpolated = dataclasses.replace(volume, instance_uids=(), paths=(), frame_numbers=())
    assert len(read(tmp_path, interpolated, group, evidence=[own]).measurements) == 1


def test_labels_choose_groups_in_whichever_case(tmp_path, volume):
    other = make.group(*make.tracking("cyst 3", ""), make.number(LONG_AXIS, "2"))
    groups = (make.nodule(make.number(LONG_AXIS, "1")), other)
    assert [m.value for m in read(tmp_path, volume, *groups, labels=["nodule"]).measurements] == [1]
    assert [m.lesion_id for m in read(tmp_path, volume, *groups, labels=["Cyst 3"]).measurements] == ["cyst 3"]
    with pytest.raises(AnnotationError, match="none of the findings Mass"):
        read(tmp_path, volume, *groups, labels=["Mass"])


NEAR_MISSES = {
    "a group by another code": make.item(
        "CONTAINER", make.code("1", "99VENDOR"), *make.tracking(), make.number(LONG_AXIS, "7")),
    "a group in a group's container": make.group(make.nodule(make.number(LONG_AXIS, "7"))),
    "numbers in a container of their own": make.nodule(
        make.item("CONTAINER", make.code("2", "99VENDOR"), make.number(LONG_AXIS, "7"))),
    "no relationships": make.group(
        *make.tracking(), make.item("NUM", LONG_AXIS, relation="",
                                    MeasuredValueSequence=make.number(LONG_AXIS, "7").MeasuredValueSequence)),
    "the UID as text": make.group(
        *make.tracking("x", ""), make.item("TEXT", make.code("112040"), TextValue=make.LESION),
        make.number(LONG_AXIS, "7")),
    "an old SNOMED designator": make.nodule(make.number(make.code("G-A185", "SRT", "Long Axis"), "7")),
    "a code without scheme": make.nodule(make.number(make.code("G-A185", "", "Long Axis"), "7")),
    "a long code value": make.nodule(
        make.number(make.code("1" * 20, "X", "Long axis", "LongCodeValue"), "7")),
}  # fmt: skip


@pytest.mark.parametrize("how", NEAR_MISSES)
def test_what_vendors_make_of_it_is_read(tmp_path, how):
    (found,) = measured(tmp_path, NEAR_MISSES[how])
    assert (found.value, found.lesion_id) == (7, make.LESION)
    assert found.name.lower() == "long axis"


def test_private_codes_that_look_like_the_templates_are_none_of_it(tmp_path):
    finding = make.coded(make.code("121071", "99VENDOR", "Score"), make.code("3", "99VENDOR", "three"))
    found = measured(tmp_path, make.group(*make.tracking(), finding))
    assert [(one.name, one.text, one.finding) for one in found] == [("Score", "three", "")]


def test_what_stands_in_no_group_is_read_too(tmp_path, volume):
    total = make.number(make.code("S", "99X", "Sum of diameters"), "42")
    whole = make.item(
        "CONTAINER", make.code("C0034375", "UMLS"), make.coded(make.code("R"), make.code("Q", meaning="PD"))
    )
    found = measured(tmp_path, make.nodule(make.number(LONG_AXIS, "1")), total, context=[whole])
    assert {one.text or one.value for one in found if not one.lesion_id} == {42.0, "PD"}


@pytest.mark.parametrize("sop_class", ["22", "33", "34", "35"])
def test_all_classes_of_reports_are_read(tmp_path, sop_class):
    report = make.report(make.nodule(make.number(LONG_AXIS, "7")))
    report.SOPClassUID = f"1.2.840.10008.5.1.4.1.1.88.{sop_class}"
    assert len(sr.measurements(make.save(report, tmp_path / "sr.dcm"))) == 1


OBSERVERS = {
    "two people": ([make.person("A"), make.person("B")], "A; B", "reader"),
    "a name as text": ([make.item("TEXT", make.code("121008"), TextValue="A")], "A", "reader"),
    "a person and a device": (
        [make.person("A"), make.item("UIDREF", make.code("121012"), UID="1.2")], "A", "reader"),
    "a device by its UID": ([make.item("UIDREF", make.code("121012"), UID="1.2")], "", "model"),
    "an algorithm": ([make.item("TEXT", make.code("111001"), TextValue="Net")], "Net", "model"),
    "nobody": ([], "", ""),
}  # fmt: skip


@pytest.mark.parametrize("who", OBSERVERS)
def test_who_observed_is_told(tmp_path, volume, who):
    context, reader, standard = OBSERVERS[who]
    found = read(tmp_path, volume, make.nodule(make.number(LONG_AXIS, "7")), context=context)
    assert (found.reader, found.reference_standard) == (reader, standard)


def test_a_date_that_is_none_is_left_out(tmp_path, volume):
    report = make.report(make.nodule(make.number(LONG_AXIS, "7")))
    report.ContentDate = ""
    assert sr.read(make.save(report, tmp_path / "sr.dcm"), volume).date == ""


def test_a_report_without_groups_is_empty(tmp_path, volume):
    found = read(tmp_path, volume, labels=["Nodule"])
    assert (found.boxes, found.measurements) == ((), ())
    assert [one.name for one in found.findings] == ["no_measurements"]


def test_what_is_no_report_is_refused(tmp_path, volume):
    text = make.item("CONTAINER", make.code("18748-4", "LN"), make.item("TEXT", make.code("121070"), TextValue="x"))
    text.SOPClassUID, text.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.3"
    make.save(text, tmp_path / "text.dcm")
    (tmp_path / "a.txt").write_text("no DICOM")
    for path, said in (
        (tmp_path / "text.dcm", "not one of measurements"),
        (volume.paths[0], "no structured report"),
        (tmp_path / "a.txt", "cannot be read"),
        (tmp_path / "none", "cannot be read"),
    ):
        for call in (lambda path: sr.read(path, volume), sr.measurements):
            with pytest.raises(AnnotationError, match=said):
                call(path)


def test_a_tree_too_deep_is_refused(tmp_path, volume):
    item = make.number(LONG_AXIS, "7")
    for _ in range(70):
        item = make.item("CONTAINER", None, item)
    with pytest.raises(AnnotationError, match="levels deep"):
        read(tmp_path, volume, make.group(item))


@settings(QUICK, max_examples=150)
@given(data=st.data())
def test_a_damaged_report_is_read_or_refused(tmp_path, volume, data):
    whole = tmp_path / "whole.dcm"
    if not whole.exists():
        image = make.image(volume.instance_uids[0])
        group = make.nodule(
            make.number(LONG_AXIS, "12.5", FloatingPointValue=12.5), make.figure("POINT", (3, 4), image)
        )
        make.save(make.report(group, make.nodule(make.figure_3d("POINT", (1, 2, 3), FRAME))), whole)
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.sampled_from([len(content), len(content) // 2, len(content) - 9])) :]
    (tmp_path / "damaged.dcm").write_bytes(content)
    for call in (lambda path: sr.read(path, volume), sr.measurements):
        with contextlib.suppress(AnnotationError):
            call(tmp_path / "damaged.dcm")
