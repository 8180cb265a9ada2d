"""Cases of tasks that answer a whole image, made by the task itself from invented records."""

from typing import Any

import numpy as np

from radkit import config
from radkit.tasks.task import Task


def record(label: Any, **facts: str) -> dict[str, Any]:
    """Returns what a task reads of a record."""
    values = np.zeros((4, 5, 1), np.float32)
    return {"label": label, "values": values, "view_position": "", "sex": "", "manufacturer": "", **facts}


def case(task: Task, data: config.Data, label: Any, answer: dict[str, Any], patient: str, **facts: str) -> dict:
    """Returns a case as the evaluation has it."""
    found = task.case(record(label, **facts), {name: np.asarray(value) for name, value in answer.items()}, data)
    return {"name": "test 1", "patient_id": patient, **found}
