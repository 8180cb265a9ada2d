"""The generated tables: what they say, and that the generator makes them from the standard."""

import functools
import hashlib
import importlib.util
import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydicom.datadict import tag_for_keyword

from radkit.deid import concepts, generate_tables, iods, profile, safe_private

CT = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
RT_PLAN = "1.2.840.10008.5.1.4.1.1.481.5"
COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
ENCAPSULATED_PDF = "1.2.840.10008.5.1.4.1.1.104.1"
CONTENT = generate_tables.CONTENT
TABLES = ("profile.json", "safe_private.json", "concepts.json", "iods.json")


def tags(*keywords: str) -> tuple[int, ...]:
    return tuple(tag_for_keyword(keyword) for keyword in keywords)


def kind(sop_class: str, *keywords: str) -> str | None:
    """Returns the Type at a path of keywords."""
    *path, last = tags(*keywords)
    node = functools.reduce(lambda node, tag: node.child(tag), path, iods.root(sop_class))
    return node.types.get(last)


def committed(name: str) -> str:
    return (Path(iods.__file__).parent / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ((CT, "StudyInstanceUID"), "1"),
        ((CT, "StudyDate"), "2"),
        ((CT, "PatientName"), "2"),
        ((CT, "ContentDate"), "2"),  # 2C
        ((CT, "KVP"), "2"),
        ((CT, "InstitutionName"), "3"),
        ((CT, "ReferencedStudySequence", "ReferencedSOPInstanceUID"), "1"),
        ((CT, "BeamSequence"), None),
        ((ENHANCED_CT, "ContentDate"), "1"),
        ((ENHANCED_CT, "PerFrameFunctionalGroupsSequence", "FrameContentSequence"), "1"),
        ((ENHANCED_CT, "PerFrameFunctionalGroupsSequence", "FrameContentSequence", "FrameReferenceDateTime"), "1"),
        ((ENHANCED_CT, "PerFrameFunctionalGroupsSequence", "FrameContentSequence", "FrameComments"), "3"),
        ((RT_PLAN, "OperatorsName"), "2"),
        ((RT_PLAN, "BeamSequence", "TreatmentMachineName"), "2"),
        ((RT_PLAN, "BeamSequence", "BeamName"), "3"),
        ((COMPREHENSIVE_SR, "ContentDate"), "1"),
        ((COMPREHENSIVE_SR, "VerifyingObserverSequence", "VerifyingObserverName"), "1"),
        ((COMPREHENSIVE_SR, "ContentSequence", "PersonName"), "1"),
    ],
)
def test_types_are_those_of_the_iod(path, expected):
    assert kind(*path) == expected


def test_where_modules_differ_the_strictest_type_counts():
    # General Equipment says 2, Enhanced General Equipment 1.
    assert kind(CT, "Manufacturer") == "2"
    assert kind(ENHANCED_CT, "Manufacturer") == "1"


@pytest.mark.parametrize("sop_class", [COMPREHENSIVE_SR, ENCAPSULATED_PDF])
def test_content_items_nest_without_end(sop_class):
    item = iods.root(sop_class).child(CONTENT)
    assert item.child(CONTENT) is item
    assert kind(sop_class, *["ContentSequence"] * 9, "ConceptNameCodeSequence", "CodeMeaning") == "1"
    assert item.types[CONTENT] == "1"


def test_what_the_iods_do_not_know_is_none():
    assert iods.root("1.2.840.10008.5.1.4.1.1.6") is None  # retired
    assert iods.root("1.2.3") is None
    assert iods.root(CT).child(tag_for_keyword("PatientName")) is None
    assert iods.root(CT).child(0x00091001) is None


def test_a_node_is_made_once_and_travels_to_other_processes():
    assert iods.root(CT) is iods.root(CT)
    sequence = tag_for_keyword("ReferencedStudySequence")
    assert iods.root(CT).child(sequence) is iods.root(CT).child(sequence)
    assert pickle.loads(pickle.dumps(iods.root(CT))).child(sequence).types


def test_the_table_is_small_and_every_sop_class_can_be_walked():
    assert len(committed("iods.json")) < 200_000
    read = json.loads(committed("iods.json"))
    assert len(read["sop_classes"]) == 180
    assert all(iods.root(sop_class).types for sop_class in read["sop_classes"])
    # All that has no tag of its own is a repeating group.
    assert len(read["left_out"]["keywords"]) == 16
    assert all(name.startswith(("Overlay", "ROI")) or "Frame" in name for name in read["left_out"]["keywords"])


