"""What is in a record: which volumes, whose values, on which grid, with which facts."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pydicom
import pytest

from radkit import config
from radkit.data import contents, convert, records, resample, sources
from radkit.dicom import annotations, read_volumes, write
from radkit.dicom.volumes import SeriesError, Volume
from radkit.errors import UserError
from tests import conftest, made_up
from tests.conftest import BLOBS, header
from tests.data import test_resample
from tests.data.test_convert import MASKED, PLACE, VOLUME, renamed, select, values


def replaced(**settings: object) -> config.Data:
    return dataclasses.replace(VOLUME, **settings)


def volume(stored: np.ndarray, slope: object = 1.0, intercept: object = 0.0, **more: object) -> Volume:
    made = test_resample.volume(stored, PLACE, slope, intercept)
    meta = dict.fromkeys(("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "Modality", "Manufacturer"), "x")
    meta |= dict.fromkeys(("BodyPartExamined", "ViewPosition", "PatientSex", "PatientAge", "KVP"), "")
    meta |= {"MagneticFieldStrength": ""}
    return dataclasses.replace(made, meta=meta, paths=(Path("a"),), **more)


def record(made: Volume, data: config.Data = VOLUME) -> dict:
    """Returns a volume's record as it is read back."""
    unit = convert.Unit("1.2", "P", ())
    encoded = records.encode(contents.record_of(unit, unit.uid, made, data).values, convert.fields_of(data))
    return records.decode(encoded, convert.fields_of(data))


def read(folder: Path, data: config.Data) -> list[dict]:
    """Returns the records of the one series in a folder."""
    (unit,) = select(folder, data)
    return [
        records.decode(records.encode(contents.record_of(unit, uid, one, data).values, fields), fields)
        for fields in [convert.fields_of(data)]
        for uid, one in contents.volumes_of(unit, data)
    ]


class TestVolumes:
    @pytest.fixture
    def echoes(self, tmp_path: Path) -> Path:
        """Returns a series of three echoes; the last has one slice fewer."""
        for echo in range(3):
            stored = np.full((4 - (echo == 2), 5, 6), 10 * echo, np.int16)
            said = header("MR", 0, 0, EchoTime=str(5.0 + 4 * echo))
            write.write_series(stored, PLACE, said, tmp_path / str(echo))
            for path in (tmp_path / str(echo)).iterdir():
                renamed(path, f"1.2.{echo + 1}.{int(path.stem)}")
        return tmp_path

    def test_several_are_refused_and_what_tells_them_apart_is_said(self, echoes: Path) -> None:
        with pytest.raises(SeriesError, match=r"holds 3 volumes \(apart by EchoTime and of 4 x 5 x 6, .*voxels\)"):
            read(echoes, VOLUME)

    def test_all_become_records_of_their_own(self, echoes: Path) -> None:
        found = read(echoes, replaced(volumes="all"))
        series = header("MR", 0, 0)["SeriesInstanceUID"]
        assert [r["record_uid"] for r in found] == [f"{series}/{n}" for n in (1, 2, 3)]
        assert {r["series_uid"] for r in found} == {series}
        assert [float(r["image"].max()) for r in found] == [0, 10, 20]

    def test_the_largest_must_be_larger_than_all_others(self, echoes: Path) -> None:
        with pytest.raises(SeriesError, match=r"one that is larger than all others was expected: data\.volumes='all'"):
            read(echoes, replaced(volumes="largest"))
        for path in (echoes / "0").iterdir():
            path.unlink()
        (found,) = read(echoes, replaced(volumes="largest"))
        assert found["image"].max() == 10
        assert "the largest of the series' 2 volumes" in found["findings"]
        assert found["record_uid"] == found["series_uid"]

    def test_one_is_one_whatever_is_asked(self, tmp_path: Path) -> None:
        conftest.write_volume(tmp_path, 0)
        one, largest, every = (read(tmp_path, replaced(volumes=v)) for v in ("one", "largest", "all"))
        for other in (largest, every):
            np.testing.assert_equal(other, one)

    def test_frames_of_a_radiograph_are_refused(self) -> None:
        data = config.Data(dataset="r", kind="radiograph", image_size=(8, 8))
        with pytest.raises(SeriesError, match="has 3 frames; a radiograph is one image"):
            record(volume(np.zeros((3, 4, 5), np.int16)), data)


