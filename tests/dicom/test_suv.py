import contextlib
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from radkit.dicom import suv, volumes
from radkit.dicom.units import UnitsError
from radkit.errors import UserError
from tests import made_up

F18_S = 6586.2
ENHANCED = "1.2.840.10008.5.1.4.1.1.130"
GONE = object()  # the attribute is left out


def code(value: str) -> list[Dataset]:
    item = Dataset()
    item.CodeValue = value
    return [item]


def header(**changes: object) -> Dataset:
    """Returns a PET slice at 11:00, an hour after 368.08 MBq of F-18 were given to 70 kg: 3600 Bq/ml are SUV 1.

    These are the numbers of the digital reference objects of the IBSI's SUV manual (oncoray/suv_computation).
    Keywords with a leading underscore are of RadiopharmaceuticalInformationSequence.
    """
    dataset, dose = Dataset(), Dataset()
    said = {
        "Units": "BQML", "DecayCorrection": "START", "CorrectedImage": ["DECY", "ATTN", "SCAT"], "PatientWeight": "70",
        "SeriesDate": "20250101", "SeriesTime": "110000", "AcquisitionDate": "20250101", "AcquisitionTime": "110000.00",
        "FrameReferenceTime": "150000", "ActualFrameDuration": "300000", "PatientSize": "1.75", "PatientSex": "M",
        "_RadionuclideTotalDose": "368080000", "_RadionuclideHalfLife": "6586.2",
        "_RadiopharmaceuticalStartTime": "100000", "_RadiopharmaceuticalStartDateTime": "20250101100000.00",
        "_RadionuclideCodeSequence": code("C-111A1"),
    } | changes  # fmt: skip
    for keyword, value in said.items():
        if value is not GONE:
            setattr(dose if keyword.startswith("_") else dataset, keyword.lstrip("_"), value)
    dataset.RadiopharmaceuticalInformationSequence = [dose]
    return dataset


def philips(factor: int, value: object, vr: str = "DS", creator: bool = True) -> Dataset:
    dataset = header(Units="CNTS", Manufacturer="Philips")
    if creator:
        dataset.add_new(Tag(0x7053, 0x0011), "LO", "Philips PET Private Group ")
    dataset.add_new(Tag(0x7053, (0x1100 if creator else 0x1000) | factor), vr, value)
    return dataset


NO_DATETIME = {"_RadiopharmaceuticalStartDateTime": GONE}


@pytest.mark.parametrize(
    ("changes", "is_one"),
    [
        ({}, 3600),
        ({"Units": "GML", "SUVType": "BW"}, 1),
        ({"Units": "GML", "SUVType": "LBMJAMES128"}, 0.80743),
        ({"Units": "GML", "SUVType": "IBW", "PatientSex": "O"}, 0.9915),
        ({"Units": "CM2ML", "SUVType": "BSA"}, 0.26402),
        ({"_RadionuclideTotalDose": "368.08"}, 3600),
        ({"DecayCorrection": "ADMIN"}, 5258.3),
        ({"SeriesTime": "113000", "AcquisitionTime": "110230", "FrameReferenceTime": "450000",
          "ActualFrameDuration": "603000"}, 3600),
        ({"DecayCorrection": "NONE", "ActualFrameDuration": "603000"}, 3488),
        ({"DecayCorrection": "NONE", "AcquisitionTime": "110500", "ActualFrameDuration": "603000"}, 3379.5),
        ({"_RadiopharmaceuticalStartTime": GONE}, 3600),
        (NO_DATETIME, 3600),
        (NO_DATETIME | {"_RadiopharmaceuticalStartTime": "233000", "SeriesDate": "20250102", "SeriesTime": "003000",
          "AcquisitionDate": "20250102", "AcquisitionTime": "003000"}, 3600),
        ({"_RadionuclideHalfLife": "4057.7", "_RadionuclideCodeSequence": code("35337001")}, 2843),
    ],
)  # fmt: skip
def test_the_published_reference_objects_come_to_suv_one(changes, is_one):
    assert suv.suv_bw(header(**changes)).factor * is_one == pytest.approx(1, rel=2e-4)


@pytest.mark.parametrize("creator", [True, False])
def test_philips_factors_stand_for_counts(creator):
    assert suv.suv_bw(philips(0x00, "0.0005", creator=creator)).factor == pytest.approx(1 / 2000)
    assert suv.suv_bw(philips(0x09, "0.5", creator=creator)).factor == pytest.approx(1 / 7200, rel=1e-5)
    assert suv.suv_bw(philips(0x09, b"0.5 ", vr="UN", creator=creator)).factor == pytest.approx(1 / 7200, rel=1e-5)


