"""The engine: nothing planted survives at any depth, and what is not identity leaves as it came."""

import struct
import warnings
import zlib

import pydicom
import pytest
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)

from radkit.deid import deidentify, files, iods, keys, part10, profile, settings, verify, wire
from radkit.deid.rules import true_vr
from radkit.deid.wire import NotCleanable
from radkit.dicom.part10 import IMPLEMENTATION_CLASS_UID

KEY = keys.Key(bytes(range(32)))
OTHER = keys.Key(bytes(range(1, 33)))
BASIC = settings.Settings()
CT, SEGMENTATION = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"
PATIENT = (0x00100010, 0x00100020)
PIXELS = bytes(range(256)) * 2
SYNTAXES = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
)

# What is planted, by VR; the words are found again in raw bytes, whatever encodes them.
MARK = b"PLANTED"
DATE, TIME = b"19620304", b"112233"
PLANTED = {
    "DA": DATE, "TM": TIME, "DT": DATE + TIME, "AS": b"062Y", "IS": b"620304", "DS": b"620304", "UI": b"1.2.999.620304",
    "PN": b"PLANTED^NAME", "CS": b"PLANTED ", "UR": b"https://PLANTED.example", "US": b"\x77\x77", "UL": b"\x77" * 4,
}  # fmt: skip
TRACES = (MARK, DATE, TIME, b"062Y", b"620304")


def header(syntax=ExplicitVRLittleEndian):
    """Returns a small made-up CT image with a patient in it."""
    dataset = Dataset()
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    dataset.set_original_encoding(implicit, little)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.999.3", "1.2.999.2", "1.2.999.1"
    dataset.FrameOfReferenceUID = "1.2.999.4"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = "PLANTED^NAME", "PLANTED1", DATE.decode()
    dataset.Modality, dataset.ConvolutionKernel, dataset.KVP = "CT", "SOFT", "120"
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 16, 12, 11
    dataset.PixelRepresentation, dataset.SamplesPerPixel = 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = encapsulate([PIXELS, PIXELS]) if syntax.is_compressed and syntax.is_encapsulated else PIXELS
    dataset["PixelData"].VR = "OB" if syntax.is_encapsulated else "OW"
    dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
    return dataset


def raw(tag, vr, value):
    value += b" " * (len(value) % 2) if vr not in ("UI", "OB") else b"\0" * (len(value) % 2)
    return RawDataElement(BaseTag(tag), vr, len(value), value, 0, False, True)


def plant(dataset):
    """Adds every attribute of the table but the instance's own identifiers, private ones, and whole groups."""
    rows = {tag: profile.vr(tag) for tag in profile.ATTRIBUTES if tag >> 16 not in (0, 2) and tag not in dataset}
    rows |= {0x50003000: "OW", 0x50000110: "OB", 0x60020022: "LO", 0x60023000: "OW", 0x601E1500: "LO"}
    rows |= {0x00090010: "LO", 0x00091001: "UN", 0x00091002: "SQ", 0xFFFCFFFC: "OB", 0xFFFAFFFA: "SQ", 0x00420010: "ST"}
    rows |= {0x00041500: "CS", 0x00080001: "UL", 0x00FE0002: "LO", 0x0040A160: "UT", 0x00140104: "PN"}
    for tag, vr in rows.items():
        if vr == "SQ":
            item = Dataset()
            item.add(raw(0x00080104, "LO", MARK)) if profile.action(tag) else None
            item.add(raw(0x00080080, "LO", MARK))
            item.add(raw(0x00100010, "PN", PLANTED["PN"]))
            dataset.add(DataElement(tag, "SQ", Sequence([item])))
        else:
            dataset.add(raw(tag, vr, PLANTED.get(vr, MARK)))


def packed(dataset, syntax):
    """Returns a data set's elements as bytes: raw ones as they are, whatever their VR says."""
    parts = []
    for element in dataset.elements():
        if element.is_raw:
            parts.append(wire.element(element.tag, element.VR, element.value, syntax))
        elif element.VR == "SQ":
            parts.append(packed_items(element, syntax))
        else:
            buffer = DicomBytesIO()
            buffer.is_implicit_VR, buffer.is_little_endian = syntax.implicit, not syntax.big
            write_data_element(buffer, dataset[element.tag], [dataset.get("SpecificCharacterSet", "ISO_IR 6")])
            parts.append(buffer.getvalue())
    return b"".join(parts)