class TestValues:
    @pytest.mark.parametrize(
        "colour", [(10, 10, 10), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (1, 2, 3)]
    )
    def test_grey_is_the_luminance(self, colour: tuple[int, int, int]) -> None:
        stored = np.full((2, 3, 4, 3), colour, np.uint8)
        found = record(volume(stored), replaced(colour="grey"))
        expected = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        assert np.abs(values(found) - expected).max() <= 0.5 + 1e-9
        assert "grey" in found["findings"]

    def test_colour_is_refused(self) -> None:
        with pytest.raises(SeriesError, match=r"data\.colour='grey' keeps their luminance"):
            record(volume(np.zeros((2, 3, 4, 3), np.uint8)))

    @pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int32, np.uint32])
    @pytest.mark.parametrize(("low", "high"), [(0, 5), (0, 32767), (20000, 32767 + 20000), (100, 65535)])
    def test_whole_values_that_int16_can_tell_apart_lose_nothing(self, dtype: type, low: int, high: int) -> None:
        stored = np.linspace(low, high, 60).reshape(3, 4, 5)
        stored = np.clip(stored, None, np.iinfo(dtype).max).astype(dtype)
        found = record(volume(stored, 0.5, -100.0))
        np.testing.assert_array_equal(values(found), stored * 0.5 - 100.0)

    @pytest.mark.parametrize("offset", [-(2**20), 0, 2**20])
    def test_slices_far_apart_have_each_their_own_intercept(self, offset: int) -> None:
        stored = np.arange(60, dtype=np.int32).reshape(3, 4, 5) + np.array([0, 10**6, -(10**6)])[:, None, None] + offset
        found = record(volume(stored.astype(np.int32), [1.0, 2.0, 0.5], 8.0))
        np.testing.assert_array_equal(values(found), stored * np.array([1.0, 2.0, 0.5])[:, None, None] + 8)
        assert len(set(found["rescale_intercept"].tolist())) == 3

    @pytest.mark.parametrize(
        "stored",
        [
            np.array([0, 65536], np.int32),
            np.array([2**32 - 1, 2**32 - 70000], np.uint32),
            np.array([2**31 - 1, 2**31 - 2], np.int32),  # float32 cannot hold the intercept
            np.array([0.5, 1.0], np.float32),
            np.array([0.0, 1e12], np.float32),
        ],
    )
    def test_values_that_int16_would_lose_are_refused_with_their_range(self, stored: np.ndarray) -> None:
        made = volume(stored.reshape(1, 1, 2))
        with pytest.raises(SeriesError) as caught:
            record(made)
        assert f"{stored.dtype} from {stored.min():.6g} to {stored.max():.6g}" in str(caught.value)
        found = record(made, replaced(image_dtype="float32"))
        np.testing.assert_array_equal(found["image"].ravel(), stored.astype(np.float32))
        assert found["image"].dtype == np.float32

    def test_whole_numbers_in_float32_are_whole_numbers(self) -> None:
        stored = np.arange(6, dtype=np.float32).reshape(1, 2, 3) - 3
        np.testing.assert_array_equal(values(record(volume(stored))), stored)

    def test_modality_values_hold_each_slices_rescale(self) -> None:
        made = volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), [0.5, 1.0, 2.0], [0.0, -5.0, 7.0])
        found = record(made, replaced(image_dtype="float32"))
        np.testing.assert_array_equal(found["image"][..., 0], made.array)
        assert (found["rescale_slope"] == 1).all()
        assert (found["rescale_intercept"] == 0).all()