@pytest.fixture(scope="module")
def maps() -> Path:
    """The folder of highdicom's maps; importing highdicom itself would take seconds."""
    found = importlib.util.find_spec("highdicom")
    if found is None:
        pytest.skip("highdicom is not installed")
    folder = Path(found.origin).parent / "_standard"
    contents = b"".join((folder / name).read_bytes() for name in generate_tables.MAPS)
    if hashlib.sha256(contents).hexdigest() != json.loads(committed("iods.json"))["data_sha256"]:
        pytest.skip("another highdicom's maps; generate the tables anew")
    return folder


def test_the_committed_table_is_made_from_highdicoms_maps(maps):
    keywords = {row.keyword: tag for tag, row in profile.ATTRIBUTES.items()}
    assert generate_tables.text(generate_tables.iods(maps, keywords)) == committed("iods.json")


def test_every_path_of_every_sop_class_has_its_strictest_type(maps):
    sop_classes, modules_of, rows_of = (json.loads((maps / name).read_bytes()) for name in generate_tables.MAPS)
    tag = functools.cache(tag_for_keyword)
    class_of = {iod: sop_class for sop_class, iod in sop_classes.items()}
    for iod, sop_class in class_of.items():
        expected = {}
        for module in {row["key"] for row in modules_of[iod]}:
            for row in rows_of.get(module, ()):
                assert row["type"] != "None"  # no stored object has such attributes
                path = (*map(tag, row["path"]), tag(row["keyword"]))
                if None not in path and path != (CONTENT, CONTENT):
                    path = path[1:] if path[:2] == (CONTENT, CONTENT) else path  # one kind of item
                    expected[path] = min(expected.get(path, "3"), row["type"][0])
        assert dict(walk(iods.root(sop_class))).items() == expected.items(), iod


def walk(node: iods.Node, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], str]]:
    """Yields each path and its Type; content items once."""
    for tag, types in node.types.items():
        if path != (CONTENT,) or tag != CONTENT:
            yield (*path, tag), types
            below = node.child(tag)
            if below is not None:
                yield from walk(below, (*path, tag))


@pytest.mark.parametrize(
    ("creator", "group", "low", "expected"),
    [
        ("Philips PET Private Group", 0x7053, 0x00, "DS"),
        ("ELSCINT1", 0x00E1, 0x21, "DS"),
        (" ELSCINT1 ", 0x00E1, 0x21, "DS"),
        ("GEMS_ACQU_01\0", 0x0019, 0x9E, "LO"),
        ("SIEMENS MR HEADER", 0x0019, 0x0C, "IS"),
        ("SIEMENS Ultrasound SC2000", 0x0119, 0x11, "UN"),  # the table names no VR
        ("Philips Imaging DD 001", 0x2001, 0x7D, "OW"),  # OW/OB
        ("ELSCINT1", 0x00E1, 0x22, None),
        ("ELSCINT1", 0x00E3, 0x21, None),
        ("elscint1", 0x00E1, 0x21, None),
        ("SIEMENS CSA HEADER", 0x0029, 0x10, None),
    ],
)
def test_safe_private_elements_are_known_by_creator_group_and_low_byte(creator, group, low, expected):
    assert safe_private.vr(creator, group, low) == expected


def test_the_safe_private_table_has_all_479_rows():
    elements = safe_private._elements()
    assert len(elements) == 479
    assert len({creator for creator, _, _ in elements}) == 20
    assert all(group % 2 and low < 0x100 for _, group, low in elements)
    assert all(len(vr) == 2 for vr in elements.values())


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (("DCM", "121022", "TEXT"), ("X", {})),  # Accession Number
        (("DCM", "113795", "IMAGE"), ("D", {"RetainUIDs": "K"})),  # Acquired Image
        (("LN", "11951-1", "TEXT"), ("D", {})),  # Fetus ID
        (("NCIt", "C54627", "NUM"), ("X", {})),
        (("UMLS", "C2348792", "TEXT"), ("X/D", {"CleanDescriptors": "C"})),
        (("NCDR", "76", "PNAME"), ("D", {})),  # Catheterization Operator, NCDR [2.0b]
        (("NCDR [2.0b]", "76", "PNAME"), ("D", {})),
        (("SCT", "371524004", "TEXT"), ("X", {"CleanDescriptors": "C"})),  # Clinical Report
        (("SCT", "371524004", "COMPOSITE"), ("X", {"RetainUIDs": "K"})),
        (("SRT", "R-42B89", "TEXT"), ("X", {"CleanDescriptors": "C"})),
        (("99SDM", "R-42B89", "TEXT"), ("X", {"CleanDescriptors": "C"})),
        (("SRT ", "G-C0E3 ", "TEXT "), ("D", {"CleanDescriptors": "C"})),  # Finding Site
        (("SRT", "T-A0100", "TEXT"), None),
        (("SRT", "363698007", "TEXT"), None),
        (("DCM", "121206", "NUM"), None),  # Distance
        (("", "", ""), None),
    ],
)
def test_concepts_are_known_by_scheme_code_and_value_type(item, expected):
    assert concepts.action(*item) == expected


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (("DCM", "121022", "CODE"), ("X", {})),
        (("DCM", "128425", "TEXT"), ("X", {"RetainUIDs": "K"})),  # three rows that agree
        (("SCT", "371524004", "CODE"), ("X", {})),  # two rows with different options
        (("SCT", "363698007", "CODE"), ("D", {"CleanDescriptors": "C"})),  # Finding Site, listed as TEXT
        (("DCM", "121112", "COMPOSITE"), ("X", {"RetainUIDs": "K"})),  # IMAGE D, WAVEFORM X
    ],
)
def test_a_listed_concept_under_another_value_type_gets_its_strictest_action(item, expected):
    assert concepts.action(*item) == expected


