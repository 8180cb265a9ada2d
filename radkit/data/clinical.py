"""Facts of a record that a network sees beside its image: the columns of `data.table`.

They are asked for and sent as plain numbers: years, tesla, mm, kV; sex is -1 (F) or 1 (M); nan is not known, and of sex
what is neither. `scaled` brings them near to mean 0 and variance 1, the same in training and in the served graph.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from radkit import config

# Of a column what becomes 0, and how far from it becomes 1: what images of adults have, about.
SCALES: Mapping[str, tuple[float, float]] = {
    "age_years": (50.0, 20.0),
    "field_strength_t": (2.0, 1.0),
    "sex": (0.0, 1.0),
    "slice_thickness_mm": (3.0, 2.0),
    "tube_voltage_kv": (110.0, 20.0),
}
SEXES = {"F": -1.0, "M": 1.0}


def table(facts: Mapping[str, Any], data: config.Data) -> np.ndarray:
    """Returns the columns of `data.table`, (columns,) float32, nan where not known.

    Args:
        facts: A record's values, or `contents.facts` of a volume.
        data: The config's data section.

    >>> table({"sex": "F", "age_years": 61.0}, config.Data("ct", table=("age_years", "sex")))
    array([61., -1.], dtype=float32)
    """
    return np.array([_number(name, facts[name]) for name in data.table], np.float32)


def _number(name: str, value: Any) -> float:
    return SEXES.get(str(value), np.nan) if name == "sex" else float(value)


def scaled(columns: Any, data: config.Data) -> Any:
    """Returns columns, (..., columns) float32 as an array or a tensor, as networks take them."""
    centres, widths = np.array([SCALES[name] for name in data.table], np.float32).T
    return (columns - centres) / widths
