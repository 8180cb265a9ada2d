"""A network's answers to a split's records, scored one by one: memory holds one record at a time."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from radkit import config
from radkit.data import clinical, convert, pipeline, shards, splits
from radkit.tasks.task import Answer, Record, Shown, Task
from trainers import standards


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
    """

    folder: Path
    split: str
    data: config.Data
    task: Task
    standards: frozenset[str] | None = None
    trainer: config.Trainer = field(default_factory=config.Trainer)

    def records(self) -> Iterator[dict[str, tf.Tensor]]:
        """Yields the parsed records, in order."""
        fields = convert.fields_of(self.data, shards.schema_of(self.folder))
        patients = splits.chosen(self.folder, self.split, self.trainer)
        there = splits.physical(self.split, self.trainer)
        with pipeline.damage_named(self.folder, there):
            for record in pipeline.records(self.folder, there, fields, patients):
                if self.standards is None or standards.of_record(self._told(record), self.task) in self.standards:
                    yield record

    @property
    def total(self) -> int | None:
        """How many there are, where that is known without reading them."""
        if self.standards is not None or splits.physical(self.split, self.trainer) != (self.split,):
            return None
        return shards.num_records(self.folder, self.split)

    def _told(self, record: Mapping[str, tf.Tensor]) -> dict[str, object]:
        name = standards.field(self.task)
        return {name: record[name].numpy().decode()}


def _answered(answer_images: Answer, chosen: Cases) -> Iterator[tuple[Record, dict[str, Any]]]:
    for record in chosen.records():
        plain = _numpy(record)
        found = answer_images(*asked(plain, chosen.data))
        yield plain, {name: value[0].numpy() for name, value in found.items()}


def asked(record: Record, data: config.Data) -> list[tf.Tensor]:
    """Returns what a network's answer to one record is asked by: a batch of one image, its spacing, its table."""
    given = [record["values"], record["spacing_mm"], *([clinical.table(record, data)] if data.table else [])]
    return [tf.constant(value[None]) for value in given]


def _numpy(record: dict[str, tf.Tensor]) -> dict[str, Any]:
    values = {name: value.numpy() for name, value in record.items()}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def cases(answer_images: Answer, chosen: Cases, *, progress: bool) -> list[dict[str, Any]]:
    """Returns the figures of each case, in record order, with its pseudonymous patient, series and record."""
    pairs: Iterable[tuple[Record, dict[str, Any]]] = _answered(answer_images, chosen)
    bar = tqdm(pairs, desc=chosen.split, total=chosen.total, unit="case", disable=not progress)
    return [
        {
            "name": f"{chosen.split} {number}",
            "patient_id": record["patient_id"],
            "series_uid": record["series_uid"],
            "record_uid": record["record_uid"],
            "reference_standard": standards.of_record(dict(record), chosen.task),
            **chosen.task.case(record, answer_of, chosen.data),
        }
        for number, (record, answer_of) in enumerate(bar, 1)
    ]


def shown(answer_images: Answer, wanted: list[int], chosen: Cases) -> list[Shown]:
    """Returns the records and answers of some cases, in the order wanted: the pictures of a page."""
    found: dict[int, Shown] = {}
    for index, record in enumerate(chosen.records()):
        if index in wanted:
            plain = _numpy(record)
            answer_of = answer_images(*asked(plain, chosen.data))
            numpy_answer = {name: np.asarray(value[0]) for name, value in answer_of.items()}
            found[index] = Shown(index, plain, numpy_answer)
    return [found[index] for index in wanted]