def test_the_concept_table_has_all_214_rows():
    listed = concepts._read()["concepts"]
    rows = [row for types in listed.values() for row in types.values()]
    assert len(rows) == 214
    assert {basic for basic, _ in rows} == set(concepts.STRICTEST_FIRST)
    assert {name for _, options in rows for name in options} <= set(profile.OPTIONS)
    sct = {name.removeprefix("SCT ") for name in listed if name.startswith("SCT ")}
    assert set(concepts._read()["srt"].values()) == sct  # each had an SRT code


def made_up_standard() -> dict[str, Any]:
    row = {"keyword": "B", "vr": ["OB", "OW"], "basic": "X", "options": {"RetainUIDs": "K", "CleanGraphics": "C"}}
    private = {"group": "0009", "private_creator": "M, A/B", "vr": "LO"}
    concept = {"code": "1", "scheme": "NCDR [1]", "value_type": "TEXT", "basic": "X", "options": {}}
    return {
        "edition": "E",
        "source": "S",
        "sha256": "0",
        "options": ["RetainUIDs", "CleanGraphics"],
        "cid7050": {"CleanGraphics": "113103", "BasicProfile": "113100", "RetainUIDs": "113110"},
        "attributes": [
            {**row, "match": {"group": "0010", "element": "0020", "mask": "FFFFFFFF"}},
            {**row, "match": {"group": "5000", "element": "0000", "mask": "FF000000"}, "vr": None},
            {**row, "match": {"rule": "group is odd"}},
        ],
        "safe_private": [{**private, "element_low": "1F"}, {**private, "element_low": "02", "vr": ""}],
        "sr_content_items": [
            {**concept, "value_type": "UIDREF", "basic": "D", "options": {"RetainUIDs": "K"}},
            concept,
            {**concept, "scheme": "SCT", "code": "371524004"},
        ],
    }


def made_up_maps(folder: Path, extra: Mapping[str, str] | None = None) -> Path:
    def row(kind: str, *path: str) -> dict[str, Any]:
        return {"keyword": path[-1], "type": kind, "path": list(path[:-1])}

    code = "ConceptNameCodeSequence"
    modules = {
        "one": [
            row("3", "PatientName"),
            row("2C", "RequestAttributesSequence", "PatientID"),  # before its own sequence
            row("3", "RequestAttributesSequence"),
            row("3", "RequestAttributesSequence", code),
            row("2", "RequestAttributesSequence", code, "CodeValue"),
            row("1", "NoSuchKeyword"),
            row("1", "B", "PatientID"),
        ],
        "two": [
            row("2", "PatientName"),
            row("1C", "RequestAttributesSequence"),
            row("1", "RequestAttributesSequence", code, "CodeValue"),
            row("None", "RequestAttributesSequence", code, "CodeMeaning"),
            row("3", "ContentSequence"),
            row("1", "ContentSequence", "ValueType"),
            row("2", "ContentSequence", "ContentSequence"),
            row("1", "ContentSequence", "ContentSequence", "UID"),
        ],
        "unused": [row("1", "PatientAge")],
        **({"one": [extra]} if extra else {}),
    }
    folder.mkdir()
    keys = [{"key": key} for key in ("one", "two", "absent")]
    for name, content in zip(generate_tables.MAPS, ({"1.2": "iod"}, {"iod": keys, "other": []}, modules)):
        (folder / name).write_text(json.dumps(content))
    return folder


@pytest.fixture
def target(tmp_path, monkeypatch) -> Path:
    (tmp_path / "out").mkdir()
    (tmp_path / "in.json").write_text(json.dumps(made_up_standard()))
    monkeypatch.setattr(generate_tables, "TARGET", tmp_path / "out")
    return tmp_path / "out"


