"""No field of a config is silently ignored: each is changed once, and something else comes of it.

A new field fails here until it has an entry: in `HERE` a probe and a change of it, or in `ELSEWHERE` the test that has
one already, where it takes more than a moment.
"""

import ast
import dataclasses
import functools
import json
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from radkit import config
from tests import field_probes as probes
from tests.conftest import MadeUp, convert

HOUSE = Path(__file__).parents[1]
Probe = Callable[[config.Experiment], str]
Values = dict[str, Any]

# What a change starts from, beside BASE.
CLASSES: Values = {
    "data.kind": "radiograph", "data.image_size": (8, 8), "data.label": "l", "data.class_names": ("no", "yes"),
    "data.mask_labels": (), "task.name": "classification", "model.name": "resnet",
}  # fmt: skip
NUMBERS: Values = {**CLASSES, "data.label_kind": "regression", "data.class_names": (), "task.name": "regression"}
BOXES: Values = {
    "data.mask_labels": (), "data.box_labels": ("a", "b"), "task.name": "detection", "model.name": "retinanet",
}  # fmt: skip
LABELS: Values = {
    "data.mask_labels": (), "data.label": "l", "data.class_names": ("no", "yes"), "task.name": "classification",
}  # fmt: skip
SITE: Values = {"data.split.site": "Manufacturer", "data.split.unknown": "leave_out"}
SITES: Values = {**SITE, "data.split.test": "geographic", "data.split.test_sites": ("A",)}
STRATA: Values = {**SITE, "data.split.stratify": ("site",)}
DAYS: Values = {"data.split.test": "temporal", "data.split.test_from": "2024-01-20"}
FOLDS: Values = {"data.split.folds": 3}
WINDOW: Values = {"data.normalise": "window", "data.window": (-800.0, 700.0)}
WINDOWS: Values = {"inference.window": (4, 6, 6)}
BASE = config.Experiment(
    data=config.Data("d", mask_labels=("m", "n"), image_size=(4, 8, 8), size_multiple=4, normalise="none"),
    model=config.Model("unet", {"filters": (2, 4)}),
    task=config.Task("segmentation"),
    optimizer=config.Optimizer(warmup_steps=2, learning_rate=0.1),
    trainer=config.Trainer(steps=6, precision="float32", strategy="one"),
)
TAUGHT: Values = {**CLASSES, "unlabelled.method": "pseudo_labels", "unlabelled.threshold": 0.6}


def augments(name: str, value: Any, chance: str = "", **more: Any) -> dict[str, tuple[Probe, Values, Values]]:
    """Returns the entries of a change of images, and of its chance."""
    base = {other if "." in other else f"augment.{other}": one for other, one in more.items()}
    base |= WINDOW if name == "window" else {}
    found = {f"augment.{name}": (probes.augmented, base, {f"augment.{name}": value})}
    if chance:
        of_chance = {**base, f"augment.{name}": value, f"augment.chances.{chance}": 1.0}
        found[f"augment.chances.{chance}"] = (probes.augmented, of_chance, {f"augment.chances.{chance}": 0.0})
    return found


