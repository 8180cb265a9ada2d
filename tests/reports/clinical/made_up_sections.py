"""Sections on groups, models, readers and test sets as the report's file has them."""

import functools
from typing import Any

from radkit.evaluation import comparison, fairness_told, measures, readers, subgroups, test_sets
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import OperatingPoint
from tests.evaluation import made_up_answers, made_up_groups

NAUGHTY = "<b>Maker & Co</b>"


@functools.cache
def told() -> dict[str, Any]:
    """Returns the sections by their key."""
    rows = [
        {**row, "manufacturer_model": NAUGHTY if k % 3 else "Plain", "view_position": "AP" if k < 6 else "PA"}
        for k, row in enumerate(made_up_groups.rows())
    ]
    cases = Cases(rows)
    learned = [{**row, "site": row["site"] or "C"} for row in made_up_groups.rows(60, seed=5)]
    points = {NAUGHTY: (OperatingPoint("sick", "youden", None, 0.4, "validation", 80),)}
    elsewhere = Cases(made_up_groups.rows(40, seed=9))
    report = {
        "task": "classification",
        "cases": {"n": 40, "num_patients": 20},
        "figures": [measures.figure(made_up_groups.AUC, elsewhere, made_up_groups.DRAWS)],
        "test_set": {"type": "temporal", "told": "temporal, from 2024-01-01", "of_the_runs_records": True},
    }
    read = [*made_up_groups.reader_rows(rows, "A", 1, 0.1), *made_up_groups.reader_rows(rows[:60], "B", 2, 0.3)]
    plan = made_up_groups.plan_of(
        trained_on=learned,
        beside={NAUGHTY: Cases(made_up_groups.other_rows(rows))},
        points_beside=points,
        readers=read,
        elsewhere={"2024": made_up_answers.as_json(report)},
    )
    sections = {
        "subgroups": subgroups.tell(cases, plan),
        "fairness": fairness_told.tell(cases, plan),
        "comparisons": comparison.tell(cases, plan),
        "readers": readers.tell(cases, plan),
        "test_sets": test_sets.tell(cases, plan),
    }
    found: dict[str, Any] = made_up_answers.as_json(sections)
    return found
