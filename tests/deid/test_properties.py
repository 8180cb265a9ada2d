"""What holds of every input, attribute, option, depth and encoding."""

import contextlib
import datetime
from io import BytesIO

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from radkit.deid import deidentify, engine, part10, profile, verify, wire
from radkit.deid.settings import Settings
from radkit.deid.wire import NotCleanable
from radkit.dicom.part10 import silence
from tests.deid import reference
from tests.deid.test_differential import RETAIN, UNKNOWN, as_file, choices, instances
from tests.deid.test_engine import BASIC, CT, KEY, OTHER, SYNTAXES, header, raw

PLAN, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.481.5", "1.2.840.10008.5.1.4.1.1.4.1"
WORDS = ("CleanDescriptors", "CleanStructuredContent")
MODIFIED = Settings(frozenset(["RetainLongModifiedDates"]))
PATH = (0x52009229, 0x00081199)  # sequences that no row of the table lists

# A valid value of each VR that is no dummy; two UIDs, so that each has its own.
OLD = {
    "AE": b"PLANTED ", "AS": b"062Y", "CS": b"PLANTED ", "DA": b"20240229", "DS": b"62.5", "DT": b"20240229112233",
    "IS": b"6203", "TM": b"112233", "UI": b"1.2.999.5\\1.2.999.6", "UR": b"https://PLANTED.example ",
    **dict.fromkeys(("LO", "LT", "SH", "ST", "UC", "UT"), b"PLANTED "), "PN": b"PLANTED^NAME",
}  # fmt: skip
PLACED = {t: row for t, row in profile.ATTRIBUTES.items() if row.vr and t >> 16 not in (0, 2, 4) and row.vr != "SQ"}
HEADER = {int(element.tag) for element in header().elements()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("properties")


def full(sop_class, depth, syntax):
    """Returns a file that holds every listed attribute but sequences, and those of the header at the top only."""
    dataset = header(syntax)
    dataset.SOPClassUID = sop_class
    inner = dataset
    for tag in PATH[:depth]:
        item = Dataset()
        inner.add(DataElement(tag, "SQ", Sequence([item]), is_undefined_length=depth % 2 == 0))
        inner = item
    for tag, row in PLACED.items():
        if tag not in HEADER:
            inner.add(raw(tag, row.vr, OLD.get(row.vr, b"\x77" * 8)))
    return as_file(dataset)


def innermost(content, depth):
    with silence():
        dataset = reference.read(content)
        for tag in PATH[:depth]:
            dataset = dataset[tag].value[0]
    return dataset


@pytest.mark.parametrize("option", [*RETAIN, "CleanDescriptors", None])
@pytest.mark.parametrize("sop_class", [CT, ENHANCED_MR, UNKNOWN])
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_every_attribute_becomes_what_the_table_says(sop_class, depth, option):
    options = {option} if option else set()
    syntax = SYNTAXES[(depth + len(option or "") + len(sop_class)) % 4]
    after = innermost(reference.cleaned(full(sop_class, depth, syntax), KEY, Settings(frozenset(options))), depth)
    for tag, row in PLACED.items():
        if tag in HEADER or tag in (0x04000565, 0x04000564, 0x0040A730):
            continue
        actions = {row.options[name] for name in options if name in row.options}
        new = reference.raw(after, tag) if tag in after else None
        wrong = _wrong(tag, row, new, actions.pop() if actions else row.basic)
        assert not wrong, (row.keyword, row.vr, wrong, new)


def _wrong(tag, row, new, action):
    """Returns what is wrong with a new value under an action; a compound one allows each of its parts."""
    old = OLD.get(row.vr, b"\x77" * 8)
    if action == "K":
        return "" if new == old + b"\0" * (len(old) % 2) else "it was to stay"
    if new is not None and row.vr in OLD and old.strip() in new:
        return "" if action == "C" and row.vr == "TM" else "it stayed"
    parts = set(row.basic.split("/")) | {"C"} if action == "C" else set(action.split("/"))
    if new is None:
        return "" if "X" in parts else "it went"
    if not new:
        return "" if "Z" in parts or row.basic == "X/Z/U*" else "it is empty"
    return "" if parts & {"D", "U", "C", "Z/D"} else "it has a value"


@pytest.mark.slow
@given(instances(), choices((*RETAIN, *WORDS)))
@settings(max_examples=120)
def test_an_output_always_passes_its_verification(folder, content, chosen):
    (folder / "out.dcm").write_bytes(reference.cleaned(content, KEY, chosen))
    assert verify.file(folder / "out.dcm", chosen) == []
    # With what the file says of itself; how unlisted text was treated, it does not say.
    if chosen.unlisted == "clean":
        assert verify.file(folder / "out.dcm") == []


@pytest.mark.slow
@given(instances(), choices((*RETAIN, *WORDS)))
@settings(max_examples=3000)
def test_many_outputs_pass_their_verification(folder, content, chosen):
    (folder / "out.dcm").write_bytes(reference.cleaned(content, KEY, chosen))
    assert verify.file(folder / "out.dcm", chosen) == []


@pytest.mark.parametrize("sop_class", [CT, UNKNOWN, "1.2.840.10008.5.1.4.1.1.104.1"])
@pytest.mark.parametrize("kind", ["application/pdf", "text/XML", "model/stl", ""])
def test_a_stand_in_for_a_document_passes_its_verification(folder, sop_class, kind):
    dataset = header()
    dataset.SOPClassUID, dataset.MIMETypeOfEncapsulatedDocument = sop_class, kind
    dataset.EncapsulatedDocument = b"PLANTED!"
    (folder / "out.dcm").write_bytes(reference.cleaned(as_file(dataset), KEY, BASIC))
    assert verify.file(folder / "out.dcm") == []


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_an_input_does_not_pass(folder, syntax):
    (folder / "in.dcm").write_bytes(full(CT, 1, syntax))
    paths = {finding.path.rpartition(".")[2] for finding in verify.file(folder / "in.dcm", BASIC)}
    left = {f"{tag:08X}" for tag in PLACED if tag not in HEADER} - paths
    assert {pydicom.datadict.keyword_for_tag(int(tag, 16)) for tag in left} <= _HARMLESS


# What may be read as a dummy or as already clean: none.
_HARMLESS: set[str] = set()


@pytest.mark.slow
@given(instances(), choices())
@settings(max_examples=80)
def test_a_second_pass_changes_only_what_is_mapped_anew(content, chosen):
    once = reference.cleaned(content, KEY, chosen)
    twice = reference.cleaned(once, KEY, chosen)
    with silence():
        pairs = list(_pairs(reference.read(once), reference.read(twice)))
    for tag, vr, before, after in pairs:
        assert after is not None, f"{tag:08X} went"
        mapped = vr == "UI" or tag in (reference.NAME, reference.IDENTIFIER)
        moved = vr in ("DA", "DT") and chosen.options & MODIFIED.options
        assert before == after or mapped or moved, f"{tag:08X}: {before!r}, {after!r}"


def _pairs(before, after):
    """Yields (tag, VR, value before, value after) of each element of two data sets, down to the leaves."""
    for tag in sorted({*map(int, before.keys()), *map(int, after.keys())}):
        if tag not in after or tag not in before:
            yield tag, "", b"", None
            continue
        said = before.get_item(tag).VR or reference.vr(tag)
        if said == "SQ" or reference.vr(tag) == "SQ":
            assert len(before[tag].value) == len(after[tag].value), f"{tag:08X} lost an item"
            for one, two in zip(before[tag].value, after[tag].value, strict=True):
                yield from _pairs(one, two)
        else:
            yield (
                tag,
                reference.vr(tag) if said == "UN" else said,
                reference.raw(before, tag),
                reference.raw(after, tag),
            )


@given(instances(), choices((*RETAIN, *WORDS)))
@settings(max_examples=40)
def test_the_same_input_gives_the_same_bytes(content, chosen):
    assert reference.cleaned(content, KEY, chosen) == reference.cleaned(content, KEY, chosen)


@pytest.mark.slow
@given(instances(), choices())
@settings(max_examples=60)
def test_pixels_leave_as_they_came(content, chosen):
    with silence():
        before, after = (reference.read(c) for c in (content, reference.cleaned(content, KEY, chosen)))
    old, new = before.get_item(0x7FE00010), after.get_item(0x7FE00010)
    assert (old.value, old.VR, old.length) == (new.value, new.VR, new.length)


@pytest.mark.slow
@given(instances(), choices(tuple(o for o in RETAIN if o != "RetainUIDs")))
@settings(max_examples=60)
def test_uids_are_mapped_one_to_one(content, chosen):
    with silence():
        before, after = reference.read(content), reference.read(reference.cleaned(content, KEY, chosen))
        both = [pair for pair in _same_paths(before, after) if pair[0] != pair[1]]
    assert {new for old, new in both} == {KEY.uid(old) for old, _ in both}
    assert len({old for old, _ in both}) == len({new for _, new in both})
    assert not {new for _, new in both} & {OTHER.uid(old) for old, _ in both}


def _same_paths(before, after):
    """Yields each single UID that stands in both, before and after."""
    for tag in {*map(int, before.keys())} & {*map(int, after.keys())}:
        if reference.vr(tag) == "SQ" and tag not in reference.TREES:
            if len(before[tag].value) == len(after[tag].value):
                for one, two in zip(before[tag].value, after[tag].value, strict=True):
                    yield from _same_paths(one, two)
        elif reference.vr(tag) == "UI":
            values = (reference.raw(d, tag).decode().strip(" \0").split("\\") for d in (before, after))
            yield from ((old.strip(), new) for old, new in zip(*values, strict=True))


@given(st.lists(st.dates(datetime.date(1990, 1, 1), datetime.date(2026, 12, 31)), min_size=2, max_size=4))
@settings(max_examples=40)
def test_intervals_stay_across_files_depths_and_vrs(days):
    """Each day in a file of its own, at the top and nested, as a date and as an instant."""
    moved = []
    for number, day in enumerate(days):
        dataset = header(SYNTAXES[number % 4])
        dataset.StudyDate, dataset.StudyInstanceUID = day.strftime("%Y%m%d"), f"1.2.999.{number}"
        item = Dataset()
        item.AcquisitionDateTime, item.ContentDate = day.strftime("%Y%m%d112233.5+0100"), day.strftime("%Y%m%d")
        dataset.SharedFunctionalGroupsSequence = [item]
        with silence():
            after = reference.read(reference.cleaned(as_file(dataset), KEY, MODIFIED))
        nested = after.SharedFunctionalGroupsSequence[0]
        said = {after.StudyDate, nested.ContentDate, nested.AcquisitionDateTime[:8]}
        assert nested.AcquisitionDateTime[8:].strip() == "112233.5+0100"
        assert len(said) == 1
        moved.append(datetime.datetime.strptime(said.pop(), "%Y%m%d").date())
    assert {old - new for old, new in zip(days, moved, strict=True)} == {-datetime.timedelta(KEY.days("PLANTED1"))}
    assert KEY.days("PLANTED1") < -365


def explicit(content):
    """Returns a file's head and its elements, each as bytes, in their order."""
    source = part10.source_of(content)
    found = source.scanner.entries(source.start, len(content), source.syntax)
    return content[: source.start], [content[entry.start : entry.end] for entry in found]


plain = instances(depth=2, syntaxes=(ExplicitVRLittleEndian,))


@given(plain, choices(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_order_of_elements_does_not_matter(content, chosen, random):
    head, parts = explicit(content)
    rest = parts[1:]
    random.shuffle(rest)  # the first says how all are encoded
    shuffled = head + b"".join([parts[0], *rest])
    assert reference.cleaned(shuffled, KEY, chosen) == reference.cleaned(content, KEY, chosen)


@given(plain, choices(), st.data())
@settings(max_examples=40)
def test_of_an_element_that_stands_twice_the_first_counts(content, chosen, data):
    head, parts = explicit(content)
    twice = data.draw(st.lists(st.sampled_from(parts), max_size=5))
    with_more = [part[:8] + b"S" * len(part[8:]) if part[4:6] in (b"LO", b"PN") else part for part in twice]
    doubled = head + b"".join([*parts, *with_more])
    assert reference.cleaned(doubled, KEY, chosen) == reference.cleaned(content, KEY, chosen)


@pytest.mark.parametrize("tag", [0x00100010, 0x00100020, 0x00100030, 0x0020000D, 0x00104000])
def test_of_an_element_that_stands_twice_in_an_item_neither_stays(tag):
    row = profile.attribute(tag)
    twice = wire.element(tag, row.vr, OLD[row.vr], wire.EXPLICIT) * 2
    value = wire.item_header(len(twice), wire.EXPLICIT) + twice
    head, parts = explicit(as_file(header()))
    sequence = wire.header(PATH[0], "SQ", len(value), wire.EXPLICIT) + value
    after = reference.cleaned(head + b"".join([*parts, sequence]), KEY, BASIC)
    assert OLD[row.vr] not in after


def test_a_block_of_zeros_within_a_file_does_not_end_it():
    """Its pixels are behind: an output without them would be cut short and nobody told."""
    head, parts = explicit(as_file(header()))
    content = head + b"".join(parts[:-1]) + bytes(8192) + parts[-1]
    with contextlib.suppress(NotCleanable):
        assert parts[-1] in reference.cleaned(content, KEY, BASIC)


def test_an_output_has_no_vr_that_is_none():
    """What a header may mean is settled once: copied, the next reader may lose its way in it."""
    head, parts = explicit(as_file(header()))
    odd = b"\x08\0\x99\x11" + b"\xfe\xff\xdd\xe0" + bytes(4)  # ReferencedSOPSequence, empty
    with contextlib.suppress(NotCleanable), silence():
        after = reference.read(reference.cleaned(head + b"".join([*parts[:3], odd, *parts[3:]]), KEY, BASIC))
        assert after.Rows == 16


def test_a_patient_is_one_whatever_the_item_s_character_set():
    dataset, item = header(), Dataset()
    dataset.SpecificCharacterSet, item.SpecificCharacterSet = "ISO_IR 100", "ISO_IR 192"
    dataset.PatientID = item.PatientID = "Müller"
    dataset.SharedFunctionalGroupsSequence = [item]
    after = deidentify(dataset, KEY)
    assert after.SharedFunctionalGroupsSequence[0].PatientID == after.PatientID


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
@pytest.mark.parametrize("zeros", [1, 2, 4, 7, 8, 10, 11])
def test_a_few_zeros_at_the_end_are_no_cut(syntax, zeros):
    content = as_file(header(syntax))
    assert reference.cleaned(content + bytes(zeros), KEY, BASIC) == reference.cleaned(content, KEY, BASIC)


@pytest.mark.slow
@given(plain, choices(), st.just(0) | st.integers(12, 9000))
@settings(max_examples=40)
def test_group_lengths_and_trailing_zeros_leave_no_trace(content, chosen, zeros):
    head, parts = explicit(content)
    groups = sorted({part[:2] for part in parts[1:]})
    lengths = [wire.element(group[1] << 24 | group[0] << 16, "UL", bytes(4), wire.EXPLICIT) for group in groups]
    padded = head + b"".join([*parts, *lengths]) + bytes(zeros)
    assert reference.cleaned(padded, KEY, chosen) == reference.cleaned(content, KEY, chosen)


@pytest.mark.slow
@given(instances(depth=2), choices())
@settings(max_examples=40)
def test_a_mapped_file_becomes_what_one_in_memory_does(folder, content, chosen):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(part10, "_MOST_READ_BYTES", 16)
        patched.setattr(part10, "_LEAST_COPIED_BYTES", 64)
        (folder / "in.dcm").write_bytes(content)
        with part10.opened(folder / "in.dcm") as source:
            outcome = engine.clean(source, KEY, chosen)
            head = part10.meta(outcome.sop_class, outcome.instance, outcome.transfer_syntax)
            part10.write(folder / "out.dcm", head, outcome.parts, source, outcome.transfer_syntax)
    assert (folder / "out.dcm").read_bytes() == reference.cleaned(content, KEY, chosen)


@pytest.mark.slow
@given(instances(), choices())
@settings(max_examples=40)
def test_the_audit_tells_what_went_and_no_value(content, chosen):
    outcome = engine.clean(part10.source_of(content), KEY, chosen)
    lines = outcome.log.lines(outcome.instance)
    assert "PLANTED" not in lines
    with silence():
        before, after = reference.read(content), reference.read(reference.cleaned(content, KEY, chosen))
    gone = {*map(int, before.keys())} - {*map(int, after.keys())}
    assert all(f'"path": "{tag:08X}", "action": "X"' in lines for tag in gone)


@pytest.mark.slow
@given(instances())
@settings(max_examples=40)
def test_every_output_is_read_by_pydicom_to_its_end(content):
    new = reference.cleaned(content, KEY, BASIC)
    with silence():
        after = pydicom.dcmread(BytesIO(new))
        assert len(after.PixelData) >= 512
        assert after.PatientIdentityRemoved == "YES"
        assert sum(1 for _ in after.iterall()) > 20