class TestGrid:
    SETTINGS = (
        {"record_orientation": "RAS"},
        {"record_spacing_mm": (1.0, 0.8, 0.8)},
        {"record_size": (12, 10, 0)},
        {"record_orientation": "SPL", "record_spacing_mm": (0.0, 1.3, 1.3), "record_size": (16, 16, 16)},
    )

    @pytest.mark.parametrize("settings", SETTINGS)
    def test_image_mask_and_affine_move_together(self, tmp_path: Path, settings: dict) -> None:
        conftest.write_volume(tmp_path, 3)
        data = dataclasses.replace(MASKED, **settings)
        (found,) = read(tmp_path, data)
        (before,) = read(tmp_path, MASKED)
        (unit,) = select(tmp_path, MASKED)
        one = read_volumes(unit.paths)[0]
        grid = contents._grid(one, data)
        affine = np.eye(4)
        affine[:3, :3] = found["direction"] * found["spacing_mm"][::-1]
        affine[:3, 3] = found["origin_mm"]
        np.testing.assert_allclose(affine, grid.affine, atol=1e-6)
        assert found["image"].shape == found["mask"].shape == (*grid.shape, 1)
        low = float(before["image"].min())
        expected = test_resample.oracle(before["image"][..., 0], one.affine, grid, low)
        assert np.abs(found["image"][..., 0] - expected).max() <= 0.5 + 1e-6
        mask = test_resample.oracle(before["mask"][..., 0], one.affine, grid, 0, nearest=True)
        assert (found["mask"][..., 0] != mask).mean() < 0.02  # what is as near to two voxels
        assert set(np.unique(found["mask"])) <= {0, 1, 2}

    def test_a_sheared_volume_and_its_mask_are_set_upright(self, tmp_path: Path) -> None:
        stored, mask = conftest.blob((9, 14, 11), 1)
        affine = np.diag([1.5, 1.0, 2.0, 1.0])
        affine[1, 2] = 0.7
        write.write_series(stored, affine, header("CT", 0, 0), tmp_path)
        one = read_volumes(sorted(tmp_path.iterdir()))[0]
        annotations.write_seg(mask, one, BLOBS, tmp_path / "seg.dcm")
        (kept,) = read(tmp_path, MASKED)
        np.testing.assert_array_equal(kept["mask"][..., 0], mask)
        assert "tilt" in kept["findings"]
        (found,) = read(tmp_path, dataclasses.replace(MASKED, tilt="resample"))
        np.testing.assert_allclose(found["direction"], np.eye(3), atol=1e-9)
        grid = resample.upright(resample.grid_of(one))
        expected = test_resample.oracle(stored, affine, grid, float(stored.min()))
        assert np.abs(found["image"][..., 0] - expected).max() <= 0.5 + 1e-6
        assert found["mask"].shape == found["image"].shape
        assert abs(int((found["mask"] > 0).sum()) - int((mask > 0).sum())) < 0.1 * (mask > 0).sum()

    def test_irregular_slices_are_treated_as_asked(self, tmp_path: Path) -> None:
        stored = (np.arange(10, dtype=np.int16) * 100)[:, None, None] + np.zeros((10, 4, 4), np.int16)
        write.write_series(stored, PLACE, header("CT", 0, 0), tmp_path)
        (tmp_path / "0005.dcm").unlink()
        with pytest.raises(SeriesError, match="missing"):
            read(tmp_path, VOLUME)
        (found,) = read(tmp_path, replaced(irregular="resample"))
        assert found["image"].dtype == np.int16
        assert len(found["image"]) == 10
        np.testing.assert_allclose(values(found)[:, 0, 0], np.arange(10) * 100 - 1024, atol=900 / 65000)
        (kept,) = read(tmp_path, replaced(irregular="keep"))
        assert len(kept["image"]) == 9
        assert kept["findings"]

    def test_an_orientation_needs_a_place(self) -> None:
        made = volume(np.zeros((1, 4, 5), np.int16), spacing_mm=(math.nan, 1.0, 1.0))
        with pytest.raises(SeriesError, match="do not tell their place"):
            record(made, replaced(record_orientation="LPS"))

    def test_a_spacing_needs_one_that_is_known(self) -> None:
        made = volume(np.zeros((1, 4, 5), np.int16), spacing_mm=(math.nan, 1.0, 1.0))
        with pytest.raises(SeriesError, match=r"do not tell their spacing, and data\.record_spacing_mm asks"):
            record(made, replaced(record_spacing_mm=(1.0, 2.0, 2.0)))
        assert record(made, replaced(record_spacing_mm=(0.0, 2.0, 2.0)))["image"].shape[:3] == (1, 2, 4)
        radiograph = config.Data(dataset="r", kind="radiograph", image_size=(8, 8), record_spacing_mm=(2.0, 0.0))
        unknown = dataclasses.replace(made, spacing_mm=(math.nan, math.nan, math.nan))
        with pytest.raises(SeriesError, match="do not tell their spacing"):
            record(unknown, radiograph)

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({}, "the affine keeps it"),
            ({"record_size": (4, 10, 10)}, "the affine keeps it"),
            ({"tilt": "resample"}, "it was taken out"),
            ({"record_orientation": "LPS"}, "it was taken out"),
        ],
    )
    def test_of_a_tilt_it_is_told_whether_it_is_still_there(self, tmp_path: Path, settings: dict, said: str) -> None:
        place = made_up.affine((3.0, 0.7, 0.8), tilt=18.0)
        write.write_series(np.zeros((5, 12, 12), np.int16), place, header("CT", 0, 0), tmp_path)
        (found,) = read(tmp_path, replaced(**settings))
        assert f"degrees; {said}" in found["findings"]
        assert found["findings"].count("the affine keeps it") == (said == "the affine keeps it")

    def test_a_grid_too_large_for_a_record_is_refused_before_it_is_filled(self) -> None:
        with pytest.raises(UserError, match=r"the record has .* GiB"):
            record(volume(np.zeros((3, 4, 5), np.int16)), replaced(record_spacing_mm=(1e-3, 1e-3, 1e-3)))


