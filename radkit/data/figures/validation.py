"""What a data set must look like, inferred from one that is trusted; and where another one does not.

The schema is a JSON file that a person reads and edits: fields, classes, the values that facts may have, ranges of
numbers, shares of patients. `radkit statistics --write_schema` writes it, `--schema` holds a data set against it.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from radkit import outputs
from radkit.data.figures import anomalies as kinds
from radkit.data.figures.anomalies import Anomaly
from radkit.data.figures.tallies import UNKNOWN
from radkit.data.shards import SPLITS
from radkit.errors import UserError

VERSION = 1
MARGIN = 0.1  # of a range, on either side of what was seen
_VALUES = (
    "modality", "manufacturer", "manufacturer_model", "body_part", "view_position", "laterality", "kernel", "sex",
    "site", "label_reference_standard", "annotation_reference_standard",
)  # fmt: skip
_LABELS = ("label_kind", "class_names")
_DRAWN = ("mask_labels", "box_labels")
_KEYS = {"fields", "values", "numbers", "shares", "largest_distance", *_LABELS, *_DRAWN}


def infer(found: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the schema of a data set: what it has, with some room.

    Ranges reach a tenth further than what was seen, but not below 0 where nothing was; a fact that was always known
    must be, one that was sometimes unknown may be so a tenth more often.

    Args:
        found: From `statistics.report`.
    """
    about = found["about"]
    held = [found[split] for split in SPLITS if found[split]["records"]]
    if not held:
        raise UserError("the data set has no records, so there is nothing to infer a schema from")
    return {
        "radkit_schema_of_statistics": VERSION,
        "fields": about["fields"],
        **{name: about[name] for name in (*_LABELS, *_DRAWN)},
        "values": _inferred_values(held),
        "numbers": _inferred_numbers(held),
        "shares": _inferred_shares(held),
        "largest_distance": kinds.LARGEST_DISTANCE,
    }


def _inferred_values(held: list[Any]) -> dict[str, Any]:
    found = {}
    for name in _VALUES:
        counts = _added([figures.get(name, {}) for figures in held])
        if counts:
            unknown = counts.pop(UNKNOWN, 0)
            share = unknown / (unknown + sum(counts.values()))
            found[name] = {"allowed": sorted(counts), "most_unknown": _roomy(share)}
    return found


