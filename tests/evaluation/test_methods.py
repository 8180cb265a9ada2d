"""The methods paragraph: what is in the report is told, what is not is not."""

import re

import radkit
from radkit.evaluation import methods

BARE = {"task": "classification", "cases": {"n": 1, "num_patients": 1}}


def full() -> dict:
    point = {"rule": "min_sensitivity", "value": 0.95, "chosen_on": "validation", "num_cases": 40, "threshold": 0.3}
    figure = {
        "name": "AUC",
        "value": 0.9,
        "method": "Mann-Whitney",
        "closed": {"low": 0.8, "high": 1.0, "method": "DeLong 1988"},
    }
    return {
        "task": "multi_label",
        "data": {"dataset": "chests"},
        "run": {"weights_sha256": "ab" * 32},
        "settings": {"level": 0.9, "resamples": 500, "seed": 7},
        "test_set": {"told": "geographic: site B"},
        "look": {"told": "first look at it"},
        "cases": {
            "n": 50,
            "num_patients": 30,
            "left_out": {"without a label": 2, "damaged": 0},
            "reference_standards": {"histology": 20, "expert_reader": 30},
        },
        "figures": [figure],
        "endpoints": [
            {"name": "mass", "unknown": 4, "soft": 3, "operating_point": point, "figures": []},
            {
                "name": "effusion",
                "unknown": 1,
                "soft": 0,
                "operating_point": {**point, "rule": "youden", "value": None},
            },
        ],
        "subgroups": [
            {"fact": "", "differences": []},
            *[{"fact": "sex", "differences": []}] * 2,
            *[{"fact": "age_years", "differences": [{"p": 0.1}]}] * 3,
            {"fact": "kernel", "differences": []},
        ],
        "fairness": [{"endpoint": "mass"}],
        "comparisons": [{"with": "old", "tests": [{"name": "DeLong", "method": "DeLong 1988"}]}],
        "readers": {"n": 3},
        "robustness": {
            "n": 20,
            "num_patients": 11,
            "perturbations": [
                {"name": "noise", "unit": "%", "what": "Gaussian", "steps": [{"amount": 0.0}, {"amount": 2.5}]}
            ],
        },
    }


def test_all_that_was_done_is_told() -> None:
    told = methods.tell(full())
    for words in (
        "The model for multi label was evaluated on 50 cases of 30 patients of the data set chests",
        "test set: geographic: site B",
        "first look at it",
        "The reference standard was histology (20) and expert reader (30).",
        "Not evaluated were 2 cases without a label.",
        "90 % confidence intervals",
        "500 draws, seed 7",
        "by formula stand beside: DeLong 1988",
        "mass and effusion",
        "The operating point of mass was the highest specificity at a sensitivity of at least 0.95, chosen on the "
        "validation split (40 cases).",
        "The operating point of effusion was the largest sum",
        "not known (5)",
        "differed (3)",
        "formed by sex and age.",
        "Holm",
        "Rates at the operating point",
        "compared with old",
        "tests: DeLong 1988.",
        "Readers' answers",
        "Robustness was tested on 20 cases of 11 patients",
        "noise (Gaussian; 2.5 %)",
        "abababababab.",
        radkit.__version__,
    ):
        assert words in told, words


def test_what_was_not_done_is_not_told() -> None:
    told = methods.tell(BARE)
    assert told == (
        "The model for classification was evaluated on 1 case of 1 patient.\n\n"
        f"Evaluated with radkit {radkit.__version__}."
    )
    empty = {**BARE, "endpoints": [], "subgroups": None, "robustness": None, "readers": None, "comparisons": []}
    assert methods.tell(empty) == told


def test_no_result_stands_in_the_methods() -> None:
    report = full()
    report["figures"][0]["value"] = 0.987654
    assert "0.98" not in methods.tell(report)


def test_rules_without_a_known_name_are_left_to_the_tables() -> None:
    report = full()
    report["endpoints"][0]["operating_point"] = {"rule": "of their own"}
    report["endpoints"][1]["operating_point"] = None
    assert "operating point of" not in methods.tell(report)


def test_the_operating_point_of_boxes_is_told() -> None:
    report = full()
    report["operating_points"] = [
        {"name": "boxes", "rule": "fp_per_image", "value": 0.5, "chosen_on": "validation", "num_cases": 9}
    ]
    assert (
        "Found boxes count from the operating point on: the highest sensitivity at no more than 0.5 false positives an "
        "image, chosen on the validation split (9 cases)."
    ) in methods.tell(report)


def test_formulas_that_gave_no_interval_are_not_named() -> None:
    report = full()
    report["figures"][0]["closed"] = {"low": None, "high": None, "method": "not told: several measurements"}
    assert "by formula" not in methods.tell(report)


def test_without_operating_points_no_rates_were_compared() -> None:
    report = {**full(), "fairness": [{"endpoint": None}]}
    assert "Rates at the operating point" not in methods.tell(report)


def test_sentences_end_and_nothing_is_left_unfilled() -> None:
    told = methods.tell(full())
    assert all(paragraph.endswith(".") for paragraph in told.split("\n\n"))
    assert not re.search(r"[{}]|None|nan|  ", told)


def test_figures_are_found_wherever_they_stand() -> None:
    inner = {"name": "b", "value": None, "method": "m"}
    report = {"figures": [{"name": "a", "value": 1.0, "method": "m"}], "x": [{"y": {"figures": (inner,)}}], "n": 3}
    assert [one["name"] for one in methods.figures(report)] == ["a", "b"]
