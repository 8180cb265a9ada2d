"""The section by size."""

from radkit.evaluation import sizes as evaluated
from radkit.reports import html
from radkit.reports.clinical import sizes
from tests.evaluation import made_up_answers as made_up
from tests.reports import page_check


def test_groups_are_listed_and_drawn_and_small_ones_are_not_measured() -> None:
    told = made_up.as_json(evaluated.tell(made_up.of_boxes(2, images=60), made_up.plan_of("boxes")))
    few = sum(group["too_few"] for group in told["groups"])
    part = sizes.part(told)
    page = page_check.read(html.page("Made up", html.section("Sizes", part.body)))
    assert page.cells.count(sizes.TOO_FEW) == few
    shown = [group for group in told["groups"] if not group["too_few"]]
    for group in shown:
        words = f"{group['size']} (n = {group['n']}) {group['figures'][0]['value']:.3f}"
        assert words in part.drawings[0].alt
    assert part.drawings[0].stem == "sizes_1"


def test_only_small_groups_have_a_table_and_no_plot_and_nothing_has_neither() -> None:
    told = made_up.as_json(evaluated.tell(made_up.of_masks(0, per_patient=12), made_up.plan_of("masks")))
    part = sizes.part(told)
    assert part.drawings == []
    assert "small" in part.body
    assert sizes.part(None).body == ""
