"""Series to records: what is chosen, where it goes, what is in it, what is set aside."""

import dataclasses
import errno
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest

from radkit import config
from radkit.data import contents, convert, labels, records, shards
from radkit.dicom import annotations, read_volumes, scan, write
from radkit.errors import UserError
from tests import conftest
from tests.conftest import BLOBS, header

VOLUME = config.Data(dataset="v", modalities=("MR", "CT"))
MASKED = dataclasses.replace(VOLUME, mask_labels=BLOBS)
LABELLED = config.Data(dataset="l", kind="radiograph", image_size=(8, 8), label="ill", class_names=("no", "yes"))
PLACE = np.diag([1.5, 1.0, 2.0, 1.0])


def instances(folder: Path) -> list[scan.Instance]:
    return [scan.read_instance(path) for path in scan.find(folder)]


def select(folder: Path, data: config.Data) -> list[convert.Unit]:
    return convert.select(instances(folder), data).units


def written(shard: convert.Shard, data: config.Data, folder: Path) -> tuple[dict, list[dict]]:
    outcome = convert.write(shard, data, folder)
    file = folder / shards.shard_name(data.dataset, shard.split, shard.index, shard.count)
    return outcome, [records.decode(r, convert.fields_of(data)) for r in shards.read_shard(file)]


def values(record: dict) -> np.ndarray:
    scale = [-1] + [1] * (record["image"].ndim - 1)
    slope, intercept = record["rescale_slope"].reshape(scale), record["rescale_intercept"].reshape(scale)
    return (record["image"].astype(np.float64) * slope + intercept)[..., 0]


def renamed(path: Path, uid: str, **changes: object) -> None:
    """Gives a file another SOPInstanceUID and other attributes."""
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)


