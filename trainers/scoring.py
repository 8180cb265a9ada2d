"""A network's answers to a split's records, scored one by one: memory holds one record at a time."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from radkit import config
from radkit.data import convert, pipeline, shards
from radkit.tasks.task import Answer, Record, Shown, Task


def answered(
    answer_images: Answer, folder: Path, split: str, data: config.Data
) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Yields each record of a split, as numpy, with its answer."""
    with pipeline.damage_named(folder, split):
        for record in pipeline.records(folder, split, convert.fields_of(data)):
            found = answer_images(record["values"][None], record["spacing_mm"][None])
            yield _numpy(record), {name: value[0].numpy() for name, value in found.items()}


def _numpy(record: dict[str, tf.Tensor]) -> dict[str, Any]:
    values = {name: value.numpy() for name, value in record.items()}
    return {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}


def cases(
    answer_images: Answer, task: Task, folder: Path, split: str, data: config.Data, *, progress: bool
) -> list[dict[str, Any]]:
    """Returns the figures of each case, in record order, with its pseudonymous patient, series and record."""
    pairs: Iterable[tuple[Record, dict[str, Any]]] = answered(answer_images, folder, split, data)
    bar = tqdm(pairs, desc=split, total=shards.num_records(folder, split), unit="case", disable=not progress)
    return [
        {
            "name": f"{split} {number}",
            "patient_id": record["patient_id"],
            "series_uid": record["series_uid"],
            "record_uid": record["record_uid"],
            **task.case(record, answer_of, data),
        }
        for number, (record, answer_of) in enumerate(bar, 1)
    ]


def shown(answer_images: Answer, wanted: list[int], folder: Path, split: str, data: config.Data) -> list[Shown]:
    """Returns the records and answers of some cases, in the order wanted: the pictures of a page."""
    found: dict[int, Shown] = {}
    dataset = pipeline.records(folder, split, convert.fields_of(data))
    for index, record in enumerate(dataset):
        if index in wanted:
            answer_of = answer_images(record["values"][None], record["spacing_mm"][None])
            numpy_answer = {name: np.asarray(value[0]) for name, value in answer_of.items()}
            found[index] = Shown(index, _numpy(record), numpy_answer)
    return [found[index] for index in wanted]
