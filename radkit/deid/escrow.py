"""The standard's own way back: the attributes that were replaced, encrypted for one recipient within the instance.

Anybody may carry the item along; only who holds the certificate's private key can read it, with radkit, with
`gdcmanon --re-identify`, or with any other reader of CMS.

Source: DICOM PS3.15 E.1.1 and E.1.2 (AES for the content, RSA for its key), PS3.3 C.12.1.1.4.1 (the data set), RFC 5652
section 6 (EnvelopedData), RFC 3565 (AES-CBC in CMS).
"""

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radkit.errors import UserError

_MIN_RSA_BITS = 2048  # NIST SP 800-57 part 1, table 2: below, too weak for what is given away for good
_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)

_RSA_ENCRYPTION = bytes.fromhex("2a864886f70d010101")  # 1.2.840.113549.1.1.1
# 2.16.840.1.101.3.4.1.2, .22 and .42: AES-CBC with keys of 128, 192 and 256 bits, here by their bytes.
_AES_KEY_BYTES = {bytes.fromhex(f"6086480165030401{last}"): size for last, size in (("02", 16), ("16", 24), ("2a", 32))}
_SEQUENCE, _SET = 0x30, 0x31
_FIRST_TAGS = (b"\x00\x04\x50\x05", b"\x04\x00\x05\x50")  # (0400,0550), little and big endian


def recipient(certificate_pem: bytes) -> Any:
    """Returns the X.509 certificate of a PEM: to be asked before hours of work.

    Raises:
        UserError: It is no certificate, its key is not RSA or is weak, or `cryptography` is missing.
    """
    with _cryptography():
        from cryptography import x509
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import rsa
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UserError("the certificate cannot be read; a PEM file with an X.509 certificate was expected") from error
    if not isinstance(public, rsa.RSAPublicKey):
        raise UserError("the certificate's key is not RSA, which the standard asks for; make one with an RSA key")
    if public.key_size < _MIN_RSA_BITS:
        raise UserError(f"the certificate's RSA key has {public.key_size} bits; at least {_MIN_RSA_BITS} were expected")
    return certificate


def encrypted_attributes(original: Dataset, certificate_pem: bytes) -> Dataset:
    """Returns an item of EncryptedAttributesSequence that holds a data set, readable with the private key only.

    Args:
        original: The attributes that were replaced or removed, with their first values: a sequence whole when anything
            in it changed, always SOPInstanceUID (readers ask for it), and SpecificCharacterSet where there was one.
        certificate_pem: The recipient's certificate with an RSA key.

    Raises:
        UserError: As `recipient`.
        ValueError: SOPInstanceUID is missing, or a value cannot be written.
    """
    certificate = recipient(certificate_pem)
    from cryptography.hazmat.primitives.ciphers.algorithms import AES256
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    if "SOPInstanceUID" not in original:
        raise ValueError("escrow needs SOPInstanceUID among the attributes (PS3.15 E.1.1)")
    builder = pkcs7.PKCS7EnvelopeBuilder().set_data(_encoded(original)).add_recipient(certificate)
    builder = builder.set_content_encryption_algorithm(AES256)
    content = builder.encrypt(Encoding.DER, [pkcs7.PKCS7Options.Binary])
    item = Dataset()
    item.EncryptedContentTransferSyntaxUID = ExplicitVRLittleEndian
    item.EncryptedContent = content + b"\0" * (len(content) % 2)  # PS3.5 6.2: OB is of even length
    return item


def original_attributes(item: Dataset, private_key_pem: bytes) -> Dataset:
    """Returns the data set within an item of EncryptedAttributesSequence.

    Raises:
        UserError: The key is no RSA key in PEM or has a passphrase; the item is not for this key, or is damaged;
            `cryptography` is missing.
    """
    private = _private_key(private_key_pem)
    syntax = UID(str(item.get("EncryptedContentTransferSyntaxUID", "")).strip(" \0"))
    if syntax not in _SYNTAXES:
        raise UserError("the encrypted attributes are in a transfer syntax that is not read here")
    plain = None
    with contextlib.suppress(AttributeError, LookupError, TypeError, ValueError, StopIteration):
        plain = _opened(bytes(item.EncryptedContent), private)
    if plain is None:
        # One line for both: a wrong key cannot be told from changed bytes (RFC 3218).
        raise UserError("the encrypted attributes cannot be opened: they are for another key, or damaged")
    return _decoded(plain, syntax)


