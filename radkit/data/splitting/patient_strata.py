"""Which kind of patient each one is, for a split in which every side shall have its share of each kind."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from radkit import config
from radkit.data.splitting.sides import Image

_BINS = 4  # of a number: quarters of the patients


@dataclass(frozen=True)
class Kinds:
    """What patients are like; at most one of the two.

    Attributes:
        stratum: One word a patient; None where nothing is asked for.
        tags: Several words a patient, as of a label that is of several classes at once.
    """

    stratum: Mapping[str, str] | None = None
    tags: Mapping[str, frozenset[str]] | None = None


def of(images: Sequence[Image], data: config.Data) -> Kinds:
    """Returns the kind of each patient, as `data.split.stratify` asks.

    A patient's classes are those of all its images, the degree is the highest, a number the median of its images' and
    told by its quarter; a time by its quarter and whether the event was seen.

    Args:
        images: Those that are taken.
        data: The config's data section.
    """
    names = data.split.stratify
    if not names:
        return Kinds()
    by_patient: dict[str, list[Image]] = defaultdict(list)
    for image in images:
        by_patient[image.unit.patient_id].append(image)
    columns = {patient: _columns(found, names) for patient, found in by_patient.items()}
    if "label" not in names:
        return Kinds(stratum={patient: "\0".join(values) for patient, values in columns.items()})
    labels = {patient: [image.unit.label for image in found] for patient, found in by_patient.items()}
    if data.label_kind == "multi_label":
        classes = {patient: _classes(found, data) for patient, found in labels.items()}
        return Kinds(tags={patient: classes[patient] | _tagged(columns[patient]) for patient in columns})
    words = _WORDS[data.label_kind](labels)
    return Kinds(stratum={patient: "\0".join([*values, words[patient]]) for patient, values in columns.items()})


def _columns(images: Sequence[Image], names: Sequence[str]) -> list[str]:
    """Returns a patient's values of all that is no label; several are joined."""
    values = []
    for place, name in enumerate(names):
        if name == "label":
            continue
        found = {image.known.site if name == "site" else _at(image, place) for image in images}
        values.append("+".join(sorted(found)))
    return values


def _at(image: Image, place: int) -> str:
    return image.known.strata[place] if image.known.strata else ""


def _tagged(values: Sequence[str]) -> frozenset[str]:
    return frozenset(f"{place}={value}" for place, value in enumerate(values))


def _classes(labels: Sequence[Any], data: config.Data) -> frozenset[str]:
    """Returns the classes that any of a patient's images has."""
    return frozenset(name for flags in labels for name, flag in zip(data.class_names, flags) if flag == 1)


def _class_words(labels: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    return {patient: "+".join(map(str, sorted(set(found)))) for patient, found in labels.items()}


def _degree_words(labels: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    return {patient: str(max(found)) for patient, found in labels.items()}


def _number_words(labels: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    return _quarters({patient: statistics.median(found) for patient, found in labels.items()})


def _survival_words(labels: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Returns the quarter of the time and the event, of each patient; quarters of those with the event on their own."""
    seen = {patient: max(event for _, event in found) for patient, found in labels.items()}
    times = {patient: statistics.median(time for time, _ in found) for patient, found in labels.items()}
    words = {}
    for event in sorted(set(seen.values())):
        quarters = _quarters({patient: time for patient, time in times.items() if seen[patient] == event})
        words.update({patient: f"{event} {quarter}" for patient, quarter in quarters.items()})
    return words


def _quarters(numbers: Mapping[str, float]) -> dict[str, str]:
    """Returns in which quarter of all each number lies; equal numbers lie in one."""
    ordered = sorted(numbers.values())
    first = {number: place for place, number in reversed(list(enumerate(ordered)))}
    return {patient: str(first[number] * _BINS // len(ordered)) for patient, number in numbers.items()}


_WORDS = {
    "class": _class_words,
    "ordinal": _degree_words,
    "regression": _number_words,
    "survival": _survival_words,
}
