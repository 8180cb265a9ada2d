"""A network's answers to a split's records, scored one by one: memory holds one record at a time."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from radkit import config
from radkit.data import clinical, convert, pipeline, shards, splits
from radkit.evaluation import subgroups
from radkit.tasks.task import Answer, Record, Shown, Task
from trainers import standards, strategy


@dataclass(frozen=True)
class Cases:
    """Which records are scored.

    Attributes:
        folder: The data set's.
        split: Which one.
        data: The config's data section.
        task: Whose labels count.
        standards: Reference standards whose records are scored; None: all.
        trainer: Of a run of a fold, which says whose records make up the split; by default they are as on the disk.
        detailed: Whether each case is told with what only an evaluation takes the time for (`Task.detail`), and with
            the facts that subgroups are made by.
    """

    folder: Path
    split: str
    data: config.Data
    task: Task
    standards: frozenset[str] | None = None
    trainer: config.Trainer = field(default_factory=config.Trainer)
    detailed: bool = False

    def records(self, host: int = 0, num_hosts: int = 1) -> Iterator[tuple[int, dict[str, tf.Tensor]]]:
        """Yields the parsed records that are this host's to score, in order, each with its number in the split."""
        fields = convert.fields_of(self.data, shards.schema_of(self.folder))
        patients = splits.chosen(self.folder, self.split, self.trainer)
        there = splits.physical(self.split, self.trainer)
        with pipeline.damage_named(self.folder, there):
            if num_hosts == 1:
                dataset = pipeline.records(self.folder, there, fields, patients)
            else:
                dataset = pipeline.evaluation(self.folder, there, fields, patients, host=host, num_hosts=num_hosts)
            for step, record in enumerate(dataset):
                is_own = bool(record.pop("weight", 1.0))  # 0: this host has no record left where others have one
                if is_own and self._counts(record):
                    yield host + step * num_hosts, record

    def _counts(self, record: Mapping[str, tf.Tensor]) -> bool:
        return self.standards is None or standards.of_record(self._told(record), self.task) in self.standards

    @property
    def total(self) -> int | None:
        """How many there are, where that is known without reading them."""
        if self.standards is not None or splits.physical(self.split, self.trainer) != (self.split,):
            return None
        return shards.num_records(self.folder, self.split)

    def _told(self, record: Mapping[str, tf.Tensor]) -> dict[str, object]:
        name = standards.field(self.task)
        return {name: record[name].numpy().decode()}


def _answered(
    answer_images: Answer, chosen: Cases, host: int = 0, num_hosts: int = 1
) -> Iterator[tuple[int, Record, dict[str, Any]]]:
    for number, record in chosen.records(host, num_hosts):
        plain = _numpy(record)
        found = answer_images(*asked(plain, chosen.data))
        yield number, plain, {name: value[0].numpy() for name, value in found.items()}


def asked(record: Record, data: config.Data) -> list[tf.Tensor]:
    """Returns what a network's answer to one record is asked by: a batch of one image, its spacing, its table."""
    given = [record["values"], record["spacing_mm"], *([clinical.table(record, data)] if data.table else [])]
    return [tf.constant(value[None]) for value in given]


def _numpy(record: dict[str, tf.Tensor]) -> dict[str, Any]:
    values = {name: value.numpy() for name, value in record.items()}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def cases(
    answer_images: Answer, chosen: Cases, *, progress: bool, devices: strategy.Devices | None = None
) -> list[dict[str, Any]]:
    """Returns the figures of each case, in record order, with its pseudonymous patient, series and record.

    Args:
        answer_images: As `task.answering` gives it.
        chosen: Which records.
        progress: Whether a bar is shown.
        devices: Of several hosts each scores its share and is told the others': every host gets all cases, so every
            host must call this. None: this host scores all.
    """
    host, num_hosts = (devices.host, devices.num_hosts) if devices else (0, 1)
    # Other hosts' shares may be smaller by one: the bar is the chief's, whose is never smaller.
    total = None if chosen.total is None else -(-chosen.total // num_hosts)
    pairs = _answered(answer_images, chosen, host, num_hosts)
    bar: Iterable[tuple[int, Record, dict[str, Any]]]
    bar = tqdm(pairs, desc=chosen.split, total=total, unit="case", disable=not progress or host > 0)
    found = [(number, figures(record, answer_of, chosen)) for number, record, answer_of in bar]
    if devices and num_hosts > 1:
        # Figures are plain numbers and text (`Task.case`): JSON gives each back bit for bit, nan and infinity, too.
        shares = devices.gathered(json.dumps(found, default=_plain))
        found = sorted(((number, of) for share in shares for number, of in json.loads(share)), key=lambda pair: pair[0])
    return [{"name": f"{chosen.split} {place}", **told} for place, (_, told) in enumerate(found, 1)]


def figures(record: Record, answer_of: Mapping[str, Any], chosen: Cases) -> dict[str, Any]:
    """Returns what the table of cases tells of a record and the network's answer to it."""
    told = {
        "patient_id": record["patient_id"],
        "series_uid": record["series_uid"],
        "record_uid": record["record_uid"],
        "reference_standard": standards.of_record(dict(record), chosen.task),
        **chosen.task.case(record, answer_of, chosen.data),
    }
    if not chosen.detailed:
        return told
    more = chosen.task.detail(record, answer_of, chosen.data) if chosen.task.detail else {}
    return {**told, **more, **{fact.name: _fact(record[fact.name]) for fact in subgroups.FACTS if fact.name in record}}


def _fact(value: Any) -> Any:
    """Returns a fact as a table holds it: text, or a number; nan where it is unknown."""
    return value if isinstance(value, str) else float(value)


def _plain(value: Any) -> Any:
    """Returns numpy's numbers and arrays as Python's, which JSON can say."""
    return np.asarray(value).tolist()


def shown(answer_images: Answer, wanted: list[int], chosen: Cases) -> list[Shown]:
    """Returns the records and answers of some cases, in the order wanted: the pictures of a page."""
    found: dict[int, Shown] = {}
    for index, (_, record) in enumerate(chosen.records()):
        if index in wanted:
            plain = _numpy(record)
            answer_of = answer_images(*asked(plain, chosen.data))
            numpy_answer = {name: np.asarray(value[0]) for name, value in answer_of.items()}
            found[index] = Shown(index, plain, numpy_answer)
    return [found[index] for index in wanted]
