"""Whoever looks through a clean folder finds nothing; whoever plants one thing in it is found, and nothing is told."""

import shutil

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from beam_jobs import anonymize
from radkit.deid import part10, profile, verify, wire
from radkit.deid.settings import Settings
from tests.deid.test_engine import cleaned, header, plant, raw, written
from tests.deid.test_structured import FINDING, OBSERVER, container, image, item, num, report, text

SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian)
OPTION_SETS = (
    (),
    ("CleanDescriptors",),
    ("RetainUIDs", "RetainLongFullDates"),
    ("RetainLongModifiedDates", "RetainPatientCharacteristics", "RetainDeviceIdentity", "RetainInstitutionIdentity"),
    ("RetainSafePrivate", "CleanStructuredContent", "CleanGraphics"),
)


def clean_file(folder, dataset=None, *options):
    return cleaned(written(dataset or header(), folder), folder / "out", chosen=Settings(frozenset(options)))


def head_of(content):
    """Returns the preamble and the meta."""
    return content[: 144 + int.from_bytes(content[140:144], "little")]


def rewritten(path, change):
    """Changes a clean file's data set, as it is encoded, and nothing around it."""
    dataset, head = pydicom.dcmread(path), head_of(path.read_bytes())
    change(dataset)
    aside = written(dataset, path.parent, "aside")
    path.write_bytes(head + aside.read_bytes()[len(head_of(aside.read_bytes())) :])
    aside.unlink()
    return path


# --- what is clean -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTION_SETS)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_clean_output_has_no_findings(tmp_path, syntax, options):
    dataset = header(syntax)
    plant(dataset)
    dataset.StudyDate, dataset.StudyTime, dataset.StudyDescription = "20200304", "112233", "CT Chest of PLANTED"
    output = clean_file(tmp_path, dataset, *options)
    assert verify.file(output) == []
    assert verify.file(output, Settings(frozenset(options))) == []


def test_a_report_is_clean_by_its_own_options(tmp_path):
    dataset = report(
        container(FINDING, text(FINDING, "Lung PLANTED"), image(), item("PNAME", OBSERVER, PersonName="X^Y"))
    )
    for number, options in enumerate(OPTION_SETS):
        (tmp_path / str(number)).mkdir()
        assert verify.file(clean_file(tmp_path / str(number), dataset, *options)) == []


def test_what_an_option_kept_is_a_finding_for_who_did_not_ask_for_it(tmp_path):
    dataset = header()
    dataset.StudyDate = "20200304"
    output = clean_file(tmp_path, dataset, "RetainLongFullDates")
    found = verify.file(output, Settings())
    assert {f.path for f in found} == {"00080020", "00120064"}
    assert any("RetainLongFullDates" in f.what for f in found)


# --- what is planted ---------------------------------------------------------------------------------------------


def put(tag, vr, value):
    return lambda dataset: dataset.add(raw(tag, vr, value))


def in_item(tag, vr, value):
    def change(dataset):
        inner, outer = Dataset(), Dataset()
        inner.add(raw(tag, vr, value))
        outer.add(DataElement(0x00081115, "SQ", Sequence([inner])))
        dataset.add(DataElement(0x52009230, "SQ", Sequence([outer])))

    return change


