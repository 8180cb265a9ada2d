"""Each shipped config reaches the score that its docstring gives, from the commands that its docstring gives.

    Measured, test AUC of 115 radiographs by seeds 0, 1 and 2: 0.990, 0.991, 0.989; another seed: 0.985 to 0.995.

The interval is that in which another seed's score is to be expected (95 %, Student's t, from the seeds before it): it
is worked out here, so that nobody writes a wider one.
"""

import ast
import json
import math
import re
import shlex
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from radkit import cli, config

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem[0] != "_")
UNMEASURED = ("No score is given", "is not measured")
_LINE = re.compile(
    r"Measured, (?P<split>test|validation) (?P<figure>[\w ]+?) of (?P<cases>\d+) [\w ]+ by seeds "
    r"(?P<seeds>[\d, and]+): "
    r"(?P<scores>[\d., ]+); another seed: (?P<low>[\d.]+) to (?P<high>[\d.]+)\."
)
_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # 97.5 % quantile, by the number of seeds


@dataclass(frozen=True)
class Measured:
    """What a docstring says that its config reaches."""

    split: str
    figure: str
    num_cases: int
    seeds: tuple[int, ...]
    scores: tuple[float, ...]
    low: float
    high: float

    def is_reached(self, score: float) -> bool:
        """Tells whether a score is as good as the docstring says; of errors less is better."""
        return score <= self.high if "error" in self.figure else score >= self.low


def docstring(name: str) -> str:
    return ast.get_docstring(ast.parse((ROOT / "configs" / f"{name}.py").read_text()), clean=False) or ""


def measured(text: str) -> Measured | None:
    found = _LINE.search(" ".join(text.split()))
    if found is None:
        return None
    seeds, scores = re.findall(r"\d+", found["seeds"]), found["scores"].split(", ")
    return Measured(
        found["split"],
        found["figure"],
        int(found["cases"]),
        tuple(map(int, seeds)),
        tuple(map(float, scores)),
        float(found["low"]),
        float(found["high"]),
    )


MEASURED = {name: found for name in NAMES if (found := measured(docstring(name))) is not None}


def commands(name: str) -> dict[str, list[str]]:
    """Returns the flags that a docstring tells to type, by the verb."""
    text = docstring(name).replace("\\\n", " ")
    lines = re.findall(r"^ *radkit (import|train|evaluate) (.*)$", text, re.MULTILINE)
    return {
        verb: shlex.split(flags.replace("radkit/demo/data", str(ROOT / "radkit/demo/data"))) for verb, flags in lines
    }


def typed(folder: Path, verb: str, *flags: str) -> None:
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        assert cli.main(["radkit", verb, *flags]) == 0, flags


@pytest.mark.parametrize("name", NAMES)
def test_a_docstring_gives_commands_and_a_score_or_says_that_there_is_none(name: str) -> None:
    text = docstring(name)
    assert f"--config {name}" in text
    assert "Measured" in text or any(one in " ".join(text.split()) for one in UNMEASURED)


def test_each_task_has_two_configs_on_the_demos_data() -> None:
    on_demo = [name for name in NAMES if "Measured" in docstring(name)]
    tasks = [config.load(name).task.name for name in on_demo]
    assert {task: tasks.count(task) >= 2 for task in ("classification", "detection", "regression", "segmentation")} == {
        "classification": True, "detection": True, "regression": True, "segmentation": True
    }  # fmt: skip


@pytest.mark.parametrize("name", MEASURED)
def test_the_interval_follows_from_the_seeds(name: str) -> None:
    found = MEASURED[name]
    count = len(found.seeds)
    assert count == len(found.scores) >= 3
    half = _STUDENT[count] * statistics.stdev(found.scores) * math.sqrt(1 + 1 / count)
    middle = statistics.mean(found.scores)
    worst = 1e9 if "error" in found.figure else 1.0
    digits = max(len(str(score).partition(".")[2]) for score in found.scores)
    # Scores are rounded before they are written down: their spread is known to this.
    rounded = 3 * 10.0**-digits
    assert found.low == pytest.approx(max(0.0, middle - half), abs=rounded)
    assert found.high == pytest.approx(min(worst, middle + half), abs=rounded)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns what makes a config's records as its docstring says: the folder in which they lie."""
    there: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in there:
            there[name] = tmp_path_factory.mktemp(name)
            typed(there[name], "import", *commands(name)["import"], "--direct_num_workers=1")
        return there[name]

    return make


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("name", "seed"), [(name, seed) for name, found in MEASURED.items() for seed in found.seeds])
def test_the_score_of_the_docstring_is_reached(
    name: str, seed: int, imported: Callable[[str], Path], keras_alone: None
) -> None:
    folder, said = imported(name), MEASURED[name]
    train = commands(name)["train"]
    records, run = (train[train.index(flag) + 1] for flag in ("--input", "--output"))
    result = f"evaluation-{seed}"
    typed(folder, "train", *train, f"--output={run}-{seed}", f"--set=trainer.seed={seed}")
    flags = [f"--run={run}-{seed}", f"--input={records}", f"--output={result}", f"--split={said.split}"]
    typed(folder, "evaluate", *flags)
    summary: dict[str, Any] = json.loads((folder / result / "summary.json").read_text())
    figure = summary["figures"][said.figure]
    score = figure["value"] if isinstance(figure, dict) else figure
    assert summary["num_cases"] == said.num_cases
    assert said.is_reached(score), f"{said.figure} {score} where {said.low} to {said.high} was expected"
