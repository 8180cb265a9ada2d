"""One setting chooses devices, precision and seed."""

import contextlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from radkit.errors import UserError
from trainers import cluster, strategy

TWO = cluster.Asked(hosts=("a", "b"), host=0)


@pytest.fixture(autouse=True)
def no_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the environment of the machine that tests run on out of it."""
    for name in ("TF_CONFIG", "SLURM_STEP_ID", "JOB_COMPLETIONS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["one", "auto"])
def test_one_device_needs_no_copies(name: str) -> None:
    if len(tf.config.list_logical_devices("GPU")) > 1:
        pytest.skip("several GPUs")
    devices = strategy.choose(config.Trainer(strategy=name, batch_size=3))
    assert devices.strategy is tf.distribute.get_strategy()
    assert (devices.strategy.num_replicas_in_sync, devices.host, devices.num_hosts) == (1, 0, 1)
    assert devices.is_chief
    assert not devices.on_tpu
    assert devices.told in ("one CPU", "one GPU")


def test_a_host_alone_has_nobody_to_ask() -> None:
    alone = strategy.Devices(tf.distribute.get_strategy())
    assert alone.gathered("é") == ["é"]
    assert np.isnan(alone.same(float("nan")))
    assert alone.same(0.1) == 0.1
    strategy.require_same(alone, {"the config": "a"})


def test_one_device_is_given_the_batches_as_they_are() -> None:
    dataset = tf.data.Dataset.range(2**62).batch(4, drop_remainder=True)
    batches = strategy.Devices(tf.distribute.get_strategy()).batches(dataset)
    assert [next(batches).numpy().tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_batch_that_does_not_divide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Four:
        num_replicas_in_sync = 4

    monkeypatch.setattr(strategy, "_mirrored", lambda names: Four())
    with pytest.raises(UserError, match=r"batch_size is 6, which does not divide by .*4 \(.*\); set it to 8"):
        strategy.choose(config.Trainer(strategy="mirrored", batch_size=6))


def test_xla_is_refused_where_tensorflow_cannot_compile_for_all_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    class Four:
        num_replicas_in_sync = 4

    told = r"trainer\.xla compiles the step for one device, and this run has 4 \(.*\); set trainer\.xla=False"
    monkeypatch.setattr(strategy, "_mirrored", lambda names: Four())
    with pytest.raises(UserError, match=told):
        strategy.choose(config.Trainer(strategy="mirrored", xla=True))
    monkeypatch.setattr(strategy, "_several", lambda hosts, _: strategy.Devices(Four(), num_hosts=4))  # type: ignore[arg-type]
    for gpus in (0, 1):
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind, gpus=gpus: ["a GPU"] * gpus)
        with pytest.raises(UserError, match=told) if not gpus else contextlib.nullcontext():
            strategy.choose(config.Trainer(xla=True), TWO)
    assert strategy.choose(config.Trainer(strategy="one", xla=True)).num_hosts == 1


@pytest.mark.parametrize(
    ("name", "asked", "told"),
    [
        ("multi_worker", cluster.NOTHING_ASKED, "nobody names several hosts; give --hosts="),
        ("one", TWO, "--hosts is given, and trainer.strategy is 'one'; leave --hosts out or set 'multi_worker'"),
        ("mirrored", TWO, "--hosts is given, and trainer.strategy is 'mirrored'"),
        ("tpu", TWO, "--hosts is given, and trainer.strategy is 'tpu'"),
        ("one", cluster.Asked(host=1), "--host is given, and trainer.strategy is 'one'; leave --host out"),
        ("one", cluster.Asked(tpu="lab"), "--tpu is given, and trainer.strategy is 'one'"),
        ("multi_worker", cluster.Asked(tpu="lab"), "--tpu is given, and trainer.strategy is 'multi_worker'"),
        ("auto", cluster.Asked(hosts=("a", "b"), host=0, tpu="lab"), "--hosts and --tpu are both given"),
        ("auto", cluster.Asked(tpu_zone="z"), "--tpu is missing"),
        ("auto", cluster.Asked(tpu_project="p"), "--tpu is missing"),
        ("auto", cluster.Asked(hosts=("a", "b")), "--host is missing"),
    ],
)
def test_what_contradicts_itself_is_refused(name: str, asked: cluster.Asked, told: str) -> None:
    with pytest.raises(UserError) as caught:
        strategy.choose(config.Trainer(strategy=name), asked)
    assert told in str(caught.value)


def test_a_tpu_that_is_not_there_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(**_: object) -> None:
        raise ValueError("Please provide a TPU Name to connect to.\nmore")

    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", absent)
    for asked in (cluster.NOTHING_ASKED, cluster.Asked(tpu="lab", tpu_zone="z")):
        with pytest.raises(UserError, match=r"TPU '(local|lab)' is not to be had: Please provide a TPU Name .*--tpu="):
            strategy.choose(config.Trainer(strategy="tpu"), asked)


def test_hosts_of_the_environment_are_for_auto_and_multi_worker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}')
    several = strategy.Devices(tf.distribute.get_strategy(), host=1, num_hosts=2, told="two")
    monkeypatch.setattr(strategy, "_several", lambda hosts, _: several if hosts.hosts == ("a:1", "b:1") else None)
    for name in ("auto", "multi_worker"):
        assert strategy.choose(config.Trainer(strategy=name)) is several
    assert strategy.choose(config.Trainer(strategy="one")).num_hosts == 1


class Peers(strategy.Devices):
    """Devices whose other host always says the same."""

    def gathered(self, text: str) -> list[str]:
        return [text, "another"]


def test_hosts_of_another_config_are_refused() -> None:
    peers = Peers(tf.distribute.get_strategy(), num_hosts=2)
    with pytest.raises(UserError, match=r"the config on host 1 differs from host 0's; start all hosts with the same"):
        strategy.require_same(peers, {"the config": "mine"})


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_precision_is_set_and_named(precision: str, keras_alone: None) -> None:
    assert strategy.set_precision(precision) == precision
    assert keras.mixed_precision.global_policy().name == precision


def test_auto_is_a_precision_this_machine_computes(keras_alone: None) -> None:
    assert strategy.set_precision("auto") in ("float32", "mixed_bfloat16")


def test_auto_is_one_that_all_hosts_compute(keras_alone: None) -> None:
    assert strategy.set_precision("auto", Peers(tf.distribute.get_strategy(), num_hosts=2)) == "float32"


def test_a_tpu_computes_bfloat16_and_no_float16(monkeypatch: pytest.MonkeyPatch, keras_alone: None) -> None:
    monkeypatch.setattr(strategy.Devices, "on_tpu", True)
    tpu = strategy.Devices(tf.distribute.get_strategy())
    with pytest.raises(UserError, match=r"TPUs have no float16; set mixed_bfloat16"):
        strategy.set_precision("mixed_float16", tpu)
    assert strategy.set_precision("auto", tpu) == "mixed_bfloat16"


def test_a_seed_decides_everything_random(keras_alone: None) -> None:
    def drawn(seed: int) -> list[float]:
        strategy.seed(config.Trainer(seed=seed, deterministic=False))
        found = [float(tf.random.uniform([])), float(keras.random.uniform([], seed=keras.random.SeedGenerator()))]
        if tuple(map(int, keras.version().split(".")[:2])) >= (3, 13):  # before, Keras's own seed keeps its generator
            found.append(float(keras.random.uniform([])))
        return found

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("seed", [-1, 2**31, 2**40])
def test_a_seed_beyond_31_bits_is_refused(seed: int) -> None:
    with pytest.raises(UserError, match=r"trainer\.seed must be 0 to 2147483647"):
        strategy.seed(config.Trainer(seed=seed))


# Logical devices must be named before TensorFlow starts, so this has a process of its own.
ON_TWO_DEVICES = """
import dataclasses
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from radkit import config
from trainers import strategy