PLANTS = {
    "name": (put(0x00100010, "PN", b"PLANTED^NAME"), "00100010"),
    "number": (put(0x00100020, "LO", b"PLANTED1"), "00100020"),
    "birth date": (put(0x00100030, "DA", b"19620304"), "00100030"),
    "study date": (put(0x00080020, "DA", b"20200304"), "00080020"),
    "time": (put(0x00080030, "TM", b"112233"), "00080030"),
    "accession number": (put(0x00080050, "SH", b"PLANTED"), "00080050"),
    "institution": (put(0x00080080, "LO", b"PLANTED"), "00080080"),
    "station": (put(0x00081010, "SH", b"PLANTED"), "00081010"),
    "age": (put(0x00101010, "AS", b"062Y"), "00101010"),
    "comments": (put(0x00104000, "LT", b"PLANTED"), "00104000"),
    "description": (put(0x0008103E, "LO", b"PLANTED"), "0008103E"),
    "instance": (put(0x00080018, "UI", b"1.2.999.3\0"), "00080018"),
    "study": (put(0x0020000D, "UI", b"1.2.999.1\0"), "0020000D"),
    "frame of reference": (put(0x00200052, "UI", b"1.2.999.4\0"), "00200052"),
    "a UID made by chance": (put(0x0020000D, "UI", b"2.25.123456789012345678901234567890"), "0020000D"),
    "UIDs of which one is old": (put(0x00080058, "UI", b"1.2.840.10008.1.2\\1.2.999.3"), "00080058"),
    "private": (put(0x00091001, "UN", b"PLANTED"), "00091001"),
    "creator": (put(0x00090010, "LO", b"PLANTED"), "00090010"),
    "curve": (put(0x50003000, "OW", b"PLANTED1"), "50003000"),
    "overlay": (put(0x60003000, "OW", b"PLANTED1"), "60003000"),
    "overlay comments": (put(0x60004000, "LT", b"PLANTED"), "60004000"),
    "padding": (put(0xFFFCFFFC, "OB", b"PLANTED"), "FFFCFFFC"),
    "unknown": (put(0x00FE0002, "LO", b"PLANTED"), "00FE0002"),
    "escrow": (lambda d: d.add(DataElement(0x04000500, "SQ", Sequence([Dataset()]))), "04000500"),
    "name at depth": (in_item(0x00100010, "PN", b"PLANTED^NAME"), "52009230[1].00081115[1].00100010"),
    "date at depth": (in_item(0x00080020, "DA", b"20200304"), "52009230[1].00081115[1].00080020"),
    "private at depth": (in_item(0x00091001, "LO", b"PLANTED"), "52009230[1].00081115[1].00091001"),
    "identity is not said to be removed": (put(0x00120062, "CS", b"NO"), "00120062"),
}


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_one_plant_is_one_finding_that_tells_its_place_and_no_value(tmp_path, name, syntax):
    change, place = PLANTS[name]
    output = rewritten(clean_file(tmp_path, header(syntax)), change)
    found = verify.file(output)
    assert place in [f.path for f in found]
    assert not [f for f in found if "PLANTED" in f.what + f.path or "1962" in f.what or "1.2.999" in f.what]


@pytest.mark.parametrize("keyword", ["PatientIdentityRemoved", "DeidentificationMethodCodeSequence"])
def test_a_marker_that_is_missing_is_found(tmp_path, keyword):
    tag = pydicom.datadict.tag_for_keyword(keyword)
    output = rewritten(clean_file(tmp_path), lambda d: d.pop(tag))
    assert f"{tag:08X}" in [f.path for f in verify.file(output, Settings())]


def test_a_missing_longitudinal_marker_is_found(tmp_path):
    output = rewritten(clean_file(tmp_path), lambda d: d.pop(0x00280303))
    assert [f.path for f in verify.file(output)] == ["00280303"]


def test_every_row_of_the_table_is_found(tmp_path):
    dataset = header()
    plant(dataset)
    found = {f.path.split("[")[0] for f in verify.file(written(dataset, tmp_path), Settings())}
    expected = {
        f"{tag:08X}"
        for tag, row in profile.ATTRIBUTES.items()
        if tag >> 16 not in (0, 2, 4) and tag in dataset and row.vr not in ("US", "UL", "FD")
    }
    # These are ours to set: their values are not judged.
    assert expected - found <= {"00120062", "00120063", "00120064"}


