"""The DICOMDIR: read back by pydicom and by dcmtk where it is there; offsets, required keys, same bytes each time."""

import shutil
import subprocess
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radkit.deid import dicomdir
from radkit.dicom import part10, write
from tests import made_up

_SR, _PLAN, _PRIVATE = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.481.5", "1.2.826.0.1.3680043.10.511.1"


def _instance(
    root: Path, patient: int, series: int, number: int, change: Callable[[Dataset], None] = lambda _: None
) -> str:
    """Writes one instance as the de-identified tree has it; returns its place."""
    said = made_up.header("CT", patient, series)
    dataset = write.instance(np.zeros((2, 2), np.int16), said, f"{said['SeriesInstanceUID']}.{number}")
    dataset.InstanceNumber = number
    change(dataset)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    place = (
        f"PABCDEFGHIJKLMNO{patient}/{dataset.StudyInstanceUID}/{dataset.SeriesInstanceUID}/{dataset.SOPInstanceUID}.dcm"
    )
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(root / place, enforce_file_format=True)
    return place


def _of_class(uid: str, **values: object) -> Callable[[Dataset], None]:
    def change(dataset: Dataset) -> None:
        for keyword in ("Rows", "Columns", "PixelData"):
            del dataset[keyword]
        dataset.SOPClassUID = uid
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    return change


def _tree(root: Path) -> list[str]:
    return [_instance(root, p, s, n) for p in (1, 2) for s in (1, 2) for n in (10, 2, 1)]


def _records(root: Path) -> list[Dataset]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of File IDs that are longer than a CS
        return list(pydicom.dcmread(root / "DICOMDIR").DirectoryRecordSequence)


def _file_set(root: Path) -> FileSet:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = FileSet(root / "DICOMDIR")
    found._stage["t"].cleanup()  # else Python warns of the folder it clears away
    return found


def test_pydicom_finds_every_instance_at_its_path(tmp_path: Path) -> None:
    places = _tree(tmp_path)
    dicomdir.write(tmp_path, places)
    found = _file_set(tmp_path)
    assert sorted(Path(i.path).relative_to(tmp_path.resolve()).as_posix() for i in found) == sorted(places)
    for instance in found:
        assert instance.load().SOPInstanceUID == instance.SOPInstanceUID
        assert instance.TransferSyntaxUID == ExplicitVRLittleEndian
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["DICOMDIR"]


