"""What can be wrong with a data set as a whole, by name; and what is, by its figures alone.

An `error` stops a chain of verbs, a `warning` is told. `validation` holds a data set against a schema.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from radkit.data.figures.tallies import UNKNOWN
from radkit.data.shards import SPLITS

LARGEST_DISTANCE = 0.2  # between shares of patients in two splits, beyond what chance makes of so few

_MOST_NAMED = 10  # values that a line names


class Kind(NamedTuple):
    """What an anomaly's name means."""

    severity: Literal["error", "warning"]
    title: str
    advice: str


KINDS = {
    "no_training_records": Kind("warning", "no training records", "look at data.splits and at what was left out"),
    "patients_in_several_splits": Kind("error", "patients on two sides", "convert the data set again"),
    "not_finite": Kind("error", "images with nan or infinite values", "look at them; leave them out or convert again"),
    "constant_image": Kind("error", "images of one value", "look at them; radkit curate names such series"),
    "image_empty": Kind("error", "images without a voxel", "convert the data set again"),
    "spacing_unknown": Kind("error", "volumes of unknown spacing", "leave them out, or mend their headers"),
    "spacing_partly_unknown": Kind("warning", "radiographs some of which tell no spacing", "do not measure on these"),
    "spacing_not_positive": Kind("error", "spacing of 0 or below", "mend their headers"),
    "place_not_finite": Kind("error", "origin or direction that is no number", "mend their headers"),
    "mask_value_unnamed": Kind("error", "mask values beyond data.mask_labels", "convert the data set again"),
    "mask_of_other_size": Kind("error", "masks of another size than their images", "convert the data set again"),
    "masks_all_empty": Kind("error", "no mask has a voxel", "look at data.mask_labels and at the annotations"),
    "mask_label_never_drawn": Kind("warning", "a mask label without a voxel", "look at data.mask_labels"),
    "box_outside": Kind("warning", "boxes that reach out of their images", "look at the table of boxes"),
    "box_without_size": Kind("warning", "boxes of no size", "look at the table of boxes"),
    "box_label_never_drawn": Kind("warning", "a box label without a box", "look at data.box_labels"),
    "label_out_of_range": Kind("error", "labels that the config does not foresee", "convert the data set again"),
    "label_all_unknown": Kind("warning", "records whose labels are all unknown", "leave them out of the labels table"),
    "class_never_seen": Kind("warning", "a class without a record", "look at data.class_names and the labels table"),
    "class_not_in_training": Kind("error", "a class that is tested, not trained on", "stratify: data.split.stratify"),
    "class_not_in_split": Kind("warning", "a class that is trained on, not tested", "stratify: data.split.stratify"),
    "no_event": Kind("warning", "no event was seen", "look at data.event"),
    "value_not_in_training": Kind("warning", "a value that training records do not have", "is that meant?"),
    "skew": Kind("warning", "splits that differ beyond chance", "is that meant? Else data.split.stratify"),
    "field_missing": Kind("error", "a field of the schema that records lack", "convert with the same data section"),
    "field_new": Kind("warning", "a field that the schema does not know", "write the schema anew if it is meant"),
    "label_changed": Kind("error", "another kind of label or other classes", "convert with the same data section"),
    "labels_of_masks_changed": Kind("error", "other labels of masks or boxes", "convert with the same data section"),
    "value_new": Kind("error", "a value that the schema does not know", "add it to the schema if it is meant"),
    "number_out_of_range": Kind("error", "a number beyond the schema's range", "widen the range if it is meant"),
    "unknown_too_often": Kind("error", "a fact that is unknown too often", "mend the headers, or the schema"),
    "shares_changed": Kind("error", "other shares than the schema's", "raise largest_distance if it is meant"),
}  # fmt: skip


@dataclass(frozen=True)
class Anomaly:
    """One thing that is wrong.

    Attributes:
        name: One of `KINDS`.
        where: A split and what of it, as `test: manufacturer`.
        text: What was found and what was expected.
    """

    name: str
    where: str
    text: str

    @property
    def severity(self) -> str:
        """Whether it stops a chain of verbs (`error`) or is told (`warning`)."""
        return KINDS[self.name].severity

    def __str__(self) -> str:
        kind = KINDS[self.name]
        return f"{kind.severity} {self.name} ({self.where}): {self.text}; {kind.advice}"


def found_in(found: Mapping[str, Any]) -> list[Anomaly]:
    """Returns what is wrong by a data set's own figures.

    Args:
        found: From `statistics.report`.
    """
    held = {split: found[split] for split in SPLITS if found[split]["records"]}
    listed = [*_of_patients(found), *_of_faults(held, found["about"])]
    listed += [*_of_masks(held), *_of_boxes(held), *_of_labels(held), *_between_splits(held)]
    return listed


def _of_patients(found: Mapping[str, Any]) -> Iterator[Anomaly]:
    if not found["train"]["records"]:
        yield Anomaly("no_training_records", "train", "it has no records")
    shared = found["shared_patients"]
    if shared["count"]:
        text = f"{shared['count']} patients, as {shared['patients'][0]}, have records in several splits"
        yield Anomaly("patients_in_several_splits", "all splits", text)


