"""Private elements: what the standard's table or the instance itself calls safe stays when asked, all else goes."""

import tempfile
from pathlib import Path

import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from radkit.deid import dates, safe_private, verify, wire
from radkit.deid.settings import Settings
from tests.deid.test_engine import KEY, cleaned, header, packed, raw, written

SAFE = "RetainSafePrivate"
GE = "GEMS_ACQU_01"  # in 0019: 23, 24, 27 are DS, 9E is LO
PHILIPS = "Philips Imaging DD 001"  # in 2001: 01 is FL, 5F a sequence
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)


def with_elements(*elements, syntax=ExplicitVRLittleEndian):
    dataset = header(syntax)
    for tag, vr, value in elements:
        dataset.add(DataElement(tag, "SQ", Sequence(value)) if vr == "SQ" else raw(tag, vr, value))
    return dataset


def private(dataset):
    return {element.tag: element for element in dataset if element.tag.is_private}


def clean(dataset, folder, *options):
    """Returns the data set that is left; what is left must be clean by the options it says."""
    output = cleaned(written(dataset, folder), Path(tempfile.mkdtemp(dir=folder)), chosen=Settings(frozenset(options)))
    assert verify.file(output) == []
    return pydicom.dcmread(output)


def characteristics(status, *, group=0x0019, creator="MAKER 1", safe=(), actions=()):
    """Returns an item of PrivateDataElementCharacteristicsSequence (PS3.3 C.12.1.1.7)."""
    item = Dataset()
    item.PrivateGroupReference, item.PrivateCreatorReference = group, creator
    item.BlockIdentifyingInformationStatus = status
    if safe:
        item.NonidentifyingPrivateElements = list(safe)
    if actions:
        item.DeidentificationActionSequence = []
    for action, elements in actions:
        one = Dataset()
        one.IdentifyingPrivateElements, one.DeidentificationAction = list(elements), action
        item.DeidentificationActionSequence.append(one)
    return item


def declared(elements, *items, syntax=ExplicitVRLittleEndian):
    dataset = with_elements((0x00190010, "LO", b"MAKER 1"), *elements, syntax=syntax)
    dataset.PrivateDataElementCharacteristicsSequence = list(items)
    return dataset


# --- the standard's table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("block", [0x10, 0x11, 0x7F, 0xFF])
def test_a_listed_row_stays_in_any_block_and_its_neighbours_go(tmp_path, syntax, block):
    at = 0x00190000 | block << 8
    dataset = with_elements(
        (0x00190000 | block, "LO", GE.encode()),
        (at | 0x23, "DS", b"1.25"),
        (at | 0x25, "LO", b"PLANTED"),  # not listed
        (at | 0x9E, "LO", b"EFGRE3D "),
        syntax=syntax,
    )
    found = private(clean(dataset, tmp_path, SAFE))
    assert list(found) == [0x00190000 | block, at | 0x23, at | 0x9E]
    assert found[0x00190000 | block].value == GE
    assert found[at | 0x23].value == 1.25
    assert not private(clean(dataset, tmp_path))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_all_rows_of_the_table_stay(tmp_path, syntax):
    dataset, blocks, expected = header(syntax), {}, set()
    for creator, group, low in safe_private._elements():
        block = blocks.setdefault((group, creator), 0x10 + sum(g == group for g, _ in blocks))
        vr = safe_private.vr(creator, group, low)
        tag = group << 16 | block << 8 | low
        dataset.add(raw(group << 16 | block, "LO", creator.encode()))
        dataset.add(DataElement(tag, "SQ", Sequence([Dataset()])) if vr == "SQ" else raw(tag, vr, b"12345678"))
        expected |= {tag, group << 16 | block}
    assert len(expected) > safe_private.count()
    output = cleaned(written(dataset, tmp_path), tmp_path / "out", chosen=Settings(frozenset((SAFE,))))
    assert {tag for tag in pydicom.dcmread(output).keys() if tag.is_private} == expected  # noqa: SIM118 - undecoded


