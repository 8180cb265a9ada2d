import csv
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest

from radkit.dicom import annotations, read_volumes, write
from radkit.dicom.annotations import sr
from serving import predict

CT = "1.2.826.0.1.3680043.8.498.1"
CR = "1.2.826.0.1.3680043.8.498.2"
# (slice, row, column) spacing 2, 0.5, 0.8 mm; stored 0..300 with an intercept of 0.
AFFINE = np.array([[0.8, 0, 0, 5.0], [0, 0.5, 0, 6.0], [0, 0, 2.0, 7.0], [0, 0, 0, 1]])


def write_ct(folder: Path, uid: str = CT, **header: object) -> np.ndarray:
    stored = np.zeros((4, 6, 8), np.int16)
    stored[1:3, 2:5, 1:4] = 150  # 18 voxels of liver
    stored[1, 2, 1] = 300  # one of them is tumour
    given = {"Modality": "CT", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": uid, "RescaleIntercept": "0"}
    write.write_series(stored, AFFINE, {**given, "FrameOfReferenceUID": "1.2.4", **header}, folder)
    return (stored > 100).astype(np.uint8) + (stored > 200)


def write_cr(folder: Path, images: int = 1) -> None:
    for number in range(images):
        stored = np.full((1, 5, 4), 50 + 100 * number, np.uint16)
        header = {"Modality": "CR", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": CR}
        write.write_series(stored, None, header, folder / str(number))
        file = folder / str(number) / "0001.dcm"
        dataset = pydicom.dcmread(file)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{CR}.{number + 1}"
        dataset.save_as(file)


def run(address: str, model: str, given: Path, output: Path) -> int:
    flags = [f"--server={address}", f"--model={model}", f"--input={given}", f"--output={output}"]
    return predict.main(["radkit predict", *flags])


def rows(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))[1:]


def test_a_volume_comes_back_as_ml_and_dicom_seg(address: str, tmp_path: Path) -> None:
    mask = write_ct(tmp_path / "in" / "ct")
    assert run(address, "segment", tmp_path / "in", tmp_path / "out") == 0
    answer = json.loads((tmp_path / "out" / CT / "answer.json").read_text())
    assert answer["series_uid"] == CT
    assert answer["study_uid"] == "1.2.3"
    assert answer["model"] == {"name": "segment", "version": 1}
    # A voxel is 2 * 0.5 * 0.8 mm3 = 0.0008 ml.
    assert answer["volume_ml"] == pytest.approx({"liver": 17 * 0.0008, "tumour": 0.0008})
    volume = read_volumes((tmp_path / "in" / "ct").iterdir())[0]
    seg = tmp_path / "out" / CT / answer["segmentation"]
    np.testing.assert_array_equal(annotations.read_seg(seg, volume, ["liver", "tumour"]), mask)
    measured = sr.measurements(tmp_path / "out" / CT / answer["report"])
    assert {one.finding: (one.value, one.unit) for one in measured} == {
        name: (pytest.approx(value), "mL") for name, value in answer["volume_ml"].items()
    }


def test_images_go_on_the_records_grid_and_masks_come_back(address: str, tmp_path: Path) -> None:
    stored = np.zeros((4, 6, 8), np.int16)
    stored[1:3, 1:5, 2:7] = 150
    header = {"Modality": "CT", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": CT, "FrameOfReferenceUID": "1.2.4"}
    write.write_series(stored, AFFINE, {**header, "RescaleIntercept": "0"}, tmp_path / "in")
    assert run(address, "turned", tmp_path / "in", tmp_path / "out") == 0
    folder = tmp_path / "out" / CT
    volume = read_volumes((tmp_path / "in").iterdir())[0]
    mask = annotations.read_seg(folder / "segmentation.dcm", volume, ["bright", "corner"])
    # The records' columns run to the right: their first half is the images' last. Of six rows the middle two were
    # seen, the last of them first. The first slice is the records' first three.
    expected = np.zeros((4, 6, 8), np.uint8)
    expected[1:3, 2:4, 4:7] = 1
    expected[0, 3, 7] = 2
    np.testing.assert_array_equal(mask, expected)
    told = json.loads((folder / "answer.json").read_text())
    assert told["volume_ml"] == pytest.approx({"bright": 12 * 0.0008, "corner": 0.0008})
    assert len(told["instance_uids"]) == 4


def write_colour(folder: Path) -> None:
    write_cr(folder)
    file = folder / "0" / "0001.dcm"
    dataset = pydicom.dcmread(file)
    pixels = np.zeros((5, 4, 3), np.uint8)
    pixels[:2] = 255, 0, 0  # luminance 76
    pixels[2:] = 0, 255, 0  # 150
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB"
    dataset.save_as(file)


def test_colour_is_made_grey_as_in_the_records(address: str, tmp_path: Path) -> None:
    write_colour(tmp_path / "in")
    assert run(address, "grey", tmp_path / "in", tmp_path / "out") == 0
    (answer,) = (tmp_path / "out").rglob("answer.json")
    assert json.loads(answer.read_text())["probabilities"] == pytest.approx({"healthy": 0.4, "ill": 0.6})


def test_colour_is_set_aside_where_the_model_says_nothing_of_it(address: str, tmp_path: Path) -> None:
    write_colour(tmp_path / "in")
    assert run(address, "classify", tmp_path / "in", tmp_path / "out") == 1
    ((_, reason),) = rows(tmp_path / "out" / "quarantine.csv")
    assert "colour" in reason


def test_an_empty_mask_gives_no_seg(address: str, tmp_path: Path) -> None:
    write_ct(tmp_path / "in", RescaleIntercept="-1024")
    assert run(address, "segment", tmp_path / "in", tmp_path / "out") == 0
    answer = json.loads((tmp_path / "out" / CT / "answer.json").read_text())
    assert answer["segmentation"] is None
    assert answer["volume_ml"] == {"liver": 0.0, "tumour": 0.0}
    assert sorted(p.name for p in (tmp_path / "out" / CT).iterdir()) == ["answer.json", "measurements.dcm"]
    measured = sr.measurements(tmp_path / "out" / CT / answer["report"])
    assert {one.finding: one.value for one in measured} == {"liver": 0.0, "tumour": 0.0}


def test_radiographs_are_answered_one_by_one(address: str, tmp_path: Path) -> None:
    write_cr(tmp_path / "in", images=2)
    assert run(address, "classify", tmp_path / "in", tmp_path / "out") == 0
    for number, ill in ((1, 0.0), (2, 1.0)):
        answer = json.loads((tmp_path / "out" / CR / f"{CR}.{number}" / "answer.json").read_text())
        assert answer["probabilities"] == {"healthy": 1 - ill, "ill": ill}
    write_cr(tmp_path / "single")
    assert run(address, "classify", tmp_path / "single", tmp_path / "out1") == 0
    assert (tmp_path / "out1" / CR / "answer.json").is_file()


def test_what_cannot_be_answered_is_listed(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = tmp_path / "in", tmp_path / "out"
    write_ct(source / "good")
    assert run(address, "segment", source, tmp_path / "first") == 0
    (tmp_path / "first" / CT / "segmentation.dcm").rename(source / "seg.dcm")
    write_ct(source / "gap", uid=f"{CT}.9")
    (source / "gap" / "0002.dcm").unlink()
    write_ct(source / "odd", uid=f"{CT}.88")
    for file in (source / "odd").iterdir():  # a UID that would climb out of the folder
        file.write_bytes(file.read_bytes().replace(f"{CT}.88".encode(), f"{CT}/..".encode()))
    (source / "cut.dcm").write_bytes((source / "good" / "0001.dcm").read_bytes()[:200])
    capsys.readouterr()
    assert run(address, "segment", source, output) == 1
    assert "1 answered by segment version 1, 1 series skipped, 3 inputs set aside" in capsys.readouterr().out
    assert (output / CT / "segmentation.dcm").is_file()
    assert [reason for _, reason in rows(output / "skipped.csv")] == ["no image (Modality SEG)"]
    found = dict(rows(output / "quarantine.csv"))
    assert set(found) == {f"{CT}.9", f"{CT}/..", "cut.dcm"}
    assert "1 slices are missing" in found[f"{CT}.9"]
    assert run(address, "segment", source, output) == 1  # done before: the same answer at once


def test_the_servers_refusal_of_one_series_sets_it_aside(address: str, tmp_path: Path) -> None:
    write_ct(tmp_path / "in" / "good")
    stored = np.zeros((1, 1100, 1000), np.int16)  # 4.4 MB as float32, over the test server's 4 MiB
    header = {"Modality": "CT", "StudyInstanceUID": "1.2.3", "SeriesInstanceUID": f"{CT}.7"}
    write.write_series(stored, AFFINE, header, tmp_path / "in" / "big")
    assert run(address, "segment", tmp_path / "in", tmp_path / "out") == 1
    ((series, reason),) = rows(tmp_path / "out" / "quarantine.csv")
    assert series == f"{CT}.7"
    assert "RESOURCE_EXHAUSTED" in reason
    assert (tmp_path / "out" / CT / "answer.json").is_file()


@pytest.mark.parametrize(
    ("server", "model", "words"),
    [
        ("127.0.0.1:1", "segment", "no server answers"),
        ("nonsense", "segment", "host:port"),
        (None, "sgement", "no model 'sgement'"),
        (None, "numbers", "image of rank 4 or 5 and spacing_mm were expected"),
    ],
)
def test_nothing_is_written_when_refused(
    address: str,
    server: str | None,
    model: str,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.channels.BACKOFF_S", ())
    write_ct(tmp_path / "in")
    assert run(server or address, model, tmp_path / "in", tmp_path / "out") == 2
    assert words in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_folder_without_images_is_refused(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "readme.txt").write_text("nothing to see")
    assert run(address, "segment", tmp_path / "in", tmp_path / "out") == 2
    assert "holds no image series" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
