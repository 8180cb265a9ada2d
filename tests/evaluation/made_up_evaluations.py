"""Made-up cases of every task, evaluated and written as `radkit evaluate` writes them."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radkit import config, outputs, tasks
from radkit.evaluation import box_table, boxes, operating, perturbations, report
from radkit.evaluation.cases import Cases, Draws
from radkit.evaluation.endpoints import OperatingPoint
from radkit.evaluation.plan import Plan
from radkit.tasks import task
from trainers import evaluation_tables

Rows = list[dict[str, Any]]
LABELS = ("liver", "spleen")
DATA = {
    "classification": config.Data("made_up", kind="radiograph", class_names=("healthy", "ill"), image_size=(8, 8)),
    "classes": config.Data("made_up", kind="radiograph", class_names=("a", "b", "c"), image_size=(8, 8)),
    "ordinal": config.Data("made_up", label_kind="ordinal", class_names=("none", "mild", "severe", "worst")),
    "multi_label": config.Data("made_up", label_kind="multi_label", class_names=("mass", "effusion")),
    "regression": config.Data("made_up", label="age", label_kind="regression", label_unit="years"),
    "segmentation": config.Data("made_up", mask_labels=LABELS),
    "detection": config.Data("made_up", box_labels=("nodule", "mass", "unsure"), ignored_boxes=("unsure",)),
    "detection in volumes": config.Data("made_up", box_labels=("nodule",)),
}


def task_of(kind: str) -> str:
    """Returns the task's name."""
    return {"classes": "classification", "detection in volumes": "detection"}.get(kind, kind)


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