def test_philips_zero_means_absent_and_another_makers_block_is_not_taken():
    dataset = philips(0x00, "0")
    dataset.add_new(Tag(0x7053, 0x1109), "DS", "0.5")
    assert suv.suv_bw(dataset).factor == pytest.approx(1 / 7200, rel=1e-5)
    dataset[Tag(0x7053, 0x0011)].value = "ANOTHER"
    with pytest.raises(UnitsError, match="Units are CNTS"):
        suv.suv_bw(dataset)


def test_ge_tells_the_scan_of_a_series_made_later():
    dataset = header(SeriesTime="150000", AcquisitionTime="111000", FrameReferenceTime=GONE, Manufacturer="GE")
    late = suv.suv_bw(dataset)
    assert late.factor * 3600 == pytest.approx(2 ** (600 / F18_S), rel=1e-5)
    dataset.add_new(Tag(0x0009, 0x0010), "LO", "GEMS_PETD_01")
    dataset.add_new(Tag(0x0009, 0x100D), "DT", "20250101110000.00")
    told = suv.suv_bw(dataset)
    assert told.factor * 3600 == pytest.approx(1, rel=1e-5)
    assert any("SeriesTime is after the acquisition" in text for text in told.findings)


def test_ge_scan_time_that_kept_its_date_is_left_out():
    dataset = header(SeriesTime="150000")
    dataset.add_new(Tag(0x0009, 0x0010), "LO", "GEMS_PETD_01")
    dataset.add_new(Tag(0x0009, 0x100D), "DT", "20200101090000.00")
    assert suv.suv_bw(dataset).factor * 3600 == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"PatientWeight": GONE}, "PatientWeight is absent or 0"),
        ({"PatientWeight": "0"}, "PatientWeight is absent or 0"),
        ({"_RadionuclideTotalDose": GONE}, "RadionuclideTotalDose is absent or 0"),
        ({"_RadionuclideHalfLife": GONE, "_RadionuclideCodeSequence": GONE}, "RadionuclideHalfLife is absent or 0"),
        ({"_RadionuclideHalfLife": "109.77"}, "RadionuclideHalfLife is 109.77 s, its radionuclide's is 6586.2 s"),
        ({"_RadionuclideHalfLife": "4057.7"}, "they must agree"),
        ({"Units": "PCNT"}, "Units are PCNT; BQML"),
        ({"Units": GONE}, "Units are absent"),
        ({"Units": "GML", "SUVType": "LBM", "PatientSize": GONE}, "PatientSize in m is needed"),
        ({"Units": "GML", "SUVType": "XYZ"}, "SUVType XYZ is not known"),
        ({"Units": "CM2ML", "SUVType": "BW"}, "BSA goes with CM2ML"),
        ({"Units": "GML", "SUVType": "BSA"}, "BSA goes with CM2ML"),
        ({"DecayCorrection": GONE}, "DecayCorrection is absent"),
        ({"CorrectedImage": ["DECY"]}, "no ATTN"),
        (NO_DATETIME | {"_RadiopharmaceuticalStartTime": GONE}, "are absent; SUV needs one"),
        ({"SeriesTime": GONE, "AcquisitionTime": GONE}, "times are absent, as if de-identified"),
        ({"DecayCorrection": "NONE", "AcquisitionTime": GONE}, "times are absent"),
        (NO_DATETIME | {"_RadiopharmaceuticalStartTime": "110500"}, "300 s after the scan"),
        ({"_RadiopharmaceuticalStartDateTime": "20250101120000", "_RadiopharmaceuticalStartTime": "120000"},
         "3600 s after"),
        (NO_DATETIME | {"_RadiopharmaceuticalStartTime": "000100", "SeriesTime": "235900", "AcquisitionTime": "235900"},
         "24.0 h before the scan, more than 6 half-lives"),
        (NO_DATETIME | {"_RadionuclideHalfLife": "282276", "_RadionuclideCodeSequence": code("63360001")},
         "day of the injection"),
        (NO_DATETIME | {"_RadiopharmaceuticalStartTime": "000000", "SeriesTime": "000000", "AcquisitionTime": "000000"},
         "00:00:00, as if de-identified"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(changes, said):
    with pytest.raises(UnitsError, match=said):
        suv.suv_bw(header(**changes))


def test_two_radiopharmaceuticals_are_refused():
    dataset = header()
    dataset.RadiopharmaceuticalInformationSequence.append(Dataset())
    with pytest.raises(UnitsError, match="2 items"):
        suv.suv_bw(dataset)
    del dataset.RadiopharmaceuticalInformationSequence
    with pytest.raises(UnitsError, match="0 items"):
        suv.suv_bw(dataset)


@pytest.mark.parametrize(
    ("changes", "said", "factor"),
    [
        ({"_RadionuclideTotalDose": "368.08"}, "taken as MBq", 1 / 3600),
        ({"PatientWeight": "700"}, "PatientWeight is implausible in kg", 1 / 360),
        ({"_RadionuclideHalfLife": GONE}, "6586.2 s of the radionuclide's code were taken", 1 / 3600),
        ({"Units": "GML"}, "taken as SUV by body weight", 1),
        ({"Units": "GML", "SUVType": "LBMJAMES128", "PatientSize": "175"}, "taken as cm", 1 / 0.80743),
        ({"_RadiopharmaceuticalStartTime": "095500"}, "differ", 1 / 3600),
        ({"_RadiopharmaceuticalStartDateTime": "20010505100000"}, "its time of day was taken", 1 / 3600),
        ({"AcquisitionTime": GONE}, "could not be checked", 1 / 3600),
        ({"SeriesTime": GONE, "FrameReferenceTime": GONE}, "earliest AcquisitionTime was taken", 1 / 3600),
        ({"DecayCorrection": "NONE", "ActualFrameDuration": GONE}, "ActualFrameDuration is absent", 1 / 3600),
        ({"SeriesTime": "105000"}, "SeriesTime is 600 s from the start", 2 ** (-600 / F18_S) / 3600),
        (NO_DATETIME | {"_RadiopharmaceuticalStartTime": "110100"}, "60 s before the injection",
         2 ** (-3660 / F18_S) / 3600),
    ],
)  # fmt: skip
def test_what_is_odd_is_told_and_the_likelier_reading_taken(changes, said, factor):
    found = suv.suv_bw(header(**changes))
    assert [text for text in found.findings if said in text]
    assert found.factor == pytest.approx(factor, rel=1e-4)


def test_long_lived_nuclides_count_the_days():
    zirconium = {"_RadionuclideHalfLife": "282276", "_RadionuclideCodeSequence": code("C-168A4")}
    found = suv.suv_bw(header(**zirconium, _RadiopharmaceuticalStartDateTime="20241229100000"))
    assert found.factor == pytest.approx(70000 / 368.08e6 * 2 ** ((3 * 86400 + 3600) / 282276))
    dated = suv.suv_bw(header(**zirconium, _RadiopharmaceuticalStartDateTime="20241229000000"))
    assert dated == found


def test_time_zones_are_brought_to_the_scanners():
    told = header(TimezoneOffsetFromUTC="+0200", _RadiopharmaceuticalStartDateTime="20250101030000.00-0500")
    assert suv.suv_bw(told).factor == pytest.approx(suv.suv_bw(header()).factor)


def test_dates_may_be_absent_without_a_finding():
    old = suv.suv_bw(header(SeriesDate=GONE, AcquisitionDate=GONE, **NO_DATETIME))
    assert old.factor == pytest.approx(suv.suv_bw(header()).factor)
    assert old.findings == suv.suv_bw(header()).findings == ()


def test_sex_decides_lean_mass():
    # 70 kg, 1.75 m: James 1.07 * 70 - 148 * 0.16 and 1.10 * 70 - 120 * 0.16 kg; Janmahasatian with 22.857 kg/m2.
    by = {
        ("F", "LBMJAMES128"): 51.22, ("M", "LBM"): 57.8, ("M", "LBMJANMA"): 9270 * 70 / (6680 + 216 * 22.857),
        ("F", "LBMJANMA"): 9270 * 70 / (8780 + 244 * 22.857), ("M", "IBW"): 72.38, ("F", "IBW"): 66.43,
    }  # fmt: skip
    for (sex, kind), kg in by.items():
        found = suv.suv_bw(header(Units="GML", SUVType=kind, PatientSex=sex)).factor
        assert found == pytest.approx(70 / kg, rel=1e-4)


clocks = st.integers(0, 86399)
shifts = st.integers(-20000, 20000)


def moved(days: int, *, scan_s: int, uptake_s: int, **changes: object) -> Dataset:
    """Returns a header whose scan begins some seconds after midnight of a day, and its injection before that."""
    day = np.datetime64("2025-01-01T00:00:00")
    scan = day + np.timedelta64(days * 86400 + scan_s, "s")
    given_at = scan - np.timedelta64(uptake_s, "s")
    texts = [str(t).replace("-", "").replace(":", "").split("T") for t in (scan, given_at)]
    return header(
        SeriesDate=texts[0][0], SeriesTime=texts[0][1], AcquisitionDate=texts[0][0], AcquisitionTime=texts[0][1],
        _RadiopharmaceuticalStartTime=texts[1][1], _RadiopharmaceuticalStartDateTime="".join(texts[1]), **changes,
    )  # fmt: skip


@given(shifts, clocks, st.integers(1, 20000))
def test_shifting_all_dates_by_whole_days_changes_nothing(days, scan_s, uptake_s):
    here = suv.suv_bw(moved(0, scan_s=scan_s, uptake_s=uptake_s))
    there = suv.suv_bw(moved(days, scan_s=scan_s, uptake_s=uptake_s))
    assert there.factor == pytest.approx(here.factor, rel=1e-9)
    assert there.findings == here.findings


@given(clocks, st.integers(1, 20000))
def test_the_day_follows_from_the_time_of_day(scan_s, uptake_s):
    told = moved(0, scan_s=scan_s, uptake_s=uptake_s)
    short = moved(0, scan_s=scan_s, uptake_s=uptake_s)
    del short.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime
    assert suv.suv_bw(short).factor == pytest.approx(suv.suv_bw(told).factor, rel=1e-9)


@given(st.integers(60, 20000), st.floats(1, 1e5))
def test_the_reference_of_decay_correction_does_not_change_suv(uptake_s, activity):
    start, admin = (moved(0, scan_s=40000, uptake_s=uptake_s, DecayCorrection=how) for how in ("START", "ADMIN"))
    at_injection = activity * suv.decay_factor(F18_S, -uptake_s)
    assert suv.suv_bw(start).factor * activity == pytest.approx(suv.suv_bw(admin).factor * at_injection)


@given(st.integers(1, 3600), st.integers(0, 7200))
def test_uncorrected_frames_come_to_the_suv_of_corrected_ones(duration_s, begin_s):
    decay = math.log(2) / F18_S
    times = np.linspace(begin_s, begin_s + duration_s, 20001)
    mean = np.trapezoid(np.exp(-decay * times), times) / duration_s  # of 1 Bq/ml at the scan's start
    clock = 39600 + begin_s
    none = header(
        DecayCorrection="NONE", ActualFrameDuration=str(duration_s * 1000),
        AcquisitionTime=f"{clock // 3600:02d}{clock // 60 % 60:02d}{clock % 60:02d}",
    )  # fmt: skip
    assert suv.suv_bw(none).factor * mean == pytest.approx(suv.suv_bw(header()).factor, rel=1e-7)


@given(st.floats(60, 1e6), st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_decay_adds_up(half_life_s, one, other):
    both = suv.decay_factor(half_life_s, one) * suv.decay_factor(half_life_s, other)
    assert both == pytest.approx(suv.decay_factor(half_life_s, one + other), rel=1e-9)


@pytest.mark.parametrize("half_life_s", [0, -1, math.nan])
def test_a_half_life_is_positive(half_life_s):
    with pytest.raises(UnitsError, match="positive"):
        suv.decay_factor(half_life_s, 1)


def enhanced(unit: str = "Bq/ml", slope: float = 2.0, **changes: object) -> Dataset:
    mapping, rescale, shared, first = Dataset(), Dataset(), Dataset(), Dataset()
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = slope, 0.0
    mapping.RealWorldValueFirstValueMapped, mapping.RealWorldValueLastValueMapped = 0, 65535
    mapping.MeasurementUnitsCodeSequence = code(unit)
    rescale.RescaleSlope, rescale.RescaleIntercept = "4", "0"
    shared.PixelValueTransformationSequence = [rescale]
    first.RealWorldValueMappingSequence = [mapping]
    dataset = header(
        Units=GONE, DecayCorrection=GONE, SOPClassUID=ENHANCED, CorrectedImage=GONE, DecayCorrected="YES",
        DecayCorrectionDateTime="20250101110000", _RadionuclideTotalDose="368.08",
        _RadiopharmaceuticalStartTime=GONE, **changes,
    )  # fmt: skip
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], [first]
    return dataset


def test_enhanced_pet_tells_its_unit_in_a_real_world_mapping():
    found = suv.suv_bw(enhanced())
    assert found.factor == pytest.approx(2 / 4 / 3600, rel=1e-5)
    assert found.findings == ()
    assert suv.suv_bw(enhanced("g/ml{SUVbw}")).factor == 0.5


def test_enhanced_pet_without_decay_correction_goes_by_its_frames():
    dataset = enhanced()
    dataset.DecayCorrected = "NO"
    content = Dataset()
    content.FrameReferenceDateTime = "20250101113000"
    dataset.PerFrameFunctionalGroupsSequence[0].FrameContentSequence = [content]
    assert suv.suv_bw(dataset).factor * 7200 == pytest.approx(2 ** (1800 / F18_S), rel=1e-5)


def pet_series(folder, **faults):
    def each(dataset: Dataset) -> None:
        dataset.update({element.tag: element for element in header()})
        dataset.Modality, dataset.SOPClassUID = "PT", "1.2.840.10008.5.1.4.1.1.128"
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "0"

    return made_up.ct_series(folder, stored=made_up.stored_values((3, 4, 5), np.uint16), each=each, **faults)


def test_a_volume_becomes_suv(tmp_path):
    stored = pet_series(tmp_path)
    (volume,) = volumes.read_volumes(tmp_path.iterdir())
    array, findings = suv.suv_volume(volume)
    assert array.dtype == np.float32
    assert findings == ()
    np.testing.assert_allclose(array, stored * 0.5 / 3600, rtol=1e-5)
    np.testing.assert_array_equal(volume.stored, stored)


def test_one_slice_acquired_before_the_series_began_takes_trust_from_all(tmp_path):
    # SeriesTime 11:03 is after the first bed, 11:00, and before the second, 11:05; both tell a start at 11:00.
    def bed(dataset: Dataset, clock: str, offset_ms: str) -> None:
        dataset.SeriesTime, dataset.AcquisitionTime, dataset.FrameReferenceTime = "110300", clock, offset_ms

    later = partial(bed, clock="110500", offset_ms="449606")
    faults = {0: partial(bed, clock="110000", offset_ms="149606"), 1: later, 2: later}
    stored = pet_series(tmp_path, faults=faults)
    (volume,) = volumes.read_volumes(tmp_path.iterdir())
    array, findings = suv.suv_volume(volume)
    np.testing.assert_allclose(array, stored * 0.5 / 3600, rtol=1e-4)
    assert any("SeriesTime is after the acquisition" in text for text in findings)


def test_frames_of_one_file_have_factors_of_their_own(tmp_path):
    pet_series(tmp_path)
    (volume,) = volumes.read_volumes(tmp_path.iterdir())
    path = volume.paths[0]
    dataset = enhanced()
    other = Dataset()
    other.RealWorldValueMappingSequence = (
        enhanced(slope=6.0).PerFrameFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    )
    dataset.PerFrameFunctionalGroupsSequence.append(other)
    dataset.SOPInstanceUID, dataset.NumberOfFrames = "1.2.3", 2
    dataset.file_meta = None
    made_up.save(dataset, path)
    array, _ = suv.suv_volume(replace(volume, paths=(path, path, path), frame_numbers=(0, 1, 0)))
    np.testing.assert_allclose(array[1], volume.array[1] * 1.5 / 3600, rtol=1e-5)
    np.testing.assert_allclose(array[2], volume.array[2] * 0.5 / 3600, rtol=1e-5)


def test_interpolated_slices_are_of_no_file(tmp_path):
    pet_series(tmp_path)
    (volume,) = volumes.read_volumes(tmp_path.iterdir())
    with pytest.raises(UnitsError, match="interpolated"):
        suv.suv_volume(replace(volume, paths=(), instance_uids=(), frame_numbers=()))


TEXTS = sorted({e.keyword for d in (header(), *header()[0x00540016].value) for e in d if e.VR not in ("SQ", "CS")})
odd = st.sampled_from(
    ["", "0", "-1", "1e400", "nan", "1e-300", "x", "70\\71", "20250230", "2500", "250000", "+9999", "NONE"]
)


@given(st.dictionaries(st.sampled_from(TEXTS), odd, max_size=4))
def test_any_header_gives_a_positive_factor_or_a_named_refusal(changes):
    dataset = header()
    for keyword, text in changes.items():
        of = dataset.RadiopharmaceuticalInformationSequence[0] if keyword.startswith("Radio") else dataset
        tag = Tag(tag_for_keyword(keyword))
        of[tag] = RawDataElement(tag, dictionary_VR(tag), len(text), text.encode(), 0, False, True)
    with contextlib.suppress(UserError):
        assert 0 < suv.suv_bw(dataset).factor < math.inf
