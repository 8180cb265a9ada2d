"""A task that radkit does not know: one file of somebody else's, from training to the served model."""

import dataclasses
import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from radkit import config
from serving import export
from tests.conftest import MadeUp
from trainers import evaluate, train

# What a person writes: how much of the image what was drawn on it fills.
FILE = '''
"""The share of an image that is of any of its labels."""

import numpy as np
import tensorflow as tf

from radkit.tasks.task import Task


def _num_outputs(data):
    return 1


def _loss(batch, logits):
    share = tf.reduce_mean(tf.cast(batch["mask"] > 0, tf.float32), axis=tf.range(1, tf.rank(batch["mask"])))
    return tf.square(tf.sigmoid(logits[:, 0]) - share)


def _answer(logits, place, data):
    return {"values": tf.sigmoid(logits), "class_names": tf.tile(tf.constant([["share"]]), [tf.shape(logits)[0], 1])}


def _case(record, answer, data):
    share, found = float((record["mask"] > 0).mean()), float(answer["values"][0])
    return {"share": share, "found": found, "error": abs(found - share)}


def _summary(cases, data):
    error = float(np.mean([case["error"] for case in cases]))
    return {"num_cases": len(cases), "figures": {"mean error": error}, "score": -error}


def _pick(cases, data):
    return [0]


def _page(title, summary, cases, shown, history, data):
    return f"<html><title>{title}</title><p>{len(shown)} shown, {len(history)} lines of history</p></html>"


def _headline(summary):
    return f"mean error {summary['figures']['mean error']:.3f}"


TASK = Task(
    num_outputs=_num_outputs,
    loss=_loss,
    answer=_answer,
    case=_case,
    summary=_summary,
    pick=_pick,
    page=_page,
    headline=_headline,
    scored_by="annotation",
)
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Somebody's package on PYTHONPATH; yields how a config names the task."""
    folder = tmp_path / "code" / "of_somebody"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "filling.py").write_text(textwrap.dedent(FILE))
    monkeypatch.syspath_prepend(str(folder.parent))
    yield "of_somebody.filling:TASK"
    for name in ("of_somebody", "of_somebody.filling"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.usefixtures("near_gate")
def test_one_file_trains_is_scored_and_served(
    package: str, volumes: MadeUp, tmp_path: Path, keras_alone: None, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = dataclasses.replace(
        volumes.experiment,
        model=config.Model("resnet", {"filters": (4,), "stem_size": 3, "stem_pool": False}),
        task=config.Task(package),
    )
    made = dataclasses.replace(volumes, experiment=experiment)
    records, run, result, models = made.folder, tmp_path / "run", tmp_path / "evaluation", tmp_path / "models"
    flags = [f"--config={made.config_file(tmp_path)}", f"--input={records}", f"--output={run}"]
    assert train.main(["train", *flags]) == 0
    test = [f"--run={run}", f"--input={records}", f"--output={result}", "--unrecorded"]
    assert evaluate.main(["evaluate", *test, "--split=validation"]) == 0
    summary = json.loads((result / "summary.json").read_text())
    assert 0 < summary["figures"]["mean error"] == -summary["score"] < 1
    assert "1 shown, 2 lines of history" in (result / "report.html").read_text()
    assert "mean error" in capsys.readouterr().out
    assert export.main(["export", f"--run={run}", f"--output={models}"]) == 0
    served = tf.saved_model.load(str(models / "1"))
    given = {"image": tf.zeros([1, 8, 12, 12, 1]), "spacing_mm": tf.constant([[2.0, 1.2, 1.2]])}
    found = served.signatures["serving_default"](**given)
    assert found["values"].shape == (1, 1)
    assert np.isfinite(found["values"]).all()


def test_a_file_that_is_no_task_is_refused(package: str, volumes: MadeUp, tmp_path: Path) -> None:
    wrong = dataclasses.replace(volumes.experiment, task=config.Task(package.replace("TASK", "_summary")))
    made = dataclasses.replace(volumes, experiment=wrong)
    flags = [f"--config={made.config_file(tmp_path)}", f"--input={made.folder}", f"--output={tmp_path / 'run'}"]
    assert train.main(["train", *flags]) == 2
    assert not (tmp_path / "run").exists()
