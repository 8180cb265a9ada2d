"""The documents that stand in for removed ones are valid."""

import re
import struct
from xml.etree import ElementTree

import pytest

from radkit.deid import documents

CDA = "{urn:hl7-org:v3}"


def test_a_pdf_has_its_cross_references_right() -> None:
    pdf = documents.dummy("application/pdf")
    assert pdf.startswith(b"%PDF-1.4\n")
    assert pdf.endswith(b"%%EOF\n")
    begin = int(re.findall(rb"startxref\n(\d+)\n", pdf)[-1])
    assert pdf[begin:].startswith(b"xref\n0 6\n")
    entries = re.findall(rb"(\d{10}) (\d{5}) ([nf]) \n", pdf[begin:])
    assert len(entries) == 6
    for number, (place, _, _) in enumerate(entries[1:], start=1):
        assert pdf[int(place) :].startswith(b"%d 0 obj\n" % number)


def test_a_pdf_says_how_long_its_page_is() -> None:
    found = re.search(rb"/Length (\d+) >>\nstream\n(.*)\nendstream", documents.dummy("application/pdf"))
    assert found is not None
    assert int(found[1]) == len(found[2])


@pytest.mark.parametrize("mime_type", ["text/XML", "application/xml", "text/xml; charset=utf-8 "])
def test_a_cda_has_the_mandatory_parts_and_no_values(mime_type: str) -> None:
    root = ElementTree.fromstring(documents.dummy(mime_type))
    assert root.tag == f"{CDA}ClinicalDocument"
    names = [child.tag.removeprefix(CDA) for child in root]
    # In the order of the schema.
    assert names == [
        "typeId", "id", "code", "title", "effectiveTime", "confidentialityCode", "recordTarget", "author", "custodian",
        "component",
    ]  # fmt: skip
    texts = {(element.text or "").strip() for element in root.iter()} - {""}
    assert texts == {documents.NOTICE}


def test_an_stl_holds_one_triangle() -> None:
    stl = documents.dummy("model/stl")
    assert not stl.startswith(b"solid")
    (triangles,) = struct.unpack_from("<I", stl, 80)
    assert triangles == 1
    assert len(stl) == 84 + 50 * triangles


def test_an_obj_names_vertices_that_it_has() -> None:
    lines = [line.split() for line in documents.dummy("model/obj").decode().splitlines()]
    vertices = sum(line[0] == "v" for line in lines)
    (face,) = (line[1:] for line in lines if line[0] == "f")
    assert all(1 <= int(number) <= vertices for number in face)


def test_an_mtl_defines_a_material() -> None:
    assert b"\nnewmtl removed\n" in documents.dummy("MODEL/MTL ")


@pytest.mark.parametrize("mime_type", ["", "text/plain", "application/octet-stream", "Roe^Jane", "\0\xff"])
def test_another_type_gives_a_line_of_text(mime_type: str) -> None:
    assert documents.dummy(mime_type).decode("ascii") == documents.NOTICE + "\n"
