"""The kinds of findings: named once, told on their page, with something to do."""

import re
from pathlib import Path

import pytest

from radkit.dicom.findings import KINDS, Finding

PAGE = Path(__file__).parents[2] / "docs" / "findings.md"


def test_the_page_lists_every_kind_as_it_is() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted((name, kind.severity, kind.title, kind.advice) for name, kind in KINDS.items())


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_says_what_it_is_and_what_to_do(name: str) -> None:
    kind = KINDS[name]
    assert name == name.lower()
    assert name.isidentifier()
    assert 3 <= len(kind.title) <= 64
    assert not kind.title.endswith(".")
    assert kind.advice.endswith((".", "?"))
    assert Finding(name, "found").severity == kind.severity


def test_a_finding_of_no_known_kind_is_a_defect() -> None:
    with pytest.raises(ValueError, match="no kind of finding is named 'mising_slices'"):
        Finding("mising_slices", "2")