def _inferred_numbers(held: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in dict.fromkeys(name for figures in held for name in _numbers(figures)):
        seen = [_numbers(figures)[name] for figures in held if name in _numbers(figures)]
        known = [(one["min"], one["max"]) for one in seen if one["min"] is not None]
        if known:
            least, most = min(low for low, _ in known), max(high for _, high in known)
            unknown, of = (sum(one[what] for one in seen) for what in ("unknown", "of"))
            found[name] = {**_wider(least, most), "most_unknown": _roomy(unknown / of)}
    return found


def _wider(least: float, most: float) -> dict[str, float]:
    room = MARGIN * (most - least or abs(most))
    return {"least": max(0.0, least - room) if least >= 0 else least - room, "most": most + room}


def _roomy(share: float) -> float:
    return min(1.0, share + MARGIN) if share else 0.0


def _inferred_shares(held: list[Any]) -> dict[str, dict[str, float]]:
    each = [kinds.shares_of(figures) for figures in held]
    return {name: _added([shares.get(name, {}) for shares in each]) for name in each[0]}


def _added(counts: list[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for one in counts:
        for name, number in one.items():
            total[name] = total.get(name, 0) + number
    return total


def _numbers(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns least, most, how many are unknown and of how many, of everything that a schema gives a range."""
    records = figures["records"]
    unknown = {"spacing_mm": figures["faults"].get("spacing_unknown", {}).get("count", 0)}
    found = {}
    for name in ("size", "spacing_mm"):
        for axis, seen in enumerate(figures[name]):
            found[f"{name}[{axis}]"] = {**_extremes(seen), "unknown": unknown.get(name, 0), "of": records}
    found["intensity"] = {**_extremes(figures["intensity"]), "unknown": 0, "of": records}
    told = dict(figures["numbers"])
    label = figures.get("label", {})
    if label.get("kind") in ("regression", "survival"):
        told["label"] = label.get("time", label)
    if "boxes" in figures:
        told["boxes in records"] = figures["boxes"]["in_records"]
    told |= {f"ml of {name}": mask["ml"] for name, mask in figures.get("mask", {}).items() if "ml" in mask}
    for name, one in told.items():
        found[name] = {**_extremes(one), "unknown": one["unknown"], "of": max(1, one["known"] + one["unknown"])}
    return found


def _extremes(seen: Mapping[str, Any]) -> dict[str, float | None]:
    return {"min": seen.get("min"), "max": seen.get("max")}


def anomalies(found: Mapping[str, Any], schema: Mapping[str, Any] | None = None) -> list[Anomaly]:
    """Returns what is wrong with a data set, in order: by its own figures, and against a schema.

    Args:
        found: From `statistics.report`.
        schema: From `infer` or `read`; None: only its own figures are looked at.
    """
    listed = kinds.found_in(found)
    if schema is not None:
        listed += _about(found["about"], schema)
        for split in [split for split in SPLITS if found[split]["records"]]:
            listed += [*_values(split, found[split], schema), *_ranges(split, found[split], schema)]
            listed += _shares(split, found[split], schema)
    order = list(kinds.KINDS)
    return sorted(listed, key=lambda a: (a.severity != "error", order.index(a.name), a.where, a.text))


def _about(about: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Anomaly]:
    for name in sorted(set(schema["fields"]) - set(about["fields"])):
        yield Anomaly("field_missing", "all splits", name)
    for name in sorted(set(about["fields"]) - set(schema["fields"])):
        yield Anomaly("field_new", "all splits", name)
    for names, kind in ((_LABELS, "label_changed"), (_DRAWN, "labels_of_masks_changed")):
        for name in names:
            if list(about[name]) != list(schema[name]):
                yield Anomaly(kind, "all splits", f"{name} is {about[name]!r}, the schema has {schema[name]!r}")


def _values(split: str, figures: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Anomaly]:
    for name, rule in schema["values"].items():
        counts = dict(figures.get(name, {}))
        unknown = counts.pop(UNKNOWN, 0)
        total = unknown + sum(counts.values())
        for value in sorted(set(counts) - set(rule["allowed"])):
            yield Anomaly("value_new", f"{split}: {name}", f"{counts[value]} of {total} records have {value!r}")
        yield from _unknown(split, name, unknown, total, rule)


def _unknown(split: str, name: str, unknown: int, of: int, rule: Mapping[str, Any]) -> Iterator[Anomaly]:
    if of and unknown / of > rule["most_unknown"]:
        text = f"unknown in {unknown / of:.1%} of {of}, the schema has {rule['most_unknown']:.1%} at most"
        yield Anomaly("unknown_too_often", f"{split}: {name}", text)


def _ranges(split: str, figures: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Anomaly]:
    numbers = _numbers(figures)
    for name, rule in schema["numbers"].items():
        one = numbers.get(name)
        if one is None:
            continue
        yield from _unknown(split, name, one["unknown"], one["of"], rule)
        if one["min"] is not None and not rule["least"] <= one["min"] <= one["max"] <= rule["most"]:
            text = f"{one['min']:.6g} to {one['max']:.6g}, the schema has {rule['least']:.6g} to {rule['most']:.6g}"
            yield Anomaly("number_out_of_range", f"{split}: {name}", text)


def _shares(split: str, figures: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Anomaly]:
    for name, counts in kinds.shares_of(figures).items():
        apart = kinds.distance(schema["shares"].get(name, {}), counts)
        if apart and apart.exceeds(schema["largest_distance"]):
            yield Anomaly("shares_changed", f"{split}: {name}", f"{apart.text} in the schema")


def read(path: Path) -> dict[str, Any]:
    """Returns a schema from its file.

    Raises:
        UserError: It is no such file, or what a person changed in it is not understood.
    """
    if not path.is_file():
        raise UserError(f"--schema {path} is no file; radkit statistics --write_schema={path} makes one")
    try:
        schema = outputs.read_json(path)
    except UserError as error:
        raise UserError(f"--schema {path} is no JSON; mend it, or write it anew with --write_schema") from error
    if not isinstance(schema, dict) or schema.get("radkit_schema_of_statistics") != VERSION:
        raise UserError(
            f"{path} is no schema of statistics, version {VERSION}; radkit statistics --write_schema makes one"
        )
    missing, unknown = sorted(_KEYS - set(schema)), sorted(set(schema) - _KEYS - {"radkit_schema_of_statistics"})
    if missing or unknown:
        raise UserError(f"{path} lacks {missing} and has the unknown {unknown}; its keys are {sorted(_KEYS)}")
    wrong = next(itertools.chain(_wrong_sections(schema), _wrong_lists(schema), _wrong_numbers(schema)), None)
    if wrong:
        raise UserError(f"{path}: {wrong}")
    return schema


def _wrong_sections(schema: Mapping[str, Any]) -> Iterator[str]:
    for section in ("values", "numbers", "shares"):
        if not isinstance(schema[section], dict):
            yield f"{section} must be an object, not {schema[section]!r}"
            return
        for name, rule in schema[section].items():
            if not isinstance(rule, dict):
                yield f"{section}.{name} must be an object, not {rule!r}"


def _wrong_lists(schema: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(schema["label_kind"], str):
        yield f"label_kind must be a text, not {schema['label_kind']!r}"
    lists = {name: schema[name] for name in ("fields", "class_names", *_DRAWN)}
    lists |= {f"values.{name}.allowed": rule.get("allowed") for name, rule in schema["values"].items()}
    for name, held in lists.items():
        if not isinstance(held, list) or not all(isinstance(one, str) for one in held):
            yield f"{name} must be a list of texts, not {held!r}"


def _wrong_numbers(schema: Mapping[str, Any]) -> Iterator[str]:
    numbers = {"largest_distance": schema["largest_distance"]}
    for section, names in (("values", ("most_unknown",)), ("numbers", ("least", "most", "most_unknown"))):
        for name, rule in schema[section].items():
            numbers |= {f"{section}.{name}.{one}": rule.get(one) for one in names}
    for name, counts in schema["shares"].items():
        numbers |= {f"shares.{name}.{value}": number for value, number in counts.items()}
    for name, number in numbers.items():
        if not _is_number(number):
            yield f"{name} must be a number, not {number!r}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
