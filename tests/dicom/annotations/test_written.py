"""What annotations repeat of their image's headers: names in every character set, labels in every script."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from radkit.dicom import part10, read_volumes
from radkit.dicom.annotations import write_seg
from radkit.dicom.annotations.form import Measurement
from radkit.dicom.annotations.write_rtstruct import write_rtstruct
from radkit.dicom.annotations.write_sr import write_sr
from tests import made_up

NAMES = {  # as PS3.5 Annexes H, J and K have them, and one of its Latin, Cyrillic and no alphabet beside ASCII
    None: "Doe^Jane",
    "": "Doe^Jane",
    "ISO_IR 100": "Müller^Jörg",
    "ISO_IR 144": "Жданов^Илья",
    "ISO_IR 192": "Wang^XiaoDong=王^小東",
    "GB18030": "Wang^XiaoDong=王^小东",
    "\\ISO 2022 IR 87": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "\\ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
}


def written(folder: Path, label: str) -> dict[str, Path]:
    """Writes an annotation of each kind on the images of a folder."""
    (volume,) = read_volumes(folder)
    mask = np.zeros(volume.stored.shape, np.uint8)
    mask[1:3, 2:4, 2:4] = 1
    paths = {kind: folder.parent / f"{kind}.dcm" for kind in ("seg", "rtstruct", "sr")}
    write_seg(mask, volume, [label], paths["seg"])
    write_rtstruct(mask, volume, [label], paths["rtstruct"])
    write_sr([Measurement("volume", 1.5, "mL", finding=label)], volume, paths["sr"], segmentation=paths["seg"])
    return paths


@pytest.mark.parametrize("charset", NAMES)
@pytest.mark.parametrize("label", ["Tumour", "Läsion", "肝臓"])
def test_names_and_labels_come_back_whatever_the_images_character_set(tmp_path, charset, label):
    def said(one: Dataset) -> None:
        if charset is not None:
            one.SpecificCharacterSet = charset.split("\\")
        one.PatientName = NAMES[charset]
        one.RequestAttributesSequence = [Dataset()]
        one.RequestAttributesSequence[0].RequestedProcedureDescription = NAMES[charset].split("=")[-1]

    made_up.ct_series(tmp_path / "ct", each=said)
    found = {kind: pydicom.dcmread(path) for kind, path in written(tmp_path / "ct", label).items()}
    assert {kind: str(one.PatientName) for kind, one in found.items()} == dict.fromkeys(found, NAMES[charset])
    assert found["seg"].SegmentSequence[0].SegmentLabel == label
    assert found["rtstruct"].StructureSetROISequence[0].ROIName == label
    assert label in str(found["sr"])


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy is not installed")
@pytest.mark.parametrize("charset", [None, "\\ISO 2022 IR 87"])
def test_dciodvfy_finds_no_error_in_other_scripts(tmp_path, charset):
    def said(one: Dataset) -> None:
        if charset:
            one.SpecificCharacterSet, one.PatientName = charset.split("\\"), NAMES[charset]

    made_up.ct_series(tmp_path / "ct", each=said)
    for path in written(tmp_path / "ct", "肝臓").values():
        told = subprocess.run(["dciodvfy", "-new", path], capture_output=True, errors="replace", check=False).stderr
        assert [line for line in told.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize(("there", "wanted"), [("U", ""), ("Male", ""), ("f", "F"), ("O", "O"), ("", "")])
def test_what_must_be_there_is_there_if_empty(tmp_path, there, wanted):
    def incomplete(one: Dataset) -> None:
        for keyword in ("PatientBirthDate", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"):
            one.pop(keyword, None)
        one.PatientSex = there

    with part10.silence():  # no code string is in small letters
        made_up.ct_series(tmp_path / "ct", each=incomplete)
    for path in written(tmp_path / "ct", "Tumour").values():
        found = pydicom.dcmread(path)
        assert not found.PatientBirthDate
        assert not found.StudyID
        assert found.PatientSex == wanted
        assert found.PatientID == "P001"
