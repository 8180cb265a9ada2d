"""The scanner: it covers what it is given, reads what it wrote, and damage never makes it leak, hang or fall over."""

import contextlib
import functools
import itertools
import random
import struct
import time
import zlib
from io import BytesIO

import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from radkit.deid import engine, files, part10, profile, wire
from radkit.deid.settings import Settings
from radkit.deid.wire import BIG, EXPLICIT, IMPLICIT, UNDEFINED, NotCleanable
from radkit.dicom.part10 import MALFORMED, silence
from tests import work
from tests.deid import reference
from tests.deid.test_differential import as_file, filled
from tests.deid.test_engine import BASIC, CT, KEY, MARK, SYNTAXES, header, packed, raw

ENCODINGS = (EXPLICIT, IMPLICIT, BIG)
WORK = files.Work(KEY, BASIC)
RETAINING = frozenset(o for o in profile.OPTIONS if o.startswith("Retain") and o != "RetainLongFullDates")
WORKS = (WORK, WORK, files.Work(KEY, Settings(RETAINING)), files.Work(KEY, Settings(frozenset(), "remove")))
# No mutated file is larger than a few kilobytes: what takes this long, on however busy a machine, has no end.
LONGEST_S = 300

OVERLAY_DESCRIPTION, ROWS, SHARED_GROUPS = 0x60000022, 0x00280010, 0x52009229

elements = st.lists(
    st.tuples(
        st.integers(0x00080001, 0x7FDFFFFF),
        st.sampled_from(["OB", "LO", "UI", "UN", "US", "UT", "DA", "SQ", "FD", "UV"]),
        st.binary(max_size=40).map(lambda value: value + b"\0" * (len(value) % 2)),
    ),
    min_size=1,
)


@pytest.mark.parametrize("syntax", ENCODINGS)
@given(elements)
def test_what_is_encoded_is_scanned_as_it_was(syntax, said):
    content = b"".join(wire.element(tag, vr, value, syntax) for tag, vr, value in said)
    found = list(wire.Scanner(content).entries(0, len(content), syntax))
    vrs = [None if syntax.implicit else vr for _, vr, _ in said]
    assert [(e.tag, e.vr, content[e.value : e.value_end]) for e in found] == [
        (tag, vr, value) for (tag, _, value), vr in zip(said, vrs, strict=True)
    ]


@pytest.mark.parametrize("syntax", ENCODINGS)
@given(st.data())
@settings(max_examples=40)
def test_entries_and_items_cover_the_buffer(syntax, data):
    content = packed(data.draw(filled(Dataset(), 2)), syntax)
    scanner = wire.Scanner(content)

    def covers(start, end):
        position = start
        for entry in scanner.entries(start, end, syntax):
            assert entry.start == position < entry.value <= entry.value_end <= entry.end
            position = entry.end
            if entry.vr == "SQ" or (entry.vr is None and entry.undefined):
                inside = entry.value
                for item in scanner.items(entry.value, entry.value_end, syntax):
                    assert item.start == inside < item.value <= item.value_end <= item.end
                    covers(item.value, item.value_end)
                    inside = item.end
                assert inside == entry.value_end
        assert position == end

    covers(0, len(content))


@pytest.mark.parametrize("syntax", ENCODINGS)
@given(contents=st.lists(st.binary(max_size=9).map(lambda b: wire.element(0x00280106, "OW", b, EXPLICIT)), max_size=4))
def test_a_sequence_holds_the_items_it_was_made_of(syntax, contents):
    whole = wire.sequence(SHARED_GROUPS, contents, syntax)
    (entry,) = wire.Scanner(whole).entries(0, len(whole), syntax)
    items = wire.Scanner(whole).items(entry.value, entry.value_end, syntax)
    assert [whole[item.value : item.value_end] for item in items] == contents


@pytest.mark.parametrize("syntax", ENCODINGS)
def test_a_value_too_long_for_its_length_field_becomes_un(syntax):
    whole = wire.element(0x00081030, "LO", b"x" * 0x10001, syntax)
    (entry,) = wire.Scanner(whole).entries(0, len(whole), syntax)
    assert entry.vr == (None if syntax.implicit else "UN")
    assert whole[entry.value : entry.value_end] == b"x" * 0x10001 + (b" ")


@given(st.binary(max_size=200), st.sampled_from(ENCODINGS))
@settings(max_examples=500)
def test_any_bytes_are_scanned_or_refused(content, syntax):
    try:
        found = list(wire.Scanner(content).entries(0, len(content), syntax))
    except NotCleanable:
        return
    assert all(before.end == after.start for before, after in itertools.pairwise(found))
    assert not found or found[-1].end <= len(content)