class TestFacts:
    def test_facts_of_the_acquisition_are_kept(self, tmp_path: Path) -> None:
        said = header(
            "CT", 0, 0, KVP="120", PatientAge="031Y", PatientSex="F", SliceThickness="2.5", ConvolutionKernel="B30f",
            Laterality="L", Manufacturer="made up",
        )  # fmt: skip
        write.write_series(np.zeros((3, 4, 5), np.int16), PLACE, said, tmp_path)
        for path in tmp_path.iterdir():
            dataset = pydicom.dcmread(path)
            dataset.SliceThickness = "2.5"
            dataset.save_as(path)
        (found,) = read(tmp_path, VOLUME)
        numbers = {"age_years": 31.0, "tube_voltage_kv": 120.0, "slice_thickness_mm": 2.5}
        assert {name: float(found[name]) for name in numbers} == numbers
        assert np.isnan(found["field_strength_t"])
        assert (found["kernel"], found["laterality"], found["sex"]) == ("B30f", "L", "F")

    @pytest.mark.parametrize(
        ("text", "years"),
        [("045Y", 45.0), ("018M", 1.5), ("7Y", 7.0), ("052W", 52 * 7 / 365.25), ("010D", 10 / 365.25)],
    )
    def test_ages_are_in_years(self, text: str, years: float) -> None:
        assert contents.age_years(text) == pytest.approx(years)

    @pytest.mark.parametrize("text", ["", "Y", "45", "-45Y", "045y", "0450Y", "045Y "])
    def test_what_is_no_age_is_unknown(self, text: str) -> None:
        assert math.isnan(contents.age_years(text))


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"record_spacing_mm": (1.0, 1.0)}, "record_spacing_mm must be empty or 3 values >= 0"),
            ({"record_spacing_mm": (1.0, 1.0, -1.0)}, "record_spacing_mm must be empty or 3 values >= 0"),
            ({"record_size": (1, 2, 3, 4)}, "record_size must be empty or 3 values >= 0"),
            ({"record_orientation": "LPL"}, "record_orientation must be empty"),
            ({"record_orientation": "lps"}, "record_orientation must be empty"),
            ({"record_orientation": "LPSI"}, "record_orientation must be empty"),
            ({"kind": "radiograph", "image_size": (8, 8), "record_orientation": "LPS"}, "empty for a radiograph"),
            ({"record_spacing_mm": (0.0, 1.0, 0.001)}, "record_spacing_mm must be 0 (as acquired) or 0.01 to 1000 mm"),
            ({"record_spacing_mm": (0.0, 1.0, 1001.0)}, "record_spacing_mm must be 0 (as acquired) or 0.01 to 1000"),
            ({"kind": "radiograph", "image_size": (8, 8), "record_size": (1, 2, 3)}, "2 values >= 0 for a radiograph"),
            ({"volumes": "some"}, "data.volumes must be one of 'one', 'largest', 'all', not 'some'"),
        ],
    )
    def test_settings_that_mean_nothing_are_refused(self, settings: dict, message: str) -> None:
        experiment = config.Experiment(config.Data(dataset="x"), config.Model("unet"), config.Task("segmentation"))
        plain = config.to_json(experiment)
        plain["data"].update(settings)
        with pytest.raises(UserError) as caught:
            config.from_json(plain)
        assert message in str(caught.value)

    def test_a_radiograph_has_two_sizes_and_spacings(self) -> None:
        data = config.Data(
            dataset="r", kind="radiograph", image_size=(8, 8), record_spacing_mm=(2.0, 3.0), record_size=(4, 0)
        )
        stored = np.arange(20, dtype=np.int16).reshape(1, 4, 5) * 50
        found = record(volume(stored), data)
        assert found["image"].shape[0] == 4
        np.testing.assert_allclose(found["spacing_mm"], [2.0, 3.0])


