"""Facts of a record beside its image: the numbers, their order, what is not known."""

import typing

import numpy as np
import pytest

from radkit import config, config_check
from radkit.data import clinical, schema
from radkit.errors import UserError

TABLE = ("sex", "tube_voltage_kv", "age_years")
DATA = config.Data("ct", table=TABLE)
FACTS = {"age_years": 70.0, "sex": "F", "tube_voltage_kv": 100.0, "field_strength_t": np.nan}


def test_columns_come_in_the_order_that_the_config_names_them() -> None:
    np.testing.assert_array_equal(clinical.table(FACTS, DATA), np.array([-1, 100, 70], np.float32))
    assert clinical.table(FACTS, DATA).dtype == np.float32
    assert clinical.table(FACTS, config.Data("ct")).shape == (0,)


@pytest.mark.parametrize(("sex", "number"), [("F", -1.0), ("M", 1.0), ("O", np.nan), ("", np.nan)])
def test_what_is_not_known_is_nan(sex: str, number: float) -> None:
    found = clinical.table({**FACTS, "sex": sex, "age_years": np.float32(np.nan)}, DATA)
    np.testing.assert_array_equal(found, np.array([number, 100, np.nan], np.float32))
    np.testing.assert_array_equal(np.isnan(clinical.scaled(found, DATA)), np.isnan(found))


def test_scaled_columns_are_of_the_size_that_networks_learn_from() -> None:
    found = clinical.scaled(np.stack([clinical.table(FACTS, DATA)] * 2), DATA)
    np.testing.assert_allclose(found, [[-1, -0.5, 1]] * 2)  # 100 kV and 70 years lie half and one deviation off
    assert found.dtype == np.float32


def test_every_column_that_a_config_may_name_is_a_field_of_all_records() -> None:
    named = typing.get_args(typing.get_args(typing.get_type_hints(config.Data)["table"])[0])
    assert set(named) == set(clinical.SCALES)
    for version in schema.READABLE:
        assert set(named) <= {field.name for field in schema.fields("volume", version=version)}


@pytest.mark.parametrize(
    ("data", "augment", "words"),
    [
        ({"table": ("sex", "sex")}, {}, "data.table must name each column once"),
        (
            {"table": ("sex",), "label": "x", "class_names": ("a", "b")},
            {"mixup": 0.2},
            "augment.mixup cannot mix a table",
        ),
    ],
)
def test_tables_that_make_no_sense_are_refused(data: dict, augment: dict, words: str) -> None:
    experiment = config.Experiment(
        config.Data("ct", **data),
        config.Model("fusion"),
        config.Task("classification"),
        augment=config.Augment(**augment),
    )
    with pytest.raises(UserError, match=words):
        config_check.check(experiment)
