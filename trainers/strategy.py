"""Which devices train: one, all GPUs of this machine, several machines or a TPU, chosen by one setting."""

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from radkit import config
from radkit.errors import Unfinished, UserError
from trainers import cluster, meeting


@dataclass(frozen=True)
class Devices:
    """Where a run trains. Several hosts run the same program, each on its share of the records.

    Attributes:
        strategy: TensorFlow's.
        host: Which of the hosts this is, from 0 on.
        num_hosts: Of how many.
        told: All of it in a line, for the log.
        is_remote: Whether the devices are another machine's, which cannot call this one's Python (a TPU by its name).
    """

    strategy: tf.distribute.Strategy
    host: int = 0
    num_hosts: int = 1
    told: str = "one CPU"
    is_remote: bool = False

    @property
    def is_chief(self) -> bool:
        """Whether this host is the one that writes."""
        return self.host == 0

    @property
    def on_tpu(self) -> bool:
        """Whether the devices are a TPU's."""
        return isinstance(self.strategy, tf.distribute.TPUStrategy)

    def gathered(self, text: str) -> list[str]:
        """Returns each host's text, in the order of hosts; every host must call it, in the same order of calls.

        It waits for the others as long as they live. When one has died it raises one of `tf.errors`, within a minute,
        as any step of the training does.
        """
        if self.num_hosts == 1:
            return [text]
        return _exchanged(self.strategy, text, self.num_hosts)

    def same(self, value: float) -> float:
        """Returns the chief's value, bit for bit, on every host; every host must call it, as `gathered`."""
        return float.fromhex(self.gathered(float(value).hex())[0])

    def batches(self, dataset: tf.data.Dataset) -> Iterator[Any]:
        """Returns endless batches, each replica with its part, of this host's batches.

        Args:
            dataset: Endless batches of this host's share of `trainer.batch_size`, of a static shape.
        """
        num_local = self.strategy.num_replicas_in_sync // self.num_hosts
        if self.is_remote:
            return (_dealt(self.strategy, batch) for batch in dataset)
        # Told endless, no host asks the others at each step whether they have a batch left.
        endless = dataset.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        if self.strategy.num_replicas_in_sync == 1:
            return iter(endless)
        parts = endless if num_local == 1 else endless.map(lambda *batch: _parted(batch, num_local)).unbatch()
        # `experimental_distribute_dataset` would divide a host's share by the number of hosts once more.
        return iter(self.strategy.distribute_datasets_from_function(lambda _: parts))


def choose(trainer: config.Trainer, asked: cluster.Asked = cluster.NOTHING_ASKED) -> Devices:
    """Returns the devices that `trainer.strategy` names.

    `auto` is several hosts where flags or the environment name them, a TPU where a flag names it, all GPUs where this
    machine has several, else one device. Several hosts must be chosen before TensorFlow computes anything.

    Args:
        trainer: Its strategy and batch size.
        asked: What the command line says of hosts and TPU.

    Raises:
        UserError: What is asked for contradicts itself or is not there, the batch does not divide by the replicas, or
            XLA cannot compile for them.
        Unfinished: Hosts did not meet.
        preemption.Stopped: A signal came while hosts waited for one another.
    """
    name = trainer.strategy
    hosts = hosts_of(trainer, asked)
    if hosts is not None:
        devices = _several(hosts, asked.wait_minutes)
    elif name == "tpu" or asked.tpu:
        devices = _tpu(asked)
    else:
        devices = _on_this_machine(name)
    _require_compilable(trainer, devices)
    return _divides(trainer, devices)


def hosts_of(trainer: config.Trainer, asked: cluster.Asked) -> cluster.Cluster | None:
    """Returns the hosts that `trainer.strategy` would train on; None: this machine alone, or a TPU.

    Raises:
        UserError: What is asked for contradicts itself or is not there.
    """
    name = trainer.strategy
    _refuse_contradictions(name, asked)
    hosts = cluster.found(asked, os.environ) if name in ("auto", "multi_worker") else None
    if name == "multi_worker" and hosts is None:
        raise UserError(
            "trainer.strategy is 'multi_worker', and nobody names several hosts; give --hosts=a:2222,b:2222 and "
            "--host=0, or set TF_CONFIG, or start with srun (Slurm) or as an indexed Job (Kubernetes)"
        )
    return hosts