@pytest.mark.parametrize("tilt", [0.0, 18.0])
@pytest.mark.parametrize("spacing", [(), (5.0, 1.0, 1.0)])
def test_every_voxels_place_is_told_by_origin_direction_and_spacing(tmp_path, tilt, spacing):
    place = made_up.affine((3.0, 0.7, 0.8), tilt=tilt, angles=(10, 20, 30))
    made_up.ct_series(tmp_path, place=place, slices=9)
    (found,) = read(tmp_path, replaced(modalities=("CT",), record_spacing_mm=spacing))
    steps = found["direction"] * found["spacing_mm"][::-1].astype(float)
    wanted = place[:3, :3].copy()
    if spacing:  # the same axes, with other steps along them
        wanted *= np.array(spacing[::-1]) / (0.8, 0.7, 3.0)
    np.testing.assert_allclose(steps, wanted, atol=1e-5)
    if not spacing:
        last = found["origin_mm"] + steps @ (0, 0, 8)
        np.testing.assert_allclose(last, place[:3, 3] + 8 * place[:3, 2], atol=1e-4)


@pytest.mark.parametrize("label", [-1, 2, 2.5, (1, 0, -1), (30.5, 1)])
def test_a_unit_travels_as_json(label: object, tmp_path: Path) -> None:
    drawn = (sources.Source(tmp_path / "m.nii", "image", reader="A", names=((1, "liver"),)),)
    unit = contents.Unit(
        "1.2", "P", (tmp_path / "a", tmp_path / "b" / "c"), drawn, label, ("A", "", "histology"),
        study_date="20260102", site="S", num_bytes=7, facts=(("KVP", "80"),), report='Größe\n"5"',
    )  # fmt: skip
    said = json.loads(json.dumps(contents.to_json(unit, tmp_path)))
    assert said["paths"] == ["a", "b/c"]
    assert contents.from_json(said, tmp_path) == unit
