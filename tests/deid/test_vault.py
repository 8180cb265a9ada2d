"""The vault: whatever goes in comes out with the key, and nothing without it."""

import builtins
import itertools
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("cryptography")

from radkit.deid import keys, vault
from radkit.errors import UserError

KEY = keys.Key(bytes(range(32)))
OTHER = keys.Key(bytes(range(1, 33)))
PATIENT = vault.Entry("patient", "PABCDEFGHIJ234567", "MRN 4711", "Zufall^Zora", "19700101")

# Also what is no text: bytes that a wrong character set leaves.
WORDS = st.text(max_size=20) | st.just("\udce4\udcff") | st.just("Müller^Jürg\0\x1b[2J")
ENTRIES = st.builds(
    vault.Entry, st.sampled_from(("patient", "study", "series", "instance")), WORDS.filter(bool), WORDS, WORDS, WORDS
)


def instances(count, first=0):
    return [vault.Entry("instance", KEY.uid(f"1.2.{i}"), f"1.2.{i}") for i in range(first, first + count)]


def made(folder, *groups, key=KEY, name="a.vault"):
    """Returns a vault of parts, each of a group of entries."""
    parts = []
    for number, entries in enumerate(groups):
        parts.append(folder / f"{name}.part{number}")
        vault.write_part(parts[-1], entries, key)
    vault.merge(parts, folder / name, key)
    return folder / name


def all_of(path, key=KEY):
    with vault._opened(path, key) as file:
        return list(file.rows())


def test_each_identifier_is_answered_among_many(tmp_path):
    count = 5 * vault._CHUNK_ENTRIES + 3
    path = made(tmp_path, instances(count), [PATIENT])
    assert vault.find(path, KEY, PATIENT.new) == [PATIENT]
    for entry in instances(count)[::7]:
        assert vault.find(path, KEY, entry.new) == [entry]
    for unknown in ("", "0", "2.25.1", "Z", "~", "2.25", entry.new + "1"):
        assert vault.find(path, KEY, unknown) == []


@pytest.mark.slow
@given(st.lists(ENTRIES, max_size=30), st.integers(1, 5), st.integers(1, 4))
def test_whatever_goes_in_comes_out_once_and_sorted(tmp_path_factory, entries, num_parts, chunk):
    folder = tmp_path_factory.mktemp("vault")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vault, "_CHUNK_ENTRIES", chunk)
        patch.setattr(vault, "_FAN_IN", 2)
        path = made(folder, *(entries[i::num_parts] for i in range(num_parts)))
    rows = all_of(path)
    assert rows == sorted({vault._row(entry) for entry in entries})
    for entry in entries:
        found = vault.find(path, KEY, entry.new)
        assert set(found) == {other for other in entries if other.new == entry.new}
        assert len(found) == len(set(found))


def test_the_same_entries_give_the_same_content_whatever_the_parts(tmp_path):
    entries = [*instances(1200), PATIENT]
    one = made(tmp_path, entries, name="one")
    many = made(tmp_path, entries[800:], entries[:900], entries[::2], name="many")
    assert all_of(one) == all_of(many)
    assert one.stat().st_size == many.stat().st_size
    assert one.read_bytes() != many.read_bytes()  # each file under a key of its own


def test_more_parts_than_files_may_be_open_are_merged_in_rounds(tmp_path, monkeypatch):
    monkeypatch.setattr(vault, "_FAN_IN", 3)
    most = 0
    opened = vault._opened

    def counting(*arguments):
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        return opened(*arguments)

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(vault, "_opened", counting)
    path = made(tmp_path, *(instances(2, i) for i in range(40)))
    assert most <= before + 4
    assert len(all_of(path)) == 41
    assert not [p for p in tmp_path.iterdir() if "incomplete" in p.name]


def test_a_later_run_adds_and_the_same_run_again_changes_nothing(tmp_path):
    path = made(tmp_path, instances(10))
    vault.set_questions(path, KEY, 7, bytes(range(32)))
    part = tmp_path / "later"
    vault.write_part(part, [*instances(5, 8), PATIENT], KEY)
    for _ in range(2):
        assert vault.merge([part], path, KEY) == 14
        assert vault.find(path, KEY, PATIENT.new) == [PATIENT]
        assert vault.find(path, KEY, KEY.uid("1.2.0"))
        assert vault.questions(path, KEY) == (7, bytes(range(32)))


