"""What a training step is fed with: any step at once, on any host, within any budget; and what evaluation reads."""

import collections
import dataclasses
import hashlib
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from radkit.data import convert, pipeline, prepare, shards
from radkit.errors import UserError
from tests.data.feeding import made

PLAIN = config.Augment()
VOLUMES = config.Data("x", mask_labels=("a",), image_size=(6, 8, 8))


def experiment(data: config.Data, augment: config.Augment = PLAIN, **trainer: Any) -> config.Experiment:
    settings = config.Trainer(**{"batch_size": 2, "seed": 3, **trainer})
    return config.Experiment(data, config.Model("unet"), config.Task("segmentation"), augment=augment, trainer=settings)


def batches(folder: Path, asked: config.Experiment, count: int, first: int = 0, **hosts: int) -> list[dict[str, Any]]:
    dataset = pipeline.training(folder, asked, convert.fields_of(asked.data), first, **hosts)
    return [{k: v.numpy() for k, v in batch.items()} for batch in itertools.islice(dataset, count)]


def assert_equal(one: list[dict[str, np.ndarray]], other: list[dict[str, np.ndarray]]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other):
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    every = [made.values(VOLUMES, n, (8 + n % 3, 12, 10 + n)) for n in range(7)]
    return made.write(tmp_path_factory.mktemp("volumes"), VOLUMES, {"train": every, "validation": every[:5]}, 3)


def number_of(uid: bytes) -> int:
    return int(uid.decode().split(".")[2])


IN_A_NEW_PROCESS = """
import hashlib, json, sys
from pathlib import Path
import tensorflow as tf
from radkit import config
from radkit.data import convert, pipeline
tf.config.threading.set_intra_op_parallelism_threads(7)
asked = config.from_json(json.loads(sys.argv[2]))
dataset = pipeline.training(Path(sys.argv[1]), asked, convert.fields_of(asked.data), int(sys.argv[3]))
batch = next(iter(dataset))
print(hashlib.sha256(b"".join(batch[name].numpy().tobytes() for name in sorted(batch))).hexdigest())
"""


