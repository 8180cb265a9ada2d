"""Images that are no DICOM: values and places as the file has them, and what decoders pass over silently."""

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radkit.dicom import foreign
from radkit.dicom.volumes import META, SeriesError
from tests import made_up

QUICK = settings(max_examples=25, suppress_health_check=list(HealthCheck), deadline=None)
SHAPE = (4, 5, 6)
STACKS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


def saved(path, array, affine=None, **how):
    made = sitk.GetImageFromArray(array, **how)
    if affine is not None:
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        made.SetSpacing(steps.tolist())
        made.SetDirection((affine[:3, :3] / steps).ravel().tolist())
        made.SetOrigin(affine[:3, 3].tolist())
    sitk.WriteImage(made, str(path))
    return path


def changed(path, *parts):
    """Writes numbers into a file's bytes: pairs of place and packed bytes."""
    content = bytearray(path.read_bytes())
    for place, data in parts:
        content[place : place + len(data)] = data
    path.write_bytes(content)
    return path


@QUICK
@given(
    st.sampled_from(STACKS),
    st.sampled_from((np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32, np.float64)),
    st.booleans(),
    st.lists(st.floats(-90, 90), min_size=3, max_size=3),
    st.integers(0, 99),
)
def test_values_and_places_are_the_files(tmp_path, suffix, kind, mirrored, angles, seed):
    array = made_up.stored_values(SHAPE, np.int16, seed).astype(kind)
    affine = made_up.affine(angles=angles) @ np.diag([1, 1, -1 if mirrored else 1, 1])
    volume = foreign.read(saved(tmp_path / f"a{suffix}", array, affine))
    order = list(volume.frame_numbers)
    np.testing.assert_array_equal(volume.stored, array[order])
    assert volume.stored.dtype in (np.int16, np.uint16, np.int32, np.uint32, np.float32)
    assert np.linalg.det(volume.affine[:3, :3]) > 0
    for place in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
        there = volume.affine @ [*place[::-1], 1]
        np.testing.assert_allclose(there, affine @ [place[2], place[1], order[place[0]], 1], atol=1e-3)
    np.testing.assert_allclose(volume.spacing_mm, (2.5, 0.7, 0.8), rtol=1e-5)
    assert set(volume.meta) == set(META)
    assert not volume.findings


def test_what_is_known_of_an_image_is_kept(tmp_path):
    volume = foreign.read(saved(tmp_path / "a.nii", np.zeros(SHAPE, np.int16)), {"Modality": "MR", "PatientID": "P1"})
    assert (volume.meta["Modality"], volume.meta["PatientID"], volume.meta["KVP"]) == ("MR", "P1", "")
    assert volume.paths == (tmp_path / "a.nii",) * 4


def test_a_niftis_slope_is_applied_and_nan_is_none(tmp_path):
    array = made_up.stored_values(SHAPE)
    path = saved(tmp_path / "a.nii", array)
    assert foreign.read(changed(path, (112, struct.pack("<ff", np.nan, np.nan)))).stored.dtype == np.int16
    np.testing.assert_array_equal(foreign.read(changed(path, (112, struct.pack("<ff", 2, 5)))).array, array * 2.0 + 5)


@pytest.mark.parametrize("suffix", STACKS[:4])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.97])
def test_a_file_that_is_cut_short_is_refused(tmp_path, suffix, keep):
    path = saved(tmp_path / f"a{suffix}", made_up.stored_values((8, 64, 64)))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(SeriesError, match=r"cut short|cannot be read"):
        foreign.read(path)


def test_a_compressed_nifti_that_was_changed_is_refused(tmp_path):
    path = saved(tmp_path / "a.nii.gz", made_up.stored_values((8, 64, 64)))
    middle = path.stat().st_size // 2
    changed(path, (middle, bytes([path.read_bytes()[middle] ^ 255])))
    with pytest.raises(SeriesError, match="cut short or damaged"):
        foreign.read(path)


