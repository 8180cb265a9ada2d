"""Made-up cases of every task, evaluated and written as `radkit evaluate` writes them."""

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config, tasks
from radkit.evaluation import operating, perturbations, report
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.endpoints import OperatingPoint
from radkit.evaluation.plan import Plan

Rows = list[dict[str, Any]]
LABELS = ("liver", "spleen")
DATA = {
    "classification": config.Data("made_up", kind="radiograph", class_names=("healthy", "ill"), image_size=(8, 8)),
    "classes": config.Data("made_up", kind="radiograph", class_names=("a", "b", "c"), image_size=(8, 8)),
    "ordinal": config.Data("made_up", label_kind="ordinal", class_names=("none", "mild", "severe", "worst")),
    "multi_label": config.Data("made_up", label_kind="multi_label", class_names=("mass", "effusion")),
    "regression": config.Data("made_up", label="age", label_kind="regression", label_unit="years"),
    "segmentation": config.Data("made_up", mask_labels=LABELS),
}


def task_of(kind: str) -> str:
    """Returns the task's name."""
    return "classification" if kind == "classes" else kind


def rows(kind: str, count: int = 40, seed: int = 0) -> Rows:
    """Returns a table of cases, two of each patient, with what is unknown, undefined, infinite and tied."""
    random = np.random.default_rng(seed)
    made = _OF[kind]
    return [{**_shared(i), **made(i, random)} for i in range(count)]