def test_one_name_in_two_groups_is_two_creators(tmp_path):
    # GEMS_ACQU_01 is listed in 0019 only.
    dataset = with_elements(
        (0x00190010, "LO", GE.encode()), (0x00191023, "DS", b"1.25"),
        (0x00210010, "LO", GE.encode()), (0x00211023, "DS", b"6.25"),
    )  # fmt: skip
    assert list(private(clean(dataset, tmp_path, SAFE))) == [0x00190010, 0x00191023]


def test_one_creator_may_have_two_blocks(tmp_path):
    dataset = with_elements(
        (0x00190010, "LO", GE.encode()), (0x00190011, "LO", b"PLANTED"), (0x00190012, "LO", GE.encode() + b"  "),
        (0x00191023, "DS", b"1.25"), (0x00191123, "DS", b"PLANTED"), (0x00191223, "DS", b"2.25"),
    )  # fmt: skip
    found = private(clean(dataset, tmp_path, SAFE))
    assert list(found) == [0x00190010, 0x00190012, 0x00191023, 0x00191223]


@pytest.mark.parametrize(
    "elements",
    [
        [(0x00191023, "DS", b"62.25 ")],  # nobody reserved the block
        [(0x00190010, "LO", b""), (0x00191023, "DS", b"62.25 ")],
        [(0x00190010, "LO", b"PLANTED MAKER"), (0x00191023, "DS", b"62.25 ")],
        [(0x00190010, "LO", b"gems_acqu_01"), (0x00191023, "DS", b"62.25 ")],  # names are told by case
        [(0x00190011, "LO", GE.encode()), (0x00191023, "DS", b"62.25 ")],  # another block
        [(0x00190001, "LO", b"PLANTED"), (0x00190100, "LO", b"PLANTED"), (0x00190FFF, "LO", b"PLANTED")],
        [(0x00090010, "UN", b"PLANTED"), (0x00091001, "SQ", [Dataset()])],
        [(0xFFFF1010, "UN", b"PLANTED")],
    ],
)
def test_what_nobody_calls_safe_goes(tmp_path, elements):
    left = private(clean(with_elements(*elements), tmp_path, SAFE))
    assert set(left) <= {0x00190011}


def test_a_creator_that_stands_after_its_elements_does_no_harm(tmp_path):
    elements = ((0x00191023, "DS", b"1.25"), (0x00191025, "LO", b"PLANTED"), (0x00190010, "LO", GE.encode()))
    late = b"".join(wire.element(*one, wire.EXPLICIT) for one in elements)
    last = wire.element(0x00180060, "DS", b"120 ", wire.EXPLICIT)
    path = written(header(), tmp_path)
    path.write_bytes(path.read_bytes().replace(last, last + late))
    output = cleaned(path, tmp_path / "out", chosen=Settings(frozenset((SAFE,))))
    assert b"PLANTED" not in output.read_bytes()
    assert verify.file(output) == []
    assert pydicom.dcmread(output).KVP == 120


def test_a_listed_sequence_is_entered_and_its_patient_is_found(tmp_path):
    inner = Dataset()
    inner.PatientName, inner.PatientID, inner.ReferringPhysicianName = "PLANTED^NAME", "PLANTED1", "PLANTED"
    inner.StudyDate, inner.EchoTime = "19620304", "12"
    inner.add(raw(0x20010010, "LO", PHILIPS.encode()))
    inner.add(raw(0x20011001, "FL", b"\0\0\x80\x3f"))
    inner.add(raw(0x20010011, "LO", b"PLANTED"))
    inner.add(raw(0x20011101, "LO", b"PLANTED"))
    deeper = Dataset()
    deeper.InstitutionName, deeper.SeriesInstanceUID = "PLANTED", "1.2.999.2"
    inner.add(DataElement(0x2001105F, "SQ", Sequence([deeper])))
    dataset = with_elements((0x20010010, "LO", PHILIPS.encode()), (0x2001105F, "SQ", [inner]))
    after = clean(dataset, tmp_path, SAFE)
    assert "PLANTED" not in str(after)
    assert "19620304" not in str(after)
    (left,) = after[0x2001105F].value
    assert (left.PatientID, left.EchoTime, left[0x20011001].value) == (KEY.patient("PLANTED1"), 12, 1.0)
    assert left[0x2001105F].value[0].SeriesInstanceUID == KEY.uid("1.2.999.2")
    assert 0x20010011 not in left


