"""The model card of an export: what it is for, what it learned from, how well it does, where not to trust it.

`assets/model_card.json` and, for people, `assets/model_card.md`. Patients are counted, never named.

Source: Mitchell et al. 2019, https://arxiv.org/abs/1810.03993 (what a card tells).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import radkit
from radkit import config, outputs
from radkit.data import shards
from radkit.errors import UserError
from serving import accuracy, quantised, sources

NAME = "model_card"
NOT_STATED = (
    "Not stated by those who exported it. For research; it is not a medical device and was not assessed as one."
)
_ANSWERS = {
    "segmentation": "a mask of the labels on the image's own grid",
    "classification": "a probability of each class; together they are 1",
    "multi_label": "a probability of each label for itself",
    "ordinal": "a probability of each degree; together they are 1",
    "regression": "a number",
    "detection": "boxes with a class and a score each",
}
_OF_ANOTHER = "what its own file, which is not part of radkit, makes of the network's output"
_COUNTED = ("task", "ended", "steps", "best_step", "best_score", "num_parameters", "precision", "seed", "versions")


@dataclass(frozen=True)
class Told:
    """What an export is told of beside its runs.

    Attributes:
        intended_use: In words; empty: nobody says.
        evaluation: Folder that `radkit evaluate` wrote; None: none was given.
        weights: How they are stored.
        change: What that changes; None of float32.
    """

    intended_use: str = ""
    evaluation: Path | None = None
    weights: str = quantised.FLOAT32
    change: accuracy.Change | None = None


def figures(folder: Path, weights: Sequence[str]) -> dict[str, Any]:
    """Returns what an evaluation found, as a card tells it.

    Raises:
        UserError: The folder is no evaluation, or one of other weights.
    """
    said = outputs.read_provenance(folder)
    if said is None or said.get("verb") != "evaluate":
        raise UserError(f"--evaluation {folder} is no folder that radkit evaluate wrote; name one of this run")
    settings = said.get("settings", {})
    if settings.get("weights") not in weights:
        raise UserError(
            f"--evaluation {folder} is of other weights than the run's; evaluate this run and name that folder"
        )
    summary = outputs.read_json(folder / "summary.json")
    kept = {
        name: summary[name] for name in ("num_cases", "num_patients", "unit", "score", "figures") if name in summary
    }
    of = {"split": settings.get("split", ""), "reference_standards": settings.get("reference_standards", [])}
    test_set = summary.get("test_set") if isinstance(summary.get("test_set"), Mapping) else None
    look = summary.get("look") if isinstance(summary.get("look"), Mapping) else {}
    return {**of, **kept, **({"test_set": test_set} if test_set else {}), "look": look.get("number")}


def made(source: sources.Source, told: Told) -> dict[str, Any]:
    """Returns the card as plain JSON values.

    Raises:
        UserError: As `figures`.
    """
    experiment, first = source.experiment, source.manifests[0]
    data = experiment.data
    found = figures(told.evaluation, source.weights) if told.evaluation else None
    return {
        "name": data.dataset,
        "radkit": radkit.__version__,
        "intended_use": told.intended_use or NOT_STATED,
        "answers": {
            "task": experiment.task.name,
            "what": _ANSWERS.get(experiment.task.name, _OF_ANOTHER),
            "names": labels(source),
        },
        "data": {
            **_data(data),
            "digest": first["data"],
            "patients": [_counts(manifest) for manifest in source.manifests],
        },
        "training": {
            "runs": [_run(manifest) for manifest in source.manifests],
            "model": {"name": experiment.model.name, "settings": dict(experiment.model.settings)},
            "settings": {part: config.to_json(experiment)[part] for part in ("optimizer", "augment", "inference")},
            "batch_size": experiment.trainer.batch_size,
        },
        "evaluation": found,
        "operating_points": [dict(point) for point in source.points.listed] if source.points else [],
        "weights": {"sha256": source.weights, "stored_as": told.weights, **_changed(told.change)},
        "limits": _limits(source, found),
    }


def _changed(change: accuracy.Change | None) -> dict[str, Any]:
    if change is None:
        return {}
    own = {"made_up_images": change.golden, "validation_records": change.records, "score_lost": change.lost}
    return {"largest_difference": own, "num_validation_records": change.num_records}


def labels(source: sources.Source) -> list[str]:
    """Returns the names of what an export answers, in its order: those of `class_names`."""
    data, task = source.experiment.data, source.experiment.task.name
    if task == "regression":
        return [data.label]
    if task == "detection":
        return list(data.box_labels[: len(data.box_labels) - len(data.ignored_boxes)])
    if task not in _ANSWERS:
        return []  # a task of somebody else's: the output `class_names` tells
    return list(data.mask_labels if task == "segmentation" else data.class_names)


def _data(data: config.Data) -> dict[str, Any]:
    listed = (
        "dataset",
        "version",
        "kind",
        "modalities",
        "image_size",
        "spacing_mm",
        "normalise",
        "label",
        "label_unit",
    )
    said = config.data_to_json(data)
    return {name: said[name] for name in (*listed, "table", "record_spacing_mm", "record_orientation", "record_size")}


def _counts(manifest: Mapping[str, Any]) -> dict[str, int]:
    patients = manifest["patients"]
    if not isinstance(patients, Mapping) or not all(isinstance(listed, list) for listed in patients.values()):
        raise UserError("a run's manifest.json does not tell its patients by split: it was edited; train again")
    return {split: len(listed) for split, listed in sorted(patients.items())}


def _run(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {name: manifest[name] for name in _COUNTED if name in manifest}


def _limits(source: sources.Source, found: Mapping[str, Any] | None) -> list[str]:
    data = source.experiment.data
    modalities = " and ".join(data.modalities) or "the modalities of its records, which the config does not restrict"
    limits = [
        f"It has seen {modalities} of one data set; of other scanners, sites and patients nothing is known.",
        "Images with more than one channel, without pixels or with pixels that are no finite numbers are refused.",
    ]
    if data.record_spacing_mm or data.record_orientation or data.record_size:
        limits.append("Images must be set on the records' grid first; signature `records` tells it.")
    if data.spacing_mm:
        limits.append("The spacing must be known, and one for all images of a batch.")
    if found is None:
        limits.append("No evaluation was given at export: how well it does is not told here.")
    elif found["split"] != shards.SPLITS[-1]:
        limits.append(
            f"It was evaluated on the {found['split']} split, not on a test set: the figures may be too good."
        )
    if found is not None and len(source.manifests) > 1:
        limits.append("The figures are of one of the runs, not of their mean, which this export answers.")
    points = source.points.listed if source.points else ()
    if all(point["threshold"] is None for point in points):
        limits.append("No operating point is set: what counts as positive is left to those who use it.")
    return limits


def page(card: Mapping[str, Any]) -> str:
    """Returns a card for people, Markdown."""
    answers, training, weights = card["answers"], card["training"], card["weights"]
    sections = [
        ("Intended use", [card["intended_use"]]),
        ("Answers", [f"{answers['task']}: {answers['what']}.", f"Names: {', '.join(answers['names']) or 'none'}."]),
        ("Data", _rows({name: value for name, value in card["data"].items() if value not in ([], "", ())})),
        (
            "Training",
            [f"Model {training['model']['name']}.", *(line for run in training["runs"] for line in _rows(run))],
        ),
        ("Evaluation", _evaluated(card["evaluation"])),
        ("Operating points", [_point(point) for point in card["operating_points"]] or ["None."]),
        ("Weights", _rows(weights)),
        ("Limits", [f"- {limit}" for limit in card["limits"]]),
    ]
    parts = [f"# {card['name']}", *(f"## {title}\n\n" + "\n".join(lines) for title, lines in sections)]
    return "\n\n".join(parts) + "\n"


def _rows(values: Mapping[str, Any]) -> list[str]:
    return [f"- {name.replace('_', ' ')}: {_spelled(value)}" for name, value in values.items()]


def _spelled(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_spelled(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(_spelled(one) for one in value)
    return f"{value:.4g}" if isinstance(value, float) else "unknown" if value is None else str(value)


def _evaluated(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return ["None was given."]
    counts = f"{found.get('num_cases', 'unknown')} cases of {found.get('num_patients', 'unknown')} patients"
    lines = [f"Split {found['split']}, {counts}.", "", "| figure | value | 95 % interval |", "|---|---|---|"]
    for figure, value in found.get("figures", {}).items():
        name = figure.replace("|", "\\|")  # a class's name may hold what ends a cell
        if isinstance(value, Mapping) and "value" in value:
            interval = f"{_spelled(value.get('low'))} to {_spelled(value.get('high'))}"
            lines.append(f"| {name} | {_spelled(value['value'])} | {interval} |")
        elif not isinstance(value, Mapping):
            lines.append(f"| {name} | {_spelled(value)} | |")
    return lines


def _point(point: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in point.items() if name not in ("name", "threshold")}
    threshold = point["threshold"]
    said = "none: no threshold meets the rule" if threshold is None else f"from {_spelled(threshold)} on"
    return f"- {point['name']}: {said} ({_spelled(rest)})"


def write(card: Mapping[str, Any], names: Sequence[str], folder: Path) -> None:
    """Writes a card and the list of names, one a line in the answer's order, into an export's `assets`."""
    folder.mkdir(exist_ok=True)
    outputs.write_json(folder / f"{NAME}.json", card)
    outputs.write_text(folder / f"{NAME}.md", page(card))
    outputs.write_text(folder / "labels.txt", "".join(f"{name}\n" for name in names))