class TestSelect:
    def test_other_modalities_are_left_out_and_counted(self, tmp_path: Path) -> None:
        conftest.write_volume(tmp_path, 0)
        conftest.write_radiograph(tmp_path, 1, 0, 0)
        selected = convert.select(instances(tmp_path), VOLUME)
        units = selected.units
        assert [u.patient_id for u in units] == ["P000"]
        assert selected.left_out == {
            "Modality CR is not in data.modalities": 1,
            "no image series (Modality SEG)": 1,
        }
        assert len(units[0].paths) == 9
        assert units[0].annotations == ()

    def test_a_mask_is_wanted_where_labels_are_named(self, tmp_path: Path) -> None:
        conftest.write_volume(tmp_path, 0)
        write.write_series(np.zeros((3, 4, 5), np.int16), PLACE, header("MR", 1, 0), tmp_path / "bare")
        selected = convert.select(instances(tmp_path), MASKED)
        assert [len(u.annotations) for u in selected.units] == [1]
        assert selected.left_out == {convert.NOT_ANNOTATED: 1}
        assert [finding.name for finding in selected.findings] == ["images_without_labels"]
        assert not select(tmp_path, dataclasses.replace(VOLUME, mask_labels=("liver",)))

    def test_what_is_no_image_is_counted_but_for_the_masks_that_are_used(self, tmp_path: Path) -> None:
        for patient in range(2):
            conftest.write_volume(tmp_path / str(patient), patient)
        for path in (tmp_path / "1").rglob("*.dcm"):  # the second's segmentation has nothing to be a mask of
            dataset = pydicom.dcmread(path)
            if dataset.Modality != "SEG":
                path.unlink()
        report = pydicom.Dataset()
        report.update({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.11", "SOPInstanceUID": "2.25.9", "PatientID": "P"})
        for number, modality in enumerate(("SR", "SR", "")):
            report.Modality, report.SeriesInstanceUID = modality, f"2.25.{number + 1}"
            report.SOPInstanceUID = f"2.25.9.{number}"
            report.file_meta = pydicom.dataset.FileMetaDataset()
            report.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
            report.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        selected = convert.select(instances(tmp_path), MASKED)
        assert [u.patient_id for u in selected.units] == ["P000"]
        assert [finding.name for finding in selected.findings] == ["labels_without_images"]
        assert selected.left_out == {
            "no image series (Modality SEG)": 1,
            "no image series (Modality SR)": 2,
            "no image series (Modality absent)": 1,
        }

    def test_a_radiograph_is_one_record_an_image(self, tmp_path: Path) -> None:
        said = header("CR", 0, 0)
        for number in range(3):
            frame = write.instance(np.zeros((4, 5), np.uint16), said, f"{said['SeriesInstanceUID']}.{number}")
            frame.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
        units = select(tmp_path, config.Data(dataset="r", kind="radiograph", image_size=(8, 8)))
        assert [len(u.paths) for u in units] == [1, 1, 1]
        assert len({u.uid for u in units}) == 3

    @pytest.mark.parametrize("kind", ["volume", "radiograph"])
    def test_copies_of_a_file_count_once(self, tmp_path: Path, kind: str) -> None:
        conftest.write_volume(tmp_path / "a", 0)
        conftest.write_radiograph(tmp_path / "a", 1, 0, 0)
        once = select(tmp_path, dataclasses.replace(MASKED, mask_labels=() if kind == "radiograph" else BLOBS))
        shutil.copytree(tmp_path / "a", tmp_path / "z")
        twice = select(tmp_path, dataclasses.replace(MASKED, mask_labels=() if kind == "radiograph" else BLOBS))
        assert [dataclasses.replace(u, paths=()) for u in once] == [dataclasses.replace(u, paths=()) for u in twice]
        assert [2 * len(u.paths) for u in once] == [len(u.paths) for u in twice]  # the reader compares and drops them
        for a, b in zip(once, twice, strict=True):
            ((_, alone),), ((_, copied),) = contents.volumes_of(a, MASKED), contents.volumes_of(b, MASKED)
            np.testing.assert_array_equal(alone.stored, copied.stored)

    def test_two_images_of_one_identifier_are_refused_not_dropped(self, tmp_path: Path) -> None:
        conftest.write_volume(tmp_path / "a", 0)
        shutil.copytree(tmp_path / "a", tmp_path / "z")
        path = sorted((tmp_path / "z").rglob("*.dcm"))[0]
        dataset = pydicom.dcmread(path)
        dataset.PixelData = bytes(len(dataset.PixelData))
        dataset.save_as(path)
        (unit,) = select(tmp_path, MASKED)
        with pytest.raises(UserError, match="same SOPInstanceUID"):
            contents.volumes_of(unit, MASKED)


class TestLabels:
    def select(self, folder: Path, text: str, **wishes: object) -> convert.Selected:
        (folder / "labels.csv").write_text(text)
        data = dataclasses.replace(LABELLED, annotations=config.Annotations(**wishes))
        return convert.select(instances(folder / "dicom"), data, labels.Labels(folder / "labels.csv", data))

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for patient in range(3):
            conftest.write_radiograph(tmp_path / "dicom", patient, 0, 0)
        return tmp_path

    def test_each_image_gets_its_label_and_where_it_comes_from(self, folder: Path) -> None:
        header_row = "PatientID,ill,reader,date,reference_standard\n"
        selected = self.select(folder, f"{header_row}P000,yes,A,2026-01-02,histology\nP001,no,,,\nP009,no,,,\n")
        assert {u.patient_id: u.label for u in selected.units} == {"P000": 1, "P001": 0}
        assert selected.units[0].label_about == ("A", "2026-01-02", "histology")
        assert selected.left_out == {convert.NOT_LABELLED: 1}
        told = {finding.name: finding.text for finding in selected.findings}
        assert set(told) == {"labels_without_images", "images_without_labels"}
        assert told["labels_without_images"] == "labels.csv: 1 of 3 PatientID values are no image's"

    def test_readers_who_are_tied_give_no_label_and_a_case_to_adjudicate(self, folder: Path) -> None:
        text = "PatientID,ill,reader\nP000,yes,A\nP000,no,B\nP001,no,A\nP002,yes,A\nP002,yes,B\nP002,no,C\n"
        selected = self.select(folder, text, several="majority")
        assert {u.patient_id: u.label for u in selected.units} == {"P001": 0, "P002": 1}
        assert selected.left_out == {convert.TIED: 1}
        assert [row["reason"] for row in selected.disagreements] == ["classes differ (A: yes; B: no)"]

    @pytest.mark.parametrize(
        ("wish", "said"), [({"missing": "refuse"}, "1 images have no label"), ({"without_image": "refuse"}, "1 of 3")]
    )
    def test_the_config_may_refuse_what_lacks_its_other_half(
        self, folder: Path, wish: dict[str, str], said: str
    ) -> None:
        with pytest.raises(UserError, match=said):
            self.select(folder, "PatientID,ill\nP000,yes\nP001,no\nP009,no\n", **wish)


class TestPlan:
    def units(self, count: int, num_bytes: int = 100_000) -> list[convert.Unit]:
        return [convert.Unit(f"1.2.{n}", f"P{n // 3}", (), num_bytes=num_bytes) for n in range(count)]

    def test_patients_stay_whole_and_nothing_is_lost(self) -> None:
        units = self.units(120)
        planned = convert.plan(units, VOLUME)
        assert sorted(u.uid for shard in planned for u in shard.units) == sorted(u.uid for u in units)
        splits_of: dict[str, set[str]] = {}
        for shard in planned:
            for unit in shard.units:
                splits_of.setdefault(unit.patient_id, set()).add(shard.split)
        assert all(len(found) == 1 for found in splits_of.values())

    def test_more_patients_move_none(self) -> None:
        def split_by_uid(units: list[convert.Unit]) -> dict[str, str]:
            return {u.uid: shard.split for shard in convert.plan(units, VOLUME) for u in shard.units}

        few, many = split_by_uid(self.units(60)), split_by_uid(self.units(200))
        assert all(many[uid] == split for uid, split in few.items())

    def test_the_order_of_the_input_changes_nothing(self) -> None:
        units = self.units(50)
        assert convert.plan(units, VOLUME) == convert.plan(units[::-1], VOLUME)

    def test_shards_are_cut_near_the_size_wanted(self) -> None:
        data = dataclasses.replace(VOLUME, shard_mib=1.0, splits=(1.0, 0.0, 0.0))
        train = [s for s in convert.plan(self.units(120), data) if s.split == "train"]
        sizes = [sum(u.num_bytes for u in s.units) for s in train]
        assert len(train) == 12
        assert max(sizes) <= 2**20 + 100_000
        assert min(sizes) > 2**19
        assert [s.index for s in train] == list(range(12))
        assert {s.count for s in train} == {12}

    def test_every_split_has_a_shard_even_when_empty(self) -> None:
        planned = convert.plan(self.units(1), VOLUME)
        assert {s.split for s in planned} == set(shards.SPLITS)
        assert sum(len(s.units) for s in planned) == 1
        assert convert.plan(self.units(2, num_bytes=0), VOLUME)

    @pytest.mark.parametrize("size", [0.0, -1.0, float("nan")])
    def test_a_shard_size_that_is_none_is_refused(self, size: float) -> None:
        with pytest.raises(UserError, match="shard_mib must be > 0"):
            convert.plan(self.units(2), dataclasses.replace(VOLUME, shard_mib=size))


class TestRecord:
    def test_a_volume_says_what_read_volumes_says(self, tmp_path: Path) -> None:
        conftest.write_volume(tmp_path, 3)
        (unit,) = select(tmp_path, MASKED)
        _, (record,) = written(convert.Shard("train", 0, 1, (unit,)), MASKED, tmp_path)
        volume = read_volumes(unit.paths)[0]
        stored, mask = conftest.blob((9, 14, 11), 3)
        np.testing.assert_array_equal(record["image"][..., 0], stored)
        np.testing.assert_array_equal(record["mask"][..., 0], mask)
        np.testing.assert_array_equal(values(record), volume.array)
        np.testing.assert_array_equal(record["spacing_mm"], volume.spacing_mm)
        np.testing.assert_array_equal(record["origin_mm"], volume.affine[:3, 3])
        across = np.array(volume.spacing_mm)[::-1]  # column, row, slice
        np.testing.assert_allclose(record["direction"] * across, volume.affine[:3, :3])
        assert record["patient_id"] == "P003"
        assert record["modality"] == "MR"

    @pytest.mark.parametrize("top", [32767, 32768, 65535])
    def test_unsigned_pixels_lose_nothing(self, tmp_path: Path, top: int) -> None:
        stored = np.linspace(0, top, 60).astype(np.uint16).reshape(3, 4, 5)
        said = header("CT", 0, 0, RescaleSlope="0.5", RescaleIntercept="-1024")
        write.write_series(stored, PLACE, said, tmp_path)
        (unit,) = select(tmp_path, VOLUME)
        _, (record,) = written(convert.Shard("train", 0, 1, (unit,)), VOLUME, tmp_path)
        np.testing.assert_array_equal(values(record), stored * 0.5 - 1024.0)

    def test_each_slice_keeps_its_own_slope(self, tmp_path: Path) -> None:
        stored = np.full((4, 3, 3), 100, np.int16)
        write.write_series(stored, PLACE, header("CT", 0, 0), tmp_path)
        for number, path in enumerate(sorted(tmp_path.glob("*.dcm"))):
            dataset = pydicom.dcmread(path)
            dataset.RescaleSlope, dataset.RescaleIntercept = str(0.25 * (number + 1)), str(-number)
            dataset.save_as(path)
        (unit,) = select(tmp_path, VOLUME)
        _, (record,) = written(convert.Shard("train", 0, 1, (unit,)), VOLUME, tmp_path)
        np.testing.assert_array_equal(record["rescale_slope"], [0.25, 0.5, 0.75, 1.0])
        np.testing.assert_array_equal(values(record)[:, 0, 0], [25.0, 49.0, 73.0, 97.0])

    def test_a_radiograph_without_spacing_keeps_nan(self, tmp_path: Path) -> None:
        conftest.write_radiograph(tmp_path, 0, 0, 0)
        data = dataclasses.replace(LABELLED, label="")
        _, (record,) = written(convert.Shard("train", 0, 1, tuple(select(tmp_path, data))), data, tmp_path)
        assert record["image"].shape == (40, 33, 1)
        assert np.isnan(record["spacing_mm"]).all()
        np.testing.assert_array_equal(record["direction"], np.eye(3))


class TestQuarantine:
    def reasons(self, folder: Path, data: config.Data, output: Path) -> list[str]:
        outcome = convert.write(convert.Shard("train", 0, 1, tuple(select(folder, data))), data, output)
        assert outcome["records"] == 0
        assert outcome["patients"] == []
        return [dead["reason"] for dead in outcome["dead"]]

    def test_a_missing_slice(self, tmp_path: Path) -> None:
        write.write_series(np.zeros((6, 4, 4), np.int16), PLACE, header("MR", 0, 0), tmp_path / "dicom")
        (tmp_path / "dicom" / "0003.dcm").unlink()
        (reason,) = self.reasons(tmp_path / "dicom", VOLUME, tmp_path)
        assert "1 slices are missing" in reason

    def test_two_sizes_in_one_series(self, tmp_path: Path) -> None:
        said = header("MR", 0, 0)
        write.write_series(np.zeros((3, 4, 4), np.int16), PLACE, said, tmp_path / "dicom" / "a")
        write.write_series(np.zeros((2, 5, 5), np.int16), PLACE, said, tmp_path / "dicom" / "b")
        for number, path in enumerate(sorted((tmp_path / "dicom" / "b").iterdir())):
            renamed(path, f"{said['SeriesInstanceUID']}.9{number}")
        (reason,) = self.reasons(tmp_path / "dicom", VOLUME, tmp_path)
        assert reason.startswith("the series holds 2 volumes")
        assert "of 2 x 5 x 5, 3 x 4 x 4 voxels" in reason or "of 3 x 4 x 4, 2 x 5 x 5 voxels" in reason
        assert "data.volumes='largest' or 'all' takes more" in reason

    def test_two_segmentations_of_a_series(self, tmp_path: Path) -> None:
        folder = tmp_path / "dicom"
        conftest.write_volume(folder, 0)
        volume = read_volumes(sorted((folder / "0").glob("0*.dcm")))[0]
        annotations.write_seg(np.ones((9, 14, 11), np.uint8), volume, BLOBS, folder / "more.dcm")
        dataset = pydicom.dcmread(folder / "more.dcm")
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{conftest.ROOT_UID}.77"
        dataset.save_as(folder / "more.dcm")
        (reason,) = self.reasons(folder, MASKED, tmp_path)
        assert "2 readers" in reason
        assert "data.annotations.several" in reason

    def test_a_mask_on_another_grid_by_policy(self, tmp_path: Path) -> None:
        folder = tmp_path / "dicom"
        conftest.write_volume(folder, 0)
        for path in (folder / "0").glob("0*.dcm"):
            path.unlink()
        place = PLACE @ np.diag([1.3, 1.3, 1.0, 1.0])
        write.write_series(np.zeros((9, 5, 5), np.int16), place, header("MR", 0, 0), folder / "0")
        wishes = config.Annotations(other_grid="refuse", other_instances="report", partly_outside="report")
        (reason,) = self.reasons(folder, dataclasses.replace(MASKED, annotations=wishes), tmp_path)
        assert "grid" in reason

    def test_unknown_spacing_where_it_is_needed(self, tmp_path: Path) -> None:
        write.write_series(np.zeros((1, 4, 4), np.int16), None, header("MR", 0, 0), tmp_path / "dicom")
        (reason,) = self.reasons(tmp_path / "dicom", dataclasses.replace(VOLUME, spacing_mm=(1, 1, 1)), tmp_path)
        assert "do not tell their spacing" in reason

    def test_a_record_too_large_for_tensorflow(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(records, "_MOST_BYTES", 1000)
        conftest.write_volume(tmp_path / "dicom", 0)
        (reason,) = self.reasons(tmp_path / "dicom", VOLUME, tmp_path)
        assert "2 GiB" in reason

    def test_the_good_ones_are_written_all_the_same(self, tmp_path: Path) -> None:
        for patient in (0, 1):
            conftest.write_volume(tmp_path / "dicom", patient)
        path = tmp_path / "dicom" / "0" / "0002.dcm"
        path.write_bytes(path.read_bytes()[:-50])
        shard = convert.Shard("train", 0, 1, tuple(select(tmp_path / "dicom", VOLUME)))
        outcome, found = written(shard, VOLUME, tmp_path)
        assert [record["patient_id"] for record in found] == ["P001"]
        assert outcome["patients"] == ["P001"]
        assert [dead["uid"] for dead in outcome["dead"]] == [header("MR", 0, 0)["SeriesInstanceUID"]]

    def test_a_record_too_large_is_refused_before_it_is_read(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(contents, "read_volumes", None)
        shard = convert.Shard("train", 0, 1, (convert.Unit("1.2", "P", (), num_bytes=2**32),))
        (dead,) = convert.write(shard, VOLUME, tmp_path)["dead"]
        assert dead["reason"].startswith("the record has 4.0 GiB")

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (IndexError("secret"), "not foreseen (IndexError): a defect of radkit or of a library"),
            (MemoryError(), "there is not enough memory to read it"),
            (OSError(5, "Input/output error"), "not foreseen (OSError): a defect of radkit or of a library"),
        ],
    )
    def test_what_nobody_foresaw_takes_no_other_with_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
    ) -> None:
        for patient in (0, 1):
            conftest.write_volume(tmp_path / "dicom", patient)
        read, begun = contents.read_volumes, []

        def failing(paths: object, **how: object) -> object:
            begun.append(paths)
            if len(begun) == 1:
                raise error
            return read(paths, **how)

        monkeypatch.setattr(contents, "read_volumes", failing)
        shard = convert.Shard("train", 0, 1, tuple(select(tmp_path / "dicom", VOLUME)))
        outcome = convert.write(shard, VOLUME, tmp_path)
        assert [dead["reason"] for dead in outcome["dead"]] == [reason]
        assert outcome["records"] == 1

    def test_a_full_disk_is_no_property_of_a_series(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def failing(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        conftest.write_volume(tmp_path / "dicom", 0)
        monkeypatch.setattr(contents, "read_volumes", failing)
        with pytest.raises(OSError, match="No space"):
            convert.write(convert.Shard("train", 0, 1, tuple(select(tmp_path / "dicom", VOLUME))), VOLUME, tmp_path)

    def test_what_killed_its_workers_is_not_tried_again(self, tmp_path: Path) -> None:
        for patient in (0, 1):
            conftest.write_volume(tmp_path / "dicom", patient)
        units = tuple(select(tmp_path / "dicom", VOLUME))
        begun: list[convert.Unit] = []
        outcome = convert.write(
            convert.Shard("train", 0, 1, units), VOLUME, tmp_path, killers={units[0].uid}, begins=begun.append
        )
        assert outcome["dead"] == [{"uid": units[0].uid, "reason": convert.KILLED}]
        assert outcome["patients"] == [units[1].patient_id]
        assert begun == list(units)


class TestPlanInFiles:
    def test_a_shard_comes_back_as_it_was(self, tmp_path: Path) -> None:
        conftest.write_volume(tmp_path, 0)
        shard = convert.Shard("train", 0, 1, tuple(select(tmp_path, MASKED)))
        values = convert.to_json(shard, tmp_path)
        assert convert.from_json(json.loads(json.dumps(values)), tmp_path) == shard
        assert str(tmp_path) not in json.dumps(values)

    @pytest.mark.parametrize(
        ("change", "voxels", "num_bytes"),
        [
            ({}, 9 * 14 * 11, 2),
            ({"mask_labels": BLOBS}, 9 * 14 * 11, 3),
            ({"image_dtype": "float32"}, 9 * 14 * 11, 4),
            ({"record_size": (5, 6, 7)}, 5 * 6 * 7, 2),
            ({"record_spacing_mm": (1.0, 0.5, 0.5)}, 9 * 14 * 11 * 2 * 2 * 3, 2),
            ({"record_spacing_mm": (4.0, 0.0, 0.0)}, 9 * 14 * 11 // 2, 2),
        ],
    )
    def test_sizes_are_planned_from_headers(
        self, tmp_path: Path, change: dict[str, object], voxels: int, num_bytes: int
    ) -> None:
        conftest.write_volume(tmp_path, 0)
        (unit,) = select(tmp_path, dataclasses.replace(VOLUME, **change))
        assert unit.num_bytes == voxels * num_bytes

    def test_frames_count(self, tmp_path: Path) -> None:
        conftest.write_volume(tmp_path, 0)
        (one, *_) = instances(tmp_path)
        enhanced = dataclasses.replace(one, values={**one.values, "NumberOfFrames": "30"})
        assert convert.select([enhanced], VOLUME).units[0].num_bytes == 2 * 14 * 11 * 30

    def test_the_files_that_were_read_are_listed(self, tmp_path: Path) -> None:
        conftest.write_volume(tmp_path / "dicom", 0)
        (unit,) = select(tmp_path / "dicom", MASKED)
        outcome = convert.write(convert.Shard("train", 0, 1, (unit,)), MASKED, tmp_path)
        assert sorted(outcome["inputs"]) == sorted(
            (str(path), path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest(), unit.uid)
            for path in (tmp_path / "dicom").rglob("*.dcm")
        )