def test_a_compressed_nifti_beside_its_namesake_is_not_mistaken_for_it(tmp_path):
    plain, packed = made_up.stored_values(SHAPE, seed=1), made_up.stored_values(SHAPE, seed=2)
    saved(tmp_path / "b.nii.gz", packed)
    (tmp_path / "b.nii.gz").rename(tmp_path / "a.nii.gz")
    saved(tmp_path / "a.nii", plain)
    np.testing.assert_array_equal(foreign.read(tmp_path / "a.nii.gz").stored, packed)
    np.testing.assert_array_equal(foreign.read(tmp_path / "a.nii").stored, plain)


def test_two_places_in_a_nifti_are_told_and_no_place_too(tmp_path):
    path = saved(tmp_path / "a.nii", made_up.stored_values(SHAPE), made_up.affine())
    changed(path, (280, struct.pack("<f", -0.8)), (292, struct.pack("<f", 99)))
    assert "the file says two places" in foreign.read(path).findings[0]
    changed(path, (252, struct.pack("<hh", 0, 0)))
    assert "no place in the patient" in foreign.read(path).findings[0]


def test_rows_and_columns_that_are_not_at_right_angles_are_refused(tmp_path):
    path = saved(tmp_path / "a.nii", made_up.stored_values(SHAPE), made_up.affine())
    changed(path, (252, struct.pack("<h", 0)), (280, struct.pack("<4f", -0.8, 0.3, 0, 5)))
    with pytest.raises(SeriesError, match="not at right angles"):
        foreign.read(path)


def test_a_stack_that_a_tilted_gantry_sheared_lies_where_its_matrix_says(tmp_path):
    stored, place = made_up.stored_values(SHAPE), made_up.affine(tilt=18, angles=(3, 5, 8))
    path = saved(tmp_path / "a.nii", stored, made_up.affine())
    rows = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ place)[:3].ravel()
    changed(path, (252, struct.pack("<hh", 0, 1)), (280, struct.pack("<12f", *rows)))
    found = foreign.read(path)
    np.testing.assert_array_equal(found.stored, stored)
    np.testing.assert_allclose(found.affine, place, atol=1e-4)
    np.testing.assert_allclose(found.spacing_mm, (2.5, 0.7, 0.8), atol=1e-5)
    assert not found.findings
    changed(path, (112, struct.pack("<2f", 0.5, 3)), (123, b"\1"))  # in metres
    scaled = foreign.read(path)
    np.testing.assert_array_equal(scaled.array, stored * 0.5 + 3)
    np.testing.assert_allclose(scaled.affine[:3], place[:3] * 1000, rtol=1e-4, atol=0.1)


@pytest.mark.parametrize(("order", "suffix"), [("<", ".nii"), (">", ".nii"), ("<", ".nii.gz")])
def test_a_nifti_2_is_read(tmp_path, order, suffix):
    stored, place = made_up.stored_values(SHAPE), made_up.affine(angles=(10, 20, 30))
    header = bytearray(544)
    struct.pack_into(f"{order}i", header, 0, 540)
    struct.pack_into(f"{order}2h8q", header, 12, 4, 16, 3, *SHAPE[::-1], 1, 1, 1, 1)
    struct.pack_into(f"{order}8d", header, 104, 1, 0.8, 0.7, 2.5, 0, 0, 0, 0)
    struct.pack_into(f"{order}q", header, 168, 544)
    struct.pack_into(f"{order}2i", header, 344, 0, 1)
    struct.pack_into(f"{order}12d", header, 400, *(np.diag([-1.0, -1.0, 1.0, 1.0]) @ place)[:3].ravel())
    data = bytes(header) + stored.astype(f"{order}i2").tobytes()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    found = foreign.read(path)
    np.testing.assert_array_equal(found.stored, stored)
    np.testing.assert_allclose(found.affine, place, atol=1e-9)
    struct.pack_into(f"{order}i", header, 348, 0)
    path.write_bytes(bytes(header) + data[544:])
    with pytest.raises(SeriesError, match="no place in the patient"):
        foreign.read(path)


