"""The page of a data set stands alone, shows what it is given, and needs no plotting library."""

import dataclasses
import subprocess
import sys

import numpy as np

from radkit.reports import explore, plots, svg
from tests.reports import page_check

GREY = np.arange(20, dtype=np.uint8).reshape(4, 5)
TILE = explore.Tile("1.2.<3>", GREY, 1.5, "test: 1.3 times the limit.")
CONTENT = explore.Explore(
    title="Data set m<ade>",
    lead="What it holds.",
    figures=[("records", "1,234")],
    warnings=["Label and site go together."],
    notes=["The page shows pixels."],
    balance=[explore.Balance("site", [("no", 0), ("y<es", 1)], [("North", 40, 30, [10, 30])], "Cramér's V 0.5.")],
    tables=[explore.Table("Classes by split", ("class", "train"), [("effusion", "12 % of 30")])],
    histograms=[svg.Histogram("Grey values", "HU", 0, 1, [svg.Curve("train", 0, [1, 2])])],
    shapes=[svg.Histogram("Rows", "", 0, 1, [svg.Curve("train", 0, [1, 2])])],
    constant=[("modality", "CT"), ("kernel", ""), ("site", "")],
    sheets=[("yes, train: 1 of 7", [TILE]), ("no, train: 0 of 7", [])],
    choices=[explore.Choice("label", "a", [("no", 0), ("yes", 1)]), explore.Choice("site", "b", [("North", 0)])],
    scatters=[svg.Scatter("PCA", ("1", "2"), [(0, 1), (2, 3)], ["one", "two"], ["a-0 b-0", "a-1 b-0"])],
    told=[explore.Table("What is told", ("what", "accuracy"), [("site", 0.9)], "Words.")],
    outliers=[TILE],
)


def test_names_that_are_cut_are_told_whole_when_pointed_at():
    name = "a <very> long name " * 20
    page = explore.page(
        dataclasses.replace(CONTENT, balance=[explore.Balance("site", [(name, 0)], [(name, 1, 1, [1])])])
    )
    page_check.read(page)
    assert page.count(f'<span title="{svg.plain(name)}">') == 2


def test_the_page_stands_alone_and_shows_everything():
    page = explore.page(CONTENT)
    read = page_check.read(page)
    headings = [text for level, text in read.headings if level == "h2"]
    assert headings == [
        "Balance",
        "Grey values",
        "Sizes, spacings, facts",
        "Contact sheets",
        "By how they look",
        "Outliers",
    ]
    assert len(read.images) == 2
    assert {image["title"] for image in read.images} == {"1.2.<3>"}
    assert '<span title="North">North</span>' in page
    assert {"40", "30", "effusion", "12 % of 30", "CT", "site", "0.900"} <= set(read.cells)
    assert "Told by no record: kernel, site." in page
    assert "<ade>" not in page
    assert "y<es" not in page


def test_colours_are_chosen_by_buttons_without_a_script():
    page = explore.page(CONTENT)
    assert page.count('type="radio"') == 2
    assert page.count(" checked>") == 1
    for rule in ("#by-a:checked~.drawn .a-1{fill:var(--g1)}", "#by-b:checked~.of-b{display:flex}"):
        assert rule in page
    assert '<circle class="a-1 b-0"' in page
    assert "<script" not in page


def test_a_data_set_without_records_has_a_page():
    bare = explore.Explore("Data set none", "Nothing.", [("records", "0")])
    read = page_check.read(explore.page(bare))
    assert [text for _, text in read.headings] == ["Data set none"]


def test_the_same_content_gives_the_same_page():
    assert explore.page(CONTENT) == explore.page(dataclasses.replace(CONTENT))


def test_outlines_are_drawn_inside_each_label():
    mask = np.zeros((6, 8), np.uint8)
    mask[1:4, 2:6], mask[4:, :2] = 1, 2
    grey = np.full((6, 8), 90, np.uint8)
    found = explore.outlined(grey, mask)
    assert found.shape == (12, 16, 3)
    coloured = (found != 90).any(axis=2)
    assert not coloured[np.repeat(np.repeat(mask == 0, 2, 0), 2, 1)].any()
    assert coloured[2, 4:12].all()  # the edge of label 1
    assert not coloured[4:6, 6:10].any()  # its inside
    assert coloured[11, :4].all()  # at the picture's own edge, too
    assert len({tuple(colour) for colour in found[coloured]}) == 2


def test_outlines_are_named_in_the_colours_that_they_are_drawn_in():
    page = explore.page(dataclasses.replace(CONTENT, outlines=("core", "shell")))
    page_check.read(page)
    assert '<i class="b4"></i>core' in page
    drawn = explore.outlined(np.zeros((1, 1), np.uint8), np.ones((1, 1), np.uint8))
    assert "#" + "".join(f"{value:02X}" for value in drawn[0, 0]) == plots.COLOURS[4]


def test_a_page_needs_no_matplotlib():
    code = "import sys; from tests.reports.test_explore import CONTENT, explore; explore.page(CONTENT)"
    code += "; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
