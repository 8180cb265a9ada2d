"""A network's answers to perturbed images: some cases asked again at each step of the grid, one record in memory."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from radkit.errors import UserError
from radkit.evaluation import perturbations
from radkit.tasks.task import Answer, Record
from trainers import scoring

Figures = Callable[[Record, Mapping[str, Any]], dict[str, Any]]


def some(cases: Sequence[Mapping[str, Any]], most: int) -> frozenset[str]:
    """Returns the records to ask again: patients in an order that no figure decides, while not more than `most` cases.

    Args:
        cases: Rows with `patient_id` and `record_uid`.
        most: Cases, at least one; the first patient's are taken even if they are more.

    Raises:
        UserError: Fewer than one are wanted.
    """
    if most < 1:
        raise UserError(f"at least 1 case must be asked again, not {most}")
    records: dict[str, list[str]] = {}
    for case in cases:
        records.setdefault(str(case["patient_id"]), []).append(str(case["record_uid"]))
    chosen: list[str] = []
    for patient in sorted(records, key=lambda name: (hashlib.sha256(name.encode()).digest(), name)):
        if chosen and len(chosen) + len(records[patient]) > most:
            break
        chosen += records[patient]
    return frozenset(chosen)


def rows(
    answer_images: Answer,
    chosen: scoring.Cases,
    wanted: frozenset[str],
    figures: Figures,
    *,
    grid: Sequence[perturbations.Perturbation] = perturbations.GRID,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Returns a row a record, perturbation and amount, in the order of records, then of the grid.

    Args:
        answer_images: As `task.answering` gives it.
        chosen: Which records.
        wanted: Those of them that are asked again, as `some` gives them.
        figures: (record, answer) -> a row of the table of cases.
        grid: What is done to their images.
        progress: Whether a bar is shown.

    Returns:
        What `figures` gave, with `perturbation`, `amount` and `references_lost`.
    """
    steps = [(one.name, amount) for one in grid for amount in one.amounts]
    records = tqdm(_records(chosen, wanted), desc="robustness", total=len(wanted), unit="case", disable=not progress)
    found = []
    for record in records:
        for name, amount in steps:
            changed = perturbations.perturbed(name, record, amount, chosen.data)
            answered = answer_images(*scoring.asked(changed, chosen.data))
            answer = {key: value[0].numpy() for key, value in answered.items()}
            told = {"perturbation": name, "amount": amount, "references_lost": changed["references_lost"]}
            found.append({**figures(changed, answer), **told})
    return found


def _records(chosen: scoring.Cases, wanted: frozenset[str]) -> Iterator[Record]:
    for _, record in chosen.records():
        if record["record_uid"].numpy().decode() in wanted:
            values = {name: value.numpy() for name, value in record.items()}
            yield {name: value.decode() if isinstance(value, bytes) else value for name, value in values.items()}