class TestSteps:
    @pytest.mark.slow
    def test_a_new_process_goes_on_with_the_same_bytes_whatever_its_threads(self, tmp_path: Path) -> None:
        # Large enough that TensorFlow and BLAS share their sums out among the threads that there are.
        data = dataclasses.replace(VOLUMES, spacing_mm=(1.0, 1.0, 1.2))
        every = [made.values(data, n, (20, 90 + n, 80)) for n in range(3)]
        folder = made.write(tmp_path, data, {"train": every})
        augment = config.Augment(flip=(False, False, True), noise=0.1, gamma=0.2)
        asked = experiment(data, augment, sampling=config.Sampling(foreground=0.5))
        expected = batches(folder, asked, 6)[5]
        said = [sys.executable, "-c", IN_A_NEW_PROCESS, str(folder), json.dumps(config.to_json(asked)), "5"]
        threads = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(
            said, capture_output=True, text=True, timeout=200, cwd=Path(__file__).parents[2], env=threads
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        digest = hashlib.sha256(b"".join(expected[name].tobytes() for name in sorted(expected))).hexdigest()
        assert done.stdout.split()[-1] == digest

    def test_a_late_step_is_reached_at_once(self, volumes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from radkit.data.feeding import examples

        made_ = []
        whole = examples.Examples.example
        monkeypatch.setattr(examples.Examples, "example", lambda self, n: made_.append(n) or whole(self, n))
        assert len(batches(volumes, experiment(VOLUMES), 1, first=10**9)) == 1
        assert min(n for n in made_ if n) == 2 * 10**9
        assert len(made_) < 60  # those that are fetched ahead

    def test_the_memory_that_is_given_changes_no_batch(self, tmp_path: Path) -> None:
        data = dataclasses.replace(VOLUMES, spacing_mm=(1.5, 1.5, 1.5))
        folder = made.write(tmp_path, data, {"train": [made.values(data, n, (9, 12, 14 + n)) for n in range(3)]})
        wide, tight = (batches(folder, experiment(data, cache_gib=gib), 4) for gib in (1.0, 0.0))
        assert_equal(wide, tight)

    def test_without_changes_a_patch_is_a_part_of_the_prepared_image(self, volumes: Path) -> None:
        whole = [
            ((v := r["values"].numpy()) - v.mean()) / v.std()
            for r in pipeline.records(volumes, "train", convert.fields_of(VOLUMES))
        ]
        for batch in batches(volumes, experiment(VOLUMES), 4):
            for patch in batch["image"]:
                windows = (
                    (image, at)
                    for image in whole
                    for at in np.argwhere(np.isclose(image[..., 0], patch[0, 0, 0, 0], atol=1e-4))
                )
                found = (image[tuple(slice(a, a + n) for a, n in zip(at, patch.shape))] for image, at in windows)
                assert any(part.shape == patch.shape and np.allclose(part, patch, atol=1e-4) for part in found)

    def test_the_share_of_foreground_is_in_the_middle(self, volumes: Path) -> None:
        data = dataclasses.replace(VOLUMES, image_size=(1, 1, 1))
        sampling = config.Sampling(foreground=0.5)
        seen = [batch["mask"].ravel() for batch in batches(volumes, experiment(data, sampling=sampling), 30)]
        assert all(mask.any() for mask in seen)  # every second example
        assert 30 < sum(int(mask.sum()) for mask in seen) < 45  # the others lie anywhere

    def test_the_same_is_seen_in_training_and_in_use(self, tmp_path: Path) -> None:
        # A constant image with a slope, and small differences far from 0: both show how values are rounded.
        random = np.random.default_rng(0)
        data = dataclasses.replace(VOLUMES, image_size=(8, 12, 12), size_multiple=4, image_dtype="float32")
        pictures = [np.full((8, 12, 12, 1), 12345.0), random.normal(1e5, 2.0, (8, 12, 12, 1))]
        slopes = {"rescale_slope": np.full(8, 0.37, np.float32)}, {"rescale_slope": np.ones(8, np.float32)}
        for number, (picture, slope) in enumerate(zip(pictures, slopes)):
            record = made.values(data, number, (8, 12, 12), image=picture.astype(np.float32), **slope)
            folder = tmp_path / str(number)
            folder.mkdir()
            made.write(folder, data, {"train": [record]}, 1)
            (whole,) = pipeline.records(folder, "train", convert.fields_of(data))
            expected, _ = prepare.prepare(whole["values"][None], whole["spacing_mm"][None], data)
            (batch,) = batches(folder, experiment(data, batch_size=1), 1)
            np.testing.assert_allclose(batch["image"], expected, atol=2e-6)
            assert (np.abs(expected).max() > 1) == bool(number)


class TestHosts:
    def test_each_host_gets_foreground_of_its_records(self, volumes: Path) -> None:
        data = dataclasses.replace(VOLUMES, image_size=(1, 1, 1))
        asked = experiment(data, sampling=config.Sampling(foreground=0.5))  # one example of two: a batch of both hosts
        seen = [[b["mask"].item() for b in batches(volumes, asked, 40, host=h, num_hosts=2)] for h in (0, 1)]
        assert all(any(pair) for pair in zip(*seen))
        assert all(15 <= sum(of_host) <= 35 for of_host in seen)

    @pytest.mark.slow
    def test_hosts_see_their_own_records_and_together_all(self, volumes: Path) -> None:
        data = dataclasses.replace(VOLUMES, image_size=(12, 12, 16))  # whole images, whose sizes tell them apart
        asked = experiment(data, batch_size=6)
        seen = []
        for host in range(3):
            of_host = batches(volumes, asked, 8, host=host, num_hosts=3)
            assert {batch["image"].shape[0] for batch in of_host} == {2}
            masks = [int(mask.sum()) for batch in of_host for mask in batch["mask"]]
            seen.append(set(masks))
        alone = {int(m.sum()) for batch in batches(volumes, asked, 4) for m in batch["mask"]}
        assert set.union(*seen) == alone

    def test_what_cannot_be_shared_is_refused(self, volumes: Path) -> None:
        with pytest.raises(UserError, match="batch_size is 2, which does not divide by the number of hosts, 3"):
            batches(volumes, experiment(VOLUMES), 1, num_hosts=3)
        with pytest.raises(UserError, match="host must be 0 to 1, not 2"):
            batches(volumes, experiment(VOLUMES), 1, host=2, num_hosts=2)
        with pytest.raises(UserError, match="7 training records are too few for 8 hosts"):
            batches(volumes, experiment(VOLUMES, batch_size=8), 1, host=7, num_hosts=8)

    @pytest.mark.parametrize("num_hosts", [1, 2, 3, 7])
    def test_evaluation_counts_each_record_once_in_as_many_steps(self, volumes: Path, num_hosts: int) -> None:
        fields = convert.fields_of(VOLUMES)
        whole = list(pipeline.records(volumes, "validation", fields))
        counted: collections.Counter[int] = collections.Counter()
        steps = set()
        for host in range(num_hosts):
            mine = list(pipeline.evaluation(volumes, "validation", fields, host=host, num_hosts=num_hosts))
            steps.add(len(mine))
            for record in mine:
                counted[number_of(record["record_uid"].numpy())] += int(record["weight"])
                same = next(r for r in whole if r["record_uid"] == record["record_uid"])
                for name in same:
                    np.testing.assert_array_equal(record[name], same[name])
        assert counted == dict.fromkeys(range(5), 1)
        assert steps == {-(-5 // num_hosts)}


class TestPatients:
    def test_records_of_some_patients_of_several_splits(self, volumes: Path) -> None:
        fields = convert.fields_of(VOLUMES)
        found = pipeline.records(volumes, ("train", "validation"), fields, {"P1", "P3"})
        assert [number_of(r["record_uid"].numpy()) for r in found] == [3, 6, 2, 3, 2]
        every = pipeline.records(volumes, ("train", "validation"), fields)
        assert len(list(every)) == 12
        with pytest.raises(UserError, match="none of the patients asked for"):
            pipeline.records(volumes, "train", fields, {"P9"})

    def test_a_fold_trains_on_the_other_patients_of_both_splits(self, tmp_path: Path) -> None:
        data = dataclasses.replace(VOLUMES, image_size=(1, 1, 1), normalise="none")
        constant = [np.full((2, 2, 2, 1), 10 * n, np.int16) for n in range(6)]
        every = [made.values(data, n, (2, 2, 2), image=image) for n, image in enumerate(constant)]
        folder = made.write(tmp_path, data, {"train": every[:4], "validation": every[4:]})
        folds = {"folds": 3, "repeats": 1, "patients": {"P0": [0], "P1": [1], "P2": [2]}}
        (folder / "folds.json").write_text(json.dumps(folds))
        for fold, numbers in ((0, {2, 3, 4, 5}), (2, {0, 1, 2, 3}), (-1, {0, 1, 2, 3})):
            seen = {
                float(v) for batch in batches(folder, experiment(data, fold=fold), 8) for v in batch["image"].ravel()
            }
            assert seen == {2.0 * 10 * n - 7 for n in numbers}


class TestTargets:
    @pytest.mark.parametrize(
        ("settings", "told", "kind"),
        [
            ({"label_kind": "multi_label", "class_names": ("a", "b", "c")}, {"label": np.array([1, 0, -1])}, tf.int64),
            ({"label_kind": "ordinal", "class_names": ("a", "b")}, {"label": 1}, tf.int64),
            ({"label_kind": "regression", "label_unit": "mm"}, {"label": np.float32(2.5)}, tf.float32),
            ({"label_kind": "survival", "event": "e"}, {"label": np.float32(30.0), "event": 1}, tf.float32),
        ],
    )
    def test_labels_of_every_kind(self, settings: dict, told: dict, kind: tf.DType, tmp_path: Path) -> None:
        data = config.Data("x", kind="radiograph", label="l", image_size=(8, 8), **settings)
        folder = made.write(tmp_path, data, {"train": [made.values(data, n, (8, 8), **told) for n in range(2)]})
        dataset = pipeline.training(folder, experiment(data), convert.fields_of(data))
        assert dataset.element_spec["label"].dtype == kind
        batch = next(iter(dataset))
        for name, value in told.items():
            np.testing.assert_array_equal(batch[name], [value, value])
        assert set(batch) == {"image", *told}

    def test_boxes_are_cut_with_the_patch_and_padded(self, tmp_path: Path) -> None:
        data = config.Data("x", kind="radiograph", box_labels=("a", "b"), image_size=(10, 20))
        box = {"boxes": np.float32([[2, 4, 6, 8], [0, 0, 20, 40]]), "box_labels": [1, 0], "lesion_ids": ["", ""]}
        every = [made.values(data, n, (20, 40), **box) for n in range(2)]  # fitted: half the size
        folder = made.write(tmp_path, data, {"train": every})
        batch = batches(folder, experiment(data, most_boxes=3), 1)[0]
        np.testing.assert_allclose(batch["boxes"][0], [[1, 2, 3, 4], [0, 0, 10, 20], [0, 0, 0, 0]], atol=1e-5)
        assert batch["box_labels"].tolist() == [[1, 0, -1]] * 2
        with pytest.raises(UserError, match=r"record 1\.2\.0 has 2 boxes, trainer\.most_boxes is 1; raise it"):
            batches(folder, experiment(data, most_boxes=1), 1)

    def test_classes_come_alike_and_weigh_alike(self, tmp_path: Path) -> None:
        data = config.Data("x", kind="radiograph", label="l", class_names=("no", "yes"), image_size=(8, 8))
        every = [made.values(data, n, (8, 8), label=int(n == 3)) for n in range(8)]
        folder = made.write(tmp_path, data, {"train": every})
        sampling = config.Sampling("class_balanced", class_weights="balanced")
        seen = batches(folder, experiment(data, sampling=sampling, batch_size=8), 3)
        labels = np.concatenate([batch["label"] for batch in seen])
        assert labels.mean() == 0.5
        np.testing.assert_allclose(np.concatenate([b["weight"] for b in seen]), np.where(labels, 8 / 2, 8 / 14))

    @pytest.mark.slow
    def test_labels_are_mixed_after_batching_and_the_same_each_time(self, tmp_path: Path) -> None:
        data = config.Data("x", kind="radiograph", label="l", class_names=("no", "yes"), image_size=(8, 8))
        folder = made.write(tmp_path, data, {"train": [made.values(data, n, (8, 8), label=n % 2) for n in range(8)]})
        asked = dataclasses.replace(experiment(data, config.Augment(mixup=0.4)), task=config.Task("classification"))
        seen = batches(folder, asked, 3)
        assert {"mixed_label", "mixed_share"} <= set(seen[0])
        assert "number" not in seen[0]
        assert_equal(seen[1:], batches(folder, asked, 2, first=1))


class TestDevice:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("spacing", "host"),
        [
            ((), config.Augment(rotate=(15.0, 0.0, 0.0), shift=0.1)),
            ((1.5, 1.0, 1.0), config.Augment(flip=(True, False, False), gain=0.2)),
        ],
    )
    def test_the_accelerator_makes_what_the_host_makes(
        self, spacing: tuple, host: config.Augment, tmp_path: Path
    ) -> None:
        data = dataclasses.replace(VOLUMES, spacing_mm=spacing)
        folder = made.write(tmp_path, data, {"train": [made.values(data, n, (9, 12, 14)) for n in range(3)]})
        device = dataclasses.replace(host, where="device")
        made_ = batches(folder, experiment(data, host), 3)
        step = tf.function(lambda b: pipeline.on_device(b, experiment(data, device)), jit_compile=True)
        for given, expected in zip(batches(folder, experiment(data, device), 3), made_):
            found = step({name: tf.constant(value) for name, value in given.items()})
            assert set(found) == set(expected)
            np.testing.assert_allclose(found["image"], expected["image"], atol=2e-4)
            assert np.mean(found["mask"] != expected["mask"]) < 1e-3

    def test_elsewhere_a_batch_stays_as_it_is(self) -> None:
        batch = {"image": tf.ones([1, 6, 8, 8, 1])}
        assert pipeline.on_device(batch, experiment(VOLUMES)) == batch


def test_damage_among_the_pixels_is_named_when_it_is_met(volumes: Path, tmp_path: Path) -> None:
    for path in volumes.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shard = shards.split_files(tmp_path, "train")[1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 4] ^= 8
    shard.write_bytes(bytes(content))
    said = rf"^{shard.name} is damaged or cut short; convert the data set again$"
    with pytest.raises(UserError, match=said), pipeline.damage_named(tmp_path, ("train",)):
        batches(tmp_path, experiment(VOLUMES), 20)


def test_a_shard_that_is_gone_is_named(volumes: Path, tmp_path: Path) -> None:
    for path in volumes.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    asked = experiment(VOLUMES)
    found = pipeline.opened(tmp_path, asked, convert.fields_of(VOLUMES))
    for shard in shards.split_files(tmp_path, "train"):
        shard.unlink()
    with pytest.raises(UserError, match=r"train.*cannot be read now; check the disk$"):
        found.example(0)


def test_another_error_of_a_data_set_stays_what_it_is(volumes: Path) -> None:
    def fail(_: Any) -> None:
        raise RuntimeError("something else")

    dataset = tf.data.Dataset.range(1).map(lambda n: tf.numpy_function(fail, [n], tf.int64))
    with pytest.raises(tf.errors.UnknownError, match="something else"), pipeline.damage_named(volumes, "train"):
        next(iter(dataset))
