"""A SavedModel's graph in a session of its own: the shortest way from numpy to the kernels and back.

A call of a loaded function costs about twice as much beside the kernels, keeps no deadline, and leaves parts of the
graph in TensorFlow's global context; a session gives all it held back when it is closed. TensorFlow Serving runs
graphs this way, too.
"""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

# Calls that last longer are given TensorFlow's own deadline; it costs shorter ones more than it could save. How long
# one lasts is known from those before it with as many bytes or more.
SLOW_S = 0.02
MAX_CALLS = 64
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"


@dataclass(frozen=True)
class Threads:
    """TensorFlow's threads; 0 leaves them to it. The first session of a process decides for all.

    Attributes:
        intra_op: Within one operation.
        inter_op: Operations of one call at a time.
        gpu_memory_fraction: Share of a GPU's memory taken at once; 0 takes what is needed.
    """

    intra_op: int = 0
    inter_op: int = 0
    gpu_memory_fraction: float = 0.0


class Session:
    """The graph of one version; may be called by many threads at a time.

    Args:
        folder: The SavedModel.
        tag: Of the meta graph.
        threads: TensorFlow's threads.
    """

    def __init__(self, folder: Path, tag: str, threads: Threads) -> None:
        import tensorflow as tf

        options = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads.intra_op, inter_op_parallelism_threads=threads.inter_op
        )
        options.gpu_options.allow_growth = not threads.gpu_memory_fraction
        options.gpu_options.per_process_gpu_memory_fraction = threads.gpu_memory_fraction
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=options)
        self._calls: dict[tuple[tuple[str, ...], tuple[str, ...]], _Call] = {}
        self._lock = threading.Lock()
        try:
            with graph.as_default(), _no_notes():
                tf.compat.v1.saved_model.loader.load(self._session, [tag], str(folder))
            _check_weights(folder / "variables" / "variables")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Gives back what the graph holds; no call may be under way."""
        self._calls.clear()
        self._session.close()

    def holds(self, tensor_names: Sequence[str]) -> bool:
        """Tells whether the graph has all these tensors."""
        try:
            for name in tensor_names:
                self._session.graph.get_tensor_by_name(name)
        except (KeyError, ValueError):
            return False
        return True

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str], timeout_s: float | None = None
    ) -> dict[str, np.ndarray]:
        """Returns arrays by the names of their tensors.

        Args:
            feeds: Arrays by the names of the tensors they stand for.
            fetches: Names of tensors.
            timeout_s: After how long TensorFlow gives up; kept for all calls but those that are known to be quick.

        Raises:
            tf.errors.OpError: TensorFlow's own.
        """
        wanted = tuple(dict.fromkeys(fetches))
        call = self._call(tuple(feeds), wanted)
        return dict(zip(wanted, call.run(list(feeds.values()), timeout_s)))

    def _call(self, feeds: tuple[str, ...], fetches: tuple[str, ...]) -> "_Call":
        call = self._calls.get((feeds, fetches))
        if call is None:
            with self._lock:
                if len(self._calls) >= MAX_CALLS:  # one for each output_filter that clients think of
                    self._calls.clear()
                call = self._calls[feeds, fetches] = _Call(self._session, feeds, fetches)
        return call


def _check_weights(prefix: Path) -> None:
    """Reads what a graph without variables would leave unread: a file cut short is damage all the same."""
    import tensorflow as tf

    if prefix.with_suffix(".index").is_file():
        reader = tf.train.load_checkpoint(str(prefix))
        if reader.has_tensor(_OBJECTS):
            reader.get_tensor(_OBJECTS)


@dataclass
class _Call:
    """One way through the graph, made ready once."""

    session: Any
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    quick_bytes: int = -1  # inputs of so many bytes were answered quickly: not known before the first call
    fast: Any = field(init=False)
    patient: Any = field(init=False)

    def __post_init__(self) -> None:
        from tensorflow.core.protobuf import config_pb2

        options = config_pb2.CallableOptions(feed=self.feeds, fetch=self.fetches)
        self.fast = self.session._make_callable_from_options(options)
        graph = self.session.graph
        self.patient = self.session.make_callable(
            [graph.get_tensor_by_name(name) for name in self.fetches],
            [graph.get_tensor_by_name(name) for name in self.feeds],
            accept_options=True,
        )

    def run(self, arrays: list[np.ndarray], timeout_s: float | None) -> list[np.ndarray]:
        size, started = sum(array.nbytes for array in arrays), time.perf_counter()
        if timeout_s is None or size <= self.quick_bytes:
            found = self.fast(*arrays)
        else:
            from tensorflow.core.protobuf import config_pb2

            allowed = config_pb2.RunOptions(timeout_in_ms=max(1, int(timeout_s * 1000)))
            found = self.patient(*arrays, options=allowed)
        quick = time.perf_counter() - started < SLOW_S
        self.quick_bytes = max(self.quick_bytes, size) if quick else min(self.quick_bytes, size - 1)
        return list(found)


class _no_notes:
    """Keeps TensorFlow's advice to load in another way out of the log."""

    def __enter__(self) -> None:
        logging.getLogger("tensorflow").addFilter(_is_worse)

    def __exit__(self, *_: object) -> None:
        logging.getLogger("tensorflow").removeFilter(_is_worse)


def _is_worse(record: logging.LogRecord) -> bool:
    return record.levelno > logging.WARNING
