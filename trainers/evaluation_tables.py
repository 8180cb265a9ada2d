"""Tables that an evaluation leaves beside its report, so that each of its numbers can be computed again from them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radkit import outputs
from radkit.tasks import task as task_module

TRAINED_ON = "trained_on.csv"  # what is known of the cases that the run learned from
READERS = "readers.csv"  # what readers said, as it was given
ROBUSTNESS = "robustness.csv"  # rows of cases asked again


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows as a CSV table, numbers with all their digits; nothing where there are no rows.

    Args:
        path: The file.
        rows: Columns are all that any row has, in the order in which they are met. A list (boxes, scores) is written
            as JSON text, null for a number that is not known; None is an empty cell.
    """
    if not rows:
        return
    header = list(dict.fromkeys(name for row in rows for name in row))
    outputs.write_csv(path, header, [[_cell(row.get(name)) for name in header] for row in rows])


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return json.dumps(task_module.as_json(value), allow_nan=False)
    return "" if value is None else value
