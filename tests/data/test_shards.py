"""Shards as TensorFlow and TensorFlow Datasets read them."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from radkit.data import convert, records, shards
from radkit.errors import UserError
from tests.conftest import MadeUp

CONTENTS = [b"", b"one", bytes(range(256)) * 40]


def test_tensorflow_reads_what_was_written(tmp_path: Path) -> None:
    assert shards.write_shard(tmp_path / "a", CONTENTS) == (3, 3 + 256 * 40)
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(tmp_path / "a"))] == CONTENTS
    assert list(shards.read_shard(tmp_path / "a")) == CONTENTS


def test_the_bytes_are_tensorflows_own(tmp_path: Path) -> None:
    shards.write_shard(tmp_path / "a", CONTENTS)
    with tf.io.TFRecordWriter(str(tmp_path / "b")) as writer:
        for record in CONTENTS:
            writer.write(record)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_record_in_parts_is_the_record(tmp_path: Path) -> None:
    shards.write_shard(tmp_path / "a", [b"one record", b"another"])
    parts = [[b"one ", np.frombuffer(b"rec", np.uint8), b"", b"ord"], [np.frombuffer(b"another", np.uint8)]]
    assert shards.write_shard(tmp_path / "b", parts) == (2, 17)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


@pytest.mark.parametrize("place", [0, 9, 14, 20, -1])
def test_a_changed_byte_is_named(tmp_path: Path, place: int) -> None:
    shards.write_shard(tmp_path / "hurt.tfrecord", [b"some record", b"another"])
    damaged = bytearray((tmp_path / "hurt.tfrecord").read_bytes())
    damaged[place] ^= 1
    (tmp_path / "hurt.tfrecord").write_bytes(damaged)
    with pytest.raises(UserError, match=r"hurt\.tfrecord is damaged"):
        list(shards.read_shard(tmp_path / "hurt.tfrecord"))


@pytest.mark.parametrize("kept", [5, 12, 20, 27, 30])
def test_a_shard_cut_short_is_named(tmp_path: Path, kept: int) -> None:
    shards.write_shard(tmp_path / "hurt", [b"some record", b"another"])
    (tmp_path / "hurt").write_bytes((tmp_path / "hurt").read_bytes()[:kept])
    if kept == 27:  # exactly one record: only the number of records in dataset_info.json can tell
        assert list(shards.read_shard(tmp_path / "hurt")) == [b"some record"]
        return
    with pytest.raises(UserError, match="damaged or cut short"):
        list(shards.read_shard(tmp_path / "hurt"))


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing():
        yield b"one"
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        shards.write_shard(tmp_path / "a", failing())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("which", ["volumes", "radiographs"])
def test_stock_tfds_reads_a_data_set(which: str, request: pytest.FixtureRequest) -> None:
    import tensorflow_datasets as tfds

    made: MadeUp = request.getfixturevalue(which)
    builder = tfds.builder_from_directory(str(made.folder))
    record_fields = convert.fields_of(made.experiment.data)
    total = 0
    for split in shards.SPLITS:
        written = [
            records.decode(r, record_fields)
            for file in shards.split_files(made.folder, split)
            for r in shards.read_shard(file)
        ]
        read = list(builder.as_dataset(split=split).as_numpy_iterator())
        assert len(read) == len(written) == builder.info.splits[split].num_examples
        total += len(read)
        for one, other in zip(read, written):
            assert set(one) == set(other)
            for field in record_fields:
                value = one[field.name].decode() if field.kind == "text" else one[field.name]
                np.testing.assert_array_equal(value, other[field.name])
    assert total == (14 if which == "volumes" else 28)
    if which == "radiographs":
        assert builder.info.features["label"].names == ["no", "yes"]


@pytest.mark.filterwarnings("ignore")
def test_tfds_slices_a_split(volumes: MadeUp) -> None:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(str(volumes.folder))
    parts = ["train[:50%]", "train[50%:]", "train"]
    first, second, both = ([r["series_uid"] for r in tfds.as_numpy(builder.as_dataset(split=p))] for p in parts)
    assert first + second == both
    assert first
    assert second


def test_the_sums_in_the_metadata_are_the_files(volumes: MadeUp) -> None:
    info = json.loads((volumes.folder / "dataset_info.json").read_text())
    for split in info["splits"]:
        read = [list(shards.read_shard(f)) for f in shards.split_files(volumes.folder, split["name"])]
        assert [str(len(shard)) for shard in read] == split["shardLengths"]
        assert int(split["numBytes"]) == sum(len(r) for shard in read for r in shard)
    assert len(info["splits"][0]["shardLengths"]) > 1


def test_the_data_set_is_found_from_above(volumes: MadeUp, tmp_path: Path) -> None:
    for above in (volumes.folder, volumes.folder.parent, volumes.folder.parent.parent):
        assert shards.find_dataset(above) == volumes.folder
    with pytest.raises(UserError, match="found: none"):
        shards.find_dataset(tmp_path)


def test_several_data_sets_are_listed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "1.0.0").mkdir(parents=True)
        (tmp_path / name / "1.0.0" / "dataset_info.json").write_text("{}")
    with pytest.raises(UserError, match=r"found: a/1.0.0, b/1.0.0"):
        shards.find_dataset(tmp_path)


def test_unknown_splits_and_missing_shards_are_refused(tmp_path: Path) -> None:
    split = {"name": "train", "shardLengths": ["1", "2"]}
    (tmp_path / "dataset_info.json").write_text(json.dumps({"name": "x", "splits": [split]}))
    with pytest.raises(UserError, match="no split 'valid'; there are: train"):
        shards.split_files(tmp_path, "valid")
    with pytest.raises(UserError, match=r"2 shards are missing, as x-train\.tfrecord-00000-of-00002"):
        shards.split_files(tmp_path, "train")
    assert shards.num_records(tmp_path, "train") == 3


def test_damaged_metadata_is_named(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match=r"dataset_info\.json is damaged"):
        shards.split_files(tmp_path, "train")