def _of_faults(held: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[Anomaly]:
    for split, figures in held.items():
        for name, listed in figures["faults"].items():
            if name == "spacing_unknown" and about["kind"] == "radiograph":
                if listed["count"] == figures["records"]:
                    continue  # as radiographs are
                name = "spacing_partly_unknown"
            text = f"{listed['count']} of {figures['records']} records, as {listed['records'][0]}"
            yield Anomaly(name, split, text)


def _of_masks(held: Mapping[str, Any]) -> Iterator[Anomaly]:
    drawn: dict[str, int] = {}
    for figures in held.values():
        for name, mask in figures.get("mask", {}).items():
            drawn[name] = drawn.get(name, 0) + mask["voxels"]
    if drawn and not any(drawn.values()):
        yield Anomaly("masks_all_empty", "all splits", f"none of {', '.join(drawn)} is drawn in any record")
        return
    for name, voxels in drawn.items():
        if not voxels:
            yield Anomaly("mask_label_never_drawn", "all splits", f"{name} is drawn in no record")


def _of_boxes(held: Mapping[str, Any]) -> Iterator[Anomaly]:
    drawn: dict[str, int] = {}
    for figures in held.values():
        for name, boxes in figures.get("boxes", {}).get("by_class", {}).items():
            drawn[name] = drawn.get(name, 0) + boxes["boxes"]
    for name, count in drawn.items():
        if not count:
            yield Anomaly("box_label_never_drawn", "all splits", f"{name} has no box in any record")


def classes_of(figures: Mapping[str, Any]) -> dict[str, int]:
    """Returns how many records of a split have each class; of several labels each, how many have a yes."""
    counts = figures.get("label", {}).get("counts", {})
    return {name: by if isinstance(by, int) else by["yes"] for name, by in counts.items()}


def _of_labels(held: Mapping[str, Any]) -> Iterator[Anomaly]:
    by_split = {split: classes_of(figures) for split, figures in held.items()}
    for name in dict.fromkeys(name for counts in by_split.values() for name in counts):
        seen = [split for split, counts in by_split.items() if counts.get(name)]
        if not seen:
            yield Anomaly("class_never_seen", "all splits", f"no record is {name}")
        elif "train" in held and "train" not in seen:
            for split in seen:
                yield Anomaly(
                    "class_not_in_training", split, f"{by_split[split][name]} records are {name}, none in train"
                )
        else:
            for split in [split for split in held if split not in seen]:
                yield Anomaly("class_not_in_split", split, f"no record is {name}")
    labels = {split: figures["label"] for split, figures in held.items() if "events" in figures.get("label", {})}
    for split, label in labels.items():
        if not label["events"]:
            yield Anomaly("no_event", split, f"all {label['censored']} records are censored")


def _between_splits(held: Mapping[str, Any]) -> Iterator[Anomaly]:
    if "train" not in held:
        return
    train = shares_of(held["train"])
    for split in [split for split in held if split != "train"]:
        for name, counts in shares_of(held[split]).items():
            new = sorted(set(counts) - set(train.get(name, {})) - {UNKNOWN})
            if new and not name.startswith("label"):
                more = f" and {len(new) - _MOST_NAMED:,} more" if len(new) > _MOST_NAMED else ""
                yield Anomaly("value_not_in_training", f"{split}: {name}", ", ".join(new[:_MOST_NAMED]) + more)
            apart = distance(train.get(name, {}), counts)
            if apart and apart.exceeds(LARGEST_DISTANCE):
                yield Anomaly("skew", f"{split}: {name}", f"{apart.text} in train")


def shares_of(figures: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Returns how many patients of a split have each value of each subgroup, and each class."""
    found = {name: {v: by["patients"] for v, by in values.items()} for name, values in figures["subgroups"].items()}
    label = figures.get("label", {})
    if label.get("kind") in ("class", "ordinal"):
        found["label"] = label["patients"]
    elif label.get("kind") == "multi_label":
        every = figures["patients"]
        found |= {f"label {name}": {"yes": n, "no or unknown": every - n} for name, n in label["patients"].items()}
    return found


@dataclass(frozen=True)
class Distance:
    """How far two splits' shares are apart: the largest difference of any value's (the L-infinity distance)."""

    value: str
    share: float
    expected: float
    chance: float  # three standard errors of such a difference, at most

    @property
    def text(self) -> str:
        """What was found and what was expected."""
        return f"{self.value} is {self.share:.0%} of patients, but {self.expected:.0%}"

    def exceeds(self, largest: float) -> bool:
        """Whether it is larger than allowed, and than chance makes it."""
        return abs(self.share - self.expected) > max(largest, self.chance)


def distance(expected: Mapping[str, float], counts: Mapping[str, float]) -> Distance | None:
    """Returns how far counts are from expected ones, as shares; None where either is of nobody."""
    first, second = sum(expected.values()), sum(counts.values())
    if not first or not second:
        return None
    shares = {value: (counts.get(value, 0) / second, expected.get(value, 0) / first) for value in {*expected, *counts}}
    value = max(sorted(shares), key=lambda v: abs(shares[v][0] - shares[v][1]))
    return Distance(value, *shares[value], chance=1.5 * (1 / first + 1 / second) ** 0.5)


def stopping(listed: Sequence[Anomaly], accepted: Sequence[str] = ()) -> list[Anomaly]:
    """Returns the errors among anomalies, but for those whose names are accepted."""
    return [anomaly for anomaly in listed if anomaly.severity == "error" and anomaly.name not in accepted]
