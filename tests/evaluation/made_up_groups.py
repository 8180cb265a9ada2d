"""Tables of made-up cases with facts of patient and scanner, a question of yes or no, another model, readers."""

from typing import Any

import numpy as np

from radkit import config
from radkit.evaluation import binary, measures, plan
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.endpoints import Endpoint, OperatingPoint

DATA = config.Data("made_up", label="sick", class_names=("no", "sick"))
DRAWS = Draws(resamples=150, seed=3)
SICK = Endpoint("sick", lambda cases: cases.numbers("label"), lambda cases: cases.numbers("probability sick"))
AUC = binary.auc(SICK, leads=True)
BRIGHT = measures.Measure(
    "mean brightness", "mean", lambda cases, weights: weights @ cases.numbers("brightness") / weights.sum(1), unit="HU"
)
POINT = OperatingPoint("sick", "youden", None, 0.5, "validation", 100)


def rows(count: int = 120, seed: int = 1, per_patient: int = 2) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    listed = []
    for i in range(count):
        truth = float(i % 3 == 0)
        listed.append(
            {
                "name": f"test {i + 1}",
                "patient_id": f"P{i // per_patient:03d}",
                "record_uid": f"1.2.{i}",
                "label": truth,
                "probability sick": float(np.clip(0.35 * truth + random.uniform(0.05, 0.6), 0, 1)),
                "brightness": float(random.normal(100, 10)),
                "sex": "FM"[(i // per_patient) % 2],
                "age_years": float(10 + (i // per_patient) % 80),
                "site": ("A", "B", "")[(i // per_patient) % 3],
                "manufacturer": "Maker",
            }
        )
    return listed


def other_rows(of: list[dict[str, Any]], seed: int = 8, noise: float = 0.25) -> list[dict[str, Any]]:
    """Returns the same cases as another model answers them."""
    random = np.random.default_rng(seed)
    return [
        {**row, "probability sick": float(np.clip(row["probability sick"] + random.normal(0, noise), 0, 1))}
        for row in of
    ]


def reader_rows(of: list[dict[str, Any]], name: str, seed: int, wrong: float) -> list[dict[str, str]]:
    """Returns calls and ratings of a reader who is wrong in a share of the cases."""
    random = np.random.default_rng(seed)
    listed = []
    for row in of:
        call = int(row["label"]) ^ int(random.random() < wrong)
        rating = str(int(random.integers(3, 6) if call else random.integers(1, 4)))
        listed.append({"record_uid": row["record_uid"], "reader": name, "call": str(call), "rating": rating})
    return listed


def asked(leading: tuple[measures.Measure, ...] = (AUC,)) -> plan.Asked:
    return plan.Asked(leading, (SICK,))


def plan_of(**fields: Any) -> plan.Plan:
    return plan.Plan("classification", DATA, **{"asked": asked(), "draws": DRAWS, "points": (POINT,), **fields})


def made(count: int = 120, seed: int = 1, per_patient: int = 2) -> Cases:
    return Cases(rows(count, seed, per_patient))