def test_one_volume_a_file_is_expected(tmp_path):
    array = made_up.stored_values((2, *SHAPE))
    with pytest.raises(SeriesError, match="4 axes of 6 x 5 x 4 x 2"):
        foreign.read(saved(tmp_path / "a.nii.gz", array, isVector=False))
    path = saved(tmp_path / "b.nii.gz", array[:1], isVector=False)
    np.testing.assert_array_equal(foreign.read(path).stored, array[0])
    flat = foreign.read(saved(tmp_path / "c.nii", array[0, 0]))
    np.testing.assert_array_equal(flat.stored[0], array[0, 0])
    assert np.isnan(flat.spacing_mm[0])
    assert flat.spacing_mm[1:] == (1, 1)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones(SHAPE, np.complex64), "2 numbers|complex"),
        (np.full(SHAPE, 2**40), "64 bits"),
        (np.full(SHAPE, 1e300), "beyond what 32 bits can"),
        (np.full(SHAPE, np.nan), "no number at all"),
    ],
)
def test_values_that_cannot_be_held_are_refused(tmp_path, array, said):
    with pytest.raises(SeriesError, match=said):
        foreign.read(saved(tmp_path / "a.mha", array))


def test_voxels_that_are_no_number_become_the_lowest_and_are_told(tmp_path):
    array = np.arange(120, dtype=np.float32).reshape(SHAPE) - 50
    array[1, 1, 1], array[0, 0, 0] = np.nan, np.inf
    volume = foreign.read(saved(tmp_path / "a.nrrd", array))
    assert volume.stored[1, 1, 1] == volume.stored[0, 0, 0] == -49
    assert volume.findings == ("2 voxels are no finite number; they were given the lowest value, -49",)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_grey_pictures_are_one_slice_without_a_place(tmp_path, suffix, kind):
    if suffix == ".bmp" and kind is np.uint16:
        pytest.skip("BMP holds 8 bits")
    array = np.random.default_rng(0).integers(0, np.iinfo(kind).max, (5, 7)).astype(kind)
    volume = foreign.read(saved(tmp_path / f"a{suffix}", array), {"PixelSpacing": "0.2\\0.3"})
    np.testing.assert_array_equal(volume.stored[0], array)
    assert volume.stored.dtype == np.uint16
    assert volume.spacing_mm[1:] == (0.2, 0.3)
    np.testing.assert_array_equal(volume.affine, np.diag([0.3, 0.2, 1, 1]))
    assert np.isnan(foreign.read(tmp_path / f"a{suffix}").spacing_mm).all()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_colour_is_kept_and_grey_in_colour_is_grey(tmp_path, suffix):
    colours = np.zeros((16, 16, 3), np.uint8)
    colours[..., 0] = 200
    volume = foreign.read(saved(tmp_path / f"a{suffix}", colours, isVector=True))
    assert volume.stored.dtype == np.uint8
    np.testing.assert_allclose(volume.stored[0].astype(int), colours, atol=3)
    grey = np.repeat(np.random.default_rng(0).integers(0, 255, (8, 9, 1)).astype(np.uint8), 3, axis=2)
    if suffix != ".jpg":
        volume = foreign.read(saved(tmp_path / f"b{suffix}", grey, isVector=True))
        np.testing.assert_array_equal(volume.stored[0], grey[..., 0])


def test_transparency_is_left_out_and_told(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (8, 9, 4)).astype(np.uint8)
    volume = foreign.read(saved(tmp_path / "a.png", colours, isVector=True))
    np.testing.assert_array_equal(volume.stored[0], colours[..., :3])
    assert volume.findings == ("transparency was left out",)
    colours[..., 3] = 255
    assert not foreign.read(saved(tmp_path / "a.png", colours, isVector=True)).findings