def _refuse_contradictions(name: str, asked: cluster.Asked) -> None:
    flags = (
        ("--hosts", asked.hosts, "multi_worker"),
        ("--host", asked.host >= 0, "multi_worker"),
        ("--tpu", asked.tpu, "tpu"),
    )
    for flag, given, known in flags:
        if given and name not in ("auto", known):
            raise UserError(f"{flag} is given, and trainer.strategy is {name!r}; leave {flag} out or set {known!r}")
    if asked.hosts and asked.tpu:
        raise UserError("--hosts and --tpu are both given; a TPU's hosts are found by its name: leave --hosts out")
    if (asked.tpu_zone or asked.tpu_project) and not asked.tpu:
        raise UserError("--tpu_zone and --tpu_project are of a TPU that --tpu names, and --tpu is missing")


def _divides(trainer: config.Trainer, devices: Devices) -> Devices:
    replicas = devices.strategy.num_replicas_in_sync
    if trainer.batch_size % replicas:
        raise UserError(
            f"trainer.batch_size is {trainer.batch_size}, which does not divide by the number of replicas, {replicas} "
            f"({devices.told}); set it to {replicas * max(1, round(trainer.batch_size / replicas))}"
        )
    return devices


def _require_compilable(trainer: config.Trainer, devices: Devices) -> None:
    """Refuses XLA where TensorFlow cannot have it: one compiled step holds one device's variables.

    Source: https://www.tensorflow.org/xla/known_issues, "tf.Variable on a different device"; between CPUs XLA has no
    collectives.
    """
    of_host = devices.strategy.num_replicas_in_sync // devices.num_hosts
    among_cpus = devices.num_hosts > 1 and not tf.config.list_physical_devices("GPU")
    if trainer.xla and not devices.on_tpu and (of_host > 1 or among_cpus):
        raise UserError(
            f"trainer.xla compiles the step for one device, and this run has {devices.strategy.num_replicas_in_sync} "
            f"({devices.told}); set trainer.xla=False, or trainer.strategy='one'"
        )


def _on_this_machine(name: str) -> Devices:
    gpus = tf.config.list_logical_devices("GPU")
    found = gpus or tf.config.list_logical_devices("CPU")
    kind = "GPU" if gpus else "CPU"
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return Devices(_mirrored(tuple(d.name for d in found)), told=f"{len(found)} {kind}s of this machine")
    # Outside a mirrored strategy TensorFlow's default one applies: one replica, no copies.
    return Devices(tf.distribute.get_strategy(), told=f"one {kind}")


@functools.cache  # of one process: each new one would have TensorFlow number its collectives anew
def _mirrored(names: tuple[str, ...]) -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(list(names))


@functools.cache
def _several(hosts: cluster.Cluster, wait_minutes: float) -> Devices:
    gpus = len(tf.config.list_physical_devices("GPU"))
    others = ", ".join(address for place, address in enumerate(hosts.hosts) if place != hosts.host)
    # One whose name is wrong is waited for, too: a pod's name may come to be known later.
    print(
        f"radkit: host {hosts.host} ({hosts.hosts[hosts.host]}) waits for {others} (told by {hosts.told_by})",
        file=sys.stderr,
        flush=True,
    )
    meeting.meet(hosts, wait_minutes)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(hosts.hosts)}),
        task_type="worker",
        task_id=hosts.host,
        num_accelerators={"GPU": gpus},
        rpc_layer="grpc",
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.OpError as error:
        raise Unfinished(
            f"host {hosts.host} ({hosts.hosts[hosts.host]}) did not meet the others, {', '.join(hosts.hosts)} (told by "
            f"{hosts.told_by}): {str(error).splitlines()[0]}; see that all are started, reach each other at these "
            "addresses, and that the port is free"
        ) from error
    if threading.current_thread() is threading.main_thread():
        # TensorFlow has taken SIGTERM for itself, and does nothing with it: given back to whom it belonged.
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
    total, kind = strategy.num_replicas_in_sync, "GPUs" if gpus else "CPUs"
    told = f"host {hosts.host} of {len(hosts.hosts)} (told by {hosts.told_by}), {total} {kind} in all"
    return Devices(strategy, hosts.host, len(hosts.hosts), told)


@functools.cache
def _tpu(asked: cluster.Asked) -> Devices:
    name = asked.tpu or "local"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=name, zone=asked.tpu_zone or None, project=asked.tpu_project or None
        )
        if name != "local":
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        strategy = tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f"TPU {name!r} is not to be had: {(str(error).splitlines() or [type(error).__name__])[0]}; on a TPU "
            "machine install tensorflow-tpu and give --tpu=local, elsewhere --tpu=NAME --tpu_zone=ZONE "
            "--tpu_project=PROJECT"
        ) from error
    return Devices(strategy, told=f"TPU {name}, {strategy.num_replicas_in_sync} cores", is_remote=name != "local")


