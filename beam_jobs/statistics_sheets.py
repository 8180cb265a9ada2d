"""Pictures of the page: some records of each class and split, and those that are unlike the others."""

import base64
from collections.abc import Sequence

import numpy as np

from beam_jobs.statistics_looks import Row, Sample
from radkit.data import shards
from radkit.data.exploring import projections
from radkit.reports import explore, text

_MOST_TILES = 240  # on a page
_MOST = 16  # of one sheet


def sheets(found: Sample) -> list[tuple[str, list[explore.Tile]]]:
    """Returns a heading and tiles for each class and split that has records."""
    wanted = [
        (name, split, held)
        for name, members in _classes(found)
        for split in shards.SPLITS
        if (held := [row for row in members if row["split"] == split])
    ]
    each = max(1, min(_MOST, _MOST_TILES // max(1, len(wanted))))  # of many classes, one of each
    return [
        (f"{name}{split}: {min(each, len(rows))} of {len(rows):,}", [tile(row) for row in rows[:each]])
        for name, split, rows in wanted
    ]


def _classes(found: Sample) -> list[tuple[str, list[Row]]]:
    """Each class, as a heading begins, with its records; of several labels each, a record may be of several."""
    rows, data = found.rows, found.data
    if data.label and data.label_kind == "multi_label":
        of = [(f"{name}, ", [row for row in rows if row["label"][name] == 1]) for name in data.class_names]
        return [*of, ("none of them, ", [row for row in rows if set(row["label"].values()) == {0}])]
    if "label" not in found.schemes:
        return [("", list(rows))]
    group = found.schemes["label"]
    return [(f"{name}, ", [row for row, g in zip(rows, group) if g == name]) for name, _ in found.colours["label"]]


def tile(row: Row, words: str = "") -> explore.Tile:
    """Returns a record's thumbnail, with its mask's outline where it has one."""
    shown = row["thumbnail"]
    picture = _array(shown["image"], shown["rows"], shown["columns"])
    if "mask" in shown:
        picture = explore.outlined(picture, _array(shown["mask"], shown["rows"], shown["columns"]))
    return explore.Tile(row["record_uid"], picture, shown["aspect"], words)


def _array(coded: str, rows: int, columns: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(coded), np.uint8).reshape(rows, columns)


def outliers(found: Sample) -> list[explore.Tile]:
    """Returns the records furthest from all others, each with what is unusual about it."""
    far = projections.outliers(found.features, found.table, found.names)
    return [tile(found.rows[one.number], _why(one, found.rows[one.number])) for one in far]


def _why(one: projections.Outlier, row: Row) -> str:
    facts: Sequence[str] = [row["split"], *(str(row[name]) for name in ("site", "view_position") if row.get(name))]
    unusual = "; ".join(
        f"{name.replace('_', ' ')} {text.number(value)} (median {text.number(middle)})"
        for name, value, middle in one.features
    )
    return f"{', '.join(facts)}: {one.times:.2f} times the limit. {unusual[:1].upper()}{unusual[1:]}."