def test_a_patient_whose_name_was_written_in_two_ways_has_two_entries(tmp_path):
    married = vault.Entry("patient", PATIENT.new, PATIENT.old, "Ehemals^Zora", "19700101")
    path = made(tmp_path, [PATIENT, married, PATIENT], [married])
    assert vault.find(path, KEY, PATIENT.new) == sorted([PATIENT, married], key=lambda entry: entry.name)


def test_nothing_in_the_files_is_plain_and_both_are_their_owners(tmp_path):
    before = os.umask(0)
    try:
        path = made(tmp_path, [PATIENT])
    finally:
        os.umask(before)
    for file in (path, tmp_path / "a.vault.part0"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        content = file.read_bytes()
        for plain in (PATIENT.new, PATIENT.old, PATIENT.name, PATIENT.birth_date, "patient"):
            assert plain.encode() not in content


def test_an_empty_vault_has_no_answer(tmp_path):
    assert vault.merge([], tmp_path / "a.vault", KEY) == 0
    assert vault.find(tmp_path / "a.vault", KEY, PATIENT.new) == []
    assert all_of(made(tmp_path, [], name="b.vault")) == []


def refused(path, key=KEY):
    """Returns what a question and an extension both say."""
    before = path.read_bytes() if path.is_file() else None
    for act in (lambda: vault.find(path, key, PATIENT.new), lambda: vault.merge([], path, key)):
        with pytest.raises(UserError) as error:
            act()
        assert "\n" not in str(error.value)
        for plain in (PATIENT.new, PATIENT.old, PATIENT.name, "Zora"):
            assert plain not in str(error.value)
    assert (path.read_bytes() if path.is_file() else None) == before
    assert not [p for p in path.parent.iterdir() if "incomplete" in p.name]
    return str(error.value)


def test_another_key_is_refused(tmp_path):
    assert "another key" in refused(made(tmp_path, [PATIENT]), OTHER)


def test_a_part_of_another_key_is_refused_and_the_vault_stays(tmp_path):
    path = made(tmp_path, [PATIENT])
    before = path.read_bytes()
    vault.write_part(tmp_path / "alien", instances(3), OTHER)
    with pytest.raises(UserError, match="another key"):
        vault.merge([tmp_path / "alien"], path, KEY)
    assert path.read_bytes() == before


def test_a_vault_that_is_cut_or_longer_is_told(tmp_path):
    path = made(tmp_path, [PATIENT])
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"damaged|not a vault"):
            vault.find(path, KEY, PATIENT.new)
    for more in (b"\0", whole):
        path.write_bytes(whole + more)
        assert "damaged" in refused(path)


def test_every_changed_byte_is_told(tmp_path):
    path = made(tmp_path, [PATIENT])
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        with pytest.raises(UserError, match=r"damaged|not a vault"):
            vault.find(path, KEY, PATIENT.new)


def test_a_changed_byte_far_from_the_answer_is_told_when_the_vault_is_read_whole(tmp_path):
    path = made(tmp_path, instances(3 * vault._CHUNK_ENTRIES))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    assert vault.find(path, KEY, all_of_first(path)) != []
    with pytest.raises(UserError, match="damaged"):
        vault.merge([], path, KEY)
    assert path.read_bytes() == whole


def all_of_first(path):
    with vault._opened(path, KEY) as file:
        return file.starts[0]


def test_no_chunk_stands_in_for_another(tmp_path):
    path = made(tmp_path, instances(3 * vault._CHUNK_ENTRIES))
    with vault._opened(path, KEY) as file:
        a, b, c = file.offsets[:3]
        known = file.starts[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:a] + whole[b : b + b - a] + whole[b:])
    with pytest.raises(UserError, match="damaged"):
        vault.find(path, KEY, known)
    assert c > b


def test_a_count_of_questions_is_not_changed_without_the_key(tmp_path):
    path = made(tmp_path, [PATIENT])
    vault.set_questions(path, KEY, 3, b"s" * 32)
    assert vault.questions(path, KEY) == (3, b"s" * 32)
    other = made(tmp_path, [PATIENT], name="b.vault").read_bytes()
    whole = bytearray(path.read_bytes())
    start, end = vault._QUESTIONS_AT, vault._HEADER_BYTES
    whole[start:end] = other[start:end]  # the other's, of no questions
    path.write_bytes(whole)
    with pytest.raises(UserError, match="damaged"):
        vault.questions(path, KEY)


@pytest.mark.parametrize("content", [b"", b"radkit", b"{}" * 100, bytes(4096)])
def test_a_file_that_is_no_vault_is_refused_and_stays(tmp_path, content):
    path = tmp_path / "a.vault"
    path.write_bytes(content)
    assert "not a vault" in refused(path)


