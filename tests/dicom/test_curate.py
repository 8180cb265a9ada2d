"""Series by what was asked for, by what is found, and by a person's word."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from radkit import config
from radkit.dicom import curate, scan
from radkit.dicom.findings import Finding
from radkit.dicom.volumes import SeriesError, read_volumes
from tests import made_up


def instance(**values):
    said = {
        "SOPInstanceUID": "1.2.3",
        "ImageOrientationPatient": "1\\0\\0\\0\\1\\0",
        "ImagePositionPatient": "0\\0\\0",
        "PixelSpacing": "0.7\\0.8",
        "SliceThickness": "2.5",
        "ConvolutionKernel": "B30f",
        "BodyPartExamined": "CHEST",
        "SeriesDescription": "Thorax portalvenous",
        "ContrastBolusAgent": "Iohexol",
        "ImageType": "ORIGINAL\\PRIMARY\\AXIAL",
    }
    return scan.Instance(Path("a.dcm"), {**said, **values})


def stack(count=5, step=2.5, **values):
    return [
        instance(SOPInstanceUID=f"1.2.{k}", ImagePositionPatient=f"0\\0\\{k * step}", **values)
        for k in range(1, count + 1)
    ]


def names(instances, **asked):
    return [finding.name for finding in curate.rules(instances, config.Curate(**asked))]


@pytest.mark.parametrize(
    ("met", "broken", "name"),
    [
        ({"planes": ("axial",)}, {"planes": ("sagittal", "coronal")}, "plane_not_asked"),
        ({"body_parts": ("chest",)}, {"body_parts": ("HEAD",)}, "body_part_not_asked"),
        ({"kernels": ("B30f",)}, {"kernels": ("sharp",)}, "kernel_not_asked"),
        ({"kernels": ("smooth",)}, {"kernels": ("B70f",)}, "kernel_not_asked"),
        ({"phases": ("portal",)}, {"phases": ("arterial", "delayed")}, "phase_not_asked"),
        ({"contrast": "with"}, {"contrast": "without"}, "contrast_not_asked"),
        ({"num_slices": (5, 9)}, {"num_slices": (6, 9)}, "number_of_slices_not_asked"),
        ({"slice_spacing_mm": (2, 3)}, {"slice_spacing_mm": (0, 2)}, "slice_spacing_not_asked"),
        ({"pixel_spacing_mm": (0.7, 0.8)}, {"pixel_spacing_mm": (0.75, 1)}, "pixel_spacing_not_asked"),
        ({"slice_thickness_mm": (2, 3)}, {"slice_thickness_mm": (0, 1)}, "slice_thickness_not_asked"),
    ],
)
def test_each_rule_has_a_reason_of_its_own(met, broken, name):
    assert names(stack(), **met) == []
    assert names(stack(), **broken) == [name]


@pytest.mark.parametrize(
    ("values", "asked"),
    [
        ({"ImageOrientationPatient": ""}, {"planes": ("axial",)}),
        ({"BodyPartExamined": ""}, {"body_parts": ("CHEST",)}),
        ({"ConvolutionKernel": ""}, {"kernels": ("sharp",)}),
        ({"SeriesDescription": "", "ContrastBolusAgent": ""}, {"phases": ("portal",)}),
        ({"SeriesDescription": "", "ContrastBolusAgent": ""}, {"contrast": "with"}),
        ({"PixelSpacing": ""}, {"pixel_spacing_mm": (0, 1)}),
        ({"SliceThickness": ""}, {"slice_thickness_mm": (0, 1)}),
        ({"ImageOrientationPatient": ""}, {"slice_spacing_mm": (0, 9)}),
    ],
)
def test_what_the_headers_do_not_tell_goes_by_the_config(values, asked):
    assert names(stack(**values), **asked) == ["untold"]
    assert names(stack(**values), untold="keep", **asked) == []


def test_localizers_derived_and_secondary_series():
    scout = stack(ImageType="ORIGINAL\\PRIMARY\\LOCALIZER")
    assert names(scout) == ["localizer"]
    assert names(scout, localizers="keep") == []
    screen = stack(ImageType="DERIVED\\SECONDARY")
    assert names(screen) == []
    assert names(screen, derived="leave_out", secondary="leave_out") == ["derived", "secondary"]
    picture = stack(SOPClassUID="1.2.840.10008.5.1.4.1.1.7")
    assert names(picture, secondary="leave_out") == ["secondary"]


def test_series_of_several_planes_are_of_none():
    both = [*stack(2), *stack(2, ImageOrientationPatient="0\\1\\0\\0\\0\\-1")]
    assert names(both, planes=("axial",)) == ["plane_not_asked"]


def test_text_in_the_pixels_is_told_of_whatever_was_asked():
    assert names(stack(BurnedInAnnotation="YES")) == ["burned_in"]


def test_no_reason_holds_a_header_s_free_text():
    told = curate.rules(
        stack(BodyPartExamined="MUELLER", ConvolutionKernel="MUELLER"),
        config.Curate(body_parts=("HEAD",), kernels=("sharp",)),
    )
    assert told
    assert "MUELLER" not in str(told)


def refused(folder):
    try:
        return curate.of_volumes(read_volumes(sorted(folder.rglob("*.dcm"))))
    except SeriesError as error:
        return curate.of_volumes(error)


def grave(folder):
    return {finding.name for finding in refused(folder) if finding.severity == "fault"}


def test_a_sound_series_has_neither_faults_nor_warnings(tmp_path):
    made_up.ct_series(tmp_path)
    assert {finding.severity for finding in refused(tmp_path)} <= {"note"}


def shifted(dataset):
    dataset.ImagePositionPatient = [dataset.ImagePositionPatient[0] + 20, *dataset.ImagePositionPatient[1:]]


def nearer(dataset):
    dataset.ImagePositionPatient = [*dataset.ImagePositionPatient[:2], dataset.ImagePositionPatient[2] + 1.1]


def rescaled(dataset):
    dataset.RescaleSlope = "2"


def swapped(dataset):
    dataset.RescaleSlope, dataset.RescaleIntercept = dataset.RescaleIntercept, dataset.RescaleSlope


def wider(dataset):
    dataset.PixelSpacing = [1.4, 1.4]


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (None, "missing_slices"),
        (shifted, "slices_off_line"),
        (nearer, "irregular_spacing"),
        (rescaled, "rescale_differs"),
        (swapped, "negative_slope"),
        (wider, "mixed_geometry"),
    ],
)
def test_faults_of_slices_are_named(tmp_path, fault, name):
    made_up.ct_series(tmp_path, slices=7, faults={3: fault})
    # A slice of another spacing leaves a gap, too, which is what is refused first.
    assert name in grave(tmp_path) or (name == "mixed_geometry" and "missing_slices" in grave(tmp_path))


def test_a_slice_that_is_there_twice_is_named(tmp_path):
    made_up.ct_series(tmp_path)
    first = sorted(tmp_path.rglob("*.dcm"))[0]
    again = pydicom.dcmread(first)
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = f"{again.SOPInstanceUID}.9"
    made_up.save(again, tmp_path / "again.dcm")
    assert grave(tmp_path) == {"repeated_slices"}


def test_faults_leave_out_unless_they_are_accepted():
    fault, note, rule = Finding("clipped", "a"), Finding("tilt", "b"), Finding("localizer", "c")
    assert curate.judge([note], config.Curate())
    assert not curate.judge([fault, note], config.Curate())
    assert curate.judge([fault], config.Curate(accepted=("clipped",)))
    assert curate.judge([fault], config.Curate(faults="keep"))
    assert not curate.judge([rule], config.Curate(faults="keep", accepted=("localizer",)))


HEAD = "SeriesInstanceUID,decision,by,date,reason\n"


def table(folder, *rows, head=HEAD):
    path = folder / "overrides.csv"
    path.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_person_s_word_goes_before_findings_and_rules(tmp_path):
    said = curate.read_overrides(
        table(tmp_path, "1.2.3,keep,reader 1,2024-05-06,looked at it", "1.2.4,leave_out,reader 1,2024-05-06,motion")
    )
    bad = [Finding("clipped", "a"), Finding("localizer", "b")]
    assert curate.judge([*bad, *curate.overruled("1.2.3", said)], config.Curate())
    assert not curate.judge(curate.overruled("1.2.4", said), config.Curate())
    assert curate.overruled("1.2.5", said) == []
    assert said["1.2.4"] == curate.Override("leave_out", "reader 1", "2024-05-06", "motion")


def test_overrides_of_series_that_are_not_there_are_found(tmp_path):
    said = curate.read_overrides(table(tmp_path, "1.2.3,keep,r,2024-05-06,x"))
    assert [finding.name for finding in curate.unmatched(said, ["1.2.4"])] == ["override_without_series"]
    assert curate.unmatched(said, ["1.2.3"]) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("P001,keep,r,2024-05-06,x", "line 3: SeriesInstanceUID is no UID"),
        ("1.2.4,maybe,r,2024-05-06,x", "line 3: decision is neither"),
        ("1.2.4,keep,,2024-05-06,", "line 3: by and reason must not be empty"),
        ("1.2.4,keep,r,6.5.2024,x", "line 3: date is not"),
        ("1.2.3,leave_out,r,2024-05-06,x", "line 3: the series has a row above"),
        ("1.2.4", "line 3: decision is neither"),
    ],
)
def test_bad_rows_are_refused_with_their_lines(tmp_path, row, said):
    with pytest.raises(curate.OverrideError, match=said):
        curate.read_overrides(table(tmp_path, "1.2.3,keep,r,2024-05-06,x", row))


def test_tables_that_are_none_are_refused(tmp_path):
    with pytest.raises(curate.OverrideError, match="has no column reason"):
        curate.read_overrides(table(tmp_path, head="SeriesInstanceUID,decision,by,date\n"))
    with pytest.raises(curate.OverrideError, match="cannot be read"):
        curate.read_overrides(tmp_path / "absent.csv")
    (tmp_path / "b.csv").write_bytes(bytes(np.arange(128, 256, dtype=np.uint8)))
    with pytest.raises(curate.OverrideError, match="cannot be read"):
        curate.read_overrides(tmp_path / "b.csv")
