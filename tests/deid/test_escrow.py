"""Escrow: the original attributes come back for the holder of the private key, and for other programs, too."""

import builtins
import contextlib
import copy
import datetime
import io
import shutil
import subprocess

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import CTImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

pytest.importorskip("cryptography")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs7

from radkit.deid import escrow
from radkit.errors import UserError

needs_gdcm = pytest.mark.skipif(shutil.which("gdcmanon") is None, reason="needs gdcmanon (libgdcm-tools)")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


def pair(private):
    """Returns a self-signed certificate and its private key, both as PEM."""
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "made up")])
    start = datetime.datetime(2020, 1, 1)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    builder = builder.serial_number(7).not_valid_before(start).not_valid_after(start.replace(year=2120))
    certificate = builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return certificate, key_pem(private)


def key_pem(private, encryption=None):
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


PRIVATE = rsa.generate_private_key(65537, 2048)
CERTIFICATE, KEY = pair(PRIVATE)
OTHER_KEY = key_pem(rsa.generate_private_key(65537, 2048))


def original(uid="1.2.3.4"):
    """Returns attributes of every shape: text beyond ASCII, nested, private, bytes, numbers, empty."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPInstanceUID = uid
    dataset.PatientName = "Zufall^Zöe"
    dataset.PatientID = "MRN 4711"
    dataset.PatientWeight = "71.5"
    dataset.StudyDate = ""
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2.3.5"
    inner.PersonName = "Übel^Udo"
    dataset.ReferencedStudySequence = [inner, Dataset()]
    dataset.private_block(0x0029, "MADE UP", create=True).add_new(0x10, "OB", b"\0\1\2\3")
    return dataset


def item_of(dataset, certificate=CERTIFICATE):
    return escrow.encrypted_attributes(dataset, certificate)


def test_the_attributes_come_back():
    before = original()
    item = item_of(before)
    assert escrow.original_attributes(item, KEY) == original()
    assert before == original()
    assert item.EncryptedContentTransferSyntaxUID == ExplicitVRLittleEndian
    assert len(item.EncryptedContent) % 2 == 0
    for plain in (b"MRN", b"Zufall", b"MADE UP"):
        assert plain not in item.EncryptedContent


def test_the_same_attributes_are_never_encrypted_the_same():
    assert item_of(original()).EncryptedContent != item_of(original()).EncryptedContent


@pytest.mark.slow
@settings(max_examples=40)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\\"), max_size=64))
def test_any_text_comes_back(text):
    dataset = original()
    dataset.PatientComments = text
    back = escrow.original_attributes(item_of(dataset), KEY)
    assert str(back.PatientComments or "").rstrip(" ") == text.rstrip(" ")


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_attributes_that_were_read_from_a_file_come_back(syntax):
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = syntax.is_implicit_VR, syntax.is_little_endian
    before = original()
    before.Rows, before.SmallestImagePixelValue, before.PixelRepresentation = 258, 3, 0
    write_dataset(buffer, before)
    buffer.seek(0)
    read = read_dataset(buffer, syntax.is_implicit_VR, syntax.is_little_endian)
    back = escrow.original_attributes(item_of(read), KEY)
    for name in ("PatientName", "PatientWeight", "Rows", "SmallestImagePixelValue", "StudyDate", "SOPInstanceUID"):
        assert back[name] == before[name]
    assert back.ReferencedStudySequence == before.ReferencedStudySequence
    assert back[0x00291010].value == b"\0\1\2\3"


def test_a_message_of_each_length_comes_back():
    for length in range(2, 80, 2):
        dataset = original()
        dataset.EncapsulatedDocument = bytes(length)
        assert escrow.original_attributes(item_of(dataset), KEY).EncapsulatedDocument == bytes(length)


def test_cryptography_reads_it_as_cms():
    content = item_of(original()).EncryptedContent
    length = 4 + int.from_bytes(content[2:4], "big")  # without the byte that makes it even
    certificate = x509.load_pem_x509_certificate(CERTIFICATE)
    plain = pkcs7.pkcs7_decrypt_der(content[:length], certificate, PRIVATE, [])
    whole = read_dataset(io.BytesIO(plain), is_implicit_VR=False, is_little_endian=True)
    assert [element.keyword for element in whole] == ["ModifiedAttributesSequence"]
    assert [item.PatientID for item in whole.ModifiedAttributesSequence] == ["MRN 4711"]


@needs_openssl
def test_openssl_reads_it_as_cms(tmp_path):
    (tmp_path / "key.pem").write_bytes(KEY)
    (tmp_path / "cms").write_bytes(item_of(original()).EncryptedContent)
    command = ["openssl", "cms", "-decrypt", "-binary", "-inform", "DER", "-in", "cms", "-inkey", "key.pem"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"\x00\x04\x50\x05SQ")
    shown = subprocess.run(
        ["openssl", "asn1parse", "-inform", "DER", "-in", "cms"], cwd=tmp_path, capture_output=True, timeout=180
    ).stdout
    for said in (b"pkcs7-envelopedData", b"rsaEncryption", b"aes-256-cbc"):
        assert said in shown


def instance(attributes, syntax=ExplicitVRLittleEndian):
    """Returns a CT instance with the attributes, and nothing else of a patient."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = attributes.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset("", copy.deepcopy(attributes), file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = CTImageStorage
    dataset.Rows = 2
    return dataset