# Field: probe, what is set before, what is changed.
HERE: dict[str, tuple[Probe, Values, Values]] = {
    "data.kind": (probes.fields, {}, {"data.kind": "radiograph", "data.image_size": (8, 8)}),
    "data.mask_labels": (probes.fields, {}, {"data.mask_labels": ()}),
    "data.label": (probes.fields, {"data.label_kind": "class", "data.class_names": ("a", "b")}, {"data.label": "l"}),
    "data.label_kind": (probes.fields, CLASSES, {"data.label_kind": "multi_label"}),
    "data.class_names": (probes.fields, CLASSES, {"data.class_names": ("no", "maybe", "yes")}),
    "data.label_unit": (probes.fields, NUMBERS, {"data.label_unit": "mm"}),
    "data.report": (probes.fields, {}, {"data.report": "text"}),
    "data.box_labels": (probes.fields, {}, {"data.box_labels": ("a",)}),
    "data.image_dtype": (probes.fields, {}, {"data.image_dtype": "float32"}),
    "data.ignored_boxes": (probes.headed, BOXES, {"data.ignored_boxes": ("b",)}),
    "data.label_range": (probes.headed, NUMBERS, {"data.label_range": (0.0, 90.0)}),
    "data.image_size": (probes.prepared, {}, {"data.image_size": (4, 8, 16)}),
    "data.spacing_mm": (probes.prepared, {}, {"data.spacing_mm": (2.0, 2.0, 2.0)}),
    "data.size_multiple": (probes.prepared, {}, {"data.size_multiple": 5}),
    "data.normalise": (probes.prepared, {}, {"data.normalise": "zscore"}),
    "data.window": (probes.prepared, WINDOW, {"data.window": (-50.0, 50.0)}),
    "data.table": (probes.tabled, {"data.table": ("age_years",)}, {"data.table": ("slice_thickness_mm",)}),
    "data.splits": (probes.dealt, {}, {"data.splits": (0.5, 0.3, 0.2)}),
    "data.split_seed": (probes.dealt, {}, {"data.split_seed": "other"}),
    "data.split.test": (probes.dealt, {}, DAYS),
    "data.split.test_from": (probes.dealt, DAYS, {"data.split.test_from": "2024-01-10"}),
    "data.split.straddling": (probes.dealt, DAYS, {"data.split.straddling": "test"}),
    "data.split.test_sites": (probes.dealt, SITES, {"data.split.test_sites": ("B",)}),
    "data.split.site": (probes.dealt, STRATA, {"data.split.site": "ProtocolName"}),
    "data.split.date": (probes.dealt, DAYS, {"data.split.date": "AcquisitionDate"}),
    "data.split.stratify": (probes.dealt, SITE, {"data.split.stratify": ("site",)}),
    "data.split.unknown": (probes.dealt, SITES, {"data.split.unknown": "refuse"}),
    "data.split.folds": (probes.dealt, FOLDS, {"data.split.folds": 4}),
    "data.split.repeats": (probes.dealt, FOLDS, {"data.split.repeats": 2}),
    "model.name": (probes.built, {}, {"model.name": "attention_unet"}),
    "model.settings": (probes.built, {}, {"model.settings": {"filters": (2, 6)}}),
    "task.name": (probes.headed, CLASSES, {"task.name": "ordinal", "data.label_kind": "ordinal"}),
    "task.loss": (probes.headed, {}, {"task.loss": "tversky"}),
    "task.loss_settings": (probes.headed, {"task.loss": "tversky"}, {"task.loss_settings": {"alpha": 0.1}}),
    "optimizer.name": (probes.moved, {}, {"optimizer.name": "lamb"}),
    "optimizer.learning_rate": (probes.moved, {}, {"optimizer.learning_rate": 0.2}),
    "optimizer.schedule": (probes.moved, {}, {"optimizer.schedule": "constant"}),
    "optimizer.power": (probes.moved, {"optimizer.schedule": "poly"}, {"optimizer.power": 2.0}),
    "optimizer.weight_decay": (probes.moved, {}, {"optimizer.weight_decay": 0.1}),
    "optimizer.betas": (probes.moved, {}, {"optimizer.betas": (0.5, 0.9)}),
    "optimizer.momentum": (probes.moved, {"optimizer.name": "sgd"}, {"optimizer.momentum": 0.5}),
    "optimizer.warmup_steps": (probes.moved, {}, {"optimizer.warmup_steps": 3}),
    "optimizer.rates": (probes.moved, {}, {"optimizer.rates": {"first": 0.5}}),
    "optimizer.average": (probes.stepped, CLASSES, {"optimizer.average": 0.9}),
    # Adam does not see by how much all gradients shrink alike.
    "optimizer.clip_norm": (probes.stepped, {**CLASSES, "optimizer.name": "sgd"}, {"optimizer.clip_norm": 0.01}),
    "trainer.steps": (probes.moved, {}, {"trainer.steps": 7}),
    "trainer.batch_size": (probes.stepped, CLASSES, {"trainer.batch_size": 6}),
    "trainer.seed": (probes.stepped, CLASSES, {"trainer.seed": 1}),
    "trainer.accumulate": (probes.stepped, CLASSES, {"trainer.accumulate": 2}),
    "trainer.keep_last": (probes.kept, {}, {"trainer.keep_last": 3}),
    "trainer.keep_every_hours": (probes.kept, {}, {"trainer.keep_every_hours": 2.0}),
    "trainer.precision": (probes.policy, {}, {"trainer.precision": "mixed_float16"}),
    "trainer.strategy": (probes.devices, {}, {"trainer.strategy": "mirrored"}),
    "trainer.deterministic": (probes.determined, {}, {"trainer.deterministic": False}),
    "trainer.xla": (probes.compiled, CLASSES, {"trainer.xla": True}),
    "trainer.minutes": (probes.timed, {}, {"trainer.minutes": 2.0}),
    "inference.window": (probes.asked, {}, WINDOWS),
    "inference.overlap": (probes.asked, WINDOWS, {"inference.overlap": 0.25}),
    "inference.batch_size": (probes.asked, WINDOWS, {"inference.batch_size": 2}),
    "inference.flips": (probes.asked, {}, {"inference.flips": (False, True, False)}),
    "inference.largest_component": (probes.cleaned, {}, {"inference.largest_component": ("m",)}),
    "inference.fill_holes": (probes.cleaned, {}, {"inference.fill_holes": ("m",)}),
    "unlabelled.method": (
        probes.taught,
        {**TAUGHT, "unlabelled.threshold": 0.9},
        {"unlabelled.method": "mean_teacher"},
    ),
    "unlabelled.batch_size": (probes.fed_beside, TAUGHT, {"unlabelled.batch_size": 8}),
    "unlabelled.weight": (probes.taught, TAUGHT, {"unlabelled.weight": 2.0}),
    "unlabelled.ramp_steps": (probes.taught, TAUGHT, {"unlabelled.ramp_steps": 100}),
    "unlabelled.average": (probes.fed_beside, TAUGHT, {"unlabelled.average": 0.9}),
    "unlabelled.threshold": (probes.taught, TAUGHT, {"unlabelled.threshold": 0.999}),
    "unlabelled.noise": (probes.taught, TAUGHT, {"unlabelled.noise": 0.5}),
    **augments("flip", (False, True, True), "flip"),
    **augments("swap_labels", (("m", "n"),), flip=(False, False, True)),
    **augments("swap_axis", 0, flip=(False, False, True), swap_labels=(("m", "n"),)),
    **augments("shift", 0.3, "affine"),
    **augments("shift_mm", 3.0),
    **augments("scale", 0.5),
    **augments("rotate", (0.0, 0.0, 45.0)),
    **augments("shear", 0.5),
    **augments("elastic_mm", 6.0, "elastic"),
    **augments("elastic_spacing_mm", 25.0, elastic_mm=6.0),
    **augments("noise", 0.5, "noise"),
    **augments("rician", 0.5, "rician"),
    **augments("gain", 0.5, "gain"),
    **augments("gamma", 0.5, "gamma"),
    **augments("window", 0.5, "window"),
    **augments("bias_field", 0.5, "bias_field"),
    **augments("blur_mm", 2.0, "blur"),
    **augments("low_resolution", 2.0, "low_resolution"),
    **augments("cut_out", 0.5, "cut_out"),
    **augments("mixup", 1.0, "mixup", **LABELS),
    **augments("cutmix", 1.0, "cutmix", **LABELS),
    "augment.where": (probes.left_to_device, {}, {"augment.where": "device"}),
}

