"""What the records of a data set hold, in figures that add up: any sharding gives the same result, to the last bit.

`of_shard` counts a shard, `merge` adds shards up, `summary` makes figures of the sum. Where images have more different
intensities than are held one by one (float32 records, PET), percentiles take a second look at the shards: `wanted` says
at what, `look_again` looks.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config
from radkit.data import records, schema, shards
from radkit.data.figures import accumulators, intensities, summaries, tallies
from radkit.data.figures.accumulators import Moments, Values
from radkit.errors import UserError

Part = dict[str, Any]  # plain JSON values
Wanted = dict[str, list[int]]  # by group, which beginnings of numbers to tell apart
SHARES = (0.5, 50.0, 99.5)  # percentiles of intensities
_SUBGROUP_MOMENTS = ("site", "manufacturer")


def of_shard(
    path: Path,
    record_fields: tuple[schema.Field, ...],
    *,
    num_masks: int | None = None,
    each: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> Part:
    """Returns the figures of one shard, as plain JSON values that `merge` adds up.

    Args:
        path: The shard.
        record_fields: Of its data set.
        num_masks: How many values but 0 a mask may have; None: not known.
        each: Called with every record, decoded.

    Raises:
        UserError: The shard is damaged.
    """
    part = _nothing()
    part["about"] = _about(record_fields)
    pending: dict[str, list[Values]] = {}
    sums: dict[str, Moments] = {}
    for record in _decoded(path, record_fields):
        each(record)
        part["records"] += 1
        tallies.add(part["tallies"], record, record_fields)
        found = tallies.faults(record, record_fields, num_masks)
        found += _add_intensities(record, part, pending, sums)
        for name in found:
            part["faults"].setdefault(name, []).append(record["record_uid"])
    part["intensity"] = {group: [values.to_json()] for group, values in intensities.folded(pending).items()}
    part["groups"] = {group: one.to_json() for group, one in sums.items()}
    return part


def _decoded(path: Path, record_fields: tuple[schema.Field, ...]) -> Iterator[Mapping[str, Any]]:
    for content in shards.read_shard(path):
        try:
            record = records.decode(content, record_fields)
        except UserError as error:
            raise UserError(f"{path.name}: {error}; is data.json that of these shards?") from error
        yield record


def _nothing() -> Part:
    """Returns the figures of no record.

    `intensity` holds, by group, what each look gave; `groups` the moments of subgroups; `faults` record_uids by name.
    """
    return {"about": {}, "records": 0, "not_finite": 0, "tallies": {}, "intensity": {}, "groups": {}, "faults": {}}


def _about(record_fields: tuple[schema.Field, ...]) -> dict[str, Any]:
    by_name = {field.name: field for field in record_fields}
    label = by_name.get("label")
    kinds = {"class": "class", "flags": "multi_label", "numbers": "survival" if "event" in by_name else "regression"}
    return {
        "fields": sorted(by_name),
        "label_kind": kinds[label.kind] if label else "",
        "label_unit": label.unit if label else "",
        "class_names": list(label.class_names) if label else [],
        "box_labels": list(by_name["box_labels"].class_names) if "box_labels" in by_name else [],
    }


def _add_intensities(
    record: Mapping[str, Any], part: Part, pending: dict[str, list[Values]], sums: dict[str, Moments]
) -> list[str]:
    """Adds a record's intensities; returns the names of what is wrong with them."""
    by_group, not_finite = intensities.of_record(record)
    for group, values in by_group.items():
        intensities.fold(pending, group, values)
    part["not_finite"] += not_finite
    every = by_group.get(intensities.ALL)
    if every is None or not every.keys.size:
        return ["not_finite"] if not_finite else []
    own = every.moments
    for fact, value in tallies.groups(record).items():
        if fact in _SUBGROUP_MOMENTS:
            name = tallies.key(fact, value)
            sums[name] = sums.get(name, Moments()) + own
    found = {"not_finite": not_finite > 0, "constant_image": own.least == own.most}
    return [name for name, is_so in found.items() if is_so]