def planted(syntax) -> Dataset:
    """Returns an image with marked attributes of most VRs, at the top and in items, and a private one."""
    dataset = header(syntax)
    tags = [tag for tag in profile.ATTRIBUTES if profile.vr(tag) not in ("SQ", "UI", "OB", "FL", "", None)]
    for tag in (tag for tag in tags[::9] if tag not in dataset and tag >> 16 > 4):
        dataset.add(raw(tag, profile.vr(tag), MARK))
    inner = Dataset()
    inner.add(raw(0x00100010, "PN", MARK))
    inner.add(raw(0x00180060, "DS", b"120 "))
    outer = Dataset()
    outer.add(DataElement(0x00081115, "SQ", Sequence([inner, inner]), is_undefined_length=True))
    outer.add(raw(0x00104000, "LT", MARK * 9))
    outer.is_undefined_length_sequence_item = True
    dataset.add(DataElement(0x00081199, "SQ", Sequence([outer, inner]), is_undefined_length=True))
    dataset.add(DataElement(SHARED_GROUPS, "SQ", Sequence([inner, outer])))
    dataset.add(raw(0x00091001, "UN", MARK))
    name = wire.element(0x00100010, "PN", MARK, IMPLICIT)
    dataset.add(raw(0x00081200, "UN", wire.item_header(len(name), IMPLICIT) + name))
    dataset.add(raw(OVERLAY_DESCRIPTION, "LO", MARK))
    return dataset


@functools.cache
def seeds() -> tuple[tuple[bytes, bytes], ...]:
    """Returns files to damage: what stands before the data set, and the data set, inflated."""
    found = []
    for syntax in SYNTAXES:
        plain = ExplicitVRLittleEndian if syntax == DeflatedExplicitVRLittleEndian else syntax
        whole = as_file(planted(plain))
        length = 132 + 12 + struct.unpack("<L", whole[140:144])[0]
        found.append((part10.meta(CT, "1.2.999.3", syntax), whole[length:]))
    return tuple(found)


def whole(head: bytes, body: bytes) -> bytes:
    """Returns a file of the two, deflated when its head says so."""
    return head + (part10.deflated(body) if str(DeflatedExplicitVRLittleEndian).encode() in head else body)


@functools.cache
def lengths(body: bytes, syntax: wire.Syntax) -> tuple[int, ...]:
    """Returns where the length fields of a data set stand, in its items, too."""
    scanner, found = wire.Scanner(body), []

    def walk(start, end):
        for entry in scanner.entries(start, end, syntax):
            found.append(entry.value - (4 if syntax.implicit or entry.vr in _LONG else 2))
            if entry.vr == "SQ" or (entry.vr is None and entry.undefined):
                for item in scanner.items(entry.value, entry.value_end, syntax):
                    found.append(item.value - 4)
                    walk(item.value, item.value_end)
                found.extend([entry.end - 4] if entry.undefined else [])

    walk(0, len(body))
    return tuple(found)


_LONG = {vr.decode() for vr in wire.LONG_VRS}


def damaged(body: bytes, number: int, syntax: wire.Syntax) -> bytes:
    """Returns a data set with one to three things wrong; the same for the same number."""
    rng, new = random.Random(number), bytearray(body)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        kind, at = rng.randrange(9), rng.randrange(len(new))
        if kind < 2:
            new[at] = new[at] ^ 1 << rng.randrange(8) if kind else rng.randrange(256)
        elif kind in (2, 3, 4):
            field = rng.choice(lengths(body, syntax))
            value = rng.choice((0, 1, 2, 4, 8, 16, rng.randrange(64), rng.randrange(1 << 16), UNDEFINED, 0xFFFF))
            new[field : field + 2] = struct.pack(">H" if syntax.big else "<H", value & 0xFFFF)
            if value == UNDEFINED:
                new[field : field + 4] = b"\xff" * 4
        elif kind == 5:
            at = rng.choice(lengths(body, syntax)) - rng.choice((2, 4))  # the VR, in explicit encodings
            new[at : at + 2] = rng.choice((b"SQ", b"UN", b"OB", b"LO", b"UT", b"US", b"ZZ", b"UI", b"\0\0", b"OW"))
        elif kind == 6:
            del new[at : at + rng.randrange(1, 40)]
        elif kind == 7:
            new[at:at] = new[at : at + rng.randrange(1, 40)]
        else:
            delimiter = rng.choice((wire.ITEM_END, wire.SEQUENCE_END, wire.ITEM))
            new[at:at] = wire.delimiter(delimiter, syntax)
    return bytes(new)