def tiff(array, photometric, orientation=1, order="<"):
    """Returns the bytes of an uncompressed TIFF of 8 bits, by hand."""
    tags = [(256, array.shape[1]), (257, array.shape[0]), (258, 8), (259, 1), (262, photometric), (273, 8),
            (274, orientation), (277, 1), (278, array.shape[0]), (279, array.size)]  # fmt: skip
    data = array.tobytes() + b"\0" * (array.size % 2)
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    start = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8 + len(data))
    return start + data + struct.pack(f"{order}H", len(tags)) + entries + b"\0\0\0\0"


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_whose_zero_is_white_is_turned_round(tmp_path, order):
    array = np.random.default_rng(0).integers(0, 255, (6, 8)).astype(np.uint8)
    (tmp_path / "a.tif").write_bytes(tiff(array, 0, 1, order))
    volume = foreign.read(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.stored[0], 255 - array)
    assert volume.findings == ("values were turned round, white is high",)
    (tmp_path / "a.tif").write_bytes(tiff(array, 1, 1, order))
    np.testing.assert_array_equal(foreign.read(tmp_path / "a.tif").stored[0], array)
    (tmp_path / "a.tif").write_bytes(tiff(array, 1, 6, order))
    with pytest.raises(SeriesError, match="Orientation is 6"):
        foreign.read(tmp_path / "a.tif")


def test_the_turn_that_a_photograph_asks_for_is_told(tmp_path):
    path = saved(tmp_path / "a.jpg", np.zeros((8, 8), np.uint8))
    exif = b"Exif\0\0" + b"MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 274, 3, 1, 8, 0, 0)
    content = path.read_bytes()
    path.write_bytes(content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:])
    assert "Orientation 8" in foreign.read(path).findings[0]


def test_several_pages_are_refused(tmp_path):
    with pytest.raises(SeriesError, match="3 pages"):
        foreign.read(saved(tmp_path / "a.tif", np.zeros((3, 8, 8), np.uint8)))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.png", "a.jpg", "a.tif", "a.dcm"])
def test_what_is_no_image_is_refused_without_its_name(tmp_path, name, capfd):
    for content in (b"", b"hello" * 500, gzip.compress(b"hello" * 500)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SeriesError) as caught:
            foreign.read(tmp_path / name)
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(SeriesError):
        foreign.read(tmp_path / f"none-{name}")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha", ".png", ".tif", ".jpg"])
def test_a_damaged_file_is_read_or_refused(tmp_path, suffix, capfd):
    flat = suffix in foreign.PICTURES
    content = saved(tmp_path / f"a{suffix}", made_up.stored_values((9, 9) if flat else SHAPE, np.uint16).astype(
        np.uint8 if flat else np.uint16)).read_bytes()  # fmt: skip
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(damaged), 600), rng.integers(1, 5)):
            damaged[place] = rng.integers(0, 256)
        (tmp_path / f"b{suffix}").write_bytes(damaged)
        try:
            assert foreign.read(tmp_path / f"b{suffix}").stored.size
        except SeriesError:
            continue
    assert capfd.readouterr() == ("", "")


def test_names_tell_what_is_foreign(tmp_path):
    assert all(foreign.is_foreign(tmp_path / name) for name in ("a.NII.GZ", "b.png", "c.nrrd", "d.JPEG"))
    assert not any(foreign.is_foreign(tmp_path / name) for name in ("a.dcm", "b", "c.gz", "IMG0001"))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_a_jpeg_that_is_cut_short_is_refused_as_its_decoder_would_not(tmp_path, share):
    values = np.random.default_rng(0).integers(0, 255, (64, 80)).astype(np.uint8)
    path = tmp_path / "a.jpg"
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    assert foreign.read(path).stored.shape == (1, 64, 80)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(SeriesError, match="cut short"):
        foreign.read(path)
