import pytest

from radkit.errors import UserError
from radkit.reports import demo, html
from tests.reports import page_check

STEPS = [
    {"step": "convert", "what": "Wrote records", "seconds": 50.0, "figure": 96},
    {"step": "train", "what": "Trained a U-Net", "seconds": 30.5, "figure": 0.87},
]


def test_each_step_has_its_time_and_its_figure() -> None:
    inner = html.page("Inner", html.section("Figures", html.paragraph("words")))
    reader = page_check.read(demo.demo_page(STEPS, [("Training", html.body_of(inner)), ("Serving", "<p>ok</p>")]))
    assert reader.cells[4:] == [
        *("convert", "Wrote records", "50.0 s", "96"),
        *("train", "Trained a U-Net", "30.5 s", "0.870"),
        *("all", "1 min 20 s"),
    ]
    assert reader.anchors == ["part-1", "part-2"]
    assert ("h3", "Figures") in reader.headings


def test_a_step_that_lacks_a_field_is_refused() -> None:
    with pytest.raises(UserError, match="lacks seconds, figure"):
        demo.demo_page([{"step": "train", "what": "Trained"}], [])


def test_what_a_curation_said_stands_with_a_link_to_its_page() -> None:
    part = demo.quality_part("5 series: 4 kept.", [("fault", "gaps <here>", 3)], "quality/quality.html")
    assert 'href="quality/quality.html"' in part
    assert "gaps &lt;here&gt;" in part
    assert "No findings." in demo.quality_part("5 series.", [], "quality/quality.html")