def leaks(content: bytes, options: frozenset[str] = frozenset()) -> list[str]:
    """Returns the attributes that must go or change in which a reader other than ours still finds the mark."""
    if MARK not in inflated(content):
        return []
    found: list[str] = []

    def walk(dataset):
        for tag in map(int, dataset.keys()):
            element, row = dataset.get_item(tag), profile.attribute(tag)
            value = element.value if isinstance(element.value, bytes) else b""
            if row is not None and profile.chosen(row, options)[0] != "K" and reference.vr(tag) != "SQ":
                # What is longer was never planted: a reader lost its way in what the damage made of a header.
                found.extend([f"{tag:08X}"] if MARK in value and len(value) <= 64 else [])
            with contextlib.suppress(Exception):  # what pydicom cannot read, it shows to nobody
                element = dataset[tag] if element.VR == "SQ" or reference.vr(tag) == "SQ" else element
                for item in element.value if element.VR == "SQ" else []:
                    walk(item)

    with silence(), contextlib.suppress(Exception):
        walk(pydicom.dcmread(BytesIO(content), force=True))
    return found


def inflated(content: bytes) -> bytes:
    """Returns a file with its data set as it is before deflating."""
    start = 132 + 12 + struct.unpack("<L", content[140:144])[0]
    if str(DeflatedExplicitVRLittleEndian).encode() in content[:start]:
        return content[:start] + zlib.decompress(content[start:], -zlib.MAX_WBITS)
    return content


def outcome(content: bytes, folder, name: str = "in", work: files.Work = WORK) -> bytes | None:
    """Returns what becomes of a file, None where it is refused; anything but a refusal is a failure."""
    source = folder / name
    source.write_bytes(content)
    began = time.monotonic()
    try:
        place = folder / "out" / files.deidentify_file(source, folder / "out", work).place
        refusal = ""
    except NotCleanable as error:
        refusal = str(error)
    finally:
        assert time.monotonic() - began < LONGEST_S
    assert MARK.decode() not in refusal
    if refusal:
        return None
    new = place.read_bytes()
    place.unlink()
    return new