def test_offsets_lead_through_the_whole_hierarchy_in_order(tmp_path: Path) -> None:
    dicomdir.write(tmp_path, _tree(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        directory = pydicom.dcmread(tmp_path / "DICOMDIR")
    by_offset = {record.seq_item_tell: record for record in directory.DirectoryRecordSequence}

    def walk(offset: int) -> list:
        found = []
        while offset:
            record = by_offset[offset]
            below = walk(record.OffsetOfReferencedLowerLevelDirectoryEntity)
            found.append((record.DirectoryRecordType, below or int(record.InstanceNumber)))
            offset = record.OffsetOfTheNextDirectoryRecord
        return found

    series = ("SERIES", [("IMAGE", 1), ("IMAGE", 2), ("IMAGE", 10)])
    patient = ("PATIENT", [("STUDY", [series, series])])
    assert walk(directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity) == [patient, patient]
    last = by_offset[directory.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity]
    assert last.PatientID == "P002"
    assert len(by_offset) == 2 + 2 + 4 + 12


def test_same_files_give_the_same_bytes_and_other_files_another_uid(tmp_path: Path) -> None:
    places = _tree(tmp_path)
    dicomdir.write(tmp_path, places)
    first = (tmp_path / "DICOMDIR").read_bytes()
    dicomdir.write(tmp_path, [*reversed(places), places[0]])
    assert (tmp_path / "DICOMDIR").read_bytes() == first
    meta = pydicom.filereader.read_file_meta_info(tmp_path / "DICOMDIR")
    dicomdir.write(tmp_path, places[1:])
    other = pydicom.filereader.read_file_meta_info(tmp_path / "DICOMDIR")
    assert meta.MediaStorageSOPInstanceUID.startswith("2.25.")
    assert meta.MediaStorageSOPInstanceUID != other.MediaStorageSOPInstanceUID
    assert meta.ImplementationClassUID == part10.IMPLEMENTATION_CLASS_UID
    assert first[:128] == bytes(128)


def test_required_keys_that_were_removed_become_dummies(tmp_path: Path) -> None:
    def bare(dataset: Dataset) -> None:
        for keyword in ("StudyDate", "StudyTime", "StudyID", "SeriesNumber", "InstanceNumber", "PatientID", "Modality"):
            if keyword in dataset:
                del dataset[keyword]

    dicomdir.write(tmp_path, [_instance(tmp_path, 1, 1, 1, bare)])
    patient, study, series, image = _records(tmp_path)
    assert (patient.PatientID, patient.PatientName) == ("ANONYMIZED", "Invented^P1")
    assert (study.StudyDate, study.StudyTime, study.StudyID, study.AccessionNumber) == ("19000101", "000000", "1", "")
    assert (series.Modality, series.SeriesNumber, image.InstanceNumber) == ("OT", 1, 1)


def test_instances_without_study_or_series_get_one_of_their_folder(tmp_path: Path) -> None:
    def alone(dataset: Dataset) -> None:
        dataset.StudyInstanceUID = dataset.SeriesInstanceUID = ""

    places = [_instance(tmp_path, 1, 1, number, alone) for number in (1, 2)]
    dicomdir.write(tmp_path, places)
    records = _records(tmp_path)
    assert Counter(r.DirectoryRecordType for r in records) == {"PATIENT": 1, "STUDY": 1, "SERIES": 1, "IMAGE": 2}
    assert records[1].StudyInstanceUID.startswith("2.25.")
    assert len(_file_set(tmp_path)) == 2


def test_a_value_that_cannot_be_read_becomes_a_dummy(tmp_path: Path) -> None:
    place = _instance(tmp_path, 1, 1, 7)
    content = (tmp_path / place).read_bytes()
    assert content.count(b"IS\x02\x007 ") == 1
    (tmp_path / place).write_bytes(content.replace(b"IS\x02\x007 ", b"IS\x02\x00??"))
    dicomdir.write(tmp_path, [place])
    assert _records(tmp_path)[-1].InstanceNumber == 1


def test_records_are_of_the_type_of_their_sop_class(tmp_path: Path) -> None:
    changes = [
        _of_class(_SR, CompletionFlag="COMPLETE", ContentSequence=[_content("HAS CONCEPT MOD"), _content("CONTAINS")]),
        _of_class(_PLAN, RTPlanLabel="PLAN A"),
        _of_class(_PRIVATE),
        lambda dataset: setattr(dataset, "SOPClassUID", _PRIVATE),
    ]
    places = [_instance(tmp_path, 1, number, 1, change) for number, change in enumerate(changes, 1)]
    dicomdir.write(tmp_path, places)
    leaves = {r.DirectoryRecordType: r for r in _records(tmp_path) if "ReferencedFileID" in r}
    assert sorted(leaves) == ["IMAGE", "PRIVATE", "RT PLAN", "SR DOCUMENT"]
    document = leaves["SR DOCUMENT"]
    assert (document.CompletionFlag, document.VerificationFlag) == ("COMPLETE", "UNVERIFIED")
    assert [item.RelationshipType for item in document.ContentSequence] == ["HAS CONCEPT MOD"]
    assert document.ConceptNameCodeSequence[0].CodeValue
    assert (leaves["RT PLAN"].RTPlanLabel, leaves["RT PLAN"].RTPlanDate) == ("PLAN A", "")
    assert leaves["PRIVATE"].PrivateRecordUID
    assert len(_file_set(tmp_path)) == 4


def _content(relationship: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = relationship, "TEXT", "text"
    return item


def test_a_palette_stands_beside_the_patients(tmp_path: Path) -> None:
    places = [_instance(tmp_path, 1, 1, 1), _instance(tmp_path, 1, 1, 2, _of_class("1.2.840.10008.5.1.4.39.1"))]
    dicomdir.write(tmp_path, places)
    assert [r.DirectoryRecordType for r in _records(tmp_path)] == ["PALETTE", "PATIENT", "STUDY", "SERIES", "IMAGE"]


@pytest.mark.parametrize("kind", sorted(dicomdir._KINDS))
def test_every_type_of_record_has_its_keys_when_the_file_has_none(kind: str) -> None:
    said = dicomdir._KINDS[kind]
    values = dicomdir._values(Dataset(), kind, "a/b")
    assert all(values[keyword].value not in (None, "", []) for keyword in said.always)
    assert all(values[keyword].is_empty for keyword in said.empty)
    assert dicomdir._record(kind, values)[30:34] == bytes(4)


def test_text_beyond_ascii_is_told_in_utf8(tmp_path: Path) -> None:
    def german(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.StudyDescription = "Schädel"

    dicomdir.write(tmp_path, [_instance(tmp_path, 1, 1, 1, german)])
    patient, study, *_ = _records(tmp_path)
    assert (study.SpecificCharacterSet, study.StudyDescription) == ("ISO_IR 192", "Schädel")
    assert "SpecificCharacterSet" not in patient


def test_implicit_vr_files_say_their_transfer_syntax(tmp_path: Path) -> None:
    place = _instance(tmp_path, 1, 1, 1)
    made_up.save(pydicom.dcmread(tmp_path / place), tmp_path / place, ImplicitVRLittleEndian)
    dicomdir.write(tmp_path, [place])
    assert _records(tmp_path)[-1].ReferencedTransferSyntaxUIDInFile == ImplicitVRLittleEndian


def test_no_instances_make_an_empty_directory(tmp_path: Path) -> None:
    dicomdir.write(tmp_path, [])
    assert _records(tmp_path) == []


def test_a_failure_leaves_no_half_directory(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"none")
    with pytest.raises(ValueError, match="not DICOM"):
        dicomdir.write(tmp_path, ["a.dcm"])
    assert [path.name for path in tmp_path.iterdir()] == ["a.dcm"]


@pytest.mark.skipif(not shutil.which("dcmconv"), reason="dcmtk is not installed")
def test_dcmtk_reads_it(tmp_path: Path) -> None:
    dicomdir.write(tmp_path, _tree(tmp_path))
    command = ["dcmconv", str(tmp_path / "DICOMDIR"), str(tmp_path / "copy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not [line for line in done.stderr.splitlines() if line.startswith(("E:", "F:"))]


def test_a_file_whose_dataset_pydicom_cannot_read_is_listed_by_its_meta_and_place(tmp_path: Path) -> None:
    place = _instance(tmp_path, 1, 1, 1)
    content = (tmp_path / place).read_bytes()
    (tmp_path / place).write_bytes(content[: content.index(b"\x08\x00\x16\x00")])
    dicomdir.write(tmp_path, [place])
    *_, leaf = _records(tmp_path)
    assert list(leaf.ReferencedFileID) == place.split("/")
    assert place.endswith(f"{leaf.ReferencedSOPInstanceUIDInFile}.dcm")