def _shared(i: int) -> dict[str, Any]:
    return {
        "name": f"test {i + 1}",
        "patient_id": f"P{(i * 7) % 40 // 2:02d}",
        "record_uid": f"1.2.{i}",
        "reference_standard": "histology" if i % 5 == 0 else "expert_reader",
        "sex": ("F", "M", "F")[i // 4 % 3],
        "age_years": math.nan if i == 7 else float(15 + 2 * i),
        "site": "AB"[i // 2 % 2],
        "manufacturer": "one" if i > 4 else "",
    }


def _binary(i: int, random: np.random.Generator) -> dict[str, Any]:
    p = round(float(np.clip(random.normal(0.35 + 0.3 * (i // 2 % 2), 0.2), 0, 1)), 2)
    label = -1 if i == 3 else i // 2 % 2
    return {"label": label, "probability healthy": 1 - p, "probability ill": p, "brightness": float(random.normal())}


def _several(names: Sequence[str]) -> Callable[[int, np.random.Generator], dict[str, Any]]:
    def made(i: int, random: np.random.Generator) -> dict[str, Any]:
        label = i // 3 % len(names)
        p = random.dirichlet(np.where(np.arange(len(names)) == label, 3.0, 1.0))
        p = np.full(len(names), math.nan) if i == 11 else p
        told = {f"probability {name}": float(value) for name, value in zip(names, p)}
        return {"label": -1 if i == 4 else label, **told}

    return made


def _several_labels(i: int, random: np.random.Generator) -> dict[str, Any]:
    truth = {"label mass": (1, 0, 0, -1)[i % 4], "label effusion": (0.0, 1.0, 0.5, 0.25, 0.0)[i % 5]}
    found = {
        name.replace("label", "probability"): (max(value, 0) + 2 * random.random()) / 3 for name, value in truth.items()
    }
    return {**truth, **{name: float(value) for name, value in found.items()}}


def _number(i: int, random: np.random.Generator) -> dict[str, Any]:
    truth = float(random.uniform(20, 80))
    return {"label": math.nan if i == 5 else truth, "value": truth + float(random.normal(1, 5))}


def _masks(i: int, random: np.random.Generator) -> dict[str, Any]:
    told: dict[str, Any] = {"dice": 0.0}
    for label in LABELS:
        ref = 0 if i % 9 == 4 else int(random.integers(20, 900))
        pred = 0 if i in (4, 6) else int(ref * random.uniform(0.7, 1.2))
        one = (ref > 0) != (pred > 0)
        far = math.inf if one else 0.0 if not ref else float(random.uniform(1, 9))
        dice = 0.0 if one else 1.0 if not ref else float(random.uniform(0.6, 0.95))
        told |= {
            f"dice {label}": dice, f"ref_voxels {label}": ref, f"pred_voxels {label}": pred,
            f"hd95_mm {label}": math.nan if i == 8 else far, f"assd_mm {label}": math.nan if i == 8 else far / 2,
            f"nsd {label}": math.nan if i == 8 else dice,
            f"ref_ml {label}": ref * 0.01, f"pred_ml {label}": pred * 0.01,
            f"parts {label}": int(ref > 0) + i % 2, f"parts_found {label}": int(pred > 0) + i % 3,
            f"parts_hit {label}": min(int(ref > 0), int(pred > 0)),
        }  # fmt: skip
    told["dice"] = (told["dice liver"] + told["dice spleen"]) / 2
    told["ref_ml"] = told["ref_ml liver"] + told["ref_ml spleen"]
    told["pred_ml"] = told["pred_ml liver"] + told["pred_ml spleen"]
    return {**told, "known_voxels": 0 if i == 10 else 5000, "diagonal_mm": 300.0 + i}


_OF: Mapping[str, Callable[[int, np.random.Generator], dict[str, Any]]] = {
    "classification": _binary,
    "classes": _several(DATA["classes"].class_names),
    "ordinal": _several(DATA["ordinal"].class_names),
    "multi_label": _several_labels,
    "regression": _number,
    "segmentation": _masks,
}


def perturbed(kind: str, listed: Rows) -> Rows:
    """Returns cases answered again at two amounts of two perturbations: another draw of the same cases' answers."""
    found = []
    for name in ("noise", "rotation"):
        for place, amount in enumerate(perturbations.find(name).amounts[:2]):
            for row, other in zip(listed[:12], rows(kind, seed=100 + place)):
                told = {"perturbation": name, "amount": amount, "references_lost": int(name == "rotation")}
                # What is true of a case stays; the answer is another's.
                stays = {key: row[key] for key in row if key.startswith(("label", "ref_", "known", "diagonal"))}
                found.append({**other, **row, **{k: other[k] for k in other if k not in stays}, **stays, **told})
                found[-1] |= {key: row[key] for key in ("name", "patient_id", "record_uid")}
    return found


def evaluated(kind: str, folder: Path, resamples: int = 60, count: int = 40) -> dict[str, Any]:
    """Writes an evaluation and another model's, `other`, into a folder; returns the report."""
    listed, others, data = rows(kind, count), rows(kind, count, seed=9), DATA[kind]
    same = ("label", "ref_", "known", "diagonal", "parts ")
    others = [{**o, **{k: r[k] for k in r if k.startswith(same)}} for r, o in zip(listed[3:], others[3:])]
    asked = tasks.find(task_of(kind)).asked
    assert asked is not None
    wanted, again = asked(data), perturbed(kind, listed)
    chosen = Cases(rows(kind, seed=5))
    points = [operating.choose(endpoint, chosen, "youden") for endpoint in wanted.endpoints]
    theirs = [OperatingPoint(point.name, "fixed", None, 0.5) for point in points]
    plan = Plan(
        task_of(kind), data, wanted, Draws(resamples), points, 3.0, beside={"other": Cases(others)},
        points_beside={"other": theirs}, perturbed=again,
    )  # fmt: skip
    told = as_json(report.of(Cases(listed), plan, {"data": {"dataset": "made_up"}, "run": {}}))
    _write(folder, listed, again, told)
    _write(folder / "other", others, [], {})
    return told


def _write(folder: Path, listed: Rows, again: Rows, told: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, held in (("cases.csv", listed), ("robustness.csv", again)):
        if held:
            with (folder / name).open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(held[0]))
                writer.writeheader()
                writer.writerows(held)
    (folder / "report.json").write_text(json.dumps(told, allow_nan=False), encoding="utf-8")


def as_json(value: Any) -> Any:
    """Returns a report as its file has it: null for what is undefined or infinite."""
    if isinstance(value, dict):
        return {str(name): as_json(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
