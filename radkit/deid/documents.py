"""Makes the documents that stand in for removed ones (EncapsulatedDocument is Type 1); pure, bytes out."""

import struct

NOTICE = "This document was removed by de-identification."

_PAGE = f"BT /F1 14 Tf 72 720 Td ({NOTICE}) Tj ET".encode()
_PDF_OBJECTS = (
    b"<< /Type /Catalog /Pages 2 0 R >>",
    b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
    b"<< /Length %d >>\nstream\n%b\nendstream" % (len(_PAGE), _PAGE),
    b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
)

# The header's mandatory parts, each marked as masked; the body is plain text.
_CDA = f"""<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3">
<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<id nullFlavor="MSK"/>
<code nullFlavor="MSK"/>
<title>{NOTICE}</title>
<effectiveTime nullFlavor="MSK"/>
<confidentialityCode nullFlavor="MSK"/>
<recordTarget><patientRole><id nullFlavor="MSK"/></patientRole></recordTarget>
<author><time nullFlavor="MSK"/><assignedAuthor><id nullFlavor="MSK"/></assignedAuthor></author>
<custodian><assignedCustodian>
<representedCustodianOrganization><id nullFlavor="MSK"/></representedCustodianOrganization>
</assignedCustodian></custodian>
<component><nonXMLBody><text mediaType="text/plain">{NOTICE}</text></nonXMLBody></component>
</ClinicalDocument>
"""

_OBJ = f"# {NOTICE}\nv 0 0 0\nv 0 0 0\nv 0 0 0\nf 1 2 3\n"
_MTL = f"# {NOTICE}\nnewmtl removed\nKd 0.5 0.5 0.5\n"

# Those that have a stand-in of their own; all others have one line of text.
TYPES = ("application/pdf", "text/xml", "model/stl", "model/obj", "model/mtl")


def dummy(mime_type: str) -> bytes:
    """Returns the smallest valid document of a type that says that the document was removed.

    Args:
        mime_type: MIMETypeOfEncapsulatedDocument; case, padding and parameters do not count.

    Returns:
        A PDF of one page, a CDA, a solid of one triangle without extent, its material, or for another type a line of
        text. Not padded to an even length.

    Source: DICOM PS3.3 C.24.2 (types), PS3.15 E.1.1 on EncapsulatedDocument; ISO 32000-1 7.5; HL7 CDA R2.
    """
    kind = mime_type.partition(";")[0].strip(" \0").lower()
    if kind == "application/pdf":
        return _pdf()
    if kind in ("text/xml", "application/xml"):
        return _CDA.encode()
    if kind == "model/stl":
        return _stl()
    return {"model/obj": _OBJ, "model/mtl": _MTL}.get(kind, NOTICE + "\n").encode()


def _pdf() -> bytes:
    """Returns a PDF whose cross-reference table holds where each object begins."""
    # The bytes over 127 tell programs that move files that this one is binary (ISO 32000-1 7.5.2).
    body = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
    begins = []
    for number, content in enumerate(_PDF_OBJECTS, start=1):
        begins.append(len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    entries = b"".join(b"%010d 00000 n \n" % begin for begin in begins)
    size = len(begins) + 1
    table = b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<< /Size %d /Root 1 0 R >>\n" % (size, entries, size)
    return body + table + b"startxref\n%d\n%%%%EOF\n" % len(body)


def _stl() -> bytes:
    """Returns a binary STL: a header of 80 bytes, the number of triangles, and a normal and three corners of each."""
    # A header that begins with `solid` would be taken for STL in text.
    return NOTICE.encode().ljust(80) + struct.pack("<I12fH", 1, *[0.0] * 12, 0)