def test_a_block_reserved_outside_a_sequence_is_not_reserved_within(tmp_path):
    inner = Dataset()
    inner.add(raw(0x20011001, "FL", b"\0\0\x80\x3f"))
    dataset = with_elements((0x20010010, "LO", PHILIPS.encode()), (0x2001105F, "SQ", [inner]))
    assert not list(clean(dataset, tmp_path, SAFE)[0x2001105F].value[0])


@pytest.mark.parametrize("undefined", [False, True])
def test_a_listed_sequence_written_as_un_is_entered(tmp_path, undefined):
    inner = Dataset()
    inner.PatientName, inner.EchoTime = "PLANTED^NAME", "12"
    content = packed(inner, wire.IMPLICIT)  # PS3.5 6.2.2: under UN items are implicit
    items = wire.item_header(len(content), wire.IMPLICIT) + content
    if undefined:
        items += wire.delimiter(wire.SEQUENCE_END, wire.IMPLICIT)
    head = wire.header(0x2001105F, "UN", wire.UNDEFINED if undefined else len(items), wire.EXPLICIT)
    creator = wire.element(0x20010010, "LO", PHILIPS.encode(), wire.EXPLICIT)
    path = written(with_elements((0x20010010, "LO", PHILIPS.encode())), tmp_path)
    path.write_bytes(path.read_bytes().replace(creator, creator + head + items))
    output = cleaned(path, tmp_path / "out", chosen=Settings(frozenset((SAFE,))))
    assert b"PLANTED" not in output.read_bytes()
    assert verify.file(output) == []
    (left,) = pydicom.dcmread(output)[0x2001105F].value
    assert (left.EchoTime, left.PatientName) == (12, "ANONYMIZED")


def test_a_sequence_of_nobodys_goes_whole(tmp_path):
    inner = Dataset()
    inner.PatientName = "PLANTED^NAME"
    for undefined in (False, True):
        dataset = with_elements((0x00110010, "LO", b"MAKER"))
        dataset.add(DataElement(0x00111001, "SQ", Sequence([inner]), is_undefined_length=undefined))
        assert not private(clean(dataset, tmp_path, SAFE))