def _found(rank: int, classes: int) -> Callable[[int, np.random.Generator], dict[str, Any]]:
    """Returns boxes: shifted, of another class, twice, invented, and in regions to ignore (-2)."""

    def made(i: int, random: np.random.Generator) -> dict[str, Any]:
        count = (0, 1, 3, 2)[i % 4]
        low = random.uniform(0, 30, (count, rank))
        known = np.concatenate([low, low + random.uniform(2, 40, (count, rank))], axis=1)
        labels = [-2 if i % 6 == 1 and classes > 1 else int(one) for one in random.integers(0, classes, count)]
        shifts = random.uniform(-1, 1, (count + count // 2, 2 * rank))
        near = np.concatenate([known, known[: count // 2]]) + shifts
        far = np.concatenate([np.full((2, rank), 60.0), np.full((2, rank), 70.0)], axis=1) + i % 3
        found = np.concatenate([near, far])[: 0 if i == 13 else None]
        kinds = [max(label, 0) for label in [*labels, *labels[: count // 2], 0, classes - 1]][: len(found)]
        kinds = [1 - kind if classes > 1 and k % 7 == 3 else kind for k, kind in enumerate(kinds)]
        return {
            "reference": known.tolist(), "labels": labels, "found": found.tolist(), "found_labels": kinds,
            "scores": np.round(random.beta(2, 2, len(found)), 1).tolist(),
            "spacing_mm": [math.nan] * rank if i == 6 else [1.0 + 0.5 * axis for axis in range(rank)],
        }  # fmt: skip

    return made


_OF: Mapping[str, Callable[[int, np.random.Generator], dict[str, Any]]] = {
    "classification": _binary,
    "classes": _several(DATA["classes"].class_names),
    "ordinal": _several(DATA["ordinal"].class_names),
    "multi_label": _several_labels,
    "regression": _number,
    "segmentation": _masks,
    "detection": _found(2, 2),
    "detection in volumes": _found(3, 1),
}
_TRUTHS = ("label", "ref_", "known", "diagonal", "parts ", "reference", "spacing")


def perturbed(kind: str, listed: Rows) -> Rows:
    """Returns cases answered again at two amounts of two perturbations: another draw of the same cases' answers."""
    found = []
    for name in ("noise", "rotation"):
        for place, amount in enumerate(perturbations.find(name).amounts[:2]):
            for row, other in zip(listed[:12], rows(kind, seed=100 + place)):
                told = {"perturbation": name, "amount": amount, "references_lost": int(name == "rotation")}
                # What is true of a case stays; the answer is another's.
                stays = {key: row[key] for key in row if key.startswith(_TRUTHS)}
                found.append({**other, **row, **{k: other[k] for k in other if k not in stays}, **stays, **told})
                found[-1] |= {key: row[key] for key in ("name", "patient_id", "record_uid")}
    return found


def readers(kind: str, listed: Rows) -> list[dict[str, str]]:
    """Returns what two readers said of most cases, and of one that is not among them."""
    random, found = np.random.default_rng(3), []
    for reader in ("Anna", "Bert"):
        for row in listed:
            if random.random() < 0.2:
                continue
            said = {"record_uid": row["record_uid"], "reader": reader}
            found += [{**said, **{k: str(v) for k, v in one.items()}} for one in _said(kind, row, random)]
    return [*found, {**found[-1], "record_uid": "9.9"}]


def _said(kind: str, row: Mapping[str, Any], random: np.random.Generator) -> Rows:
    if kind.startswith("detection"):
        nothing = {"rating": "", "lesion": ""}
        beside = {"rating": round(float(random.random()), 1), "lesion": ""}
        there = [place for place, label in enumerate(row["labels"]) if label >= 0]
        marked = [{"rating": round(float(random.random()), 1), "lesion": f"L{place}"} for place in there]
        return [nothing, *([beside] if random.random() < 0.5 else []), *marked[: int(random.integers(0, 4))]]
    if kind in ("regression", "segmentation"):
        column = "value" if kind == "regression" else "pred_ml liver"
        return [{"value": round(row[column] + float(random.normal(0, 4))), "question": column}]
    several = {"ordinal": ("mild or higher",), "multi_label": ("mass", "effusion"), "classes": ("a", "b")}
    return [
        {"call": random.choice(["yes", "no"]), "rating": int(random.integers(0, 5)), "question": name}
        for name in several.get(kind, ("ill",))
    ]


def evaluated(kind: str, folder: Path, resamples: int = 60, count: int = 40) -> dict[str, Any]:
    """Writes an evaluation into a folder, in it another model's, `other`, and one of another test set, `abroad`.

    Returns:
        The report.
    """
    listed, others, data = rows(kind, count), rows(kind, count, seed=9), DATA[kind]
    others = [{**o, **{k: r[k] for k in r if k.startswith(_TRUTHS)}} for r, o in zip(listed[3:], others[3:])]
    asked = tasks.find(task_of(kind)).asked
    assert asked is not None
    plan = Plan(task_of(kind), data, asked(data), Draws(resamples), _points(kind), 3.0)
    abroad = rows(kind, 20, seed=8)
    _write(folder / "abroad", plan, abroad)
    _write(folder / "other", dataclasses.replace(plan, draws=Draws(2)), others)
    given = dataclasses.replace(
        plan, beside={"other": Cases(others)}, points_beside={"other": [_fixed(point) for point in plan.points]},
        perturbed=perturbed(kind, listed), trained_on=[_known(row) for row in rows(kind, 30, seed=7)],
        readers=readers(kind, listed), elsewhere={"abroad": outputs.read_json(folder / "abroad" / "report.json")},
    )  # fmt: skip
    return _write(folder, given, listed)


def _points(kind: str) -> list[OperatingPoint]:
    asked, chosen = tasks.find(task_of(kind)).asked, Cases(rows(kind, seed=5))
    assert asked is not None
    if kind.startswith("detection"):
        return [boxes.choose(chosen, boxes.class_names(DATA[kind]), "fp_per_image", 1.0, "validation")]
    return [operating.choose(endpoint, chosen, "youden") for endpoint in asked(DATA[kind]).endpoints]


def _fixed(point: OperatingPoint) -> OperatingPoint:
    return OperatingPoint(point.name, "fixed", None, 0.5)


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what is known of a case that was trained on: nothing that a model says."""
    empty = {name: [] for name in ("found", "scores", "found_labels") if name in row}
    facts = ("patient_id", "record_uid", "sex", "age_years", "site")
    return {name: value for name, value in row.items() if name in facts or name.startswith(_TRUTHS)} | empty


def _write(folder: Path, plan: Plan, listed: Rows) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = task.as_json(report.of(Cases(listed), plan, {"data": {"dataset": "made_up"}, "run": {}}))
    plainly = [{name: value for name, value in row.items() if not isinstance(value, list)} for row in listed]
    held = {"cases.csv": plainly, "robustness.csv": plan.perturbed}
    held |= {"trained_on.csv": plan.trained_on, "readers.csv": plan.readers}
    if plan.task == "detection":
        held["boxes.csv"] = box_table.rows(Cases(listed), len(listed[0]["spacing_mm"]))
    for name, table in held.items():
        evaluation_tables.write(folder / name, table)
    outputs.write_json(folder / "report.json", told)
    return told