def merge(parts: Iterable[Part]) -> Part:
    """Returns the sum of several parts; neither their order nor their number changes it."""
    total = _nothing()
    held: dict[str, list[list[Values]]] = {}
    sums: dict[str, Moments] = {}
    for part in parts:
        total["about"] = total["about"] or part["about"]
        for name in ("records", "not_finite"):
            total[name] += part[name]
        for name, counts in part["tallies"].items():
            total["tallies"].setdefault(name, Counter()).update(counts)
        for name, uids in part["faults"].items():
            total["faults"][name] = sorted([*total["faults"].get(name, []), *uids])
        for group, one in part["groups"].items():
            sums[group] = sums.get(group, Moments()) + Moments.from_json(one)
        for group, looks in part["intensity"].items():
            _hold(held.setdefault(group, [[] for _ in accumulators.LEVELS]), looks)
    total["groups"] = {group: one.to_json() for group, one in sorted(sums.items())}
    total["intensity"] = {
        group: [accumulators.merge(found).to_json() for found in looks if found] for group, looks in held.items()
    }
    return total


def _hold(held: list[list[Values]], looks: Sequence[Mapping[str, Any]]) -> None:
    for values in map(Values.from_json, looks):
        held[values.look].append(values)
        if len(held[values.look]) >= 8:
            held[values.look] = [accumulators.merge(held[values.look])]


def wanted(part: Part) -> Wanted:
    """Returns what another look at a part's shards must tell apart for its percentiles; empty: they are exact."""
    looks = _looks(part)
    found = {}
    for group, seen in looks.items():
        beginnings = accumulators.unresolved(seen, SHARES)
        if beginnings.size:
            found[group] = set(beginnings.tolist())
    of_all_masks = found.pop(summaries.FOREGROUND, set())
    for group in looks if of_all_masks else ():  # the foreground is all values of the mask together
        if group.startswith("mask "):
            found[group] = found.get(group, set()) | of_all_masks
    return {group: sorted(beginnings) for group, beginnings in sorted(found.items())}


def look_again(path: Path, record_fields: tuple[schema.Field, ...], found: Wanted, look: int) -> Part:
    """Returns what a second or third look at a shard shows, as a part that `merge` adds.

    Args:
        path: The shard.
        record_fields: Of its data set.
        found: From `wanted` of the sum of all parts.
        look: 1 for the second look, 2 for the third.

    Raises:
        UserError: The shard is damaged.
    """
    beginnings = {group: np.array(keys, np.int64) for group, keys in found.items()}
    pending: dict[str, list[Values]] = {}
    for record in _decoded(path, record_fields):
        for group, values in intensities.within(record, beginnings, look).items():
            intensities.fold(pending, group, values)
    return {**_nothing(), "intensity": {group: [v.to_json()] for group, v in intensities.folded(pending).items()}}


def exact(
    parts: Iterable[tuple[str, Part]], look: Callable[[dict[str, Wanted], int], Iterable[tuple[str, Part]]]
) -> dict[str, Part]:
    """Returns the sum of each split's parts, looked at again until all percentiles are exact.

    Args:
        parts: Split and part of every shard.
        look: Given what each split asks for and the look's number, makes the parts of these splits' shards; see
            `look_again`.
    """
    total = _by_split(parts)
    for number in range(1, len(accumulators.LEVELS)):
        asked = {split: found for split, part in total.items() if (found := wanted(part))}
        if not asked:
            break
        total = _by_split([*total.items(), *look(asked, number)])
    return total


def _by_split(parts: Iterable[tuple[str, Part]]) -> dict[str, Part]:
    listed = list(parts)
    return {split: merge(part for of, part in listed if of == split) for split in shards.SPLITS}


def _looks(part: Part) -> dict[str, list[Values]]:
    """Returns what each look gave, by group; `foreground` is the sum of all values of the mask."""
    found = {group: [Values.from_json(v) for v in looks] for group, looks in part["intensity"].items()}
    masks = [looks for group, looks in found.items() if group.startswith("mask ")]
    if masks:
        deepest = max(map(len, masks))
        together = [[looks[n] for looks in masks if n < len(looks)] for n in range(deepest)]
        found[summaries.FOREGROUND] = [accumulators.merge(values) for values in together]
    return found


