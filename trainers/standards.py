"""What the labels of a split rest on (histology, follow-up, a reader): figures of different kinds are not mixed."""

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from radkit import config
from radkit.data import convert, records, shards, splits
from radkit.errors import UserError, did_you_mean
from radkit.tasks.task import Task

NOT_TOLD = "not_told"  # how a label that does not say it is named


def of_record(values: dict[str, object], task: Task) -> str:
    """Returns the reference standard of the label that a task is scored by, or `NOT_TOLD`."""
    return str(values[field(task)] or NOT_TOLD)


def field(task: Task) -> str:
    """Returns the name of the record's field that tells it."""
    return f"{task.scored_by}_reference_standard"


def of_split(
    folder: Path, split: str, data: config.Data, task: Task, trainer: config.Trainer | None = None
) -> Counter[str]:
    """Returns how many records of a split rest on each reference standard; pixels are not decoded.

    Args:
        folder: The data set's.
        split: Which one.
        data: The config's data section.
        task: Whose labels count.
        trainer: Of a run of a fold; None: the records as they were split.
    """
    trainer = trainer or config.Trainer()
    fields = convert.fields_of(data, shards.schema_of(folder))
    wanted = tuple(one for one in fields if one.name in (field(task), "patient_id"))
    patients = splits.chosen(folder, split, trainer)
    found = (
        records.decode(record, wanted)
        for physical in splits.physical(split, trainer)
        for path in shards.split_files(folder, physical)
        for record in shards.read_shard(path)
    )
    return Counter(of_record(one, task) for one in found if patients is None or one["patient_id"] in patients)


def choose(there: Counter[str], asked: Collection[str]) -> frozenset[str]:
    """Returns the reference standards whose cases are scored.

    Args:
        there: Of the split.
        asked: By the person; empty: whatever there is, as long as it is one.

    Raises:
        UserError: There are several and none was asked for, or none of those asked for is there.
    """
    told = _told(there.items())
    for name in asked:
        if name not in there:
            raise UserError(
                f"--reference_standard={name}: no case of the split rests on it{did_you_mean(name, there)}; {told}"
            )
    if len(there) > 1 and not asked:
        raise UserError(
            f"the split's labels rest on different reference standards: {told}; figures of the two are not mixed: name "
            "one with --reference_standard, or several, knowingly, by giving it more than once"
        )
    return frozenset(asked or there)


def left_out(there: Counter[str], wanted: Collection[str]) -> dict[str, int]:
    """Returns how many records of a split are not scored because of what their labels rest on, by reason.

    >>> left_out(Counter({"histology": 3, "follow_up": 2}), {"histology"})
    {'whose labels rest on follow up': 2}
    """
    return {
        f"whose labels rest on {name.replace('_', ' ') if name != NOT_TOLD else 'what nobody told'}": count
        for name, count in sorted(there.items())
        if name not in wanted
    }


def _told(counts: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts))
