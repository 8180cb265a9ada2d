"""The gate as it is: in a fresh process where keras cannot be imported. Other tests ask it in their own process."""

from pathlib import Path

import keras
import numpy as np
import pytest

from radkit.errors import UserError
from serving import export, gate

IMAGE = np.full((1, 6, 5, 1), 120, np.float32)
GIVEN = {"0/serving_default": {"image": IMAGE, "spacing_mm": np.ones((1, 2), np.float32)}}


@pytest.mark.usefixtures("fresh_gate")
def test_a_fresh_process_answers_directly_and_through_a_server(exports: Path) -> None:
    found = gate._apart(exports / "classify" / "1", GIVEN)
    assert set(found) == {"direct/0/serving_default", "served/0/serving_default"}
    for answer in found.values():
        assert answer["probabilities"].tolist() == [[0, 1]]
        assert answer["class_names"].tolist() == [[b"healthy", b"ill"]]


@pytest.mark.slow
@pytest.mark.usefixtures("fresh_gate")
def test_a_run_is_exported_and_a_folder_that_is_no_model_is_told(run_folders: dict[str, Path], tmp_path: Path) -> None:
    policy = keras.mixed_precision.global_policy()
    said = [f"--run={run_folders['classification']}", f"--output={tmp_path / 'm'}"]
    assert export.main(["export", *said]) == 0
    keras.mixed_precision.set_global_policy(policy)
    assert (tmp_path / "m" / "1" / "saved_model.pb").is_file()
    with pytest.raises(UserError, match="cannot be used apart from this process"):
        gate._apart(tmp_path / "none", GIVEN)
