"""The page of a training run: what came out, how it went, what it was made of, and the task's page of its validation.

`said` is what a run's manifest holds, `history` the lines of its `history.jsonl`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from radkit import config
from radkit.reports import html, plots, text

_ENDED = {
    "steps": "all steps of trainer.steps were taken",
    "time": "the time of trainer.minutes was used",
    "early_stopping": "trainer.early_stopping validations brought no better score",
}
_CURVES = (  # (what of a line, title, unit)
    ("loss", "Training loss", ""),
    ("validation score", "Validation score", "higher is better"),
    ("learning_rate", "Learning rate", ""),
    ("gradient_norm", "Gradient norm before clipping", ""),
    ("images_per_s", "Speed", "images a second"),
    ("waiting_share", "Waiting for images", "share of the time"),
)


def page(
    title: str,
    said: Mapping[str, Any],
    settings: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    report: str,
) -> str:
    """Returns the HTML page of a run.

    Args:
        title: Plain text.
        said: As `manifest.json` says it.
        settings: The experiment as JSON.
        history: One mapping a validation.
        report: The task's page of the best weights on the validation split; empty: there is none.

    Raises:
        UserError: matplotlib is not installed.
    """
    return html.page(
        title,
        html.notes(notes(said)),
        html.section("Result", html.table(("what", "value"), _result(said))),
        html.section("How it went", _curves(history, said.get("best_step"))),
        html.section("Validation split, best weights", _embedded(report)),
        html.section("Made of", html.table(("what", "value"), _made_of(said))),
        html.section(
            "Settings", html.table(("field", "value"), changed(settings), "Fields that differ from radkit's defaults")
        ),
        html.section("History", _table(history)),
        lead=f"A training run of {_named(settings, 'model')} for {_named(settings, 'task')}; the test split was not "
        "looked at",
    )


def _embedded(report: str) -> str:
    """Returns the task's page as a part of this one; a task of one's own may make a page of another kind."""
    if report and not html.is_ours(report):
        return html.paragraph("The task's page cannot be shown within this one; radkit evaluate writes it by itself.")
    return html.body_of(report) if report else ""


def notes(said: Mapping[str, Any]) -> list[str]:
    """Returns what of a run must not be overlooked."""
    told = [
        "Its weights were chosen by the validation split, so the figures of that split are too good by as much as "
        "choosing gains; radkit evaluate tells those of the test split."
    ]
    skipped, steps = said.get("skipped_steps", 0), said.get("steps", 0)
    if skipped:
        told.append(f"{skipped} of {steps} steps had a loss or gradient that is not finite; they changed nothing.")
    if said.get("best_score") is None:
        told.append("No validation had a defined score: the best weights are the newest.")
    elif said.get("best_step") == steps and said.get("ended") != "early_stopping":
        told.append("The last validation was the best one: more steps may do better.")
    return told


def _result(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    rule = said.get("select", {})
    figure = rule.get("figure", "score")
    best = said.get("best_score") if figure == "score" else rule.get("value")  # a score may be the figure's negative
    return [
        (f"best validation {figure}", f"{text.number(best)} after step {said.get('best_step')}"),
        ("chosen by", f"{figure}, {rule.get('better', 'higher')} is better"),
        ("weights", "moving average of the weights" if said.get("averaged") else "as the optimizer left them"),
        ("steps", f"{said.get('steps')}; {_ENDED.get(str(said.get('ended')), said.get('ended'))}"),
        ("time", text.duration(said.get("seconds", 0.0))),
    ]


def _made_of(said: Mapping[str, Any]) -> list[tuple[str, str]]:
    patients = said.get("patients", {})
    versions = ", ".join(f"{name} {version}" for name, version in said.get("versions", {}).items())
    code = said.get("code", {})
    return [
        ("patients", ", ".join(f"{len(names)} {split}" for split, names in patients.items())),
        ("records, SHA-256", str(said.get("data"))),
        ("weights, SHA-256", str(said.get("weights_sha256"))),
        ("parameters", f"{said.get('num_parameters', 0):,}"),
        ("devices", f"{said.get('devices')} ({said.get('num_replicas')} replicas, {said.get('num_hosts')} hosts)"),
        ("precision", str(said.get("precision"))),
        ("seed", str(said.get("seed"))),
        ("code", f"radkit {code.get('radkit')}, SHA-256 {code.get('sha256')}"),
        ("libraries", versions),
    ]


def changed(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns each field of an experiment that is not as it would be unsaid: its name and its value.

    Args:
        settings: The experiment as JSON.
    """
    bare = config.Experiment(config.Data(""), config.Model(""), config.Task(""))
    unsaid = dict(_fields(config.to_json(bare)))
    return [(name, value) for name, value in _fields(settings) if unsaid.get(name) != value]


def _fields(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and not _is_value(prefix + name):
            found += _fields(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, str(value)))
    return found


def _is_value(name: str) -> bool:
    """Whether a mapping is one field's value, as a network's settings are, and no section."""
    return name.rpartition(".")[2] in ("settings", "loss_settings", "rates", "weights")


def _named(settings: Mapping[str, Any], section: str) -> str:
    return str(settings.get(section, {}).get("name", "?"))


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]


def _curves(history: Sequence[Mapping[str, Any]], best_step: int | None) -> str:
    # What the task tells of training, as "training AUC": changed images, weights that still move.
    names = sorted({name for line in history for name in line})
    told = [(name, _title(name), "") for name in names if name.startswith("training ")]
    # Of another rule than the score, the figure as it is told: its score may be its negative.
    chosen = [(name, _title(name), "") for name in names if name.startswith("validation ") and name != _CURVES[1][0]]
    curves = [_CURVES[0], *(chosen or [_CURVES[1]]), *told, *_CURVES[2:]]
    drawn = [curve for curve in curves if any(line.get(curve[0]) is not None for line in history)]
    if not drawn:
        return html.paragraph("No step was validated.")
    plot, axes = plots.panels(len(drawn), width=4.2, height=2.9)
    for place, (axis, (name, title, unit)) in enumerate(zip(axes, drawn)):
        points = [(line["step"], line[name]) for line in history if line.get(name) is not None]
        axis.plot(*zip(*points), "-o", color=plots.COLOURS[place % 3], linewidth=1.6, markersize=3.5)
        if best_step and (name == "loss" or name.startswith("validation ")):
            axis.axvline(best_step, color=plots.COLOURS[4], linestyle="--", linewidth=1.2)
        plots.label(axis, title, "step", unit)
    alt = f"Curves over {len(history)} validations: {', '.join(title.lower() for _, title, _ in drawn)}"
    return html.figure(plot, alt, f"Dashed: the best weights, step {best_step}." if best_step else "")


def _table(history: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for line in history for name in line))
    if not columns:
        return ""
    rows = [tuple(_rounded(line.get(name)) for name in columns) for line in history]
    return html.table([name.replace("_", " ") for name in columns], rows, "One line a validation")


def _rounded(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) and math.isfinite(value) else value
