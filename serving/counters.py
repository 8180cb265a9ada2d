"""Figures of a running server as Prometheus reads them, under TensorFlow Serving's names.

Source: TensorFlow Serving's metrics (servables/tensorflow/util.cc, core/util/prometheus_exporter.cc); the text format,
https://prometheus.io/docs/instrumenting/exposition_formats.
"""

import bisect
import itertools
import threading
from collections.abc import Callable, Mapping

CONTENT_TYPE = "text/plain; version=0.0.4"
# Upper bounds of the histograms of times, microseconds: as TensorFlow Serving's, each 1.8 times the one before.
BOUNDS_US = tuple(10 * 1.8**step for step in range(33))
Labels = tuple[str, ...]


class _Series:
    """What one name counts, by the values of its labels."""

    def __init__(self, name: str, told: str, labels: Labels) -> None:
        self.name, self.told, self.labels = name, told, labels

    def _place(self, values: Labels, *more: tuple[str, str]) -> str:
        pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in [*zip(self.labels, values), *more])
        return f"{{{pairs}}}" if pairs else ""


class _Counter(_Series):
    def __init__(self, name: str, told: str, labels: Labels) -> None:
        super().__init__(name, told, labels)
        self.counts: dict[Labels, int] = {}

    def lines(self) -> list[str]:
        shown = [f"{self.name}{self._place(values)} {count}" for values, count in sorted(self.counts.items())]
        return [f"# HELP {self.name} {self.told}", f"# TYPE {self.name} counter", *shown]


class _Histogram(_Series):
    def __init__(self, name: str, told: str, labels: Labels) -> None:
        super().__init__(name, told, labels)
        self.counts: dict[Labels, list[int]] = {}
        self.sums: dict[Labels, float] = {}

    def add(self, values: Labels, number: float) -> None:
        counts = self.counts.setdefault(values, [0] * (len(BOUNDS_US) + 1))
        counts[bisect.bisect_left(BOUNDS_US, number)] += 1
        self.sums[values] = self.sums.get(values, 0.0) + number

    def lines(self) -> list[str]:
        shown = []
        for values, counts in sorted(self.counts.items()):
            totals = list(itertools.accumulate(counts))
            bounds = [*(f"{bound:g}" for bound in BOUNDS_US), "+Inf"]
            shown += [
                f"{self.name}_bucket{self._place(values, ('le', bound))} {total}"
                for bound, total in zip(bounds, totals)
            ]
            shown.append(f"{self.name}_sum{self._place(values)} {self.sums[values]:.1f}")
            shown.append(f"{self.name}_count{self._place(values)} {totals[-1]}")
        return [f"# HELP {self.name} {self.told}", f"# TYPE {self.name} histogram", *shown]


class Figures:
    """What a server counts; may be written by many threads.

    Args:
        available: Gives the versions that answer, by model.
    """

    def __init__(self, available: Callable[[], Mapping[str, list[int]]] = dict) -> None:
        self._available, self._lock = available, threading.Lock()
        serving = ":tensorflow:serving:"
        self._requests = _Counter(f"{serving}request_count", "Requests by outcome.", ("model_name", "status"))
        self._latency = _Histogram(
            f"{serving}request_latency", "Time of a whole request, microseconds.", ("model_name", "API", "entrypoint")
        )
        self._runtime = _Histogram(
            f"{serving}runtime_latency", "Time of one run of a model, microseconds.", ("model_name", "API", "runtime")
        )
        self._runs = _Counter(":tensorflow:core:graph_runs", "Runs of graphs.", ())
        self._examples = _Counter(":radkit:serving:examples_run", "Examples in these runs.", ("model_name",))

    def request(self, model: str, method: str, entry: str, status: str, seconds: float) -> None:
        """Counts a request that ended; a model that is not served has no name here."""
        with self._lock:
            key = (model, status)
            self._requests.counts[key] = self._requests.counts.get(key, 0) + 1
            self._latency.add((model, method, entry), seconds * 1e6)

    def run(self, model: str, examples: int, seconds: float) -> None:
        """Counts a run of a model."""
        with self._lock:
            self._runs.counts[()] = self._runs.counts.get((), 0) + 1
            self._examples.counts[model,] = self._examples.counts.get((model,), 0) + examples
            self._runtime.add((model, "Predict", "TF1"), seconds * 1e6)

    def page(self) -> str:
        """Returns all of it."""
        with self._lock:
            lines = [
                line
                for one in (self._requests, self._latency, self._runtime, self._runs, self._examples)
                for line in one.lines()
            ]
        name = ":radkit:serving:available_versions"
        lines += [f"# HELP {name} Versions that answer.", f"# TYPE {name} gauge"]
        lines += [
            f'{name}{{model_name="{_escaped(model)}"}} {len(found)}' for model, found in self._available().items()
        ]
        return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