def _parted(batch: tuple[Any, ...], number: int) -> Any:
    """Returns a batch, as `Dataset.map` gives it, with an axis before all others: equal parts, in order."""
    parts = tf.nest.map_structure(lambda x: tf.reshape(x, [number, x.shape[0] // number, *x.shape[1:]]), batch)
    return parts[0] if len(parts) == 1 else parts


def _dealt(strategy: tf.distribute.Strategy, batch: Any) -> Any:
    """Returns a batch that this machine holds as each replica's part of it."""
    parts = _parted((batch,), strategy.num_replicas_in_sync)

    def of_replica(context: tf.distribute.experimental.ValueContext) -> Any:
        return tf.nest.map_structure(lambda part: part[context.replica_id_in_sync_group], parts)

    return strategy.experimental_distribute_values_from_function(of_replica)


def _exchanged(strategy: tf.distribute.Strategy, text: str, num_hosts: int) -> list[str]:
    """Returns all hosts' texts: bytes as whole numbers, which the strategy's own collectives carry."""
    sent = text.encode()
    words = np.frombuffer(sent + bytes(8 - len(sent) % 8), np.int64)  # one at least, of an empty text, too
    lengths = _joined(strategy, np.array([len(sent)]))
    rows = np.split(_joined(strategy, words), np.cumsum(lengths // 8 + 1)[:-1])
    texts = [row.tobytes()[:length].decode() for row, length in zip(rows, lengths)]
    return texts[:: len(texts) // num_hosts]  # a host's replicas all said its text


def _joined(strategy: tf.distribute.Strategy, numbers: np.ndarray) -> np.ndarray:
    """Returns all replicas' numbers in a row; int64."""
    found = _join(strategy)(tf.constant(numbers, tf.int64))
    return np.asarray(strategy.experimental_local_results(found)[0])


@functools.cache  # traced once
def _join(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], Any]:
    def on_replica(numbers: tf.Tensor) -> tf.Tensor:
        # A copy of the replica's own: what came in from outside lies on no device, and so could not be sent.
        return tf.distribute.get_replica_context().all_gather(tf.identity(numbers), axis=0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def join(numbers: tf.Tensor) -> Any:
        return strategy.run(on_replica, args=(numbers,))

    return join


def set_precision(precision: str, devices: Devices | None = None) -> str:
    """Sets Keras's policy and returns its name; `auto` is bfloat16 where the devices compute it, else float32.

    Args:
        precision: As `trainer.precision` says it.
        devices: Where it will be computed; None: on this machine.

    Raises:
        UserError: The devices cannot compute it.
    """
    on_tpu = devices is not None and devices.on_tpu
    if on_tpu and precision == "mixed_float16":
        raise UserError("trainer.precision is 'mixed_float16', and TPUs have no float16; set mixed_bfloat16 or auto")
    if precision == "auto":
        precision = "mixed_bfloat16" if on_tpu or _has_bfloat16() else "float32"
        if devices is not None and len(set(devices.gathered(precision))) > 1:
            precision = "float32"  # which all hosts can; each must compute the same
    keras.mixed_precision.set_global_policy(precision)
    return precision


def _has_bfloat16() -> bool:
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return bool(capability >= (8, 0))
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = file.read()
    except OSError:  # no Linux: nothing tells, so the safe one
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


def require_same(devices: Devices, told: Mapping[str, str]) -> None:
    """Refuses hosts that were started on different things; every host must call it.

    Args:
        devices: Of the run.
        told: By name, what must be the same on all: the config, the records' digest.

    Raises:
        UserError: It names what differs, and on which host.
    """
    for name, value in told.items():
        for host, other in enumerate(devices.gathered(value)):
            if other != value:
                raise UserError(
                    f"{name} on host {host} differs from host {devices.host}'s; start all hosts with the same command "
                    "on the same files"
                )


def seed(trainer: config.Trainer) -> None:
    """Makes everything random a function of `trainer.seed`, and operations deterministic where asked.

    Raises:
        UserError: The seed is negative or beyond 31 bits.
    """
    if not 0 <= trainer.seed < 2**31:
        raise UserError(f"trainer.seed must be 0 to {2**31 - 1}, not {trainer.seed}")
    keras.utils.set_random_seed(trainer.seed)
    if trainer.deterministic:
        tf.config.experimental.enable_op_determinism()
