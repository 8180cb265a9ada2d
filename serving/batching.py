"""One model's calls: each in its turn, or, where batching is on, those that wait together joined to one run.

A run takes what has come while it waited for its turn, so that a call alone is never held up (unless a file of
parameters sets a timeout). Inputs are joined only where their dtypes and all sizes but the first are equal. A run that
fails is repeated call by call: one bad input does not spoil its neighbours' answers. Where joining is not known to be
faster, the first batches tell (`serving.trials`), and calls go alone where it is not.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving import models, queueing, refusals, settings, signatures, trials

Arrays = Mapping[str, np.ndarray]
_MOST_TRIALS = 64  # one for each size of image


def always() -> bool:
    """Tells of a call whose client cannot go that it is wanted."""
    return True


@dataclass(eq=False)
class _Call:
    """One call's inputs, and what became of it."""

    inputs: Arrays
    rows: int
    is_wanted: Callable[[], bool] = always
    done: threading.Event = field(default_factory=threading.Event)
    outputs: dict[str, np.ndarray] | None = None
    error: Exception | None = None

    def outcome(self) -> dict[str, np.ndarray]:
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # it knows this frame: both would stay, with the inputs
        assert self.outputs is not None
        return self.outputs


@dataclass(eq=False)
class _Batch:
    """Calls that will run together; open until it is its turn."""

    calls: list[_Call]
    filled: threading.Event = field(default_factory=threading.Event)

    @property
    def rows(self) -> int:
        return sum(call.rows for call in self.calls)


class Runner:
    """Answers calls of one model as its settings say; may be called by many threads.

    Args:
        model: The model.
        chosen: Its settings.
        seen: Is told the number of examples and the seconds of each run.
    """

    def __init__(
        self, model: models.Model, chosen: settings.Settings, seen: Callable[[int, float], None] | None = None
    ) -> None:
        self._model, self._chosen, self._seen = model, chosen, seen
        self._gate = queueing.Gate(chosen.workers, chosen.most_waiting)
        self._lock = threading.Lock()
        self._open: dict[Any, _Batch] = {}
        self._trials: dict[Any, trials.Trial] = {}
        self._joinable = {name for name, signature in model.signatures.items() if _rows_are_free(signature)}

    def answer(
        self,
        name: str,
        inputs: Arrays,
        output_filter: Sequence[str] = (),
        timeout_s: float | None = None,
        is_wanted: Callable[[], bool] = always,
    ) -> dict[str, np.ndarray]:
        """Returns the outputs by name; arguments and errors as `models.Model.answer`, and

        Args:
            is_wanted: Asked when it is the call's turn; one that nobody waits for any more is not run.

        Raises:
            Refusal: RESOURCE_EXHAUSTED where too many wait, DEADLINE_EXCEEDED where it became too late, CANCELLED.
        """
        name = name or signatures.DEFAULT
        signature = self._model.signature(name)
        models.check_inputs(signature, inputs)
        wanted = models.check_filter(signature, output_filter)
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        rows = _rows(inputs) if self._chosen.batching and name in self._joinable else None
        if rows is None or self._chosen.batching is None or rows >= self._chosen.batching.max_batch_size:
            return self._alone(name, _Call(inputs, rows or 1, is_wanted), wanted, ends)
        key = (name, tuple(wanted), tuple((k, a.dtype, a.shape[1:]) for k, a in sorted(inputs.items())))
        trial = None if self._chosen.batching.measured else self._trial(key)
        if trial is not None and trial.is_off:
            trial.passed(rows)
            return self._alone(name, _Call(inputs, rows, is_wanted), wanted, ends)
        return self._together(key, _Call(inputs, rows, is_wanted), ends, self._chosen.batching, trial)

    def _trial(self, key: Any) -> trials.Trial:
        with self._lock:
            if key not in self._trials and len(self._trials) >= _MOST_TRIALS:
                self._trials.clear()
            return self._trials.setdefault(key, trials.Trial())

    def _alone(self, name: str, call: _Call, wanted: list[str], ends: float | None) -> dict[str, np.ndarray]:
        self._gate.enter(_left(ends))
        try:
            if not call.is_wanted():
                raise refusals.given_up()
            return self._run(name, call.inputs, wanted, _left(ends))
        finally:
            self._gate.leave()

    def _run(
        self, name: str, inputs: Arrays, wanted: Sequence[str], timeout_s: float | None = None
    ) -> dict[str, np.ndarray]:
        if timeout_s is not None and timeout_s <= 0:
            refusals.late("the deadline passed before the model was asked")
        started = time.perf_counter()
        outputs = self._model.run(name, inputs, wanted, timeout_s)
        spent_s = time.perf_counter() - started
        if self._seen:
            self._seen(_rows(inputs) or 1, spent_s)
        if timeout_s is not None and spent_s > timeout_s:
            refusals.late("the deadline passed while the model answered")
        return outputs

    def _together(
        self, key: Any, call: _Call, ends: float | None, how: settings.Batching, trial: trials.Trial | None
    ) -> dict[str, np.ndarray]:
        with self._lock:
            batch = self._open.get(key)
            if batch is not None and batch.rows + call.rows <= how.max_batch_size:
                batch.calls.append(call)
                if batch.rows == how.max_batch_size:
                    batch.filled.set()
                leads = False
            else:
                batch, leads = _Batch([call]), True
                self._open[key] = batch
        if leads:
            self._lead(key, batch, ends, how, trial)
        elif not call.done.wait(_left(ends)):
            refusals.late("the deadline passed while the call waited with others for its turn")
        return call.outcome()

    def _lead(
        self, key: Any, batch: _Batch, ends: float | None, how: settings.Batching, trial: trials.Trial | None
    ) -> None:
        """Waits for the turn and answers every call of the batch, whatever becomes of the leader's own."""
        try:
            self._enter(key, batch, ends)
        except refusals.Refusal as refusal:
            self._close(key, batch)
            for call in batch.calls:
                call.error = refusal
                call.done.set()
            return
        started = time.perf_counter()
        try:
            if how.timeout_s:
                batch.filled.wait(how.timeout_s)
            self._close(key, batch)
            leader = batch.calls[0]
            _leave_out_unwanted(batch)
            ends = None if leader.error else ends
            waited_s = time.perf_counter() - started
            joins = len(batch.calls) > 1 and (trial is None or trial.joins())
            joined = joins and self._run_joined(key, batch.calls, how)
            self._run_apart(key, batch.calls, ends)
            if trial is not None and len(batch.calls) > 1:
                spent_s = time.perf_counter() - started - (0.0 if joins else waited_s)
                trial.ran(joins, batch.rows, spent_s if joined or not joins else float("inf"))
        finally:
            self._gate.leave()

    def _enter(self, key: Any, batch: _Batch, ends: float | None) -> None:
        try:
            self._gate.enter(_left(ends))
        except refusals.Refusal:
            with self._lock:
                alone = len(batch.calls) == 1
                if alone and self._open.get(key) is batch:
                    del self._open[key]
            if alone or ends is None or time.monotonic() < ends:
                raise
            self._gate.enter()  # it is too late for the leader, not for those who joined

    def _close(self, key: Any, batch: _Batch) -> None:
        with self._lock:
            if self._open.get(key) is batch:
                del self._open[key]

    def _run_joined(self, key: Any, calls: list[_Call], how: settings.Batching) -> bool:
        name, wanted, _ = key
        try:
            _share(calls, self._run(name, _joined(calls, how.allowed_sizes), wanted))
        except Exception:  # noqa: BLE001 - whatever it is, those who joined wait for an answer
            return False  # asked again one by one
        return True

    def _run_apart(self, key: Any, calls: list[_Call], ends: float | None) -> None:
        """Answers the calls that have no answer yet."""
        name, wanted, _ = key
        for call in calls:
            if call.outputs is None:
                try:
                    timeout_s = _left(ends) if call is calls[0] else None
                    call.outputs = self._run(name, call.inputs, wanted, timeout_s)
                except Exception as error:  # noqa: BLE001 - belongs to that call's own thread, which raises it
                    call.error = error
            call.done.set()