def test_a_folder_and_a_missing_place_are_refused(tmp_path):
    assert "folder" in refused(tmp_path)
    with pytest.raises(UserError, match="folder does not exist"):
        vault.merge([], tmp_path / "no" / "a.vault", KEY)
    with pytest.raises(UserError, match="does not exist"):
        vault.find(tmp_path / "a.vault", KEY, "x")
    with pytest.raises(UserError, match="does not exist"):
        vault.merge([tmp_path / "no part"], tmp_path / "a.vault", KEY)
    assert not list(tmp_path.iterdir())


def test_ready_tells_before_the_work(tmp_path):
    vault.ready(tmp_path / "a.vault", KEY)
    path = made(tmp_path, [PATIENT])
    vault.ready(path, KEY)
    with pytest.raises(UserError, match="another key"):
        vault.ready(path, OTHER)


def test_a_link_to_a_vault_is_followed(tmp_path):
    path = made(tmp_path, [PATIENT])
    (tmp_path / "link").symlink_to(path)
    assert vault.merge([], tmp_path / "link", KEY) == 1
    assert (tmp_path / "link").is_symlink()
    assert vault.find(tmp_path / "link", KEY, PATIENT.new) == [PATIENT]


def test_a_merge_beside_another_is_refused_and_loses_nothing(tmp_path, monkeypatch):
    path = made(tmp_path, [PATIENT])
    vault.write_part(tmp_path / "part", instances(3), KEY)
    merging = vault._merge

    def slow(*arguments):
        done = merging(*arguments)
        monkeypatch.setattr(vault, "_merge", merging)
        (tmp_path / "b.vault").write_bytes(path.read_bytes())  # as another process: aside, then renamed
        (tmp_path / "b.vault").replace(path)
        return done

    monkeypatch.setattr(vault, "_merge", slow)
    with pytest.raises(UserError, match="meanwhile"):
        vault.merge([tmp_path / "part"], path, KEY)
    assert vault.merge([tmp_path / "part"], path, KEY) == 4


def test_a_count_beside_a_merge_does_not_damage_the_new_vault(tmp_path, monkeypatch):
    path = made(tmp_path, [PATIENT])
    new = made(tmp_path, [PATIENT], name="b.vault")
    proving = vault._questions_proof

    def slow(*arguments):
        if new.exists() and arguments[1] == 5:
            new.replace(path)
        return proving(*arguments)

    monkeypatch.setattr(vault, "_questions_proof", slow)
    vault.set_questions(path, KEY, 5, b"s" * 32)
    assert vault.questions(path, KEY) == (0, vault.NO_SEAL)
    assert vault.find(path, KEY, PATIENT.new) == [PATIENT]


def test_a_killed_merge_leaves_the_vault_and_the_next_one_sweeps(tmp_path):
    path = made(tmp_path, [PATIENT])
    left = tmp_path / f"a.vault.incomplete.{2**22 + 1}"  # above the highest number of a process
    left.mkdir()
    assert vault.merge([], path, KEY) == 1
    assert not left.exists()


@pytest.mark.parametrize(("kind", "new"), [("person", "P1"), ("patient", "")])
def test_an_entry_of_no_kind_or_without_an_identifier_is_refused(kind, new):
    with pytest.raises(ValueError, match="patient, study, series, instance") as error:
        vault.Entry(kind, new, PATIENT.old)
    assert PATIENT.old not in str(error.value)


def test_a_missing_package_is_one_line(tmp_path, monkeypatch):
    path = made(tmp_path, [PATIENT])
    importing = builtins.__import__

    def without(name, *rest):
        if name.startswith("cryptography"):
            raise ModuleNotFoundError(name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    for act in (
        lambda: vault.find(path, KEY, "x"),
        lambda: vault.ready(tmp_path / "b.vault", KEY),
        lambda: vault.write_part(tmp_path / "part", [PATIENT], KEY),
    ):
        with pytest.raises(UserError, match=r"pip install 'radkit\[deid\]'"):
            act()
    assert not (tmp_path / "part").exists()


def test_an_answer_decrypts_one_chunk_and_the_table(tmp_path, monkeypatch):
    path = made(tmp_path, instances(8 * vault._CHUNK_ENTRIES))
    decrypting, calls = vault._decrypted, itertools.count()

    def counting(*arguments):
        next(calls)
        return decrypting(*arguments)

    monkeypatch.setattr(vault, "_decrypted", counting)
    assert vault.find(path, KEY, KEY.uid("1.2.1000"))
    assert next(calls) <= 3  # two chunks where the identifier begins one
