"""Plots as files: what they are, that the same plot gives the same bytes, and that none overwrites another."""

import struct
from xml.etree import ElementTree

import pytest

from radkit.errors import UserError
from radkit.reports import plots
from radkit.reports.clinical import figure_files, parts


def drawing(stem: str = "curve") -> parts.Drawing:
    plot, (axis,) = plots.panels(1, width=4.0, height=3.0)
    axis.plot([0, 1], [0, 1])
    plots.label(axis, "A curve", "x", "y")
    return parts.Drawing(stem, plot, "A line from 0 & 0 to 1")


def test_each_plot_is_an_svg_and_a_png_of_300_dots_an_inch() -> None:
    found = dict(figure_files.files([drawing(), drawing("other")]))
    assert list(found) == ["curve.svg", "curve.png", "other.svg", "other.png"]
    root = ElementTree.fromstring(found["curve.svg"])
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "A line from 0 & 0 to 1"
    assert struct.unpack(">II", found["curve.png"][16:24]) == (1200, 900)


def test_the_same_plot_gives_the_same_bytes_without_a_date() -> None:
    first, second = (dict(figure_files.files([drawing()])) for _ in range(2))
    assert first == second
    assert b"<dc:date>" not in first["curve.svg"]


def test_two_plots_of_one_name_are_refused() -> None:
    with pytest.raises(UserError, match="two plots would be one file: curve"):
        list(figure_files.files([drawing(), drawing()]))
