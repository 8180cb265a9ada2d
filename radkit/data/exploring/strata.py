"""Records in groups: by what they are labelled as, and by what their headers say of patient and machine.

Rows are those of `image_features.describe`, each with its `split`.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from radkit import config
from radkit.data import shards
from radkit.data.figures import tallies

UNKNOWN = tallies.UNKNOWN
OTHERS = "others"
_BINS = 4  # of a regression's values
# Heading: field of a row.
_FACTS = {
    "site": "site",
    "manufacturer": "manufacturer",
    "model": "manufacturer_model",
    "kernel": "kernel",
    "view": "view_position",
    "body part": "body_part",
    "laterality": "laterality",
    "modality": "modality",
    "sex": "sex",
}
_STEPS = {"field strength": ("field_strength_t", "T"), "tube voltage": ("tube_voltage_kv", "kV")}
Row = Mapping[str, Any]


def schemes(rows: Sequence[Row], data: config.Data, most: int = 7) -> dict[str, list[str]]:
    """Returns the ways to group records in which they differ: heading -> each row's group.

    The label comes first, then the split, then site, machine and patient. Of a way with more groups than `most` the
    rarest are joined.

    Args:
        rows: Of the records.
        data: The config's data section.
        most: Groups of one way, at most.
    """
    found = {
        "label": label_groups(rows, data),
        "split": [str(row["split"]) for row in rows],
        **{heading: [str(row.get(name) or UNKNOWN) for row in rows] for heading, name in _FACTS.items()},
        **{heading: [_step(row.get(name), unit) for row in rows] for heading, (name, unit) in _STEPS.items()},
        "age": [_age(row.get("age_years")) for row in rows],
    }
    return {heading: joined(groups, most) for heading, groups in found.items() if len(set(groups)) > 1}


def label_groups(rows: Sequence[Row], data: config.Data) -> list[str]:
    """Returns each row's label as the name of one group: a class, `several`, `none`, a range, `event`, `censored`.

    Without labels, whether there is anything in the mask, or any box.
    """
    if data.label and data.label_kind == "regression":
        return _ranges([row["label"] for row in rows])
    return [_label_group(row) for row in rows]


def _label_group(row: Row) -> str:
    label = row.get("label")
    if isinstance(label, Mapping):
        return ("event" if label["event"] else "censored") if "event" in label and "time" in label else _flagged(label)
    if label is not None:
        return str(label)
    if "mask_voxels" in row:
        return "with mask" if any(row["mask_voxels"].values()) else "without mask"
    if "boxes" in row:
        return "with boxes" if any(row["boxes"].values()) else "without boxes"
    return UNKNOWN


def _flagged(flags: Mapping[str, int]) -> str:
    yes = [name for name, flag in flags.items() if flag == 1]
    if not yes:
        return "none" if 0 in flags.values() else UNKNOWN
    return yes[0] if len(yes) == 1 else "several"


def _ranges(values: Sequence[float | None]) -> list[str]:
    """Quarters of a regression's values, named by their ends."""
    known = np.array([value for value in values if value is not None])
    if not known.size:
        return [UNKNOWN] * len(values)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)))
    names = [f"{low:.4g} to {high:.4g}" for low, high in itertools.pairwise(edges)] or [f"{edges[0]:.4g}"]

    def of(value: float | None) -> str:
        if value is None:
            return UNKNOWN
        return names[min(len(names) - 1, max(0, int(np.searchsorted(edges, value, side="right")) - 1))]

    return [of(value) for value in values]


def _age(years: float | None) -> str:
    return tallies.age_band(math.nan if years is None else years)


def _step(number: float | None, unit: str) -> str:
    return UNKNOWN if number is None else f"{number:.3g} {unit}"


def joined(groups: Sequence[str], most: int) -> list[str]:
    """Returns the groups with the rarest made one, where there are more than `most`."""
    counts = Counter(groups)
    if len(counts) <= most:
        return list(groups)
    kept = {name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: most - 1]}
    return [group if group in kept else OTHERS for group in groups]


def ordered(heading: str, groups: Iterable[str], data: config.Data) -> list[str]:
    """Returns the names of a way's groups in the order in which they are shown; what is not known comes last."""
    known = {"split": shards.SPLITS, "label": data.class_names, "age": ("under 18",)}.get(heading, ())
    last = (OTHERS, UNKNOWN)

    def rank(name: str) -> tuple[int, float, str]:
        if name in last:
            return len(known) + 1 + last.index(name), 0, ""
        return (known.index(name), 0, "") if name in known else (len(known), _leading(name), name)

    return sorted(set(groups), key=rank)


def _leading(name: str) -> float:
    """The number that a range or a step begins with; names without one stand before, by the alphabet."""
    try:
        return float(name.split(" ")[0])
    except ValueError:
        return -math.inf


def association(one: Sequence[str], other: Sequence[str]) -> float:
    """Returns how much two ways to group go together: Cramér's V, corrected for chance, 0 to 1; nan for one group.

    Records whose group is not known in either way are left out.

    Source: Bergsma 2013, doi:10.1016/j.jkss.2012.10.002.
    """
    pairs = [(a, b) for a, b in zip(one, other) if UNKNOWN not in (a, b)]
    rows, columns = sorted({a for a, _ in pairs}), sorted({b for _, b in pairs})
    if len(rows) < 2 or len(columns) < 2:
        return math.nan
    table = np.zeros((len(rows), len(columns)))
    for (a, b), count in Counter(pairs).items():
        table[rows.index(a), columns.index(b)] = count
    total = table.sum()
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / total
    squared = float((np.square(table - expected) / expected).sum()) / total
    phi = max(0.0, squared - (len(rows) - 1) * (len(columns) - 1) / (total - 1))
    fewest = min(n - (n - 1) ** 2 / (total - 1) for n in table.shape)
    return math.sqrt(phi / (fewest - 1)) if fewest > 1 else math.nan
