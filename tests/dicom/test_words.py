"""Every sentence that the reader of volumes can say is classified: read from the sources."""

import ast
import re
from pathlib import Path

import pytest

from radkit import dicom
from radkit.dicom import findings, words

MODULES = (
    "volumes", "geometry", "completeness", "grouping", "regrid", "pixels", "units", "enhanced", "multiframe", "mosaic",
    "frames", "decoders", "fragments", "attributes", "luts", "scan", "quick",
)  # fmt: skip
# Parts that stand within other sentences, names of private creators, codes, usage errors of a caller.
WITHIN = re.compile(
    r"^(the affine (keeps it|holds their mean step$)|7; that cannot be mended|7 to 7| and | \.\.\. \(7 in all\)"
    r"|Rows and Columns|7=7; one of|7 differs between|slices were left as they are, 7$"
    r"|(SIEMENS|Philips) (MR|CSA|Imaging) .*\d*|Philips Imaging DD 001|Image Private Header|\d{9} \S+ \S+"
    r"|it is video; |its pixels are on|it is not known; dec|, or its data is|JPEG (2000|XL) .*|Deflated Image Frame"
    r"|Encapsulated Uncomp)"
)


def sentences(module):
    """Returns the texts of three words and more in a module, docstrings left out; 7 stands for each value."""
    tree = ast.parse((Path(dicom.__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in ast.walk(node) if part is not node}
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            inner.add(id(body[0].value))
    found = []
    for node in ast.walk(tree):
        if id(node) in inner:
            continue
        if isinstance(node, ast.JoinedStr):
            found.append("".join(v.value if isinstance(v, ast.Constant) else "7" for v in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.append(node.value)
    return [text for text in found if text.count(" ") >= 2]


@pytest.mark.parametrize("module", MODULES)
def test_every_sentence_of_the_reader_is_of_a_kind(module):
    unknown = [text for text in sentences(module) if not words.kinds(text) and not WITHIN.match(text)]
    assert unknown == [], "add them to the table of radkit/dicom/words.py"


@pytest.mark.parametrize("module", MODULES)
def test_no_sentence_is_of_two_kinds(module):
    several = {text: words.kinds(text) for text in sentences(module) if len(words.kinds(text)) > 1}
    known = {text: found for text, found in several.items() if found != ("slices_without_place", "damaged")}
    assert known == {}


def test_all_kinds_of_the_table_are_kinds_of_findings():
    assert {name for name, _ in words.TABLE} <= set(findings.KINDS)


@pytest.mark.parametrize(
    ("text", "modality", "kinds"),
    [
        ("2 slices are missing: gaps of 5.000 mm where the step is 2.500 mm", "CT", ("missing_slices",)),
        ("1 slice positions occur more than once", "CT", ("repeated_slices",)),
        ("the rescale differs between slices: slope 1 to 2, intercept 0 to 0", "CT", ("rescale_differs",)),
        ("the rescale differs between slices: slope 1 to 2, intercept 0 to 0", "PT", ("rescale_by_slice",)),
        ("one of 2 grids in the series, which differ in PixelSpacing", "MR", ("mixed_geometry",)),
        ("one of 3 grids in the series, which differ in ImageOrientationPatient and Rows", "", ("several_grids",)),
        ("one of 3 grids in the series, which differ in EchoTime", "MR", ("several_grids",)),
        ("Modality differs between slices", "CT", ("mixed_headers",)),
        ("KVP differs between slices", "CT", ("mixed_settings",)),
        ("InstanceNumber runs to 20 and lacks 1 of its numbers: files may be missing", "CT", ("files_may_be_missing",)),
        ("InstanceNumber runs to 41 and lacks 39 of its numbers: files may be missing", "MR", ("numbers_leap",)),
        ("the header tells of 21 slices, 7 are there: slices may be missing", "MR", ("numbers_leap",)),
        ("the header tells of 21 slices, 20 are there: slices may be missing", "MR", ("files_may_be_missing",)),
    ],
)  # fmt: skip
def test_what_is_a_fault_and_what_is_normal(text, modality, kinds):
    assert words.kinds(text, modality) == kinds


def test_two_faults_in_one_refusal_are_both_named():
    text = "slice steps are irregular: 1.000 mm where the median is 2.000 mm; slices are not on one line: one lies 3 mm"
    assert [finding.name for finding in words.refused(text)] == ["irregular_spacing", "slices_off_line"]


def test_what_a_person_had_mended_is_no_fault_any_more():
    text = "2 slices are missing: gaps of 5 mm where the step is 2 mm; slices were interpolated on a regular grid"
    assert [finding.severity for finding in words.said([text])] == ["warning"]


def test_an_unknown_refusal_is_a_fault_and_an_unknown_remark_a_note():
    assert [finding.severity for finding in words.refused("a new reason")] == ["fault"]
    assert [finding.severity for finding in words.said(["a new remark", "a new remark"])] == ["note"]
