"""The table of models in the documentation: every network, with its paper, as it is."""

import re
from pathlib import Path

import pytest

from radkit import models
from radkit.models.measures import document

PAGE = Path(__file__).parents[3] / "docs" / "models.md"


def told() -> dict[str, str]:
    """Returns the table's rows by the network's name."""
    table = PAGE.read_text(encoding="utf-8").split(document.BEGIN)[1].split(document.END)[0]
    return {name: row for row in table.splitlines() for name in re.findall(r"^\| `(\w+)`", row)}


@pytest.mark.parametrize("file", sorted({models.find(name)[0] for name in models.names()}))
def test_every_family_names_its_paper(file: str) -> None:
    assert re.match(r"\[[^]]+ \d{4}\]\(https?://", document.sources(file))


def test_figures_are_spelt() -> None:
    assert document.spell(document.Figures(1234567, 123_456_789, (3, 3))) == "1,234,567 | 0.123 | 3"
    assert document.spell(document.Figures(1, 12_345_678_901, (1, 5))) == "1 | 12.35 | 1 x 5"
    assert document.spell(None).count("|") == 2


def test_the_folder_must_be_the_documentations(tmp_path: Path) -> None:
    assert document.main(["document", str(tmp_path)]) == 2


@pytest.mark.slow
def test_the_table_has_every_network() -> None:
    assert sorted(told()) == models.names(), "run python -m radkit.models.measures.document docs"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "basic_unet", "segresnet", "efficientnet_b0"])
def test_rows_of_the_table_are_as_measured(name: str) -> None:
    assert told().get(name) == next(document.rows([name])), "run python -m radkit.models.measures.document docs"