def summary(part: Part, data: config.Data | None = None) -> dict[str, Any]:
    """Returns the figures that people and configs read; a split without records has only its count.

    Args:
        part: From `merge`.
        data: The config's data section, for the names of masks; None: masks are named by their values.
    """
    patients = part["tallies"].get("patients", {})
    if not part["records"]:
        return {"records": 0, "patients": 0}
    masks = dict(enumerate(data.mask_labels, 1)) if data else {}
    figures = {group: summaries.intensity(looks, SHARES) for group, looks in sorted(_looks(part).items())}
    every = figures.pop(intensities.ALL, {})
    return {
        "records": part["records"],
        "patients": len(patients),
        "intensity": {**every, "not_finite": part["not_finite"]},
        **summaries.geometry(part["tallies"]),
        **summaries.facts(part["tallies"]),
        **summaries.labels(part["tallies"], _named(part, data)),
        **summaries.masks(part["tallies"], masks, figures),
        **summaries.boxes(part["tallies"], part["about"]["box_labels"]),
        "subgroups": summaries.subgroups(part["tallies"], _named(part, data), part["groups"]),
        "faults": {name: {"count": len(uids), "records": uids[:20]} for name, uids in sorted(part["faults"].items())},
    }


def _named(part: Part, data: config.Data | None) -> dict[str, Any]:
    """Returns what the records' fields are, as figures of them need it."""
    found = dict(part["about"])
    if data is not None:
        ordered = found.get("label_kind") == "class" and data.label_kind == "ordinal"
        more = {"kind": data.kind, "mask_labels": list(data.mask_labels)}
        found |= {**more, **({"label_kind": "ordinal"} if ordered else {})}
    return found


def report(parts: Mapping[str, Part], data: config.Data) -> dict[str, Any]:
    """Returns what `statistics.json` says, but for anomalies.

    Args:
        parts: From `exact` (or `merge`), by split.
        data: The config's data section.

    Returns:
        `summary` of each split by its name; `about` the records' fields; `fingerprint` of the training records, which
        nnU-Net plans a network by; `class_weights` of theirs; `shared_patients`, who are in several splits.
    """
    found: dict[str, Any] = {split: summary(part, data) for split, part in parts.items()}
    train, label = parts["train"], found["train"].get("label", {})
    shared = shared_patients(parts)
    return {
        **found,
        "about": _named(next((part for part in parts.values() if part["about"]), train), data),
        "fingerprint": summaries.fingerprint(train["tallies"], _looks(train), SHARES) if train["records"] else {},
        "class_weights": _weights(label) if "counts" in label else {},
        "shared_patients": {"count": len(shared), "patients": shared[:20]},
    }


def _weights(label: Mapping[str, Any]) -> dict[str, Any]:
    if label["kind"] != "multi_label":
        return class_weights(label["counts"])
    known = {name: {flag: by[flag] for flag in ("yes", "no")} for name, by in label["counts"].items()}
    return {name: class_weights(counts) if any(counts.values()) else {} for name, counts in known.items()}


def shared_patients(parts: Mapping[str, Part]) -> list[str]:
    """Returns the pseudonymous patients that have records in more than one split; there must be none."""
    of_splits = [set(part["tallies"].get("patients", {})) for part in parts.values()]
    counts = functools.reduce(lambda total, some: total + Counter(some), of_splits, Counter[str]())
    return sorted(str(tallies.parts_of(text)[0]) for text, count in counts.items() if count > 1)


def class_weights(counts: Mapping[str, int]) -> dict[str, float]:
    """Returns what each class's examples weigh, so that classes weigh alike together and an example 1 on average.

    The weight is n / (k n_c) of n examples of k classes, n_c of this one: scikit-learn's "balanced". A class without
    examples weighs 0 and is none of the k.

    Raises:
        UserError: A count is negative, or there is no example at all.

    >>> class_weights({"no": 30, "yes": 10})
    {'no': 0.6666666666666666, 'yes': 2.0}
    """
    if any(count < 0 for count in counts.values()) or not sum(counts.values()):
        raise UserError(f"class weights need how many examples each class has, some above 0, not {dict(counts)}")
    total, classes = sum(counts.values()), sum(count > 0 for count in counts.values())
    return {name: total / (classes * count) if count else 0.0 for name, count in counts.items()}
