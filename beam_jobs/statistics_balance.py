"""How classes are spread over splits, sites, machines, patients: of all records, where `statistics.json` counts them.

What it does not count (tube voltage, kernel, ...) is counted in the sample of records that the page is made of.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from beam_jobs.statistics_looks import Row, Sample
from radkit import config
from radkit.data import shards
from radkit.data.exploring import strata
from radkit.reports import explore, svg

_COUNTED = {"site": "site", "manufacturer": "manufacturer", "view": "view_position", "sex": "sex", "age": "age_band"}
_MOST_GROUPS = 12  # of one kind that are shown
_WITH_NAMES = ("class", "ordinal")
_STRONG = 0.3  # of Cramér's V

Group = tuple[int, int, dict[str, int]]  # records, patients, records of each class


def balances(sample: Sample, found: Mapping[str, Any]) -> list[explore.Balance]:
    """Returns the bars of each way to group records: shares of the classes, or of the splits where there are none."""
    data, by = sample.data, _bars_by(sample)
    shown = []
    for heading, groups in sample.schemes.items():
        if heading == by or (heading == "label" and data.label_kind == "multi_label"):  # `flag_tables` shows it
            continue
        counted = _exact(heading, by, found, data)
        groups_of = counted or _sampled(groups, sample.schemes.get(by, ()), sample.rows)
        of_sample = "" if counted or len(sample.rows) == total(found) else f"Of {len(sample.rows):,} records sampled."
        names = strata.ordered(heading, groups_of, data)
        classes, folded = _folded(groups_of, sample.colours.get(by, ()))
        shown.append(_balance(heading, names, folded, classes, _caption(sample, heading, of_sample)))
    return shown


def total(found: Mapping[str, Any]) -> int:
    """Returns how many records the data set has."""
    return sum(int(found.get(split, {}).get("records", 0)) for split in shards.SPLITS)


def _bars_by(sample: Sample) -> str:
    """What the bars' parts are: the label, where it is one of several; else the split."""
    return "label" if "label" in sample.schemes and sample.data.label_kind != "multi_label" else "split"


def _caption(sample: Sample, heading: str, of_sample: str) -> str:
    strength = sample.associations.get(heading)
    if strength is None:
        return of_sample
    word = "they go together" if strength >= _STRONG else "weak" if strength >= _STRONG / 3 else "next to none"
    return f"Cramér's V of {heading} and label: {strength:.2f} ({word}). {of_sample}".strip()


def _balance(
    heading: str, names: Sequence[str], groups: Mapping[str, Group], classes: Sequence[tuple[str, int]], caption: str
) -> explore.Balance:
    rows = [(name, groups[name][0], groups[name][1], [groups[name][2].get(c, 0) for c, _ in classes]) for name in names]
    if len(rows) > _MOST_GROUPS:
        rows = sorted(rows, key=lambda row: (-row[1], row[0]))
        rest = rows[_MOST_GROUPS - 1 :]
        counts = [sum(row[3][place] for row in rest) for place in range(len(classes))]
        joined = f"{len(rest)} others"
        rows = [*rows[: _MOST_GROUPS - 1], (joined, sum(r[1] for r in rest), sum(r[2] for r in rest), counts)]
    return explore.Balance(heading, classes, rows, caption)


def _folded(
    groups: Mapping[str, Group], classes: Sequence[tuple[str, int]]
) -> tuple[Sequence[tuple[str, int]], dict[str, Group]]:
    """Returns classes and groups with one part more, `others`: classes that the sample joins, or has no record of."""
    named = {name for name, _ in classes} - {strata.OTHERS}
    folded = {}
    for group, (records, patients, counts) in groups.items():
        kept = {name: count for name, count in counts.items() if name in named}
        rest = sum(counts.values()) - sum(kept.values())
        folded[group] = (records, patients, {**kept, **({strata.OTHERS: rest} if rest else {})})
    if strata.OTHERS not in dict(classes) and any(strata.OTHERS in counts for _, _, counts in folded.values()):
        classes = [*classes, (strata.OTHERS, svg.NUM_COLOURS - 1)]
    return classes, folded