def packed_items(element, syntax):
    contents = [(item, packed(item, syntax)) for item in element.value]
    if not element.is_undefined_length:
        return wire.sequence(element.tag, [content for _, content in contents], syntax)
    items = b"".join(
        wire.item_header(wire.UNDEFINED, syntax) + content + wire.delimiter(wire.ITEM_END, syntax)
        if getattr(item, "is_undefined_length_sequence_item", False)
        else wire.item_header(len(content), syntax) + content
        for item, content in contents
    )
    head = wire.header(element.tag, "SQ", wire.UNDEFINED, syntax)
    return head + items + wire.delimiter(wire.SEQUENCE_END, syntax)


def written(dataset, folder, name="in.dcm"):
    """Writes a data set in its own transfer syntax and returns the file."""
    path = folder / name
    said = dataset.file_meta.TransferSyntaxUID
    syntax = {ImplicitVRLittleEndian: wire.IMPLICIT, ExplicitVRBigEndian: wire.BIG}.get(said, wire.EXPLICIT)
    body = packed(dataset, syntax)
    if said == DeflatedExplicitVRLittleEndian:
        body = part10.deflated(body)
    path.write_bytes(part10.meta(dataset.SOPClassUID, dataset.SOPInstanceUID, said) + body)
    return path


def cleaned(path, folder, key=KEY, chosen=BASIC):
    """Returns the output file of one input."""
    return folder / files.deidentify_file(path, folder, files.Work(key, chosen)).place


def content(path):
    """Returns a file's bytes, inflated, without the pixels (which a random match would be found in)."""
    bytes_ = path.read_bytes()
    start = 132 + 12 + struct.unpack("<L", bytes_[140:144])[0]
    if str(DeflatedExplicitVRLittleEndian).encode() in bytes_[:start]:
        return bytes_[:start] + zlib.decompress(bytes_[start:], -zlib.MAX_WBITS)
    return bytes_


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("undefined", [False, True])
def test_nothing_planted_survives(tmp_path, syntax, depth, undefined):
    dataset = header(syntax)
    inner = dataset
    for _ in range(depth):
        item = Dataset()
        item.is_undefined_length_sequence_item = undefined
        # Two sequences that the table does not list, one within the other.
        tag = 0x52009230 if inner is dataset else 0x00081115
        inner.add(DataElement(tag, "SQ", Sequence([item]), is_undefined_length=undefined))
        inner = item
    plant(inner)
    source = written(dataset, tmp_path)
    assert all(trace in content(source) for trace in TRACES)
    output = cleaned(source, tmp_path / "out")
    assert [trace for trace in TRACES if trace in content(output)] == []
    assert b"1.2.999." not in content(output)
    assert not any(b"PLANTED" in str(p).encode() for p in (tmp_path / "out").rglob("*"))
    assert verify.file(output) == []
    _check_actions(pydicom.dcmread(output), depth)


def _check_actions(dataset, depth):
    """Each attribute of the table is absent, empty or valid as its code asks where the IOD gives it that Type."""
    inner, node = dataset, iods.root(CT)
    for _ in range(depth):
        tag = 0x52009230 if inner is dataset else 0x00081115
        inner, node = inner[tag].value[0], node.child(tag) if node else None
    assert not [e for e in inner if e.tag.group >> 8 in (0x50, 0x60)]
    for tag, row in profile.ATTRIBUTES.items():
        kind = node.types.get(tag, "3") if node else "3"
        allowed = {"1": row.basic.split("/")[-1], "2": row.basic.removeprefix("X/")[0], "3": row.basic[0]}[kind]
        element = inner.get(tag)
        if allowed == "X" or tag >> 16 in (0, 2, 4):
            assert element is None, row.keyword
        elif tag not in (0x00081110, *PATIENT):  # ReferencedStudySequence goes, the patient is the pseudonym
            assert element is not None, row.keyword
            assert (element.value in ("", None, b"", [])) == (allowed == "Z"), row.keyword
    assert not [e for e in inner.iterall() if e.tag.is_private]