@pytest.mark.parametrize("vr", ["UI", "UN"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_listed_uid_is_mapped_as_all_others(tmp_path, vr, syntax):
    # NQHeader in 0099: 01 is the result's UID, 02 that of the series it is of.
    dataset = with_elements((0x00990010, "LO", b"NQHeader"), (0x00991002, vr, b"1.2.999.2\0"), syntax=syntax)
    after = clean(dataset, tmp_path, SAFE)
    found = after[0x00991002].value
    assert (found.decode().rstrip("\0") if isinstance(found, bytes) else found) == after.SeriesInstanceUID
    kept = clean(dataset, tmp_path, SAFE, "RetainUIDs")[0x00991002].value
    assert (kept.decode().rstrip("\0") if isinstance(kept, bytes) else kept) == "1.2.999.2"


# --- what the instance itself declares --------------------------------------------------------------------------------

BLOCK = (
    (0x00191001, "LO", b"harmless"),
    (0x00191002, "LO", b"PLANTED"),
    (0x00191003, "LO", b"PLANTED"),
)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("item", "left"),
    [
        (characteristics("SAFE"), [1, 2, 3]),
        (characteristics("MIXED", safe=[0x01]), [1]),
        (characteristics("MIXED", safe=[0x0001, 0x0003]), [1, 3]),
        (characteristics("MIXED"), []),
        (characteristics("UNSAFE"), []),
        (characteristics("UNSAFE", safe=[0x01]), []),  # contradicts itself: the stricter holds
        (characteristics("SAFE", group=0x0021), []),  # of another block
        (characteristics("SAFE", creator="MAKER 2"), []),
        (characteristics("SAFE", creator="maker 1"), []),
        (characteristics("SAFER"), []),
        (characteristics(""), []),
        (Dataset(), []),
    ],
)
def test_what_an_instance_declares_safe_stays(tmp_path, syntax, item, left):
    dataset = declared(BLOCK, item, syntax=syntax)
    found = private(clean(dataset, tmp_path, SAFE))
    assert [tag & 0xFF for tag in found if tag & 0xFFFF > 0xFF] == left
    assert not private(clean(dataset, tmp_path))


def test_a_creator_of_whose_block_nothing_stays_goes_too(tmp_path):
    # Its name is the file's, not the standard's: it may say anything.
    dataset = declared([(0x00191001, "LO", b"PLANTED")], characteristics("UNSAFE"))
    assert not private(clean(dataset, tmp_path, SAFE))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize(
    ("action", "vr", "old", "new"),
    [
        ("X", "LO", b"PLANTED", None),
        ("Z", "LO", b"PLANTED", b""),
        ("D", "LO", b"PLANTED", b"ANONYMIZED"),
        ("D", "PN", b"PLANTED^NAME", b"ANONYMIZED"),
        ("D", "DA", b"19620304", b"19000101"),
        ("U", "UI", b"1.2.999.2\0", None),  # below
        ("K", "LO", b"PLANTED", None),  # no action of the standard's: removed
        ("", "LO", b"PLANTED", None),
    ],
)
def test_the_actions_an_instance_asks_for_are_done(tmp_path, syntax, action, vr, old, new):
    item = characteristics("MIXED", safe=[0x01], actions=[(action, [0x0002])])
    elements = [(0x00191001, "LO", b"harmless"), (0x00191002, vr, old)]
    source = written(declared(elements, item, syntax=syntax), tmp_path)
    output = cleaned(source, tmp_path / "out", chosen=Settings(frozenset((SAFE,))))
    assert b"PLANTED" not in output.read_bytes()
    assert b"1.2.999" not in output.read_bytes()
    after = pydicom.dcmread(output)
    found = after.get_item(0x00191002).value or b"" if 0x00191002 in after else None
    if action == "U":
        assert found.rstrip(b"\0").decode() == after.SeriesInstanceUID
    elif vr in ("LO", "PN", "DA") and syntax == ImplicitVRLittleEndian and action == "D":
        assert found not in (None, b"", old)  # an implicit file does not say the VR
    else:
        assert (found or b"").strip() == (new or b"")
        assert (found is None) == (new is None)


@pytest.mark.parametrize("action", ["D", "Z", "X", "U"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_an_action_on_a_private_sequence_leaves_a_file_that_can_be_read(tmp_path, action, syntax, undefined):
    inner = Dataset()
    inner.PatientName, inner.EchoTime = "PLANTED^NAME", "12"
    dataset = declared([], characteristics("UNSAFE", actions=[(action, [0x0002])]), syntax=syntax)
    dataset.add(DataElement(0x00191002, "SQ", Sequence([inner]), is_undefined_length=undefined))
    output = cleaned(written(dataset, tmp_path), tmp_path / "out", chosen=Settings(frozenset((SAFE,))))
    assert b"PLANTED" not in output.read_bytes()
    after = pydicom.dcmread(output)
    # Items, none, or no element at all: never bytes that are no items under the VR SQ.
    stored = after.get_item(0x00191002) if 0x00191002 in after else None
    if stored is not None and stored.is_raw:
        assert stored.value in (None, b"") or stored.value[:4] in (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
    assert verify.file(output) == []
    assert after.Rows == 16


def test_a_declared_date_moves_and_a_declared_uid_is_mapped(tmp_path):
    elements = [(0x00191001, "DA", b"20200304"), (0x00191002, "UI", b"1.2.999.1\0"), (0x00191003, "TM", b"1122")]
    dataset = declared(elements, characteristics("SAFE"))
    after = clean(dataset, tmp_path, SAFE, "RetainLongModifiedDates")
    moved = dates.shift(b"20200304", "DA", KEY.days("PLANTED1")).decode()
    assert [after[0x00191000 | n].value for n in (1, 2, 3)] == [moved, after.StudyInstanceUID, "1122"]


def test_two_declarations_of_one_block_do_not_outdo_one_another(tmp_path):
    # The stricter word holds, whichever comes last.
    unsafe = characteristics("UNSAFE", actions=[("X", [0x02])])
    for items in ((characteristics("SAFE"), unsafe), (unsafe, characteristics("SAFE"))):
        found = private(clean(declared(BLOCK, *items), tmp_path, SAFE))
        assert 0x00191002 not in found


def test_a_declaration_within_a_sequence_or_without_the_option_counts_for_nothing(tmp_path):
    dataset = with_elements((0x00190010, "LO", b"MAKER 1"), (0x00191002, "LO", b"PLANTED"))
    item = Dataset()
    item.PrivateDataElementCharacteristicsSequence = [characteristics("SAFE")]
    dataset.SharedFunctionalGroupsSequence = [item]
    assert not private(clean(dataset, tmp_path, SAFE))


def test_a_safe_declared_sequence_is_still_entered(tmp_path):
    inner = Dataset()
    inner.PatientName, inner.OperatorsName, inner.EchoTime = "PLANTED^NAME", "PLANTED", "12"
    dataset = declared([(0x00191002, "SQ", [inner])], characteristics("SAFE"))
    after = clean(dataset, tmp_path, SAFE)
    assert "PLANTED" not in str(after[0x00191002].value)
    assert after[0x00191002].value[0].EchoTime == 12


def test_what_one_instance_declares_does_not_hold_for_the_next(tmp_path):
    # The same bytes in an item, once declared safe and once not; one process cleans both, in either order.
    def dataset(*items):
        inner = Dataset()
        inner.add(raw(0x00190010, "LO", b"MAKER 1"))
        inner.add(raw(0x00191002, "LO", b"PLANTED"))
        made = declared([], *items) if items else header()
        made.SharedFunctionalGroupsSequence = [inner]
        return made

    chosen = Settings(frozenset((SAFE, "RetainDeviceIdentity")))  # rules of its own, whatever ran before
    for number, items in enumerate(((), (characteristics("SAFE"),), ())):
        source = written(dataset(*items), tmp_path)
        output = cleaned(source, tmp_path / str(number), chosen=chosen)
        assert (b"PLANTED" in output.read_bytes()) == bool(items), number


def test_verify_does_not_learn_from_one_instance_what_it_misses_in_the_next(tmp_path):
    inner = Dataset()
    inner.add(raw(0x00190010, "LO", b"MAKER 1"))
    inner.add(raw(0x00191002, "LO", b"PLANTED"))
    chosen = Settings(frozenset((SAFE, "RetainInstitutionIdentity")))
    safe, unsafe = declared([], characteristics("SAFE")), header()
    for made in (safe, unsafe):
        made.SharedFunctionalGroupsSequence = [inner]
    paths = [f.path for made in (safe, unsafe) for f in verify.file(written(made, tmp_path), chosen)]
    assert "52009229[1].00191002" in paths