BATCHES, CONTENTS, SPLITS = "data/test_training_batches.py::", "data/test_contents.py::", "data/test_splits.py::"
CURATE, DETECTIONS, HOOKS = "dicom/test_curate.py::", "inference/test_detections.py::", "trainers/test_hooks.py::"
GRID = CONTENTS + "test_image_mask_and_affine_move_together"
RULE = CURATE + "test_each_rule_has_a_reason_of_its_own"
KIND = CURATE + "test_localizers_derived_and_secondary_series"
ACCEPTED = CURATE + "test_faults_leave_out_unless_they_are_accepted"
BEGUN = "trainers/test_beginnings.py::test_a_run_goes_on_from_an_earlier_one_and_keeps_what_is_frozen"
BALANCED = BATCHES + "test_classes_come_alike_and_weigh_alike"
SUREST = DETECTIONS + "test_of_boxes_of_one_thing_the_surest_is_answered"
NAMED = "test_config_fields.py::test_a_data_set_has_its_name_and_version"
# Field: the test that changes it and sees what comes of it.
ELSEWHERE: dict[str, str] = {
    **{
        f"data.annotations.{one.name}": "data/test_policies.py::test_each_value_gives_another_outcome"
        for one in dataclasses.fields(config.Annotations)
    },
    "data.dataset": NAMED,
    "data.version": NAMED,
    "data.modalities": "data/test_convert.py::test_other_modalities_are_left_out_and_counted",
    "data.event": "data/test_training_batches.py::test_labels_of_every_kind",
    "data.shard_mib": "data/test_convert.py::test_shards_are_cut_near_the_size_wanted",
    "data.volumes": CONTENTS + "test_all_become_records_of_their_own",
    "data.irregular": CONTENTS + "test_irregular_slices_are_treated_as_asked",
    "data.tilt": CONTENTS + "test_of_a_tilt_it_is_told_whether_it_is_still_there",
    "data.colour": CONTENTS + "test_grey_is_the_luminance",
    "data.record_spacing_mm": GRID,
    "data.record_orientation": GRID,
    "data.record_size": GRID,
    "data.curate.planes": RULE,
    "data.curate.body_parts": RULE,
    "data.curate.kernels": RULE,
    "data.curate.phases": RULE,
    "data.curate.contrast": RULE,
    "data.curate.num_slices": RULE,
    "data.curate.slice_spacing_mm": RULE,
    "data.curate.pixel_spacing_mm": RULE,
    "data.curate.slice_thickness_mm": RULE,
    "data.curate.localizers": KIND,
    "data.curate.derived": KIND,
    "data.curate.secondary": KIND,
    "data.curate.untold": CURATE + "test_what_the_headers_do_not_tell_goes_by_the_config",
    "data.curate.faults": ACCEPTED,
    "data.curate.accepted": ACCEPTED,
    "model.weights": BEGUN,
    "model.freeze": BEGUN,
    "trainer.steps_per_execution": HOOKS + "test_validations_wait_for_the_end_of_an_execution",
    "trainer.evaluate_every": HOOKS + "test_validations_wait_for_the_end_of_an_execution",
    "trainer.early_stopping": HOOKS + "test_training_ends_when_no_better_score_comes",
    "trainer.select": "trainers/test_validation.py::test_a_figure_is_chosen_so_that_higher_is_better",
    "trainer.bad_steps": "trainers/test_loop.py::test_so_many_bad_steps_in_a_row_give_training_up",
    "trainer.sampling.records": BALANCED,
    "trainer.sampling.class_weights": BALANCED,
    "trainer.sampling.weights": "data/feeding/test_balance.py::test_classes_are_balanced",
    "trainer.sampling.foreground": BATCHES + "test_the_share_of_foreground_is_in_the_middle",
    "trainer.sampling.by_lesion": "data/feeding/test_patches.py::test_by_lesion_each_lesion_of_a_class_comes_alike",
    "trainer.cache_gib": "data/feeding/test_images.py::test_the_budget_changes_nothing_but_what_is_kept",
    "trainer.most_boxes": BATCHES + "test_boxes_are_cut_with_the_patch_and_padded",
    "trainer.fold": SPLITS + "test_a_fold_is_validated_on_and_the_others_trained",
    "trainer.repeat": SPLITS + "test_a_fold_is_validated_on_and_the_others_trained",
    "trainer.test_fold": SPLITS + "test_of_nested_folds_one_is_neither_trained_nor_validated_on",
    "inference.score_threshold": SUREST,
    "inference.iou_threshold": SUREST,
    "inference.most_detections": SUREST,
    "inference.class_agnostic": SUREST,
    "inference.suppress": DETECTIONS + "test_other_ways_than_to_keep_the_surest",
}
# What a test calls a field where it is no config's.
CALLED = {"trainer.cache_gib": "gib"}