def test_all_dummies_are_valid_for_their_vr(tmp_path):
    dataset = header()
    plant(dataset)
    output = cleaned(written(dataset, tmp_path), tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for element in pydicom.dcmread(output).iterall():
            DataElement(element.tag, element.VR, element.value)  # pydicom validates on construction


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_pixels_transfer_syntax_and_class_are_the_same_bits(tmp_path, syntax):
    source = written(header(syntax), tmp_path)
    before, after = pydicom.dcmread(source), pydicom.dcmread(cleaned(source, tmp_path / "out"))
    assert before.get_item("PixelData").value == after.get_item("PixelData").value
    assert before.get_item("PixelData").length == after.get_item("PixelData").length
    assert after.file_meta.TransferSyntaxUID == syntax
    assert after.SOPClassUID == before.SOPClassUID
    assert (after.Rows, after.KVP, after.ConvolutionKernel) == (16, 120, "SOFT")


def test_uids_refer_to_each_other_as_before(tmp_path):
    dataset = header()
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    dataset.ReferencedInstanceSequence = [reference]
    dataset.FailedSOPInstanceUIDList = ["1.2.999.3", "1.2.999.8"]
    dataset.MultiFrameSourceSOPInstanceUID = "1.2.999.3"  # not in the table
    after = deidentify(dataset, KEY)
    instance = KEY.uid("1.2.999.3")
    assert dataset.SOPInstanceUID == "1.2.999.3"
    assert after.SOPInstanceUID == instance
    assert after.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == instance
    assert after.ReferencedInstanceSequence[0].ReferencedSOPClassUID == dataset.SOPClassUID
    assert after.FailedSOPInstanceUIDList == [instance, KEY.uid("1.2.999.8")]
    assert after.MultiFrameSourceSOPInstanceUID == instance


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_list_of_all_references_goes_with_the_last_reference(tmp_path, syntax):
    dataset, series = header(syntax), Dataset()
    series.ReferencedInstanceSequence = []
    series.ReferencedImageSequence = []  # is removed: of Type 3 there
    dataset.ReferencedSeriesSequence = [series]
    after = pydicom.dcmread(cleaned(written(dataset, tmp_path), tmp_path / "out"))
    assert "ReferencedSeriesSequence" not in after


def test_a_standard_frame_of_reference_stays():
    dataset = header()
    dataset.FrameOfReferenceUID = "1.2.840.10008.1.4.1.1"
    assert deidentify(dataset, KEY).FrameOfReferenceUID == "1.2.840.10008.1.4.1.1"


def test_the_patient_is_one_pseudonym_everywhere():
    dataset = header()
    again, other = Dataset(), Dataset()
    again.PatientID, again.PatientName = "PLANTED1 ", "PLANTED^NAME"
    other.PatientID = "PLANTED2"
    dataset.SharedFunctionalGroupsSequence = [again, other]
    after = deidentify(dataset, KEY)
    assert after.PatientID == str(after.PatientName) == KEY.patient("PLANTED1")
    assert after.SharedFunctionalGroupsSequence[0].PatientID == str(after.SharedFunctionalGroupsSequence[0].PatientName)
    assert after.SharedFunctionalGroupsSequence[0].PatientID == after.PatientID
    assert after.SharedFunctionalGroupsSequence[1].PatientID == KEY.patient("PLANTED2")


def test_patients_without_an_identifier_are_not_one_patient():
    named, namesake, unknown, unknown_too = header(), header(), header(), header()
    for dataset in (named, namesake, unknown, unknown_too):
        dataset.PatientID = ""
    namesake.PatientBirthDate = "19000102"
    for dataset in (unknown, unknown_too):
        del dataset.PatientName
    unknown_too.StudyInstanceUID = "1.2.999.77"
    pseudonyms = [deidentify(d, KEY).PatientID for d in (named, namesake, unknown, unknown_too)]
    assert len(set(pseudonyms)) == 4
    assert all(pseudonyms)


def test_markers_say_what_was_done():
    after = deidentify(header(), KEY)
    assert after.PatientIdentityRemoved == "YES"
    assert after.LongitudinalTemporalInformationModified == "REMOVED"
    assert profile.EDITION in after.DeidentificationMethod
    assert len(after.DeidentificationMethod) <= 64
    (code,) = after.DeidentificationMethodCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("113100", "DCM")
    assert "BurnedInAnnotation" not in after


def test_meta_and_preamble_are_new(tmp_path):
    source = written(header(), tmp_path)
    before = pydicom.dcmread(source)
    before.preamble = b"PLANTED" + bytes(121)
    before.file_meta.SourceApplicationEntityTitle = "PLANTED"
    before.file_meta.PrivateInformationCreatorUID = "1.2.999.9"
    before.file_meta.PrivateInformation = b"PLANTED "
    before.save_as(source)
    output = cleaned(source, tmp_path / "out")
    after = pydicom.dcmread(output)
    assert after.preamble == bytes(128)
    assert [e.tag.element for e in after.file_meta] == [0x0, 0x1, 0x2, 0x3, 0x10, 0x12, 0x13]
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
    assert after.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert b"PLANTED" not in output.read_bytes()


def test_a_file_without_preamble_and_meta_is_cleaned(tmp_path):
    for number, start in ((1, b"\x08\0"), (2, b"\x02\0")):
        whole = written(header(ImplicitVRLittleEndian), tmp_path).read_bytes()
        bare = whole[132:] if start == b"\x02\0" else whole[132 + 12 + struct.unpack("<L", whole[140:144])[0] :]
        assert bare.startswith(start)
        (tmp_path / f"bare{number}").write_bytes(bare)
        after = pydicom.dcmread(cleaned(tmp_path / f"bare{number}", tmp_path / f"out{number}"))
        assert after.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        assert after.PatientID == KEY.patient("PLANTED1")


def test_kept_text_keeps_its_character_set(tmp_path):
    dataset = header()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = SEGMENTATION
    dataset.SegmentSequence = [Dataset()]
    dataset.SegmentSequence[0].SegmentLabel = "Großhirn"
    dataset.PatientID = "Jürgen"
    source = written(dataset, tmp_path)
    after = pydicom.dcmread(cleaned(source, tmp_path / "out"))
    assert after.SegmentSequence[0].SegmentLabel == "Großhirn"
    assert after.PatientID == KEY.patient("Jürgen")


def test_a_known_sequence_written_as_un_is_cleaned_inside(tmp_path):
    item = struct.pack("<HHL", 0x0010, 0x0010, 12) + b"PLANTED^NAME" + struct.pack("<HHL", 0x0018, 0x0060, 4) + b"120 "
    value = struct.pack("<HHL", 0xFFFE, 0xE000, len(item)) + item
    dataset = header()
    del dataset.PatientName
    dataset.add(raw(0x52009230, "UN", value))
    output = cleaned(written(dataset, tmp_path), tmp_path / "out")
    assert b"PLANTED" not in output.read_bytes()
    assert pydicom.dcmread(output)[0x52009230].value[0].KVP == 120


def test_codes_of_persons_and_places_become_dummies():
    dataset = header()
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "PLANTED", "99PLANTED", "PLANTED"
    dataset.InstitutionCodeSequence = [code]
    dataset.PersonIdentificationCodeSequence = [code]
    after = deidentify(dataset, KEY)
    assert "PLANTED" not in str(after)
    assert "InstitutionCodeSequence" not in after  # Type 3
    assert after.PersonIdentificationCodeSequence[0].CodingSchemeDesignator == "99RADKIT"


@pytest.mark.parametrize("value", [b"19", b"garbage ", b"19620304-19630304", b"\xff\xfe", b"1962"])
def test_odd_values_neither_stop_nor_survive(tmp_path, value):
    dataset = header()
    for tag in (0x00080020, 0x00080021, 0x00080022, 0x0008002A, 0x00101010, 0x00100030):
        dataset.add(raw(tag, true_vr(tag), value))
    dataset.add(raw(0x00180050, "DS", b"thick "))
    after = pydicom.dcmread(cleaned(written(dataset, tmp_path), tmp_path / "out"))
    assert "SeriesDate" not in after  # Type 3 in CT
    assert after.StudyDate == ""
    assert after.get_item("SliceThickness").value == b"thick "


REFUSALS = [
    ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.9.4.2"}, "spoken words"),
    ({"SOPClassUID": "1.2.840.10008.1.3.10"}, "DICOMDIR: made anew"),
    ({"SOPInstanceUID": "PLANTED/.."}, "SOPInstanceUID is no UID"),
    ({"StudyInstanceUID": ""}, "StudyInstanceUID is missing"),
    ({"SOPInstanceUID": ""}, "SOPInstanceUID is missing"),
    ({"SOPClassUID": ""}, "SOPClassUID is missing"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSALS)
def test_what_cannot_be_cleaned_is_refused_untouched(changes, reason):
    dataset = header()
    for keyword, value in changes.items():
        dataset[keyword] = DataElement(keyword, "UI", value, validation_mode=pydicom.config.IGNORE)
    chosen = settings.Settings(frozenset(("RetainUIDs",)))  # so that a UID that is none would become a name
    with pytest.raises(NotCleanable, match=reason) as refused:
        deidentify(dataset, KEY, chosen)
    assert dataset.PatientID == "PLANTED1"
    assert "PLANTED" not in str(refused.value)


def test_a_stray_document_or_content_tree_in_an_image_is_cleaned():
    dataset = header()
    dataset.EncapsulatedDocument = b"%PDF PLANTED"
    dataset.ContentSequence = [Dataset()]
    dataset.ContentSequence[0].TextValue = "PLANTED"
    after = deidentify(dataset, KEY)
    assert b"PLANTED" not in after.EncapsulatedDocument
    assert after.EncapsulatedDocument
    assert "PLANTED" not in str(after)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_cut_anywhere_is_refused_or_cut_between_elements(tmp_path, syntax):
    whole = written(header(syntax), tmp_path).read_bytes()
    for length in {*range(0, len(whole), 37), len(whole) - 1, len(whole) - 7}:
        (tmp_path / "cut.dcm").write_bytes(whole[:length])
        try:
            output = cleaned(tmp_path / "cut.dcm", tmp_path / "out")
        except NotCleanable:
            continue
        # What passes ended exactly where an element does (or in a deflated file's padding): no half value.
        assert pydicom.dcmread(output).get("PixelData") in (None, header(syntax).PixelData)
        output.unlink()


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04" + bytes(500), b"Patient: PLANTED\n" * 40, bytes(2000)])
def test_what_is_no_dicom_is_refused_silently(tmp_path, content, caplog, capsys):
    (tmp_path / "PLANTED.txt").write_bytes(content)
    with pytest.raises(NotCleanable) as refused:
        cleaned(tmp_path / "PLANTED.txt", tmp_path / "out")
    shown = capsys.readouterr()
    assert "PLANTED" not in f"{refused.value}{caplog.text}{shown.out}{shown.err}"


def test_the_same_key_gives_the_same_bytes_and_another_key_other_uids(tmp_path):
    dataset = header()
    plant(dataset)
    source = written(dataset, tmp_path)
    one, two = cleaned(source, tmp_path / "1"), cleaned(source, tmp_path / "2")
    other = cleaned(source, tmp_path / "3", OTHER)
    assert one.read_bytes() == two.read_bytes()
    assert one.relative_to(tmp_path / "1") == two.relative_to(tmp_path / "2")
    first, third = pydicom.dcmread(one), pydicom.dcmread(other)
    for keyword in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID"):
        assert first[keyword].value != third[keyword].value


def test_cleaning_the_clean_changes_no_structure(tmp_path):
    dataset = header()
    plant(dataset)
    once = cleaned(written(dataset, tmp_path), tmp_path / "1")
    twice = cleaned(once, tmp_path / "2")
    shape = [[(e.tag, e.VR) for e in pydicom.dcmread(path).iterall()] for path in (once, twice)]
    assert shape[0] == shape[1]


def test_the_path_is_made_of_the_new_values(tmp_path):
    output = cleaned(written(header(), tmp_path), tmp_path / "out")
    after = pydicom.dcmread(output)
    expected = f"{after.PatientID}/{after.StudyInstanceUID}/{after.SeriesInstanceUID}/{after.SOPInstanceUID}.dcm"
    assert output.relative_to(tmp_path / "out").as_posix() == expected
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == [output]


def test_of_one_instance_the_first_in_the_listing_stays_whoever_was_faster(tmp_path):
    source = written(header(), tmp_path)
    different = header()
    different.Rows = 17
    elsewhere = header()
    elsewhere.PatientID = "PLANTED2"
    inputs = {1: source, 2: written(different, tmp_path, "2"), 3: source, 4: written(elsewhere, tmp_path, "4")}
    for order in ([1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]):
        root = tmp_path / "".join(map(str, order))
        results = [(n, files.deidentify_file(inputs[n], root, files.Work(KEY, BASIC))) for n in order]
        same, other = files.settle(root, [(n, w.place, w.aside) for n, w in results])
        assert (same, other) == ({3}, {2, 4})
        (left,) = (p for p in root.rglob("*") if p.is_file() and files.CONFLICTS not in p.parts)
        assert pydicom.dcmread(left).Rows == 16
        apart = [p for p in (root / files.CONFLICTS).rglob("*") if p.is_file()]
        assert sorted(p.suffixes[-2] for p in apart) == [".2", ".4"]
        assert {pydicom.dcmread(p).Rows for p in apart} == {16, 17}


def test_files_are_written_where_links_are_not_supported(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(files.os, "link", refuse)
    source = written(header(), tmp_path)
    output = cleaned(source, tmp_path / "out")
    assert files.deidentify_file(source, tmp_path / "out", files.Work(KEY, BASIC)).aside == ""
    assert pydicom.dcmread(output).Rows == 16


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, False),
        ({"Modality": "US"}, True),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, False),
        ({"BurnedInAnnotation": "YES"}, True),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, True),
    ],
)
def test_pixels_that_may_show_text_are_counted(tmp_path, changes, expected):
    dataset = header()
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    result = files.deidentify_file(written(dataset, tmp_path), tmp_path / "out", files.Work(KEY, BASIC))
    assert result.outcome.pixels_with_text is expected
