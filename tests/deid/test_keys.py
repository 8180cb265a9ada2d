"""The key: same value in, same pseudonym out, and the secret nowhere else."""

import logging
import pickle
import re
import stat

import pytest

from radkit.deid import keys
from radkit.errors import UserError

KEY = keys.Key(bytes(range(32)))
OTHER = keys.Key(bytes(range(1, 33)))


def test_a_uid_is_valid_and_the_same_each_time():
    new = KEY.uid("1.2.840.113619.2.55.3")
    assert new == KEY.uid("1.2.840.113619.2.55.3\0") == KEY.uid(" 1.2.840.113619.2.55.3")
    assert re.fullmatch(r"2\.25\.[1-9][0-9]*", new)
    assert len(new) <= 64
    assert new != OTHER.uid("1.2.840.113619.2.55.3")
    assert new != KEY.uid("1.2.840.113619.2.55.4")


def test_a_new_uid_is_a_uuid_of_version_8():
    number = int(KEY.uid("1.2.3")[5:])
    assert number >> 76 & 0xF == 8
    assert number >> 62 & 0x3 == 2
    assert number < 1 << 128


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.4.1.1", "1.2.840.10008.5.1.4.1.1.2"])
def test_the_standards_own_uids_stay(uid):
    assert KEY.uid(uid) == uid


def test_an_instances_uid_below_the_standards_root_is_mapped():
    assert KEY.uid("1.2.840.10008.9.9.9.1234").startswith("2.25.")


def test_an_empty_uid_stays_empty():
    assert KEY.uid("") == KEY.uid("\0") == ""


def test_a_pseudonym_is_a_short_word_that_begins_with_a_letter():
    assert re.fullmatch(r"P[A-Z2-7]{16}", KEY.patient("MRN 123"))
    assert KEY.patient("MRN 123") == KEY.patient("MRN 123 ")
    assert KEY.patient("Müller") != KEY.patient("Muller")
    assert KEY.patient("MRN 123") != OTHER.patient("MRN 123")


def test_the_secret_is_in_no_text_of_the_key_and_in_no_pickle():
    for shown in (repr(KEY), str(KEY), f"{KEY}"):
        assert shown == "Key()"
    with pytest.raises(TypeError, match="path"):
        pickle.dumps(KEY)


def test_a_written_key_is_its_owners_and_is_read_back(tmp_path, caplog):
    path = tmp_path / "secret.key"
    key = keys.new()
    keys.write(key, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert keys.read(path) == key
    assert not caplog.records


def test_two_new_keys_differ():
    assert keys.new() != keys.new()


def test_a_key_is_never_overwritten(tmp_path):
    path = tmp_path / "secret.key"
    path.write_bytes(b"something dear")
    with pytest.raises(UserError, match="exists"):
        keys.write(KEY, path)
    assert path.read_bytes() == b"something dear"


def test_a_key_in_no_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match="folder does not exist"):
        keys.write(KEY, tmp_path / "no" / "secret.key")


def test_a_key_others_may_read_is_warned_of_without_its_contents(tmp_path, caplog):
    path = tmp_path / "secret.key"
    path.write_bytes(b"S" * 32)
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        keys.read(path)
    assert "chmod 600" in caplog.text
    assert "SSSS" not in caplog.text


@pytest.mark.parametrize("content", [b"", b"password", bytes(33)])
def test_a_file_that_is_no_key_is_refused_without_showing_it(tmp_path, content):
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"holds {len(content)} bytes where 32") as refused:
        keys.read(path)
    assert "password" not in str(refused.value)


def test_a_missing_key_and_a_folder_are_refused(tmp_path):
    with pytest.raises(UserError, match="--create_key"):
        keys.read(tmp_path / "secret.key")
    with pytest.raises(UserError, match="cannot be read"):
        keys.read(tmp_path)
