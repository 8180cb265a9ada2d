"""The labs on public sets: what their pages tell to type is typed, on made-up data in the same layout."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from radkit import cli, config
from radkit.data import shards
from tests.configs import made_up_labs

LABS = Path(__file__).parents[2] / "docs" / "labs"
MADE: dict[str, Callable[[Path], None]] = {
    "chestxray14": made_up_labs.chestxray14,
    "chexpert": made_up_labs.chexpert,
    "decathlon_spleen": made_up_labs.decathlon_spleen,
    "lits": made_up_labs.lits,
    "luna16": made_up_labs.luna16,
    "rsna_pneumonia": made_up_labs.rsna_pneumonia,
}
# What becomes of the made-up data: data set's folder and its records, all splits together.
RECORDS = {
    "chestxray14": {"records/nih_findings": 72, "official/nih_findings": 8},
    "chexpert": {"records/chexpert": 40, "radiologists/chexpert": 4},
    "decathlon_spleen": {"records/spleen": 16},
    "lits": {"records/lits": 16},
    "luna16": {"records/luna16": 19},
    "rsna_pneumonia": {"records/rsna_pneumonia": 16},
}
_DETECTOR = {"encoder": "resnet", "encoder_settings": {"filters": (4, 4, 8, 8)}, "filters": 8, "anchors": "fit"}
_CLASSIFIER = ["model.name=resnet", "model.settings={'filters': (4, 8)}", "model.weights=", "data.image_size=(24, 24)"]
_SEGMENTER = ["model.settings.filters=(4, 8, 8)", "data.image_size=(8, 16, 16)", "inference.window=(8, 16, 16)"]
# A network that two processors train in a moment; all else is the config's.
SMALL = {
    "chestxray14": _CLASSIFIER,
    "chexpert": _CLASSIFIER,
    "decathlon_spleen": _SEGMENTER,
    "lits": _SEGMENTER,
    "luna16": [
        f"model.settings={_DETECTOR | {'levels': (1, 2, 3), 'extra_levels': 0, 'depth': 1, 'ratios': (1.0,)}}",
        "data.image_size=(16, 32, 32)",
        "inference.window=(16, 32, 32)",
    ],
    "rsna_pneumonia": [
        f"model.settings={_DETECTOR | {'levels': (3, 4), 'extra_levels': 0, 'depth': 1, 'octaves': 1}}",
        "data.image_size=(64, 64)",
    ],
}
# So few patients that the config's shares would leave nobody to validate on.
DEALT = {"luna16": ["--set=data.splits=(0.5, 0.25, 0.25)"]}
_EVERYWHERE = ["trainer.steps=2", "trainer.batch_size=2", "trainer.evaluate_every=2", "trainer.strategy=one"]


def commands(lab: str) -> list[str]:
    """Returns what a lab's page tells to type, line by line; a loop of the shell is one."""
    (block,) = re.findall(r"^```sh\n(.*?)^```", (LABS / f"{lab}.md").read_text(), re.MULTILINE | re.DOTALL)
    found: list[str] = []
    for line in block.replace("\\\n", " ").splitlines():
        if found and (line.startswith(" ") or line == "done"):
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return found


def typed(line: str, folder: Path, *more: str) -> None:
    if not line.startswith("radkit "):
        subprocess.run(["bash", "-euc", line], cwd=folder, check=True)
        return
    with pytest.MonkeyPatch.context() as there:
        there.chdir(folder)
        status = cli.main([*shlex.split(line), *more])
    assert status == 0, line


def up_to(lab: str, verb: str) -> tuple[list[str], list[str]]:
    """Returns a lab's commands before a verb's, and from it on."""
    lines = commands(lab)
    place = next(number for number, line in enumerate(lines) if line.startswith(f"radkit {verb} "))
    return lines[:place], lines[place:]


def counted(folder: Path) -> int:
    found = shards.find_dataset(folder)
    return sum(shards.num_records(found, split) for split in shards.SPLITS)


def test_each_page_has_its_made_up_set() -> None:
    assert {path.stem for path in LABS.glob("*.md")} == set(MADE) == set(RECORDS) == set(SMALL)


@pytest.mark.parametrize("lab", MADE)
def test_a_page_names_configs_that_there_are_and_gives_no_score(lab: str) -> None:
    text = (LABS / f"{lab}.md").read_text()
    (name,) = set(re.findall(r"--config (\w+)", text))
    assert config.load(name).data.dataset == name
    assert "Nobody has measured this config on the set yet" in text
    path = Path(__file__).parents[2] / "configs" / f"{name}.py"
    assert f"docs/labs/{lab}.md" in path.read_text()
    assert "No score is given" in path.read_text()


@pytest.fixture(scope="module")
def downloaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns what makes a lab's records as its page says, once: the folder in which they lie."""
    there: dict[str, Path] = {}

    def make(lab: str) -> Path:
        if lab not in there:
            there[lab] = tmp_path_factory.mktemp(lab)
            MADE[lab](there[lab])
            for line in up_to(lab, "train")[0]:
                if not line.startswith("radkit statistics"):
                    more = ["--direct_num_workers=1", *DEALT.get(lab, [])] if line.startswith("radkit ") else []
                    typed(line, there[lab], *more)
        return there[lab]

    return make


@pytest.mark.parametrize("lab", MADE)
def test_the_layout_becomes_records(lab: str, downloaded: Callable[[str], Path]) -> None:
    folder = downloaded(lab)
    assert {name: counted(folder / name) for name in RECORDS[lab]} == RECORDS[lab]


SOON = {"chestxray14", "decathlon_spleen"}  # the others are `long`


@pytest.mark.slow
@pytest.mark.parametrize("lab", [pytest.param(lab, marks=[pytest.mark.long] * (lab not in SOON)) for lab in MADE])
def test_the_page_goes_on_to_a_report(
    lab: str, downloaded: Callable[[str], Path], keras_alone: None, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = downloaded(lab)
    train, *others = up_to(lab, "train")[1]
    typed(train, folder, *(f"--set={one}" for one in [*SMALL[lab], *_EVERYWHERE]))
    for line in others:
        typed(line, folder)
    summary: dict[str, Any] = json.loads((folder / "evaluation" / "summary.json").read_text())
    assert summary["num_cases"] > 0
    assert "<html" in (folder / "evaluation" / "report.html").read_text()