def fuzz(folder, numbers) -> list[tuple[int, int, list[str]]]:
    """Returns (number, seed, attributes) of each damaged file that leaks; counts those that are cleaned."""
    found, passed = [], 0
    for number in numbers:
        chosen = number % len(SYNTAXES)
        head, body = seeds()[chosen]
        syntax = {1: IMPLICIT, 2: BIG}.get(chosen, EXPLICIT)
        work = WORKS[number // 7 % len(WORKS)]
        new = outcome(whole(head, damaged(body, number, syntax)), folder, work=work)
        passed += new is not None
        if new is not None and (leaked := leaks(new, work.settings.options)):
            found.append((number, chosen, leaked))
    assert passed > len(numbers) // 20  # or nothing was tried
    return found


@pytest.mark.slow
def test_damaged_files_never_leak_nor_break_anything(tmp_path):
    assert fuzz(tmp_path, range(2500)) == []


@pytest.mark.slow
def test_many_damaged_files_never_leak_nor_break_anything(tmp_path):
    assert fuzz(tmp_path, range(10_000, 60_000)) == []


def test_damage_before_the_data_set_never_leaks_nor_breaks_anything(tmp_path):
    for number in range(600):
        rng = random.Random(number)
        head, body = seeds()[number % len(SYNTAXES)]
        content = bytearray(whole(head, body))
        for _ in range(rng.randrange(1, 4)):
            content[rng.randrange(120, len(head) + 16)] = rng.randrange(256)
        new = outcome(bytes(content), tmp_path)
        assert new is None or leaks(new) == [], number


@pytest.mark.parametrize("number", range(len(SYNTAXES)))
def test_a_file_cut_at_any_byte_is_refused_or_cut_between_elements(number):
    head, body = seeds()[number]
    content = whole(head, body)
    for length in range(len(content)):
        try:
            source = part10.source_of(content[:length])
            engine.clean(source, KEY, BASIC)
        except (NotCleanable, *MALFORMED):
            continue
        tags = [entry.tag for entry in source.scanner.entries(source.start, len(source.scanner.buffer), source.syntax)]
        assert tags, length


@given(st.binary(max_size=400))
@settings(max_examples=300)
def test_any_bytes_after_a_sound_beginning_are_cleaned_or_refused(tail):
    head, body = seeds()[0]
    with contextlib.suppress(NotCleanable, *MALFORMED):
        engine.clean(part10.source_of(head + body + tail), KEY, BASIC)


def instance(*extra: bytes, before: bytes = b"") -> bytes:
    """Returns a small explicit file with elements of one's own at the end, or before the patient's."""
    one = wire.element
    return (
        part10.meta(CT, "1.2.999.3", ExplicitVRLittleEndian)
        + one(0x00080016, "UI", CT.encode(), EXPLICIT)
        + one(0x00080018, "UI", b"1.2.999.3", EXPLICIT)
        + before
        + one(0x00100020, "LO", b"PLANTED1", EXPLICIT)
        + one(0x0020000D, "UI", b"1.2.999.1", EXPLICIT)
        + one(0x0020000E, "UI", b"1.2.999.2", EXPLICIT)
        + b"".join(extra)
    )


KEPT_ITEM = wire.element(ROWS, "US", b"\x10\0", EXPLICIT)
NAME = wire.element(0x00100010, "PN", b"PLANTED^NAME", EXPLICIT)
COMMENT = wire.element(OVERLAY_DESCRIPTION, "LO", b"PLANTED ", EXPLICIT)


def boxed(content):
    return wire.item_header(len(content), EXPLICIT) + content


def test_a_delimiter_that_claims_a_length_hides_nothing(tmp_path):
    """Readers skip the length of a delimiter, so what it claims is read as elements."""
    end = EXPLICIT.tag.pack(0xFFFE, 0xE0DD) + EXPLICIT.long.pack(len(COMMENT))
    shared = wire.header(SHARED_GROUPS, "SQ", UNDEFINED, EXPLICIT) + boxed(KEPT_ITEM) + end
    new = outcome(instance(shared, COMMENT), tmp_path)
    assert new is None or MARK not in new


def test_nothing_hides_behind_a_delimiter_within_a_defined_length(tmp_path):
    value = boxed(KEPT_ITEM) + wire.delimiter(wire.SEQUENCE_END, EXPLICIT) + COMMENT
    shared = wire.header(SHARED_GROUPS, "SQ", len(value), EXPLICIT) + value
    new = outcome(instance(shared), tmp_path)
    assert new is None or MARK not in new


def test_items_under_another_vr_of_a_kept_attribute_are_cleaned(tmp_path):
    """PatientAge, kept by an option, written as a sequence that holds a name."""
    value = boxed(NAME)
    age = wire.header(0x00101010, "SQ", len(value), EXPLICIT) + value
    chosen = Settings(frozenset(["RetainPatientCharacteristics"]))
    new = outcome(instance(before=age), tmp_path, work=files.Work(KEY, chosen))
    assert new is None or MARK not in new


def test_a_uid_too_long_for_a_files_name_is_refused(tmp_path):
    content = instance().replace(
        wire.element(0x00080018, "UI", b"1.2.999.3", EXPLICIT),
        wire.element(0x00080018, "UI", b"1." + b"2" * 400, EXPLICIT),
    )
    assert outcome(content, tmp_path, work=files.Work(KEY, Settings(frozenset(["RetainUIDs"])))) is None


def test_a_nested_name_is_not_given_the_identifier_of_the_data_set_around_it(tmp_path):
    """Defined and undefined lengths are the same data, and become the same."""
    ended = [boxed(NAME), wire.item_header(UNDEFINED, EXPLICIT) + NAME + wire.delimiter(wire.ITEM_END, EXPLICIT)]
    made = [
        outcome(instance(before=wire.header(0x00081199, "SQ", len(item), EXPLICIT) + item), tmp_path) for item in ended
    ]
    identifier = KEY.patient("PLANTED1").encode()
    assert made[0].count(identifier) == made[1].count(identifier)


def test_many_nested_names_take_no_longer_than_they_are_many(tmp_path):
    """A name is looked at once, not once for each name before it."""

    def calls(count):
        value = boxed(NAME * count)
        content = instance(before=wire.header(0x00081199, "SQ", len(value), EXPLICIT) + value)
        return work.calls(lambda: outcome(content, tmp_path))

    assert calls(800) < 5 * calls(200)  # four times as many: sixteen times where it is quadratic


@pytest.mark.parametrize("depth", [30, 400, 20_000])
def test_nesting_of_undefined_lengths_without_end_is_refused(tmp_path, depth):
    head = wire.header(0x00081199, "SQ", UNDEFINED, EXPLICIT) + wire.item_header(UNDEFINED, EXPLICIT)
    ends = wire.delimiter(wire.ITEM_END, EXPLICIT) + wire.delimiter(wire.SEQUENCE_END, EXPLICIT)
    new = outcome(instance(before=head * depth + KEPT_ITEM + ends * depth), tmp_path)
    assert (new is not None) == (depth == 30)


@pytest.mark.parametrize("depth", [30, 2000])
def test_nesting_of_defined_lengths_without_end_is_refused(tmp_path, depth):
    content = KEPT_ITEM
    for _ in range(depth):
        content = boxed(content)
        content = wire.header(0x00081199, "SQ", len(content), EXPLICIT) + content
    new = outcome(instance(before=content), tmp_path)
    assert (new is not None) == (depth == 30)