@pytest.mark.parametrize(
    ("kind", "values"), [("TEXT", {"TextValue": "PLANTED"}), ("PNAME", {"PersonName": "PLANTED^NAME"})]
)
def test_words_in_a_report_are_found(tmp_path, kind, values):
    path = clean_file(tmp_path, report(text(FINDING, "PLANTED")))
    output = rewritten(path, lambda d: d.ContentSequence.append(item(kind, FINDING, **values)))
    found = verify.file(output)
    assert [f.path[:11] for f in found] == ["0040A730[2]"]


def test_a_measurement_in_a_report_is_found_where_no_option_keeps_it(tmp_path):
    for number, options in enumerate(((), ("CleanStructuredContent",))):
        (tmp_path / str(number)).mkdir()
        path = clean_file(tmp_path / str(number), report(text(FINDING, "PLANTED")), *options)
        output = rewritten(path, lambda d: d.ContentSequence.append(num(FINDING, "62.5")))
        found = [f.path for f in verify.file(output)]
        assert ("0040A730[2].0040A300[1].0040A30A" in found) == (not options)


# --- around the data set -----------------------------------------------------------------------------------------


AROUND = {
    "preamble": (lambda b, end: b"PLANTED" + b[7:], "preamble"),
    "last byte of the preamble": (lambda b, end: b[:127] + b"P" + b[128:], "preamble"),
    "title of the sender": (
        lambda b, end: b[:end] + wire.element(0x00020016, "AE", b"PLANTED ", wire.EXPLICIT) + b[end:],
        "00020016",
    ),
    "private meta": (
        lambda b, end: b[:end] + wire.element(0x00020102, "OB", b"PLANTED ", wire.EXPLICIT) + b[end:],
        "00020102",
    ),
    "the old instance in the meta": (
        lambda b, end: part10.meta("1.2.840.10008.5.1.4.1.1.2", "1.2.999.3", ExplicitVRLittleEndian) + b[end:],
        "00020003",
    ),
    "a second name behind the first": (
        lambda b, end: b + wire.element(0x00100010, "PN", b"PLANTED^NAME", wire.EXPLICIT),
        "00100010",
    ),
    "something behind zeros": (lambda b, end: b + bytes(6000) + b"PLANTED ", "file"),
}


@pytest.mark.parametrize("name", AROUND)
def test_what_is_planted_around_a_data_set_is_found(tmp_path, name):
    output = clean_file(tmp_path)
    content = output.read_bytes()
    change, place = AROUND[name]
    output.write_bytes(change(content, len(head_of(content))))
    found = verify.file(output)
    assert place in [f.path for f in found]
    assert not [f for f in found if "PLANTED" in f.what + f.path]


def test_what_is_planted_behind_deflated_data_is_found(tmp_path):
    output = clean_file(tmp_path, header(DeflatedExplicitVRLittleEndian))
    output.write_bytes(output.read_bytes() + b"PLANTED ")
    assert [f.path for f in verify.file(output)] == ["file"]


@pytest.mark.parametrize("content", [b"", b"PLANTED", b"PK\3\4" + bytes(500), bytes(128) + b"DICM"])
def test_what_cannot_be_read_is_a_finding(tmp_path, content):
    (tmp_path / "PLANTED.dcm").write_bytes(content)
    (found,) = verify.file(tmp_path / "PLANTED.dcm")
    assert found.path == "file"
    assert "PLANTED" not in found.what


def test_a_cut_file_is_a_finding(tmp_path):
    output = clean_file(tmp_path)
    output.write_bytes(output.read_bytes()[:-7])
    assert [f.path for f in verify.file(output)] == ["file"]


# --- a folder ----------------------------------------------------------------------------------------------------


def verified(capfd, folder, *more):
    status = anonymize.main(["radkit anonymize", f"--verify={folder}", *more])
    said = capfd.readouterr()
    return status, said.out, said.err