devices = strategy.choose(config.Trainer(strategy="mirrored", batch_size=4))
assert devices.told == "2 CPUs of this machine" and devices.num_hosts == 1
assert strategy.choose(config.Trainer(strategy="mirrored", batch_size=4)).strategy is devices.strategy
assert strategy.choose(config.Trainer(strategy="auto", batch_size=4)).strategy is not devices.strategy
# Endless batches, of which a replica gets its half in the batch's own order; from another machine, the same.
dataset = tf.data.Dataset.range(2**62).map(lambda n: {"number": n}).batch(4, drop_remainder=True)
for one in (devices, dataclasses.replace(devices, is_remote=True)):
    batches = one.batches(dataset)
    parts = [devices.strategy.experimental_local_results(next(batches)["number"]) for _ in range(2)]
    assert [[part.numpy().tolist() for part in two] for two in parts] == [[[0, 1], [2, 3]], [[4, 5], [6, 7]]], parts
    total = devices.strategy.run(lambda batch: tf.reduce_sum(batch["number"]), args=(next(batches),))
    assert int(devices.strategy.reduce("SUM", total, axis=None)) == 8 + 9 + 10 + 11
print("equal")
"""


@pytest.mark.slow
def test_replicas_are_given_their_parts_of_a_batch() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ON_TWO_DEVICES],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == "equal", done.stderr[-3000:]