def walked(section: type, where: str = "") -> Iterator[str]:
    """Yields the names of all fields, `data.split.test`."""
    hints = typing.get_type_hints(section)
    for one in dataclasses.fields(section):
        if dataclasses.is_dataclass(hints[one.name]):
            yield from walked(typing.cast(type, hints[one.name]), f"{where}{one.name}.")
        else:
            yield where + one.name


def with_values(values: Values) -> config.Experiment:
    """Returns BASE with values set, gone the way of `--set`: what is refused is no change."""
    made = config.to_json(BASE)
    for name, value in values.items():
        *sections, last = name.split(".")
        functools.reduce(lambda found, section: found[section], sections, made)[last] = value
    return config.from_json(json.loads(json.dumps(made)))


@functools.cache
def outcome(probe: Probe, values: str, time: int) -> str:
    del time  # the first or the second: a probe must say the same both times
    return probe(with_values(json.loads(values)))


def test_every_field_has_an_entry() -> None:
    fields = set(walked(config.Experiment))
    assert set(HERE) | set(ELSEWHERE) == fields, "add an entry for a new field, remove that of one that is gone"
    assert not set(HERE) & set(ELSEWHERE)


@pytest.mark.parametrize("name", HERE)
def test_changing_a_field_changes_something(name: str, keras_alone: None) -> None:
    probe, base, change = HERE[name]
    assert name in change
    before, again, after = (
        outcome(probe, json.dumps(values), time) for values, time in ((base, 1), (base, 2), ({**base, **change}, 1))
    )
    assert again == before, f"the probe of {name} does not repeat itself"
    assert before != after, f"{name}={change[name]!r} is ignored"


