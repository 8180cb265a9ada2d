"""One device, two, four: the same weights; a step that is no number touches none of them."""

import functools
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import pytest

from tests.trainers import on_replicas


def of(replicas: int, cases: list[str], folder: Path, precision: str = "float32") -> Mapping[str, np.ndarray]:
    """Returns what a process of its own with so many logical devices finds."""
    path = folder / f"{replicas}.npz"
    command = [sys.executable, "-W", "ignore", "-m", "tests.trainers.on_replicas", str(replicas), precision, str(path)]
    done = subprocess.run([*command, *cases], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(path))


@functools.cache
def on_one(case: str) -> Mapping[str, np.ndarray]:
    return on_replicas.found(1, [case])


def assert_alike(found: Mapping[str, np.ndarray], case: str) -> None:
    for name, expected in on_one(case).items():
        bound = 1e-5 * max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=bound, err_msg=name)


def assert_untouched(found: Mapping[str, np.ndarray]) -> None:
    changed = found["touched/changed"]
    assert (changed[: on_replicas.BAD] > 5).all()
    assert (changed[on_replicas.BAD :] == 0).all()


def assert_drawn_apart(found: Mapping[str, np.ndarray]) -> None:
    first, second, again = found["drawn/seeds"]
    np.testing.assert_array_equal(first, again)
    assert len({tuple(seed) for seed in (*first, *second)}) == 2 * len(first)


def test_two_replicas_end_with_the_weights_of_one(tmp_path: Path) -> None:
    assert_alike(of(2, ["adamw"], tmp_path), "adamw")


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [2, 4])
def test_every_rule_ends_with_the_weights_of_one(replicas: int, tmp_path: Path) -> None:
    cases = [case for case in on_replicas.CASES if replicas == 2 or case != "several"]
    found = of(replicas, [*cases, "touched", "drawn"], tmp_path)
    for case in cases:
        assert_alike(found, case)
    assert_untouched(found)
    assert_drawn_apart(found)


@pytest.mark.slow
def test_float16_learns_on_two_replicas_and_is_untouched_by_what_is_no_number(tmp_path: Path) -> None:
    found = of(2, ["adamw", "touched"], tmp_path, "mixed_float16")
    assert_untouched(found)
    # Each bad step halves the scale.
    scales = found["touched/scales"][on_replicas.BAD :]
    np.testing.assert_allclose(scales[1:] / scales[:-1], 0.5)
    losses = found["adamw/told"][::2]
    assert losses[-3:].mean() < 0.9 * losses[:3].mean()
    np.testing.assert_allclose(losses, on_one("adamw")["adamw/told"][::2], rtol=0.05)


def test_what_is_no_number_touches_nothing_on_one_device() -> None:
    assert_untouched(on_replicas.found(1, ["touched"]))


@pytest.mark.slow
def test_several_steps_at_once_end_with_the_same_weights() -> None:
    several, single = on_one("several"), on_one("adamw")
    for name, expected in single.items():
        np.testing.assert_array_equal(several[name.replace("adamw", "several")], expected, err_msg=name)


def test_float16_learns_on_one_device() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    try:
        found = on_replicas.found(1, ["adamw", "touched"])
    finally:
        keras.config.set_dtype_policy("float32")
    assert_untouched(found)
    assert found["adamw/scale"] >= 1
    np.testing.assert_allclose(found["adamw/told"][::2], on_one("adamw")["adamw/told"][::2], rtol=0.05)
