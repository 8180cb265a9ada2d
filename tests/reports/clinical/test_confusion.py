import json
import math
from typing import Any

from radkit.evaluation import confusion as evaluated
from radkit.evaluation.cases import Cases
from radkit.reports import html
from radkit.reports.clinical import confusion
from tests.evaluation import made_up_answers
from tests.evaluation import made_up_endpoints as made_up
from tests.reports import page_check


def told(cases: Cases) -> dict[str, Any]:
    said = evaluated.tell(cases, made_up.plan((), names=made_up.CLASSES))
    found: dict[str, Any] = json.loads(json.dumps(made_up_answers.as_json(said)))
    return found


def read(said: dict[str, Any]) -> tuple[str, page_check.Reader]:
    page = html.page("Made up", html.section("Classes", confusion.part(said).body))
    return page, page_check.read(page)


def test_the_section_tells_every_count_in_table_plot_and_words() -> None:
    said = told(made_up.of_classes())
    page, seen = read(said)
    (drawing,) = confusion.part(said).drawings
    counts = [str(count) for row in said["counts"] for count in row]
    assert [words.get_text() for words in drawing.plot.axes[0].texts] == counts
    assert set(counts) <= set(seen.cells)
    first = said["counts"][0]
    assert f"of {sum(first)} none are called {first[0]} none" in drawing.alt
    assert "60 cases; patients: 30; the class with the highest probability is called." in page
    assert "sensitivity, nodule" in seen.cells


def test_what_is_unknown_or_without_a_number_is_told() -> None:
    rows = list(made_up.of_classes(n=10).rows)
    rows += [{**rows[0], "label": -1}, {**rows[1], "probability mass": math.nan}]
    page, _ = read(told(Cases(rows)))
    assert "nobody knows their class: 1 case." in page
    assert "gave no number for 1 case; what has none is counted as called wrongly" in page


def test_a_class_without_cases_is_said_to_have_none() -> None:
    said = told(Cases([{**row, "label": 0} for row in made_up.of_classes(n=8).rows]))
    _, seen = read(said)
    assert "there is no mass" in str(seen.images[0]["alt"])
    assert "undefined" in seen.cells


def test_nothing_to_tell_is_no_section() -> None:
    assert confusion.part(None).body == ""