def _encoded(original: Dataset) -> bytes:
    wrapper = Dataset()
    wrapper.ModifiedAttributesSequence = [copy.copy(original)]  # a copy, as the sequence makes itself its parent
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    with _without_values("cannot be written"):
        write_dataset(buffer, wrapper)
    encoded: bytes = buffer.getvalue()
    return encoded


def _decoded(plain: bytes, syntax: UID) -> Dataset:
    with _without_values("cannot be read"):
        whole = read_dataset(DicomBytesIO(plain), syntax.is_implicit_VR, syntax.is_little_endian)
        items = whole.ModifiedAttributesSequence
        if len(items) != 1:
            raise ValueError
        return Dataset(items[0])


@contextlib.contextmanager
def _without_values(what: str) -> Iterator[None]:
    """Keeps values out of warnings, log and errors: pydicom quotes them in all three."""
    log = logging.getLogger("pydicom")

    def nothing(_: logging.LogRecord) -> bool:
        return False

    log.addFilter(nothing)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # noqa: BLE001 - whatever pydicom makes of a malformed value
        raise ValueError(f"an attribute for escrow {what} ({type(error).__name__})") from None
    finally:
        log.removeFilter(nothing)


def _private_key(pem: bytes) -> Any:
    with _cryptography():
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric import rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    try:
        private = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise UserError("the private key has a passphrase; give it without (openssl pkey -in A -out B)") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UserError("the private key cannot be read; a PEM file with an RSA private key was expected") from error
    if not isinstance(private, rsa.RSAPrivateKey):
        raise UserError("the private key is not an RSA key; name the one of the certificate")
    return private


@contextlib.contextmanager
def _cryptography() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UserError("escrow needs cryptography, which is not installed; pip install 'radkit[deid]'") from error


def _opened(message: bytes, private: Any) -> bytes | None:
    """Returns what an EnvelopedData holds, or None when no recipient's key is this one (RFC 5652 6.1, 6.2.1)."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

    enveloped = _parts(_parts(_parts(message)[0][1])[1][1])[0][1]
    recipients, content = (next(value for tag, value in _parts(enveloped) if tag == kind) for kind in (_SET, _SEQUENCE))
    _, (_, algorithm), (_, encrypted) = _parts(content)
    (_, cipher), (_, start) = _parts(algorithm)
    for _, transport in (part for part in _parts(recipients) if part[0] == _SEQUENCE):
        _, _, (_, method), (_, sealed_key) = _parts(transport)
        if _parts(method)[0][1] == _RSA_ENCRYPTION:
            with contextlib.suppress(ValueError):
                content_key = private.decrypt(sealed_key, PKCS1v15())
                if len(content_key) == _AES_KEY_BYTES[cipher]:
                    return _decrypted(encrypted, content_key, start)
    return None


def _decrypted(encrypted: bytes, content_key: bytes, start: bytes) -> bytes:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.padding import PKCS7

    decryptor = Cipher(algorithms.AES(content_key), modes.CBC(start)).decryptor()
    unpadder = PKCS7(128).unpadder()
    plain: bytes = unpadder.update(decryptor.update(encrypted) + decryptor.finalize()) + unpadder.finalize()
    if not plain.startswith(_FIRST_TAGS):  # what a wrong content key, too, may leave with a right padding
        raise ValueError
    return plain


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """Returns the tags and values that stand in a row, in DER (X.690 8.1, 10.1)."""
    found, at = [], 0
    while at < len(data) and data[at]:  # a zero is the byte that makes the whole even
        tag, length, at = data[at], data[at + 1], at + 2
        if length > 0x7F:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            raise ValueError
        found.append((tag, data[at : at + length]))
        at += length
    return found
