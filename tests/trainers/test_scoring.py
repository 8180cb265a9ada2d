"""Cases are the same, in the same order, however many hosts score them."""

import threading
from collections.abc import Callable
from concurrent import futures
from dataclasses import dataclass, field

import numpy as np
import pytest
import tensorflow as tf

from radkit import tasks
from radkit.data import shards
from tests.conftest import MadeUp
from trainers import scoring, strategy


@dataclass(frozen=True)
class Told:
    """What hosts say to each other, as threads of one process."""

    barrier: threading.Barrier
    texts: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Thread(strategy.Devices):
    """A host that is a thread."""

    peers: Told | None = None

    def gathered(self, text: str) -> list[str]:
        assert self.peers is not None
        self.peers.texts[self.host] = text
        self.peers.barrier.wait(60)
        return [self.peers.texts[host] for host in range(self.num_hosts)]


def on_hosts(num_hosts: int, score: Callable[[strategy.Devices], list[dict]]) -> list[list[dict]]:
    told = Told(threading.Barrier(num_hosts))
    hosts = [Thread(tf.distribute.get_strategy(), host, num_hosts, peers=told) for host in range(num_hosts)]
    with futures.ThreadPoolExecutor(num_hosts) as pool:
        return list(pool.map(score, hosts))


def masks(image: tf.Tensor, spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"mask": tf.cast(image[..., 0] > 250.0, tf.uint8)}


def classes(image: tf.Tensor, spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
    share = tf.sigmoid((tf.reduce_mean(image) - 550.0) / 100.0)
    return {"probabilities": tf.stack([1.0 - share, share])[None]}


@pytest.mark.parametrize(
    ("task", "made", "answer"), [("segmentation", "volumes", masks), ("classification", "radiographs", classes)]
)
def test_any_number_of_hosts_finds_the_same_cases(
    task: str, made: str, answer: Callable, request: pytest.FixtureRequest
) -> None:
    records: MadeUp = request.getfixturevalue(made)
    chosen = scoring.Cases(records.folder, "train", records.experiment.data, tasks.find(task))
    alone = scoring.cases(answer, chosen, progress=False)
    assert len(alone) == chosen.total == shards.num_records(records.folder, "train")
    assert [case["name"] for case in alone] == [f"train {number}" for number in range(1, len(alone) + 1)]
    for num_hosts in (2, len(alone) + 1):
        every = on_hosts(num_hosts, lambda one: scoring.cases(answer, chosen, progress=False, devices=one))
        assert len(every) == num_hosts
        for found in every:
            # To the bit, and of the same kinds: what the summary makes of them is the same, too.
            assert [{k: (type(v), repr(v)) for k, v in case.items()} for case in found] == [
                {k: (type(v), repr(v)) for k, v in case.items()} for case in alone
            ]


def test_each_host_reads_its_share_only(volumes: MadeUp) -> None:
    chosen = scoring.Cases(volumes.folder, "train", volumes.experiment.data, tasks.find("segmentation"))
    total = chosen.total or 0
    shares = [[number for number, _ in chosen.records(host, 3)] for host in range(3)]
    assert shares == [list(range(host, total, 3)) for host in range(3)]
    whole = [record["record_uid"].numpy() for _, record in chosen.records()]
    third = [record["record_uid"].numpy() for _, record in chosen.records(2, 3)]
    assert third == whole[2::3]


def test_records_of_other_standards_are_left_out_before_they_are_numbered(volumes: MadeUp) -> None:
    nothing = scoring.Cases(
        volumes.folder, "train", volumes.experiment.data, tasks.find("segmentation"), frozenset({"histology"})
    )
    assert nothing.total is None
    assert scoring.cases(masks, nothing, progress=False) == []
    assert on_hosts(2, lambda one: scoring.cases(masks, nothing, progress=False, devices=one)) == [[], []]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.1, 2**60, "é", [1, [2.5]], True])
def test_figures_are_told_to_other_hosts_as_they_are(value: object, volumes: MadeUp, monkeypatch) -> None:
    chosen = scoring.Cases(volumes.folder, "validation", volumes.experiment.data, tasks.find("segmentation"))
    monkeypatch.setattr(scoring, "figures", lambda *_: {"figure": value})
    for found in on_hosts(2, lambda one: scoring.cases(masks, chosen, progress=False, devices=one)):
        assert {repr(case["figure"]) for case in found} == {repr(value)}


def test_numbers_of_numpy_are_told_as_numbers(volumes: MadeUp, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = scoring.Cases(volumes.folder, "validation", volumes.experiment.data, tasks.find("segmentation"))
    monkeypatch.setattr(scoring, "figures", lambda *_: {"one": np.float32(0.1), "many": np.arange(2)})
    for found in on_hosts(2, lambda one: scoring.cases(masks, chosen, progress=False, devices=one)):
        assert all(case["one"] == float(np.float32(0.1)) and case["many"] == [0, 1] for case in found)