@functools.cache
def functions_of(path: str) -> frozenset[str]:
    """Returns the names of a file's functions."""
    tree = ast.parse((HOUSE / "tests" / path).read_text(encoding="utf-8"))
    return frozenset(one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_the_test_that_changes_a_field_is_there(name: str) -> None:
    path, _, test = ELSEWHERE[name].partition("::")
    assert test in functions_of(path), f"{ELSEWHERE[name]} is gone; say here which test changes {name}"
    called, whole = CALLED.get(name, name.split(".")[-1]), (HOUSE / "tests" / path).read_text(encoding="utf-8")
    assert re.search(rf"\b{called}\b", whole), f"{ELSEWHERE[name]} says nothing of {name}"


@pytest.mark.slow
def test_a_data_set_has_its_name_and_version(radiographs: MadeUp, tmp_path: Path) -> None:
    data = dataclasses.replace(radiographs.experiment.data, dataset="other", version="2.0.1")
    made = dataclasses.replace(radiographs, experiment=dataclasses.replace(radiographs.experiment, data=data))
    folder = convert(made, tmp_path / "records")
    assert folder.relative_to(tmp_path / "records") == Path("other/2.0.1")
    assert {path.name.partition("-")[0] for path in folder.glob("*.tfrecord-*")} == {"other"}
