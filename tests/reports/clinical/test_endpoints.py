import dataclasses
import json
import math
from typing import Any

from radkit.evaluation import endpoints_told, operating
from radkit.evaluation.cases import Cases
from radkit.evaluation.endpoints import Endpoint, OperatingPoint
from radkit.reports import html
from radkit.reports.clinical import endpoints
from tests.evaluation import made_up_answers
from tests.evaluation import made_up_endpoints as made_up
from tests.reports import page_check

POINT = operating.choose(made_up.ILL, made_up.of_ill(seed=1), "min_sensitivity", 0.9)


def told(cases: Cases, *points: OperatingPoint, asked: Endpoint = made_up.ILL) -> list[dict[str, Any]]:
    """What report.json says of an endpoint, read back."""
    said = endpoints_told.tell(cases, made_up.plan([asked], points, cost=4))
    found: list[dict[str, Any]] = json.loads(json.dumps(made_up_answers.as_json(said), allow_nan=False))
    return found


def bare(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without what is drawn, which takes its time."""
    none = {"roc": {"fpr": []}, "precision_recall": {"recall": []}}
    return [{**one, "curve": none, "calibration": None, "decision_curve": None} for one in listed]


def read(listed: list[dict[str, Any]]) -> tuple[str, page_check.Reader]:
    page = html.page("Made up", html.section("Questions", endpoints.part(listed).body))
    return page, page_check.read(page)


def test_the_section_tells_counts_figures_and_calls() -> None:
    listed = told(made_up.of_ill(per_patient=2), POINT)
    page, seen = read(listed)
    one = listed[0]
    assert f"60 cases of 30 patients: {one['positives']} yes, {one['negatives']} no." in page
    assert f"Called yes: scores of {POINT.threshold:.6g} and more" in page
    assert "highest specificity with a sensitivity of at least 0.9; chosen on 60 cases of the split validation" in page
    for name in ("AUC", "Brier score", "calibration slope", "sensitivity", "PPV", "LR-", "expected cost"):
        assert name in seen.cells
    counts = one["operating_point"]["confusion"]
    assert str(counts["tp"]) in seen.cells
    sensitivity = one["operating_point"]["figures"][0]
    assert f"{sensitivity['value']:.3f}" in seen.cells
    assert f"{sensitivity['part']}\u00a0of\u00a0{sensitivity['whole']}" in seen.cells
    assert f"{sensitivity['wilson']['low']:.3f} to {sensitivity['wilson']['high']:.3f}" in seen.cells
    assert len(seen.images) == 4


def test_every_figure_says_what_it_is() -> None:
    _, seen = read(bare(told(made_up.of_ill(), POINT)))
    assert "share of yes that is called yes" in seen.cells
    assert any("percentile bootstrap of patients" in cell for cell in seen.cells)
    assert any("DeLong et al. 1988" in cell and "Clopper" in cell for cell in seen.cells)


def test_what_is_left_out_or_set_to_the_worst_is_told() -> None:
    cases = made_up.table([1, 0, 0.5, math.nan, 1, 0], [0.9, 0.2, 0.4, 0.5, math.nan, 0.6])
    page, _ = read(bare(told(cases, POINT)))
    assert "Left out, because nobody knows their truth: 1 case." in page
    assert "1 in between" in page
    assert "The model gave no number for 1 of 5 cases." in page


def test_without_yes_the_page_says_what_cannot_be_measured() -> None:
    page, seen = read(told(made_up.table([0, 0, 0], [0.1, 0.2, 0.6]), POINT))
    assert "There is no case of yes" in page
    assert "undefined" in seen.cells
    assert len(seen.images) == 2  # calibration and decisions


def test_nothing_known_is_told_without_plots() -> None:
    page, seen = read(told(made_up.table([math.nan] * 2, [0.1, 0.2])))
    assert "0 cases of 0 patients" in page
    assert not seen.images
    assert "No operating point was chosen" in page


def test_a_rule_that_no_score_meets_is_told() -> None:
    nowhere = dataclasses.replace(POINT, threshold=math.nan, value=0.99)
    page, _ = read(bare(told(made_up.of_ill(), nowhere)))
    assert "No threshold meets the rule (the highest specificity with a sensitivity of at least 0.99)" in page


def test_other_rules_have_their_words_and_unknown_ones_their_name() -> None:
    for rule, value, words in (
        ("youden", None, "the largest sum of sensitivity and specificity"),
        ("min_cost", 5.0, "a missed yes costs 5 false alarms"),
        ("fixed", None, "which no figures chose"),
        ("fp_per_image", 1.0, "fp per image 1"),
    ):
        page, _ = read(bare(told(made_up.of_ill(n=20), OperatingPoint("ill", rule, value, 0.5))))
        assert words in page, rule


def test_scores_that_are_no_probabilities_have_two_plots() -> None:
    found = endpoints.part(told(made_up.table([0, 1, 1, 0], [-3, 2, 9, 1]), asked=made_up.RANKED))
    assert [drawing.stem for drawing in found.drawings] == ["roc-1-ill", "precision-recall-1-ill"]


def test_of_many_labels_those_after_the_third_are_folded_away() -> None:
    one = bare(told(made_up.of_ill(), POINT))[0]
    page, _ = read([{**one, "name": f"label {place}"} for place in range(1, 6)])
    assert page.count("<details>") == page.count("</details>") == 2
    assert "<summary><h3>label 4</h3></summary>" in page
    assert "<section>\n<h3>label 3</h3>" in page
    assert "<details>" not in read([one])[0]


def test_no_endpoints_have_no_section() -> None:
    assert endpoints.part([]).body == ""


def test_names_cannot_break_the_page_or_a_files_name() -> None:
    odd = Endpoint("<b>é/..", made_up.column("truth"), made_up.column("score"))
    found = endpoints.part(told(made_up.of_ill(), asked=odd))
    page_check.read(html.page("Made up", html.section("Questions", found.body)))
    assert "<b>" not in found.body
    assert all(set(drawing.stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") for drawing in found.drawings)
