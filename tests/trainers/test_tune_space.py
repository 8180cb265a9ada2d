"""What varies: how it is written, what is refused, how it gets into a config."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radkit import config
from radkit.errors import UserError
from trainers import tune_space
from trainers.tune_space import Domain

EXPERIMENT = config.Experiment(
    config.Data("blobs", mask_labels=("core",)), config.Model("unet", {"filters": (8, 16)}), config.Task("segmentation")
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("log:1e-4,1e-2", Domain("log", (1e-4, 1e-2))),
        ("uniform:-1,0.5", Domain("uniform", (-1.0, 0.5))),
        ("int:0,200", Domain("int", (0, 200))),
        ("logint:2,32", Domain("logint", (2, 32))),
        ("choice:(8,16),[16,32]", Domain("choice", ((8, 16), (16, 32)))),
        ("choice:adamw,sgd", Domain("choice", ("adamw", "sgd"))),
        ("choice:'adamw','sgd'", Domain("choice", ("adamw", "sgd"))),
        ("choice:True,False", Domain("choice", (True, False))),
    ],
)
def test_values_are_read_as_they_are_written(text: str, expected: Domain) -> None:
    assert tune_space.read(None, [f"optimizer.some={text}"]) == {"optimizer.some": expected}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("optimizer.learning_rate", "has no '='"),
        ("optimizer.learning_rate=1e-4,1e-2", "is no kind of values"),
        ("optimizer.learning_rate=lgo:1,2", "did you mean 'log'"),
        ("optimizer.learning_rate=log:0,1", "above 0, the lower one first"),
        ("optimizer.learning_rate=uniform:2,1", "the lower one first"),
        ("optimizer.learning_rate=uniform:nan,1", "two numbers"),
        ("optimizer.learning_rate=log:1", "two numbers"),
        ("optimizer.warmup_steps=int:0.5,2", "two whole numbers"),
        ("optimizer.name=choice:adamw", "two or more values that differ"),
        ("optimizer.name=choice:sgd,sgd", "two or more values that differ"),
        ("trainer.seed=int:0,9", "is luck"),
        ("trainer.fold=int:0,4", "--folds"),
        ("data.split.folds=int:2,5", "other patients"),
        ("data.splits=choice:(0.5,0.5,0),(0.6,0.4,0)", "other patients"),
    ],
)
def test_what_is_written_wrong_or_must_not_vary_is_refused(line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tune_space.read(None, [line])


def test_a_file_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "space.py"
    file.write_text('SPACE = {"augment.noise": "uniform:0,0.2"}\n')
    found = tune_space.read(str(file), ["augment.gain=uniform:0,1"])
    assert list(found) == ["augment.noise", "augment.gain"]
    with pytest.raises(UserError, match="said twice"):
        tune_space.read(str(file), ["augment.noise=uniform:0,1"])
    told = {"SPACE = 3": "must hold SPACE", "1 / 0": "ZeroDivisionError", "exit()": "SystemExit", "": "must hold SPACE"}
    for text, message in told.items():
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            tune_space.read(str(file), [])
    with pytest.raises(UserError, match="does not exist"):
        tune_space.read(str(tmp_path / "none.py"), [])
    with pytest.raises(UserError, match="nothing is to vary"):
        tune_space.read(None, [])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("optimizer.learning_rat=log:1,2", "learning_rat"),
        ("optimiser.learning_rate=log:1,2", "did you mean 'optimizer'"),
        ("trainer.batch_size=int:0,4", "value 0: trainer.batch_size must be at least 1"),
        ("trainer.batch_size=log:1,4", "must be int"),
        ("optimizer.learning_rate.x=log:1,4", "no setting"),
        ("optimizer.name=choice:adamw,adam", "'adam'"),
    ],
)
def test_fields_that_the_config_has_not_and_values_that_it_cannot_take_are_refused(line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tune_space.check(EXPERIMENT, tune_space.read(None, [line]))


def test_values_get_into_the_config_and_back() -> None:
    values = {"optimizer.learning_rate": 0.5, "model.settings.filters": (4, 8), "model.settings.dropout": 0.1}
    changed = tune_space.applied(EXPERIMENT, values)
    assert changed.optimizer.learning_rate == 0.5
    assert changed.model.settings == {"filters": (4, 8), "dropout": 0.1}
    assert EXPERIMENT.model.settings == {"filters": (8, 16)}


def test_the_config_as_it_is_where_it_is_among_the_values() -> None:
    space = tune_space.read(None, ["model.settings.filters=choice:(8,16),(4,8)", "optimizer.learning_rate=log:1e-4,1"])
    assert tune_space.current(EXPERIMENT, space) == {"model.settings.filters": (8, 16), "optimizer.learning_rate": 1e-3}
    for line in ("optimizer.learning_rate=log:0.1,1", "model.settings.dropout=uniform:0,1"):
        assert tune_space.current(EXPERIMENT, tune_space.read(None, [line])) is None


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6))
def test_a_range_holds_its_ends_and_nothing_beyond(one: float, other: float) -> None:
    low, high = sorted((one, other))
    domain = Domain("uniform", (low, high))
    assert domain.holds(low)
    assert domain.holds(high)
    assert not domain.holds(high * 1.01)
    assert not domain.holds(True)
    assert not Domain("int", (0, 10)).holds(0.5)
