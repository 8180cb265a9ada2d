"""How a leakage check ends: its tables, its page, its line."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radkit import config, outputs, program
from radkit.data.leakage import fingerprints, identifiers, metadata, pairs
from radkit.reports import leakage as report

JSON, SHARED, PAIRS, PAGE = "leakage.json", "shared.csv", "pairs.csv", "report.html"
_MOST_SHOWN = 24
_WITHIN = "_within"
_KINDS = (
    "shared_patient", "shared_study", "shared_series", "shared_record", identifiers.SAME_DAY, pairs.IDENTICAL,
    pairs.NEAR, pairs.IDENTICAL + _WITHIN, pairs.NEAR + _WITHIN,
)  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """What was found of all records together.

    Attributes:
        rows: Of all records.
        twice: Pairs of records that show one image.
        data_sets: By name: its config's data section, and which rows are its.
        folded: Sides whose patients are dealt into folds, so that two patients of one side may be parted.
    """

    rows: list[fingerprints.Row]
    twice: list[pairs.Pair]
    data_sets: dict[str, tuple[config.Data, list[int]]]
    folded: set[str]

    def is_leak(self, pair: pairs.Pair) -> bool:
        """Whether the pair lies on two sides, or may."""
        return self.is_across(pair) or self.rows[pair.first]["side"] in self.folded

    def is_across(self, pair: pairs.Pair) -> bool:
        """Whether the pair lies on two sides."""
        return bool(self.rows[pair.first]["side"] != self.rows[pair.second]["side"])


def write(folder: Path, checked: Checked, store: fingerprints.Store, level: float) -> None:
    """Writes the tables and the page."""
    shared = identifiers.shared(checked.rows)
    header = {
        name: metadata.predicted([checked.rows[n] for n in numbers], data)
        for name, (data, numbers) in checked.data_sets.items()
    }
    summary = _summary(checked, shared, header, level)
    outputs.write_json(folder / JSON, summary)
    outputs.write_csv(
        folder / SHARED,
        ("kind", "identifier", "records"),
        [(one.kind, one.value, "; ".join(f"{n} {side}" for side, n in sorted(one.sides.items()))) for one in shared],
    )
    outputs.write_csv(folder / PAIRS, _COLUMNS, [_row(checked, pair) for pair in checked.twice])
    first = sorted(checked.twice, key=lambda pair: not checked.is_leak(pair))[:_MOST_SHOWN]
    shown = [_shown(checked, pair, store) for pair in first]
    listed = [dataclasses.asdict(one) for one in shared[:_MOST_SHOWN]]
    outputs.write_text(folder / PAGE, report.page(summary, listed, shown))


def _summary(
    checked: Checked,
    shared: Sequence[identifiers.Shared],
    header: Mapping[str, Sequence[metadata.Predicted]],
    level: float,
) -> dict[str, Any]:
    counts = Counter(one.kind for one in shared)
    counts.update(pair.kind + ("" if checked.is_across(pair) else _WITHIN) for pair in checked.twice)
    leaks = len(shared) + sum(checked.is_leak(pair) for pair in checked.twice)
    warned = {name: metadata.warnings(found, level) for name, found in header.items()}
    empty = sum(not row["places"][0] for row in checked.rows)
    return {
        "records": len(checked.rows),
        "patients": len({row["patient_id"] for row in checked.rows}),
        "sides": dict(Counter(row["side"] for row in checked.rows)),
        "counts": {kind: counts[kind] for kind in _KINDS},
        "leaks": leaks,
        "not_compared": empty,
        "warning_level": level,
        "header": {name: metadata.as_json(found) for name, found in header.items()},
        "warnings": {name: metadata.as_json(found) for name, found in warned.items()},
        "notes": _notes(checked, warned, empty),
    }


def _notes(checked: Checked, warned: Mapping[str, Sequence[metadata.Predicted]], empty: int) -> list[str]:
    notes = []
    if len({row["side"] for row in checked.rows}) == 1:
        notes.append("All records are on one side: only images of two patients could be compared.")
    if empty:
        notes.append(f"{empty} images have no place to recognise them by (one value, or nearly): they were compared by "
                     "their sums only.")  # fmt: skip
    for name, found in warned.items():
        for target in sorted({one.target for one in found}):
            best = next(one for one in found if one.target == target)
            notes.append(
                f"{name}: {target} is told by the header alone ({best.by}: {best.concordance:.2f}, "
                f"95 % interval {best.low:.2f} to {best.high:.2f})."
            )
    return notes


_COLUMNS = (
    "kind", "is_leak", "side_1", "record_1", "patient_1", "side_2", "record_2", "patient_2", "same_patient", "same_day",
    "score", "places_agreeing", "share_alike", "second_is_first",
)  # fmt: skip


def _row(checked: Checked, pair: pairs.Pair) -> tuple[Any, ...]:
    one, two = checked.rows[pair.first], checked.rows[pair.second]
    same_day = bool(one["study_date"]) and one["study_date"] == two["study_date"]
    said = [value for row in (one, two) for value in (row["side"], row["record_uid"], row["patient_id"])]
    same = (_yes(one["patient_id"] == two["patient_id"]), _yes(same_day))
    measured = (pair.score, pair.agreeing, pair.share) if pair.kind == pairs.NEAR else ("", "", "")
    return (pair.kind, _yes(checked.is_leak(pair)), *said, *same, *measured, pair.how)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _shown(checked: Checked, pair: pairs.Pair, store: fingerprints.Store) -> report.ShownPair:
    rows = checked.rows[pair.first], checked.rows[pair.second]
    title = " and ".join(f"{row['record_uid']} ({row['side']})" for row in rows)
    said = "identical pixels" if pair.kind == pairs.IDENTICAL else f"near-identical, {pair.how}; score {pair.score:.0f}"
    pictures = [report.picture(store.thumbnail(n)) for n in (pair.first, pair.second)]
    return report.ShownPair(pictures[0], pictures[1], title, said)


def told(summary: Mapping[str, Any], output: Path) -> int:
    """Prints the verb's line; returns its exit status."""
    counts = [f"{count} {kind.replace('_', ' ')}" for kind, count in summary["counts"].items() if count]
    sides = " / ".join(f"{count} {side}" for side, count in sorted(summary["sides"].items()))
    warned = sum(len({one["target"] for one in of}) for of in summary["warnings"].values())
    said = f"; {warned} labels told by the header alone (warning)" if warned else ""
    word = "LEAK" if summary["leaks"] else "no leak"
    found = f" ({', '.join(counts)})" if counts else ""
    print(f"check-leakage: {word}{found} among {sides} records{said} -> {output}")
    return program.QUARANTINED if summary["leaks"] else program.DONE