def _sampled(groups: Sequence[str], classes: Sequence[str], rows: Sequence[Row]) -> dict[str, Group]:
    found: dict[str, Group] = {}
    for name in sorted(set(groups)):
        inside = [place for place, group in enumerate(groups) if group == name]
        counts: dict[str, int] = {}
        for place in inside if classes else ():
            counts[classes[place]] = counts.get(classes[place], 0) + 1
        found[name] = (len(inside), len({rows[place]["patient_id"] for place in inside}), counts)
    return found


def _exact(heading: str, by: str, found: Mapping[str, Any], data: config.Data) -> dict[str, Group]:
    """What `statistics.json` counted of all records; empty where it did not."""
    if by == "label" and not (data.label and data.label_kind in (*_WITH_NAMES, "survival")):
        return {}
    groups: dict[str, Group] = {}
    for split in shards.SPLITS:
        part = found.get(split, {})
        if heading == "split":
            of = {split: part} if part.get("records") else {}
        else:
            of = part.get("subgroups", {}).get(_COUNTED.get(heading, ""), {})
        for name, one in of.items():
            records, patients, counts = groups.get(name, (0, 0, {}))
            more = {split: int(one["records"])} if by == "split" else _classes(one.get("label", {}))
            both = {c: counts.get(c, 0) + more.get(c, 0) for c in (*counts, *more)}
            groups[name] = (records + int(one["records"]), patients + int(one["patients"]), both)
    return groups if any(sum(counts.values()) for _, _, counts in groups.values()) else {}


def _classes(label: Mapping[str, Any]) -> dict[str, int]:
    if "counts" in label:
        return {name: int(count) for name, count in label["counts"].items()}
    return {"event": int(label.get("events", 0)), "censored": int(label.get("censored", 0))}


def flag_tables(found: Mapping[str, Any], data: config.Data) -> list[explore.Table]:
    """Returns, of labels that are several flags, how many are yes, no and unknown, by split and by site."""
    if not data.label or data.label_kind != "multi_label":
        return []
    by_split = {split: found.get(split, {}).get("label", {}).get("counts", {}) for split in shards.SPLITS}
    by_site: dict[str, dict[str, dict[str, int]]] = {}
    for split in shards.SPLITS:
        for site, one in found.get(split, {}).get("subgroups", {}).get("site", {}).items():
            _add(by_site.setdefault(site, {}), one.get("label", {}).get("counts", {}))
    words = "Share of yes among records of which it is known, and how many those are; unknown labels are not no."
    tables = [_flags(f"Classes by {kind}", of, data, words) for kind, of in (("split", by_split), ("site", by_site))]
    return [table for table in tables if table is not None]


def _add(sums: dict[str, dict[str, int]], counts: Mapping[str, Mapping[str, int]]) -> None:
    for name, flags in counts.items():
        held = sums.setdefault(name, {})
        for flag, count in flags.items():
            held[flag] = held.get(flag, 0) + int(count)


def _flags(
    heading: str, by: Mapping[str, Mapping[str, Mapping[str, int]]], data: config.Data, words: str
) -> explore.Table | None:
    columns = [name for name in by if by[name]][:_MOST_GROUPS]
    if not columns or columns == [strata.UNKNOWN]:
        return None
    rows = [(name, *(_share(by[column].get(name, {})) for column in columns)) for name in data.class_names]
    return explore.Table(heading, ("class", *columns), rows, words)


def _share(flags: Mapping[str, int]) -> str:
    known = flags.get("yes", 0) + flags.get("no", 0)
    unknown = f", {flags['unknown']:,} unknown" if flags.get("unknown") else ""
    return f"{100 * flags.get('yes', 0) / known:.1f} % of {known:,}{unknown}" if known else f"none known{unknown}"
