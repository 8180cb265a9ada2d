"""Headers that contradict each other are named; sound ones are not."""

from pathlib import Path

import pytest

from radkit import config
from radkit.dicom import contradictions, curate, scan

CLASS = "1.2.840.10008.5.1.4.1.1."
CT = {"Modality": "CT", "SOPClassUID": CLASS + "2", "KVP": "120"}
MR = {"Modality": "MR", "SOPClassUID": CLASS + "4", "EchoTime": "8.9", "MagneticFieldStrength": "3"}
CR = {"Modality": "CR", "SOPClassUID": CLASS + "1", "KVP": "80", "ViewPosition": "PA"}
PET = {"Modality": "PT", "SOPClassUID": CLASS + "128"}


def stack(said, count=4, **of_one):
    """Returns slices with the same header; the second with other values."""
    shared = {"ImageOrientationPatient": "1\\0\\0\\0\\1\\0", "SliceThickness": "2.5", **said}
    shared |= {"PhotometricInterpretation": "MONOCHROME2"}
    each = [{**shared, **(of_one if k == 1 else {})} for k in range(count)]
    places = [{"SOPInstanceUID": f"1.2.{k}", "ImagePositionPatient": f"0\\0\\{k}"} for k in range(count)]
    return [scan.Instance(Path("a.dcm"), {**place, **one}) for place, one in zip(places, each)]


def names(instances):
    return [finding.name for finding in contradictions.found(instances)]


@pytest.mark.parametrize("said", [CT, MR, CR, PET, {"Modality": "CT"}, {"Modality": "NM", "SOPClassUID": CLASS + "4"}])
def test_sound_headers_and_those_that_tell_little_raise_nothing(said):
    assert names(stack(said)) == []


@pytest.mark.parametrize("modality", ["DX", "RG", "PX", "MG"])
def test_radiographs_of_all_kinds_may_be_of_one_storage_class(modality):
    assert names(stack({**CR, "Modality": modality})) == []


@pytest.mark.parametrize("said", [CT, MR, CR, PET], ids=lambda said: said["Modality"])
@pytest.mark.parametrize("modality", ["CT", "MR", "CR", "PT"])
def test_a_modality_that_was_exchanged_is_named_by_the_storage_class(said, modality):
    expected = [] if said["Modality"] == modality else ["wrong_modality"]
    assert names(stack({**said, "Modality": modality})) == expected


@pytest.mark.parametrize(
    ("said", "modality"), [(MR, "CT"), (MR, "CR"), (MR, "PT"), (CT, "MR"), (CR, "MR")], ids=lambda x: str(x)[:16]
)
def test_a_modality_exchanged_with_its_class_is_named_by_how_the_image_was_taken(said, modality):
    assert names(stack({**said, "Modality": modality, "SOPClassUID": ""})) == ["wrong_modality"]


def test_a_radiograph_said_to_be_a_ct_is_named_by_its_view():
    instances = [scan.Instance(Path("a.dcm"), {"Modality": "CT", "ViewPosition": "PA", "SOPInstanceUID": "1.2"})]
    assert names(instances) == ["wrong_modality"]


@pytest.mark.parametrize(
    ("of_one", "name"),
    [
        ({"SliceThickness": "5"}, "mixed_settings"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "mixed_pixels"),
        ({"SliceThickness": "2.5001"}, None),
        ({"SliceThickness": ""}, None),
        ({"SliceThickness": "5", "ImageOrientationPatient": "0\\1\\0\\0\\0\\-1"}, None),
    ],
)
def test_slices_of_a_stack_share_their_thickness_and_photometry(of_one, name):
    assert names(stack(MR, **of_one)) == ([name] if name else [])


def test_the_rules_of_a_series_tell_of_them():
    found = curate.rules(stack({**MR, "Modality": "CT"}), config.Curate())
    assert [(one.name, one.severity) for one in found] == [("wrong_modality", "fault")]