def _leave_out_unwanted(batch: _Batch) -> None:
    for call in [call for call in batch.calls if not call.is_wanted()]:
        batch.calls.remove(call)
        call.error = refusals.given_up()
        call.done.set()


def _left(ends: float | None) -> float | None:
    return None if ends is None else max(0.0, ends - time.monotonic())


def _rows_are_free(signature: signatures.Signature) -> bool:
    specs = [*signature.inputs.values(), *signature.outputs.values()]
    return all(spec.shape and spec.shape[0] is None for spec in specs)


def _rows(inputs: Arrays) -> int | None:
    """Returns the number of examples, None where the inputs do not agree on it."""
    counts = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
    return counts.pop() or None if len(counts) == 1 else None


def _joined(calls: Sequence[_Call], allowed: Sequence[int]) -> dict[str, np.ndarray]:
    rows = sum(call.rows for call in calls)
    # Filled up with the last example: one that the model takes.
    more = min((size for size in allowed if size >= rows), default=rows) - rows
    parts = {name: [call.inputs[name] for call in calls] for name in calls[0].inputs}
    return {name: np.concatenate([*arrays, *[arrays[-1][-1:]] * more]) for name, arrays in parts.items()}


def _share(calls: Sequence[_Call], outputs: Arrays) -> None:
    ends = np.cumsum([call.rows for call in calls]).tolist()
    if any(array.ndim == 0 or array.shape[0] < ends[-1] for array in outputs.values()):
        raise ValueError("an output has fewer rows than the inputs")
    for call, end in zip(calls, ends):
        call.outputs = {name: array[end - call.rows : end] for name, array in outputs.items()}
