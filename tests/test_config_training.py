"""Settings of the optimizer, the trainer and unlabelled records: nonsense is refused, and so is what nothing reads."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit import config
from radkit.errors import UserError

DATA = config.Data("d", kind="radiograph", image_size=(8, 8), label="l", class_names=("no", "yes"))
GOOD = config.Experiment(DATA, config.Model("resnet"), config.Task("classification"))
METHOD = {"method": "mean_teacher"}


def loaded(**sections: dict[str, Any]) -> config.Experiment:
    """Returns GOOD with fields replaced, gone through what a saved config goes through."""
    changed = {name: dataclasses.replace(getattr(GOOD, name), **fields) for name, fields in sections.items()}
    return config.from_json(config.to_json(dataclasses.replace(GOOD, **changed)))


@pytest.mark.parametrize(
    ("section", "fields", "told"),
    [
        ("optimizer", {"learning_rate": -1.0}, r"optimizer\.learning_rate must be at least 0, not -1\.0"),
        ("optimizer", {"learning_rate": 0.0}, r"optimizer\.learning_rate must be above 0, not 0\.0: nothing would be"),
        ("optimizer", {"clip_norm": -1.0}, r"optimizer\.clip_norm must be at least 0"),
        ("optimizer", {"average": 1.0}, r"optimizer\.average must be a share from 0 to below 1, not 1\.0"),
        ("optimizer", {"betas": (0.9, 1.0)}, r"optimizer\.betas must be two shares from 0 to below 1"),
        ("optimizer", {"betas": (-0.1, 0.9)}, r"optimizer\.betas must be two shares"),
        ("optimizer", {"betas": (0.9,)}, r"optimizer\.betas must have 2 values"),
        ("optimizer", {"name": "sgd", "momentum": 1.0}, r"optimizer\.momentum must be a share"),
        ("optimizer", {"schedule": "poly", "power": 0.0}, r"optimizer\.power must be above 0, not 0\.0"),
        ("optimizer", {"name": "adam"}, r"optimizer\.name must be one of 'adamw', 'sgd', 'lamb', not 'adam'"),
        ("optimizer", {"schedule": "step"}, r"optimizer\.schedule must be one of 'cosine', 'poly', 'constant'"),
        ("optimizer", {"rates": {" ": 0.5}}, r"optimizer\.rates must have patterns of layers' names"),
        ("optimizer", {"rates": {"a*": 0}}, "above 0, not 0; layers that do not learn at all go into model.freeze"),
        ("optimizer", {"rates": {"a*": True}}, "above 0, not True"),
        ("optimizer", {"rates": {"a*": 10**400}}, "above 0, not 1"),
        ("optimizer", {"clip_norm": 1e39}, r"optimizer\.clip_norm must be at most 2147483647, not 1e\+39"),
        ("trainer", {"steps": 10**20}, r"trainer\.steps must be at most 2147483647, not 1000"),
        ("trainer", {"batch_size": 10**20}, r"trainer\.batch_size must be at most 2147483647"),
        ("trainer", {"minutes": 1e300}, r"trainer\.minutes must be at most 2147483647"),
        ("trainer", {"accumulate": 0}, r"trainer\.accumulate must be at least 1, not 0"),
        ("trainer", {"accumulate": 3}, r"trainer\.accumulate=3 must divide trainer\.batch_size, which is 4"),
        ("trainer", {"steps_per_execution": 0}, r"trainer\.steps_per_execution must be at least 1"),
        ("trainer", {"steps_per_execution": 3}, r"must divide trainer\.evaluate_every, which is 200"),
        ("trainer", {"bad_steps": 0}, r"trainer\.bad_steps must be at least 1"),
        ("trainer", {"early_stopping": -1}, r"trainer\.early_stopping must be at least 0"),
        ("trainer", {"keep_last": 0}, r"trainer\.keep_last must be at least 1"),
        ("trainer", {"keep_every_hours": -0.5}, r"trainer\.keep_every_hours must be at least 0"),
        ("trainer", {"minutes": -1.0}, r"trainer\.minutes must be at least 0"),
        ("trainer", {"select": " "}, r"trainer\.select must be 'score' or the name of one"),
        ("trainer", {"precision": "float16"}, r"trainer\.precision must be one of .*'mixed_float16'"),
        ("trainer", {"fold": 0}, r"choose among data\.split\.folds, which is 0"),
        ("unlabelled", {**METHOD, "batch_size": 0}, r"unlabelled\.batch_size must be at least 1"),
        ("unlabelled", {**METHOD, "weight": -1.0}, r"unlabelled\.weight must be at least 0"),
        ("unlabelled", {**METHOD, "ramp_steps": -1}, r"unlabelled\.ramp_steps must be at least 0"),
        ("unlabelled", {**METHOD, "noise": -1.0}, r"unlabelled\.noise must be at least 0"),
        ("unlabelled", {**METHOD, "average": 1.0}, r"unlabelled\.average must be a share above 0 and below 1"),
        ("unlabelled", {"method": "pseudo_labels", "threshold": 1.1}, r"unlabelled\.threshold must be a share"),
        ("unlabelled", {"method": "teacher"}, r"unlabelled\.method must be one of 'none', 'mean_teacher'"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(section: str, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        loaded(**{section: fields})


@pytest.mark.parametrize(
    ("section", "fields", "told"),
    [
        ("optimizer", {"power": 2.0}, r"optimizer\.power=2\.0 is of optimizer\.schedule='poly', and that is 'cosine'"),
        ("optimizer", {"momentum": 0.5}, r"optimizer\.momentum=0\.5 is of optimizer\.name='sgd', and that is 'adamw'"),
        (
            "optimizer",
            {"name": "sgd", "betas": (0.8, 0.9)},
            "is of optimizer.name='adamw' or 'lamb', and that is 'sgd'",
        ),
        ("unlabelled", {"weight": 2.0}, r"unlabelled\.weight=2\.0 is of unlabelled\.method='mean_teacher' or 'pseudo_"),
        ("unlabelled", {**METHOD, "threshold": 0.8}, r"threshold=0\.8 is of unlabelled\.method='pseudo_labels', and"),
    ],
)
def test_a_field_that_nothing_would_read_is_refused(section: str, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        loaded(**{section: fields})


def test_the_teacher_is_the_only_average_of_the_weights() -> None:
    with pytest.raises(UserError, match=r"optimizer\.average=0\.9 and unlabelled\.method='mean_teacher' both ask"):
        loaded(optimizer={"average": 0.9}, unlabelled=METHOD)


def test_parts_of_a_batch_have_as_many_unlabelled_records_each() -> None:
    with pytest.raises(UserError, match=r"trainer\.accumulate=4 must divide unlabelled\.batch_size, too, which is 6"):
        loaded(trainer={"accumulate": 4}, unlabelled={**METHOD, "batch_size": 6})


def test_a_task_without_a_teacher_is_refused() -> None:
    regression = {"label_kind": "regression", "class_names": ()}
    with pytest.raises(UserError, match="is of the tasks classification and segmentation; regression learns of"):
        loaded(data=regression, task={"name": "regression"}, unlabelled=METHOD)


@pytest.mark.parametrize(
    "sections",
    [
        {"optimizer": {"name": "sgd", "momentum": 0.0, "schedule": "poly", "power": 2.0}},
        {"optimizer": {"name": "lamb", "betas": (0.0, 0.9), "schedule": "constant", "average": 0.999}},
        {"trainer": {"accumulate": 2, "steps_per_execution": 50, "strategy": "multi_worker", "minutes": 0.5}},
        {"trainer": {"accumulate": 2}, "unlabelled": {**METHOD, "batch_size": 6, "ramp_steps": 0, "average": 0.5}},
        {"unlabelled": {"method": "pseudo_labels", "threshold": 1.0, "noise": 0.0, "weight": 0.0}},
    ],
)
def test_what_goes_together_is_taken(sections: dict[str, dict[str, Any]]) -> None:
    found = loaded(**sections)
    for section, fields in sections.items():
        assert {name: getattr(getattr(found, section), name) for name in fields} == fields


@given(st.integers(1, 64), st.integers(1, 64))
def test_a_batch_is_parted_evenly_or_refused(batch_size: int, parts: int) -> None:
    trainer = {"batch_size": batch_size, "accumulate": parts}
    if batch_size % parts == 0:
        assert loaded(trainer=trainer).trainer.accumulate == parts
    else:
        with pytest.raises(UserError, match="must divide"):
            loaded(trainer=trainer)
