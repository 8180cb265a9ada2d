"""Cases asked again with perturbed images: which, how often, and that what is asked is what is scored."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from radkit import tasks
from radkit.errors import UserError
from radkit.evaluation import perturbations
from tests.conftest import MadeUp
from trainers import robustness, scoring


def masks(image: tf.Tensor, spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"mask": tf.cast(image[..., 0] > 250.0, tf.uint8)}


def classes(image: tf.Tensor, spacing_mm: tf.Tensor) -> dict[str, tf.Tensor]:
    share = tf.sigmoid((tf.reduce_mean(image) - 550.0) / 100.0)
    return {"probabilities": tf.stack([1.0 - share, share])[None]}


@pytest.mark.parametrize(
    ("task", "made", "answer"), [("segmentation", "volumes", masks), ("classification", "radiographs", classes)]
)
def test_each_case_is_asked_once_a_step(task: str, made: str, answer: Callable, request: pytest.FixtureRequest) -> None:
    data: MadeUp = request.getfixturevalue(made)
    chosen = scoring.Cases(data.folder, "test", data.experiment.data, tasks.find(task))
    cases = scoring.cases(answer, chosen, progress=False)
    wanted = robustness.some(cases, 2)
    grid = [perturbations.find("noise"), perturbations.find("rotation")]

    def figures(record: dict, answered: dict) -> dict:
        return {"record_uid": record["record_uid"], **chosen.task.case(record, answered, chosen.data)}

    rows = robustness.rows(answer, chosen, wanted, figures, grid=grid, progress=False)
    assert rows == robustness.rows(answer, chosen, wanted, figures, grid=grid, progress=False)
    times = Counter((row["record_uid"], row["perturbation"], row["amount"]) for row in rows)
    assert set(times.values()) == {1}
    assert set(times) == {(record, one.name, amount) for record in wanted for one in grid for amount in one.amounts}
    if task == "segmentation":
        before = {case["record_uid"]: case["dice"] for case in cases}
        turned = [row for row in rows if row["perturbation"] == "rotation"]
        # The reference turned with the image: a threshold finds it again.
        assert all(row["dice"] > before[row["record_uid"]] - 0.15 for row in turned)
        assert all(row["ref_ml"] > 0 for row in rows)
    else:
        column = next(name for name in rows[0] if name.startswith("probability"))
        noisy = [row[column] for row in rows if row["perturbation"] == "noise"]
        assert len(set(noisy)) == len(noisy)
        assert np.isfinite(noisy).all()


def test_whole_patients_are_chosen_by_no_figure_and_no_order() -> None:
    cases = [{"patient_id": f"P{i // 3}", "record_uid": f"1.{i}", "dice": i} for i in range(30)]
    chosen = robustness.some(cases, 10)
    assert len(chosen) == 9
    whose = {case["patient_id"] for case in cases if case["record_uid"] in chosen}
    assert chosen == {case["record_uid"] for case in cases if case["patient_id"] in whose}
    assert robustness.some(cases[::-1], 10) == chosen
    assert robustness.some([{**case, "dice": 0} for case in cases], 10) == chosen
    assert len(robustness.some(cases, 100)) == 30
    assert len(robustness.some(cases, 1)) == 3


def test_none_to_ask_is_refused() -> None:
    with pytest.raises(UserError, match="at least 1 case"):
        robustness.some([{"patient_id": "P", "record_uid": "1"}], 0)
