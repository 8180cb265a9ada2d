"""How often each record is seen, and how much it counts: by its classes, and by its lesions."""

import concurrent.futures
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from radkit import config
from radkit.data import statistics
from radkit.data.feeding import mapped, patches, places
from radkit.errors import UserError

NONE = ""  # the class of records in which nothing is found
_Told = TypeVar("_Told")


def weights(records: Sequence[places.Record], data: config.Data, sampling: config.Sampling) -> np.ndarray:
    """Returns how often each record is seen, relative to the others, (records,) float64.

    `class_balanced`: each class as often as any other; a record of several classes counts for each of them.
    `weighted`: as `sampling.weights` says of its class; of several, the largest. `lesions`: by their number; a record
    without any as one of one.

    Raises:
        UserError: No record has a weight above 0.
    """
    if sampling.records == "shuffle":
        return np.ones(len(records))
    if sampling.records == "lesions":
        return np.maximum(1.0, np.array(_lesions(records, data), np.float64))
    found = classes(records, data)
    if sampling.records == "class_balanced":
        counts = Counter(name for names in found for name in names)
        return np.array([sum(1 / counts[name] for name in names) for names in found])
    chosen = np.array([max(sampling.weights.get(name, 1.0) for name in names) for names in found])
    if not chosen.any():
        raise UserError(f"trainer.sampling.weights {sampling.weights} leave no training record; raise one above 0")
    return chosen


def loss_weights(records: Sequence[places.Record], data: config.Data) -> np.ndarray:
    """Returns each record's weight in the loss, (records,) float32: classes count alike, their mean is 1."""
    found = [names[0] for names in classes(records, data)]
    by_class = statistics.class_weights(dict(sorted(Counter(found).items())))
    return np.array([by_class[name] for name in found], np.float32)


def classes(records: Sequence[places.Record], data: config.Data) -> list[tuple[str, ...]]:
    """Returns the names of each record's classes: of its label, else of its boxes, else of its mask."""
    if data.label:
        return [_of_label(record, data) for record in records]
    if data.box_labels:
        return [_named(record.values["box_labels"], data.box_labels) for record in records]
    found = _of_masks(records, lambda mask: np.unique(mask[mask > 0]) - 1)
    return [_named(values, data.mask_labels) for values in found]


def _of_label(record: places.Record, data: config.Data) -> tuple[str, ...]:
    label = record.values["label"]
    if data.label_kind == "survival":
        return (("censored", "event")[record.values["event"]],)
    if data.label_kind == "multi_label":
        return _named(np.flatnonzero(np.asarray(label) == 1), data.class_names)
    return (data.class_names[int(label)],)


def _named(values: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(names[value] for value in sorted({int(value) for value in values})) or (NONE,)


def _lesions(records: Sequence[places.Record], data: config.Data) -> list[int]:
    if not data.box_labels:
        return _of_masks(records, lambda mask: len(patches.parts(mask)))
    found = []
    for record in records:
        told = record.values
        by_class = patches.of_boxes(told["boxes"], told["box_labels"], told["lesion_ids"], by_lesion=True)
        found.append(sum(len(lesions) for lesions in by_class.values()))
    return found


def _of_masks(records: Sequence[places.Record], look: Callable[[np.ndarray], _Told]) -> list[_Told]:
    """Returns what is seen in each record's mask: all of them are read once, before the first step."""
    shards = mapped.Shards()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        seen = pool.map(lambda record: look(shards.array(record, "mask")), records)
        return list(tqdm(seen, total=len(records), desc="masks", unit="record"))
