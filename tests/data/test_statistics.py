import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit.data import records, schema, shards, statistics
from radkit.errors import UserError

FIELDS = schema.fields("volume", mask_labels=("a",), class_names=("no", "yes"), label_kind="class")


def record(seed: int) -> dict[str, object]:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 6, 3)) + (1,)
    return {
        **{f.name: "" for f in FIELDS if f.kind == "text"},
        **{f.name: np.nan for f in FIELDS if f.kind == "numbers" and not f.shape},
        "image": random.integers(-1000, 3000, shape).astype(np.int16),
        "mask": random.integers(0, 2, shape).astype(np.uint8),
        "rescale_slope": random.uniform(0.5, 2, shape[0]).astype(np.float32),
        "rescale_intercept": random.uniform(-1024, 0, shape[0]).astype(np.float32),
        "spacing_mm": random.uniform(0.5, 5, 3).astype(np.float32),
        "origin_mm": np.zeros(3),
        "direction": np.eye(3),
        "label": int(seed % 2),
        "patient_id": f"P{seed % 3}",
    }


def write(folder: Path, seeds: list[int], name: str) -> Path:
    path = folder / name
    shards.write_shard(path, [records.encode(record(seed), FIELDS) for seed in seeds])
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("statistics")


@given(st.lists(st.integers(0, 3), min_size=8, max_size=8))
def test_any_sharding_gives_what_numpy_gives_on_all_data_together(folder: Path, shard_of: list[int]) -> None:
    chosen = [[seed for seed, shard in enumerate(shard_of) if shard == number] for number in range(4)]
    parts = [statistics.of_shard(write(folder, seeds, f"{n}.tfrecord"), FIELDS) for n, seeds in enumerate(chosen)]
    found = statistics.summary(statistics.merge(json.loads(json.dumps(p)) for p in parts))
    values, spacing = [], []
    for one in (record(seed) for seed in range(8)):
        slope, intercept = (np.asarray(one[k], np.float64)[:, None, None, None] for k in statistics._RESCALE)
        values.append((np.asarray(one["image"]) * slope + intercept).ravel())
        spacing.append(one["spacing_mm"])
    pooled = np.concatenate(values)
    assert found["records"] == 8
    assert found["patients"] == 3
    assert found["labels"] == {"0": 4, "1": 4}
    assert sum(found["mask_voxels"].values()) == pooled.size
    np.testing.assert_allclose(found["intensity"]["mean"], pooled.mean(), rtol=1e-12)
    np.testing.assert_allclose(found["intensity"]["std"], pooled.std(), rtol=1e-9)
    assert (found["intensity"]["min"], found["intensity"]["max"]) == (pooled.min(), pooled.max())
    medians = [axis["median"] for axis in found["spacing_mm"]]
    np.testing.assert_allclose(medians, np.median(np.array(spacing, np.float64), axis=0))


def test_unknown_spacing_is_none_not_nan(folder: Path) -> None:
    unknown = {**record(1), "spacing_mm": np.array([np.nan, 1, 2], np.float32)}
    path = folder / "unknown.tfrecord"
    shards.write_shard(path, [records.encode(unknown, FIELDS)])
    found = statistics.summary(statistics.of_shard(path, FIELDS))
    assert found["spacing_mm"][0] == {"min": None, "median": None, "max": None}
    assert "NaN" not in json.dumps(found)


def test_an_empty_split_counts_nothing(folder: Path) -> None:
    part = statistics.of_shard(write(folder, [], "empty.tfrecord"), FIELDS)
    assert statistics.summary(statistics.merge([part])) == {"records": 0, "patients": 0}


def test_a_damaged_shard_is_named(folder: Path) -> None:
    path = write(folder, [1, 2], "damaged.tfrecord")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(UserError, match=r"damaged\.tfrecord is damaged or cut short"):
        statistics.of_shard(path, FIELDS)
