import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.tag import Tag

from radkit.dicom import units
from radkit.dicom.units import UnitsError


def told(**attributes: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def philips(slope: object, intercept: object, scale: object, zero: object = 0.0, vr: str = "FL") -> Dataset:
    dataset = told()
    if slope is not None:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept
    dataset.add_new(Tag(0x2005, 0x0010), "LO", "Philips MR Imaging DD 002")
    dataset.add_new(Tag(0x2005, 0x0012), "LO", "PHILIPS MR IMAGING DD 001")
    dataset.add_new(Tag(0x2005, 0x100E), "FL", 99.0)  # of the other block
    dataset.add_new(Tag(0x2005, 0x120D), vr, zero)
    dataset.add_new(Tag(0x2005, 0x120E), vr, scale)
    return dataset


def test_precise_values_of_a_real_phase_image():
    # A phase image of -3142..3142 (milliradian) over 4096 stored values with scale slope 651.74: -pi..pi.
    slope, intercept = units.precise(philips("1.53455433455433", "-3142", 651.7399))
    assert (intercept, slope * 4095 + intercept) == pytest.approx((-math.pi, math.pi), rel=1e-3)


@given(st.floats(0.01, 100), st.integers(-5000, 5000), st.floats(1e-4, 1e4), st.integers(0, 4095))
def test_precise_is_the_display_value_over_both_slopes(slope, intercept, scale, stored):
    one, other = units.precise(philips(f"{slope:.9f}", str(intercept), scale, vr="FD"))
    expected = (stored * slope + intercept) / (slope * scale)
    assert one * stored + other == pytest.approx(expected, rel=1e-6, abs=1e-6 * abs(intercept) / (slope * scale))


def test_precise_without_a_rescale_goes_by_the_scales_own_intercept():
    # Stored = precise * scale slope + scale intercept; 2047.5 = 3142 / 1.53455.
    with_it = units.precise(philips("1.53455433455433", "-3142", 651.7399))
    assert units.precise(philips(None, None, 651.7399, 2047.5)) == pytest.approx(with_it, rel=1e-4)


def test_precise_reads_floats_of_unknown_representation():
    raw = struct.pack("<f", 0.5)
    assert units.precise(philips("2", "0", raw, struct.pack("<f", 0.0), vr="UN")) == (2.0, 0.0)


@pytest.mark.parametrize("scale", [0.0, math.nan, math.inf])
def test_a_scale_that_maps_nothing_is_absent(scale):
    assert units.precise(philips("1", "0", scale)) is None


def test_other_makers_have_no_precise_values():
    assert units.precise(told(RescaleSlope="1", RescaleIntercept="0")) is None
    dataset = philips("1", "0", 2.0)
    dataset[Tag(0x2005, 0x0012)].value = "ANOTHER"
    assert units.precise(dataset) is None


def test_precise_of_an_enhanced_frame_is_in_the_makers_item():
    def frame(scale: float) -> Dataset:
        own = told()
        own.add_new(Tag(0x2005, 0x0010), "LO", "Philips MR Imaging DD 001")
        own.add_new(Tag(0x2005, 0x100E), "FL", scale)
        group = told(PixelValueTransformationSequence=[told(RescaleSlope="2", RescaleIntercept="0")])
        group.add_new(Tag(0x2005, 0x0014), "LO", "Philips MR Imaging DD 005")
        group.add_new(Tag(0x2005, 0x140F), "SQ", [own])
        return group

    header = told(PerFrameFunctionalGroupsSequence=[frame(4.0), frame(0.5)])
    assert [units.precise(header, k) for k in (0, 1)] == [(0.25, 0.0), (2.0, 0.0)]


def mapping(**attributes: object) -> Dataset:
    return told(MeasurementUnitsCodeSequence=[told(CodeValue="Bq/ml")], LUTLabel="MAP", **attributes)


def test_real_world_lines_and_tables():
    line = mapping(
        RealWorldValueFirstValueMapped=0, RealWorldValueLastValueMapped=4095, RealWorldValueSlope=0.25,
        RealWorldValueIntercept=-3.0,
    )  # fmt: skip
    table = mapping(DoubleFloatRealWorldValueFirstValueMapped=-1.0, RealWorldValueLUTData=[1.5, 2.5, 4.5])
    one, other = units.real_world(told(RealWorldValueMappingSequence=[line, table]))
    assert one == units.RealWorld(0.25, -3.0, (), 0, 4095, "Bq/ml", "MAP")
    assert (other.table, other.first, other.last) == ((1.5, 2.5, 4.5), -1.0, math.inf)
    assert math.isnan(other.slope)
    assert math.isnan(other.intercept)


@pytest.mark.parametrize(("signed", "first"), [(0, 65535), (1, -1)])
def test_implicit_vr_ends_follow_pixel_representation(signed, first):
    line = mapping(RealWorldValueSlope=1.0, RealWorldValueIntercept=0.0, RealWorldValueLastValueMapped=7)
    line.add_new(Tag(0x0040, 0x9216), "OW", b"\xff\xff")
    header = told(PixelRepresentation=signed, RealWorldValueMappingSequence=[line])
    assert units.real_world(header)[0].first == first


def test_real_world_mappings_of_frames_are_nearer_than_shared_ones():
    def group(slope: float) -> Dataset:
        line = mapping(RealWorldValueSlope=slope, RealWorldValueIntercept=0.0)
        return told(RealWorldValueMappingSequence=[line])

    header = told(SharedFunctionalGroupsSequence=[group(1.0)])
    assert units.real_world(header, 1)[0].slope == 1.0
    header.PerFrameFunctionalGroupsSequence = [group(2.0), group(3.0)]
    assert [units.real_world(header, k)[0].slope for k in (0, 1)] == [2.0, 3.0]


def test_a_mapping_of_nothing_is_refused_and_none_is_none():
    with pytest.raises(UnitsError, match="no slope and intercept and no table"):
        units.real_world(told(RealWorldValueMappingSequence=[mapping(RealWorldValueSlope=1.0)]))
    assert units.real_world(told()) == []


MAMMOGRAMS = {
    "CC": "CranioCaudal", "FB": "CaudoCranial", "MLO": "MedioLateralObliqueProjection", "ML": "MedioLateralProjection",
    "LM": "LateroMedial", "LMO": "LateroMedialOblique", "XCCL": "CranioCaudalExaggeratedLaterally",
    "XCCM": "CranioCaudalExaggeratedMedially", "SIO": "SuperolateralToInferomedialOblique",
    "ISO": "InferomedialToSuperolateralOblique",
}  # fmt: skip
OTHERS = {
    "AP": "AnteroPosterior", "PA": "PosteroAnterior", "LL": "LeftLateral", "RL": "RightLateral", "FRONTAL": "Frontal",
    "LATERAL": "LateralProjection", "LLO": "LeftOblique", "RLO": "RightOblique", "LAO": "LeftAnteriorOblique",
    "RAO": "RightAnteriorOblique", "LPO": "LeftPosteriorOblique", "RPO": "RightPosteriorOblique",
    "OBLIQUE": "ObliqueProjection", "AXIAL": "AxialProjection",
}  # fmt: skip


def coded(value: str, scheme: str = "SCT", *modifiers: str) -> Dataset:
    item = told(CodeValue=value, CodingSchemeDesignator=scheme)
    item.ViewModifierCodeSequence = [told(CodeValue=m) for m in modifiers]
    return item


@pytest.mark.parametrize(
    ("group", "term", "name"),
    [("CID4014", *pair) for pair in MAMMOGRAMS.items()] + [("CID4010", *pair) for pair in OTHERS.items()],
)
def test_codes_of_the_standards_tables_mean_their_views(group, term, name):
    concept = getattr(getattr(codes, group.lower()), name)
    assert units.view(told(ViewCodeSequence=[coded(concept.value)])).view == term
    # pydicom holds SNOMED CT and SRT codes of one meaning equal.
    retired = [v for v in units._VIEW_OF_CODE if v[0] == "R" and Code(v, "SRT", "") == concept]
    assert retired
    assert all(units.view(told(ViewCodeSequence=[coded(v, "SRT")])).view == term for v in retired)


def mammogram(**more: object) -> Dataset:
    return told(**{"Modality": "MG", "ImageLaterality": "L", "BodyPartExamined": "BREAST"} | more)


def test_a_mammogram_tells_side_view_and_modifiers():
    header = mammogram(ViewCodeSequence=[coded("R-10226", "SNM3", "R-102D6", "399055006")], ViewPosition="MLO")
    found = units.view(header)
    assert found == units.View("L", "MLO", ("M", "S"), "oblique", "BREAST", ())


@pytest.mark.parametrize(
    ("header", "view", "said"),
    [
        (mammogram(ViewPosition="CC", ImageLaterality=""), "CC", "a mammogram without a side"),
        (mammogram(), "", "a mammogram without a known view"),
        (mammogram(ViewPosition="PA"), "PA", "a mammogram with a view of other parts"),
        (mammogram(ViewPosition="CC", BodyPartExamined="CHEST"), "CC", "does not fit a mammogram's view"),
        (mammogram(ViewPosition="CC", Laterality="R"), "CC", "sides differ: ImageLaterality L, Laterality R"),
        (mammogram(ViewPosition="CC", PatientOrientation=["A", "F"]), "CC", "of a lateral image, the view is axial"),
        (told(ViewPosition="AP", ViewCodeSequence=[coded("272479007")]), "PA", "means PA and ViewPosition AP"),
        (told(Modality="CR", BodyPartExamined="CHEST", ViewPosition="PA", PatientOrientation=["P", "F"]), "PA",
         "of a lateral image, the view is frontal"),
        (told(Modality="CR", BodyPartExamined="CHEST", ViewPosition="LL", PatientOrientation=["L", "F"]), "LL",
         "of a frontal image, the view is lateral"),
        (told(Modality="DX", BodyPartExamined="CHEST", ViewPosition="PA", ImageLaterality="L"), "PA", "unpaired part"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_told(header, view, said):
    found = units.view(header)
    assert found.view == view
    assert [text for text in found.findings if said in text]


@pytest.mark.parametrize(
    "header",
    [
        mammogram(ViewPosition="CC", PatientOrientation=["A", "R"]),
        mammogram(ViewPosition="MLO", PatientOrientation=["A", "FR"]),
        told(Modality="DX", BodyPartExamined="CHEST", ViewPosition="PA", PatientOrientation=["L", "F"]),
        told(Modality="DX", BodyPartExamined="CHEST", ViewPosition="LL", PatientOrientation=["A", "F"]),
        told(
            Modality="DX",
            BodyPartExamined="HAND",
            ViewPosition="PA",
            ImageLaterality="L",
            PatientOrientation=["A", "F"],
        ),
        told(Modality="CR", BodyPartExamined="CHEST", ViewPosition="LATERAL", PatientOrientation=""),
        told(Modality="CR"),
    ],
)
def test_what_agrees_is_free_of_findings(header):
    assert units.view(header).findings == ()


def test_sides_come_from_the_image_the_series_or_the_region():
    right = [told(AnatomicRegionModifierSequence=[told(CodeValue="G-A100")])]
    assert units.view(told(ImageLaterality="U", Laterality="R")) == units.View("U", "", (), "", "", ())
    assert units.view(told(Laterality="R")).laterality == "R"
    assert units.view(told(AnatomicRegionSequence=right)).laterality == "R"
    assert units.view(told()).laterality == ""


@pytest.mark.parametrize(
    ("code", "word", "view"),
    [("399067008", "LL", "LL"), ("399173006", "LATERAL", "LL"), ("399067008", "LAT", "LATERAL"), ("1", "PA", "PA")],
)
def test_the_more_exact_of_code_and_word_is_taken(code, word, view):
    found = units.view(told(ViewCodeSequence=[coded(code)], ViewPosition=word))
    assert (found.view, found.findings) == (view, ())


LARGER = {"EstimatedRadiographicMagnificationFactor": "1.25"}
NAN = pytest.approx((math.nan, math.nan), nan_ok=True)


@pytest.mark.parametrize(
    ("header", "expected", "said"),
    [
        (told(PixelSpacing=[0.2, 0.3]), (0.2, 0.3), ""),
        (told(Modality="CR", PixelSpacing=[0.2, 0.3]), (0.2, 0.3), "at the detector or in the patient is not told"),
        (told(ImagerPixelSpacing=[0.2, 0.3]), (0.2, 0.3), "spacing is at the detector"),
        (told(ImagerPixelSpacing=[0.2, 0.3], **LARGER), (0.16, 0.24),
         "divided by the estimated magnification, 1.25"),
        (told(PixelSpacing=[0.2, 0.3], ImagerPixelSpacing=[0.2, 0.3], **LARGER),
         (0.16, 0.24), "divided"),
        (told(PixelSpacing=[0.16, 0.24], ImagerPixelSpacing=[0.2, 0.3], **LARGER),
         (0.16, 0.24), "how is not told"),
        (told(PixelSpacing=[0.16, 0.24], ImagerPixelSpacing=[0.2, 0.3], PixelSpacingCalibrationType="GEOMETRY"),
         (0.16, 0.24), ""),
        (told(PixelSpacing=[0.4, 0.4], ImagerPixelSpacing=[0.2, 0.2], PixelSpacingCalibrationType="FIDUCIAL"),
         (0.4, 0.4), "larger than his shadow"),
        (told(ImagerPixelSpacing=[0.2, 0.3], EstimatedRadiographicMagnificationFactor="0"), (0.2, 0.3), "unknown"),
        (told(NominalScannedPixelSpacing=[0.1, 0.1]), (0.1, 0.1), "of the scanned film"),
        (told(PixelSpacing=[0.0, 0.0]), NAN, "PixelSpacing is not of two positive numbers"),
        (told(PixelSpacing=[0.0, 0.0], ImagerPixelSpacing=[0.1, 0.1]), (0.1, 0.1), "PixelSpacing is not of two"),
        (told(PixelSpacing=[0.1]), NAN, "not of two positive numbers"),
        (told(), NAN, "no PixelSpacing: sizes in mm are unknown"),
    ],
)  # fmt: skip
def test_spacing_says_where_it_was_measured(header, expected, said):
    row, column, findings = units.spacing(header)
    assert (row, column) == (pytest.approx(expected) if isinstance(expected, tuple) else expected)
    assert [text for text in findings if said in text] if said else findings == ()


def region(x: float = 0.02, y: float = 0.03, unit: int = 3, form: int = 1) -> Dataset:
    return told(
        RegionSpatialFormat=form, PhysicalUnitsXDirection=unit, PhysicalUnitsYDirection=unit, PhysicalDeltaX=x,
        PhysicalDeltaY=y,
    )  # fmt: skip


def test_ultrasound_regions_tell_the_spacing_where_they_agree():
    doppler = region(0.5, 9.0, unit=4, form=3)
    row, column, findings = units.spacing(told(SequenceOfUltrasoundRegions=[doppler, region(), region(-0.02, 0.03)]))
    assert (row, column) == pytest.approx((0.3, 0.2))
    assert any("ultrasound region" in text for text in findings)
    row, column, findings = units.spacing(told(SequenceOfUltrasoundRegions=[region(), region(0.04)]))
    assert np.isnan([row, column]).all()
    assert any("2 ultrasound regions of different spacing" in text for text in findings)


@given(st.floats(0.01, 2), st.floats(0.01, 2), st.floats(1, 3))
def test_the_patient_is_never_larger_than_his_shadow(row, column, times):
    header = told(ImagerPixelSpacing=[row, column], EstimatedRadiographicMagnificationFactor=f"{times:.8f}")
    found = units.spacing(header)
    assert found[0] <= row
    assert found[0] / found[1] == pytest.approx(row / column)


def test_numbers_that_are_none_are_refused():
    with pytest.raises(UnitsError, match="RescaleSlope is not one number"):
        units.number([told(RescaleSlope=["1", "2"])], "RescaleSlope")
    with pytest.raises(UnitsError, match="a finite number is needed"):
        units.number([told(RealWorldValueSlope=math.inf)], "RealWorldValueSlope")


KEYWORDS = (
    "PixelSpacing", "ImagerPixelSpacing", "EstimatedRadiographicMagnificationFactor", "NominalScannedPixelSpacing",
    "PixelSpacingCalibrationType", "Modality", "ViewPosition", "Laterality", "ImageLaterality", "PatientOrientation",
    "BodyPartExamined", "ViewCodeSequence", "AnatomicRegionSequence", "SequenceOfUltrasoundRegions",
)  # fmt: skip
odd = st.sampled_from(
    [b"", b"0", b"-1\\1", b"1e400\\1", b"nan\\nan", b"x", b"1\\2\\3", b"A\\\\F", b"\\", b"\xff\xfe\xfd"]
)


@given(st.dictionaries(st.sampled_from(KEYWORDS), odd))
def test_no_radiograph_is_lost_for_its_view_or_its_spacing(attributes):
    header = told()
    for keyword, raw in attributes.items():
        tag = Tag(tag_for_keyword(keyword))
        header[tag] = RawDataElement(tag, dictionary_VR(tag), len(raw), raw, 0, False, True)
    row, column, findings = units.spacing(header)
    assert (row > 0 and column > 0) or findings
    assert isinstance(units.view(header), units.View)
