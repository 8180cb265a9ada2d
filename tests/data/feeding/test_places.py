"""Records are found without their pixels being read, and say what decoding says."""

import os
from pathlib import Path

import numpy as np
import pytest

from radkit import config
from radkit.data import convert, records, shards
from radkit.data.feeding import mapped, places
from radkit.errors import UserError
from tests.data.feeding import made

DATA = config.Data("x", mask_labels=("a",), label="l", class_names=("no", "yes"), box_labels=("b",))
FIELDS = convert.fields_of(DATA)
WANTED = ("image", "mask", "origin_mm", "label", "boxes", "box_labels", "lesion_ids", "spacing_mm", "age_years")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    every = [
        made.values(
            DATA, n, (40, 30 + n, 25), label=n % 2, boxes=np.full((n, 6), n, np.float32), box_labels=[0] * n,
            lesion_ids=[f"ü{k}" for k in range(n)],
        )
        for n in range(5)
    ]  # fmt: skip
    return made.write(tmp_path_factory.mktemp("places"), DATA, {"train": every, "test": every[:1]})


def copy(folder: Path, to: Path) -> Path:
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_what_is_found_is_what_decoding_gives(folder: Path) -> None:
    found = places.find(folder, ("train", "test"), FIELDS, WANTED)
    whole = [r for s in ("train", "test") for p in shards.split_files(folder, s) for r in shards.read_shard(p)]
    assert len(found) == len(whole) == 6
    files = mapped.Shards()
    for one, content in zip(found, whole):
        decoded = records.decode(content, FIELDS)
        assert files.record(one) == content
        assert one.uid == decoded["record_uid"]
        assert set(one.values) | set(one.arrays) == {*WANTED, "record_uid", "patient_id"}
        for name, value in one.values.items():
            np.testing.assert_array_equal(value, decoded[name])
            assert np.shape(value) == np.shape(decoded[name])
        for name in one.arrays:
            array = files.array(one, name)
            np.testing.assert_array_equal(array, decoded[name])
            assert array.dtype == decoded[name].dtype
    assert [record.shard for record in found] == [0, 0, 0, 1, 1, 2]


def test_pixels_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, at: read.append(count) or pread(file, count, at))
    places.find(folder, ("train",), FIELDS, WANTED)
    stored = sum(path.stat().st_size for path in shards.split_files(folder, "train"))
    assert sum(read) < stored / 5


def test_patients_are_chosen(folder: Path) -> None:
    assert [r.uid for r in places.find(folder, ("train",), FIELDS, (), {"P1"})] == ["1.2.2", "1.2.3"]
    with pytest.raises(UserError, match="holds 5 records, none of the patients asked for"):
        places.find(folder, ("train",), FIELDS, (), {"P9"})


def test_a_split_without_records_is_named(folder: Path) -> None:
    with pytest.raises(UserError, match=r"split 'validation' of .* holds no records"):
        places.find(folder, ("validation",), FIELDS, ())


@pytest.mark.parametrize("left", [3, 12, 40, -1, -20, -2000])
def test_a_shard_that_was_cut_is_named(folder: Path, tmp_path: Path, left: int) -> None:
    there = copy(folder, tmp_path / "x")
    path = shards.split_files(there, "train")[1]
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(UserError, match=f"{path.name} is damaged or cut short"):
        places.find(there, ("train",), FIELDS, WANTED)


def test_a_shard_that_lacks_a_record_is_named(folder: Path, tmp_path: Path) -> None:
    there = copy(folder, tmp_path / "x")
    path = shards.split_files(there, "train")[1]
    shards.write_shard(path, list(shards.read_shard(path))[:1])
    with pytest.raises(UserError, match=f"{path.name} holds 1 records, dataset_info.json says 2"):
        places.find(there, ("train",), FIELDS, WANTED)


def test_any_damaged_byte_is_found_when_the_record_is_first_read(folder: Path, tmp_path: Path) -> None:
    path = shards.split_files(folder, "test")[0]
    sound = path.read_bytes()
    random = np.random.default_rng(0)
    for number, at in enumerate(random.integers(0, len(sound), 60)):
        there = tmp_path / f"{number}"
        copy(folder, there)
        damaged = bytearray(sound)
        damaged[at] ^= 1 << number % 8
        (there / path.name).write_bytes(bytes(damaged))
        with pytest.raises(UserError, match=f"{path.name} "):
            mapped.Shards().array(places.find(there, ("test",), FIELDS, WANTED)[0], "image")


def test_a_record_is_checked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = places.find(folder, ("train",), FIELDS, WANTED)
    files, counted = mapped.Shards(), []
    whole = shards.masked_crc
    monkeypatch.setattr(shards, "masked_crc", lambda *parts: counted.append(1) or whole(*parts))
    for _ in range(3):
        for record in found:
            files.array(record, "image"), files.array(record, "mask")
    assert len(counted) == len(found)


def test_few_files_are_open_at_once_and_views_outlive_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "_MOST_OPEN", 1)
    found = places.find(folder, ("train",), FIELDS, WANTED)
    files = mapped.Shards()
    views = [files.array(record, "image") for record in found]
    assert len(files._open) == 1
    assert [view.shape[1] for view in views] == [30, 32, 34, 31, 33]
    assert all(int(view.max()) > 800 for view in views)


def test_pages_that_are_given_back_are_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, files = places.find(folder, ("train",), FIELDS, ("image",)), mapped.Shards()
    views = [files.array(record, "image") for record in found]
    expected = [view.copy() for view in views]
    monkeypatch.setattr(mapped, "_MOST_GIVEN", 0)  # each time
    for record, view, image in zip(found, views, expected):
        np.testing.assert_array_equal(files.array(record, "image"), image)
        np.testing.assert_array_equal(view, image)