def test_a_clean_folder_is_passed_without_a_key(tmp_path, capfd):
    clean_file(tmp_path)
    status, said, _ = verified(capfd, tmp_path / "out")
    assert status == 0
    assert said.splitlines()[-1] == "verify: 1 DICOM files, 0 with findings, 0 findings"


def test_a_foreign_folder_is_looked_through_and_no_name_or_value_is_told(tmp_path, capfd):
    folder = tmp_path / "hospital" / "PLANTED^NAME"
    folder.mkdir(parents=True)
    for number in range(4):
        dataset = header()
        plant(dataset)
        written(dataset, folder, f"PLANTED {number}.dcm")
    shutil.copy(clean_file(tmp_path), folder / "0.dcm")
    status, said, err = verified(capfd, tmp_path / "hospital")
    assert status == 1
    assert said.splitlines()[-1].startswith("verify: 5 DICOM files, 4 with findings, ")
    assert "further findings" in said
    for secret in ("PLANTED", "19620304", "620304", "1.2.999"):
        assert secret not in said + err
    assert len(said.splitlines()) < 60
    assert "verify: file 1:" not in said  # the clean one


def test_verify_is_told_what_a_folder_should_conform_to(tmp_path, capfd):
    dataset = header()
    dataset.StudyDate = "20200304"
    clean_file(tmp_path, dataset, "RetainLongFullDates")
    assert verified(capfd, tmp_path / "out")[0] == 0
    assert verified(capfd, tmp_path / "out", "--options=RetainLongFullDates")[0] == 0
    assert verified(capfd, tmp_path / "out", "--options=CleanDescriptors")[0] == 1
    assert verified(capfd, tmp_path / "out", "--options=")[0] == 1


@pytest.mark.parametrize("name", ["IM00001", "I0000002.ima"])
def test_a_file_without_preamble_or_suffix_is_looked_at_too(tmp_path, capfd, name):
    # As old archives keep them; `radkit anonymize` reads them, so --verify may not pass them over.
    clean_file(tmp_path)
    whole = written(header(ImplicitVRLittleEndian), tmp_path, "aside").read_bytes()
    (tmp_path / "out" / name).write_bytes(whole[len(head_of(whole)) :])
    status, said, _ = verified(capfd, tmp_path / "out")
    assert status == 1
    assert "2 DICOM files, 1 with findings" in said


def test_a_directory_with_names_in_it_is_found(tmp_path, capfd):
    clean_file(tmp_path)
    record = Dataset()
    record.DirectoryRecordType, record.PatientName, record.PatientID = "PATIENT", "PLANTED^NAME", "PLANTED1"
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.999.5"
    directory.FileSetID, directory.DirectoryRecordSequence = "PLANTED", [record]
    directory.save_as(tmp_path / "out" / "DICOMDIR", enforce_file_format=True)
    status, said, _ = verified(capfd, tmp_path / "out")
    assert status == 1
    assert "PLANTED" not in said


@pytest.mark.parametrize("what", ["missing", "file", "empty", "no dicom"])
def test_what_cannot_be_looked_through_is_refused(tmp_path, capfd, what):
    folder = tmp_path / "folder"
    if what == "file":
        folder.touch()
    elif what != "missing":
        folder.mkdir()
    if what == "no dicom":
        (folder / "a.txt").write_text("a")
    status, said, err = verified(capfd, folder)
    assert (status, said) == (2, "")
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("uid", "new"),
    [
        (b"", True),
        (b"1.2.840.10008.1.2", True),
        (b"1.2.840.10008.5.1.4.1.1.2\0", True),
        (b"1.2.840.113619.2.1", False),
        (b"2.25.1", False),
        (b"2.25.PLANTED", False),
        (b"2.25.", False),
        (b"2.25.340282366920938463463374607431768211456", False),  # 2 to the 128th
        (b"2.25.0123", False),
    ],
)
def test_a_new_uid_is_told_from_an_old_one(uid, new):
    assert verify.is_new(uid) is new