def gdcmanon(folder, *arguments):
    done = subprocess.run(["gdcmanon", *arguments], cwd=folder, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr + done.stdout


@needs_gdcm
@pytest.mark.parametrize("length", range(2, 18, 2))
def test_gdcmanon_puts_the_attributes_back(tmp_path, length):
    before = original()
    before.EncapsulatedDocument = bytes(length)
    (tmp_path / "key.pem").write_bytes(KEY)
    stand_in = Dataset()
    stand_in.SOPInstanceUID = "2.25.9"
    stand_in.PatientName = stand_in.PatientID = "PABCDEFGHIJ234567"
    stand_in.PatientIdentityRemoved = "YES"
    stand_in.EncryptedAttributesSequence = [item_of(before)]
    instance(stand_in).save_as(tmp_path / "in.dcm", enforce_file_format=True)
    gdcmanon(tmp_path, "--re-identify", "--key", "key.pem", "in.dcm", "out.dcm")
    after = pydicom.dcmread(tmp_path / "out.dcm")
    assert "EncryptedAttributesSequence" not in after
    assert "PatientIdentityRemoved" not in after
    assert Dataset({element.tag: after[element.tag] for element in before}) == before
    assert after.Rows == 2


@needs_gdcm
def test_what_gdcmanon_put_in_escrow_is_read(tmp_path):
    (tmp_path / "cert.pem").write_bytes(CERTIFICATE)
    instance(original()).save_as(tmp_path / "in.dcm", enforce_file_format=True)
    for cipher in ("--aes128", "--aes192", "--aes256"):
        gdcmanon(tmp_path, "--de-identify", cipher, "--certificate", "cert.pem", "in.dcm", "out.dcm")
        [item] = pydicom.dcmread(tmp_path / "out.dcm").EncryptedAttributesSequence
        back = escrow.original_attributes(item, KEY)
        assert (back.PatientID, back.SOPInstanceUID) == ("MRN 4711", "1.2.3.4")


def test_another_key_is_refused_in_the_words_of_damage():
    with pytest.raises(UserError, match="another key, or damaged"):
        escrow.original_attributes(item_of(original()), OTHER_KEY)


def test_changed_or_cut_content_is_refused_or_differs_never_a_crash():
    item = item_of(original())
    whole = item.EncryptedContent
    damaged = [whole[:cut] for cut in range(0, len(whole), 29)]
    damaged += [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(0, len(whole), 29)]
    for content in damaged:
        item.EncryptedContent = content
        with contextlib.suppress(ValueError):  # EnvelopedData has no seal: some changes only give other values
            escrow.original_attributes(item, KEY)


@pytest.mark.slow
@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_message_are_refused(content):
    item = Dataset()
    item.EncryptedContentTransferSyntaxUID = ExplicitVRLittleEndian
    item.EncryptedContent = content
    with pytest.raises(UserError, match="cannot be opened"):
        escrow.original_attributes(item, KEY)


def test_an_empty_item_and_an_odd_transfer_syntax_are_refused():
    with pytest.raises(UserError, match="transfer syntax"):
        escrow.original_attributes(Dataset(), KEY)
    item = item_of(original())
    del item.EncryptedContent
    with pytest.raises(UserError, match="cannot be opened"):
        escrow.original_attributes(item, KEY)


@pytest.mark.parametrize("pem", [b"", b"no PEM", CERTIFICATE[:200], KEY, b"\xff\xfe"])
def test_what_is_no_certificate_is_refused_without_showing_it(pem):
    with pytest.raises(UserError, match="certificate cannot be read") as error:
        item_of(original(), pem)
    assert pem == b"" or pem[:20].decode("latin-1") not in str(error.value)


def test_a_certificate_of_another_kind_or_too_weak_is_refused():
    with pytest.raises(UserError, match="not RSA"):
        item_of(original(), pair(ec.generate_private_key(ec.SECP256R1()))[0])
    with pytest.raises(UserError, match="1024 bits; at least 2048"):
        item_of(original(), pair(rsa.generate_private_key(65537, 1024))[0])


@pytest.mark.parametrize("pem", [b"", b"no PEM", CERTIFICATE, KEY[:300]])
def test_what_is_no_private_key_is_refused(pem):
    with pytest.raises(UserError, match="private key cannot be read"):
        escrow.original_attributes(item_of(original()), pem)


def test_a_private_key_with_a_passphrase_or_of_another_kind_is_refused():
    locked = key_pem(PRIVATE, serialization.BestAvailableEncryption(b"open sesame"))
    with pytest.raises(UserError, match="passphrase"):
        escrow.original_attributes(item_of(original()), locked)
    with pytest.raises(UserError, match="not an RSA key"):
        escrow.original_attributes(item_of(original()), key_pem(ec.generate_private_key(ec.SECP256R1())))


def test_attributes_without_the_instances_uid_are_refused():
    dataset = original()
    del dataset.SOPInstanceUID
    with pytest.raises(ValueError, match="SOPInstanceUID"):
        item_of(dataset)


def test_a_value_that_cannot_be_written_is_told_without_the_value(caplog):
    dataset = original()
    dataset[0x00101010] = pydicom.DataElement(0x00101010, "AS", "042Y")
    dataset[0x00101010]._value = {"Zora": 42}
    with pytest.raises(ValueError, match="cannot be written") as error:
        item_of(dataset)
    assert "Zora" not in str(error.value)
    assert error.value.__cause__ is None
    assert not caplog.records


def test_a_missing_package_is_one_line(monkeypatch):
    item, importing = item_of(original()), builtins.__import__

    def without(name, *rest):
        if name.startswith("cryptography"):
            raise ModuleNotFoundError(name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for act in (lambda: item_of(original()), lambda: escrow.original_attributes(item, KEY)):
        with pytest.raises(UserError, match=r"pip install 'radkit\[deid\]'"):
            act()
