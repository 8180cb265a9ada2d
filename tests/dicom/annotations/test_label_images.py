"""Masks that are images, over DICOM images and radiographs: the same voxels in millimetres, or refused by name."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radkit import config
from radkit.dicom import foreign, read_volumes
from radkit.dicom.annotations import AnnotationError, as_mask, label_images
from tests import made_up

QUICK = settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
SHAPE = (5, 6, 7)
NAMES = {1: "Liver", 2: "Tumour"}


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct")
    made_up.ct_series(folder, slices=5, size=(6, 7), place=made_up.affine(angles=(10, 20, 30)))
    return read_volumes(folder)[0]


@pytest.fixture(scope="module")
def radiograph(tmp_path_factory):
    path = tmp_path_factory.mktemp("cr") / "a.dcm"
    made_up.radiograph(path)
    return read_volumes([path])[0]


def labels(seed=0, shape=SHAPE, highest=2):
    drawn = np.random.default_rng(seed).integers(0, highest + 1, shape).astype(np.uint8)
    drawn[-1, 0, 0] = highest
    return drawn


def saved(path, array, affine=None):
    made = sitk.GetImageFromArray(array)
    if affine is not None:
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        made.SetSpacing(steps.tolist())
        made.SetDirection((affine[:3, :3] / steps).ravel().tolist())
        made.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(made, str(path))
    return path


@QUICK
@given(
    st.sampled_from((".nii.gz", ".nii", ".nrrd", ".mha")),
    st.sampled_from((np.uint8, np.int16, np.int32, np.float32, np.float64)),
    st.sampled_from(("LPS", "RAS", "LAS", "SPR", "AIL")),
    st.integers(0, 99),
)
def test_a_mask_in_any_orientation_lies_where_it_was_drawn(tmp_path, volume, suffix, kind, letters, seed):
    drawn = labels(seed)
    path = saved(tmp_path / f"mask-{suffix[1:]}{suffix}", drawn.astype(kind), volume.affine)
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(path)), letters), str(path))
    found = label_images.read(path, volume, names=NAMES)
    np.testing.assert_array_equal(as_mask(found.regions, ("Liver", "Tumour"), SHAPE), drawn)
    assert not found.findings


def test_values_without_names_are_named_by_their_number(tmp_path, volume):
    path = saved(tmp_path / "a.nii.gz", labels() * 7, volume.affine)
    assert label_images.read(path, volume).labels == ("7", "14")
    with pytest.raises(AnnotationError, match="value 14 of the mask has no name"):
        label_images.read(path, volume, ["Liver"], names={7: "Liver"})
    without = config.Annotations(unknown_class="leave_out")
    found = label_images.read(path, volume, ["liver"], without, names={7: "Liver"})
    assert found.labels == ("liver",)  # as it is spelled where it is asked for
    assert [finding.name for finding in found.findings] == ["unknown_class"]
    with pytest.raises(AnnotationError, match="none of the labels Liver"):
        label_images.read(path, volume, ["Liver"])


def test_a_named_value_that_is_not_there_is_told_or_refused(tmp_path, volume):
    path = saved(tmp_path / "a.nii.gz", labels(highest=1), volume.affine)
    found = label_images.read(path, volume, names=NAMES)
    assert found.labels == ("Liver", "Tumour")
    assert [(f.name, f.text) for f in found.findings] == [("empty_segment", "value 2 of the mask has no voxel")]
    with pytest.raises(AnnotationError) as caught:
        label_images.read(path, volume, ["Tumour"], config.Annotations(empty="refuse"), NAMES)
    assert caught.value.finding == "empty_segment"


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_probabilities_are_inside_from_the_configs_share_on(tmp_path, volume, share):
    values = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    values[0, 0, :3] = (0, 1, np.nan)
    path = saved(tmp_path / "a.nii.gz", values, volume.affine)
    found = label_images.read(path, volume, wishes=config.Annotations(fraction=share), names={1: "Liver"})
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(as_mask(found.regions, ["Liver"], SHAPE), (values >= share) & (values > 0))


REFUSED = {
    "not whole": np.linspace(0, 3, 210).reshape(SHAPE),
    "-1 to 1": labels().astype(np.int16) - 1,
    "more than 1024 different values": np.arange(40 * 6 * 7).reshape(40, 6, 7).astype(np.int16),
    "in colour": np.random.default_rng(0).integers(0, 255, (*SHAPE, 3)).astype(np.uint8),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_mask_is_refused_by_name(tmp_path, volume, said):
    path = tmp_path / "a.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(REFUSED[said], isVector=REFUSED[said].ndim == 4), str(path))
    with pytest.raises(AnnotationError, match=said):
        label_images.read(path, volume)


def test_a_damaged_file_is_refused(tmp_path, volume):
    path = saved(tmp_path / "a.nii", labels(), volume.affine)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(AnnotationError, match=r"the mask cannot be read: .* cut short"):
        label_images.read(path, volume)


def test_another_grid_is_resampled_or_refused_and_elsewhere_is_refused(tmp_path, volume):
    affine = volume.affine @ np.diag([0.5, 0.5, 1, 1])
    path = saved(tmp_path / "a.nii.gz", np.ones((5, 11, 13), np.uint8), affine)
    assert [f.name for f in label_images.read(path, volume).findings] == ["other_grid"]
    with pytest.raises(AnnotationError) as caught:
        label_images.read(path, volume, wishes=config.Annotations(other_grid="refuse"))
    assert caught.value.finding == "other_grid"
    affine[:3, 3] += 500
    with pytest.raises(AnnotationError) as caught:
        label_images.read(saved(path, labels(), affine), volume)
    assert caught.value.finding == "outside_image"


@pytest.mark.parametrize(("high", "kind"), [(1, np.uint8), (255, np.uint8), (65535, np.uint16)])
def test_a_radiographs_white_is_one(tmp_path, radiograph, high, kind):
    drawn = labels(shape=(1, 8, 9), highest=1)
    path = saved(tmp_path / "a.png", (drawn[0].astype(kind) * kind(high)).astype(kind))
    found = label_images.read(path, radiograph, names={1: "Lung"})
    np.testing.assert_array_equal(as_mask(found.regions, ["Lung"], (1, 8, 9)), drawn)
    assert not found.findings
    if high == 255:
        assert "Bone" in label_images.read(path, radiograph, names={255: "Bone"}).labels


def test_a_lossy_picture_of_a_mask_is_cut_in_the_middle(tmp_path, radiograph):
    drawn = np.zeros((1, 8, 9), np.uint8)
    drawn[0, :4] = 255
    found = label_images.read(saved(tmp_path / "a.jpg", drawn[0]), radiograph)
    np.testing.assert_array_equal(as_mask(found.regions, ["1"], (1, 8, 9)), drawn > 0)


@pytest.mark.parametrize("factor", [2, 3])
def test_a_mask_of_a_radiograph_at_another_size_is_scaled(tmp_path, radiograph, factor):
    drawn = labels(shape=(1, 8, 9))
    large = saved(tmp_path / "a.png", drawn[0].repeat(factor, 0).repeat(factor, 1))
    found = label_images.read(large, radiograph, names=NAMES)
    np.testing.assert_array_equal(as_mask(found.regions, ("Liver", "Tumour"), (1, 8, 9)), drawn)
    assert [f.name for f in found.findings] == ["other_grid"]
    with pytest.raises(AnnotationError) as caught:
        label_images.read(large, radiograph, wishes=config.Annotations(other_grid="refuse"))
    assert caught.value.finding == "other_grid"
    with pytest.raises(AnnotationError, match="no place in millimetres"):
        label_images.read(saved(tmp_path / "b.png", drawn[0, :, :6]), radiograph)


def test_a_mask_lies_on_the_same_voxels_of_an_image_that_is_no_dicom(tmp_path):
    affine = made_up.affine(angles=(0, 0, 180)) @ np.diag([1, 1, -1, 1])
    path = saved(tmp_path / "a.nii.gz", made_up.stored_values(SHAPE), affine)
    drawn = labels()
    found = label_images.read(saved(tmp_path / "m.nii.gz", drawn, affine), foreign.read(path), names=NAMES)
    np.testing.assert_array_equal(as_mask(found.regions, ("Liver", "Tumour"), SHAPE), drawn[::-1])


def test_a_dicom_series_can_be_a_mask(tmp_path, volume):
    drawn = labels()
    place = made_up.affine(angles=(10, 20, 30))
    made_up.ct_series(
        tmp_path / "m",
        stored=drawn.astype(np.uint16),
        place=place,
        series=5,
        RescaleIntercept="0",
        ContentDate="20200102",
    )
    found = label_images.read(sorted((tmp_path / "m").iterdir()), volume, names=NAMES)
    np.testing.assert_array_equal(as_mask(found.regions, ("Liver", "Tumour"), SHAPE), drawn)
    assert found.date == "2020-01-02"
    made_up.ct_series(tmp_path / "o", stored=drawn.astype(np.uint16), FrameOfReferenceUID="1.2.3", RescaleIntercept="0")
    with pytest.raises(AnnotationError) as caught:
        label_images.read(sorted((tmp_path / "o").iterdir()), volume)
    assert caught.value.finding == "other_frame_of_reference"


def test_a_mask_file_that_says_two_places_is_told(tmp_path, volume):
    path = saved(tmp_path / "a.nii", labels(), volume.affine)
    content = bytearray(path.read_bytes())
    # The matrix is taken, also at no right angles, where other programs take the quaternion.
    content[280:284] = struct.pack("<f", struct.unpack("<f", content[280:284])[0] + 0.5)
    path.write_bytes(content)
    found = label_images.read(path, volume, names=NAMES)
    assert "two_places" in [f.name for f in found.findings]


def test_a_mask_of_a_stack_that_a_tilted_gantry_sheared_lies_on_it(tmp_path):
    made_up.ct_series(tmp_path / "ct", slices=5, size=(6, 7), place=made_up.affine(tilt=18, angles=(3, 5, 8)))
    (tilted,) = read_volumes(tmp_path / "ct")
    path = saved(tmp_path / "a.nii", labels(), made_up.affine())
    content = bytearray(path.read_bytes())
    struct.pack_into("<2h", content, 252, 0, 1)
    struct.pack_into("<12f", content, 280, *(np.diag([-1.0, -1.0, 1.0, 1.0]) @ tilted.affine)[:3].ravel())
    path.write_bytes(content)
    found = label_images.read(path, tilted, names=NAMES)
    assert not found.findings
    np.testing.assert_array_equal(as_mask(found.regions, ("Liver", "Tumour"), SHAPE), labels())