def generate(target: Path, *more: str) -> int:
    return generate_tables.main(["generate_tables", str(target.parent / "in.json"), *more])


def test_the_generator_writes_the_annexes_three_tables(target):
    assert generate(target) == 0
    made = {path.name: json.loads(path.read_text()) for path in target.iterdir()}
    assert set(made) == {"profile.json", "safe_private.json", "concepts.json"}
    actions = ["X", {"CleanGraphics": "C", "RetainUIDs": "K"}]
    assert made["profile.json"]["attributes"] == {"00100020": ["B", "OB/OW", *actions]}
    assert made["profile.json"]["masked"] == {"50000000/FF000000": ["B", "", *actions]}
    assert list(made["profile.json"]["codes"]) == ["BasicProfile", "RetainUIDs", "CleanGraphics"]
    assert made["profile.json"]["codes"]["CleanGraphics"] == ["113103", "Clean Graphics Option"]
    assert made["safe_private.json"]["elements"] == {"0009 M, A/B": {"02": "", "1F": "LO"}}
    assert made["concepts.json"]["concepts"] == {
        "NCDR 1": {"TEXT": ["X", {}], "UIDREF": ["D", {"RetainUIDs": "K"}]},
        "SCT 371524004": {"TEXT": ["X", {}]},
    }
    assert made["concepts.json"]["srt"] == {"R-42B89": "371524004"}
    assert {table["edition"] for table in made.values()} == {"E"}


def test_modules_are_put_together_at_every_depth(target, tmp_path, monkeypatch):
    assert generate(target, str(made_up_maps(tmp_path / "maps"))) == 0
    made = json.loads((target / "iods.json").read_text())
    assert made["left_out"] == {"keywords": ["NoSuchKeyword"], "modules": ["absent"]}
    monkeypatch.setattr(iods, "_read", lambda: made)
    root = iods._node.__wrapped__(tuple(made["iods"]["iod"]))
    monkeypatch.setattr(iods, "_node", iods._node.__wrapped__)  # past the cache, which holds the real table's nodes
    name, request, code = tags("PatientName", "RequestAttributesSequence", "ConceptNameCodeSequence")
    patient, value, meaning, value_type, uid = tags("PatientID", "CodeValue", "CodeMeaning", "ValueType", "UID")
    assert root.types == {name: "2", request: "1", CONTENT: "3", 0x00100020: "3"}  # B is the standard's own keyword
    assert root.child(0x00100020).types == {patient: "1"}
    assert root.child(request).types == {patient: "2", code: "3"}
    assert root.child(request).child(code).types == {value: "1", meaning: "3"}
    item = root.child(CONTENT)
    assert item.types == {value_type: "1", uid: "1", CONTENT: "2"}
    assert item.child(CONTENT).child(CONTENT).types == item.types


def test_the_same_input_gives_the_same_bytes(target, tmp_path):
    folder = str(made_up_maps(tmp_path / "maps"))
    assert generate(target, folder) == 0
    first = {name: (target / name).read_bytes() for name in TABLES}
    assert generate(target, folder) == 0
    assert first == {name: (target / name).read_bytes() for name in TABLES}


@pytest.mark.parametrize("name", TABLES)
def test_the_committed_tables_have_the_generators_form(name):
    assert generate_tables.text(json.loads(committed(name))) == committed(name)


def test_the_annexes_tables_come_from_one_reading():
    heads = [json.loads(committed(name)) for name in TABLES[:3]]
    assert len({(head["edition"], head["sha256"], head["data_sha256"]) for head in heads}) == 1


def test_wrong_use_is_told_in_a_line_and_writes_nothing(target, tmp_path, capsys):
    assert generate_tables.main(["generate_tables"]) == 2
    assert generate_tables.main(["generate_tables", str(tmp_path / "none.json")]) == 2
    assert generate(target, str(tmp_path / "nowhere")) == 2
    odd = {"keyword": "PatientName", "type": "4", "path": []}
    assert generate(target, str(made_up_maps(tmp_path / "maps", odd))) == 2
    assert "Type '4'" in capsys.readouterr().err
    assert not list(target.iterdir())


def test_a_standard_of_another_shape_is_refused(target, capsys):
    standard = made_up_standard()
    (target.parent / "in.json").write_text(
        json.dumps({**standard, "cid7050": {**standard["cid7050"], "RetainUIDs": "1"}})
    )
    assert generate(target) == 2
    assert "without a known meaning: 1;" in capsys.readouterr().err
    del standard["safe_private"]
    (target.parent / "in.json").write_text(json.dumps(standard))
    assert generate(target) == 2
    assert "lacks safe_private" in capsys.readouterr().err
