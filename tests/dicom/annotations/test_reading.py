"""The one door: what may be given to it, and what is said of what may not."""

import shutil
import struct

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from radkit.dicom import AnnotationError, foreign, read_annotation, read_volumes, write_seg
from tests import made_up


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("ct")
    made_up.ct_series(made / "image", place=made_up.affine((1, 1, 1), origin=(0, 0, 0)))
    volume = read_volumes(made / "image")[0]
    mask = np.zeros(volume.stored.shape, np.uint8)
    mask[1:3, 2:4, 2:5], mask[3, 3, 3] = 1, 2
    write_seg(mask, volume, ["Liver", "Tumour"], made / "seg.dcm")
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(made / "mask.nii"))
    return made


@pytest.fixture(scope="module")
def volume(folder):
    return read_volumes(folder / "image")[0]


@pytest.mark.parametrize("labels", ["Liver", ["Liver"], ("Liver",), "liver"])
def test_labels_are_one_name_or_several(folder, volume, labels):
    assert read_annotation(str(folder / "seg.dcm"), volume, labels).regions[0].inside.sum() == 12


@pytest.mark.parametrize("labels", [[None], [1], ["Liver", 2]])
def test_labels_that_are_no_names_are_refused(folder, volume, labels):
    with pytest.raises(AnnotationError, match="labels are not all names"):
        read_annotation(folder / "seg.dcm", volume, labels)


@pytest.mark.parametrize("names", [{"1": "Liver"}, {1: 1}, ["Liver"]])
def test_names_that_are_of_no_values_are_refused(folder, volume, names):
    with pytest.raises(AnnotationError, match="names are no table"):
        read_annotation(folder / "mask.nii", volume, names=names)


def test_one_file_of_a_kind_is_read_at_a_time(folder, volume):
    for name in ("seg.dcm", "mask.nii"):
        with pytest.raises(AnnotationError, match="one by one"):
            read_annotation([folder / name, folder / name], volume)


def test_a_damaged_image_given_as_a_mask_is_refused(folder, volume, tmp_path):
    shutil.copy(volume.paths[0], tmp_path / "a.dcm")
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    dataset.SOPClassUID = [str(dataset.SOPClassUID)] * 2
    del dataset.PixelData
    dataset.save_as(tmp_path / "a.dcm")
    with pytest.raises(AnnotationError, match="the mask cannot be read"):
        read_annotation(tmp_path / "a.dcm", volume)


def test_a_mask_whose_file_says_no_place_is_told_of(folder, volume, tmp_path):
    data = bytearray((folder / "mask.nii").read_bytes())
    struct.pack_into("<2h", data, 252, 0, 0)
    (tmp_path / "a.nii").write_bytes(data)
    assert not read_annotation(folder / "mask.nii", volume).findings
    found = read_annotation(tmp_path / "a.nii", volume)
    assert [finding.name for finding in found.findings] == ["mask_without_place"]
    image = foreign.read(tmp_path / "a.nii")  # and where the image says none either, they lie on each other
    assert not read_annotation(tmp_path / "a.nii", image).findings
