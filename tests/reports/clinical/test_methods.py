"""The methods part: paragraphs as text."""

from radkit.reports.clinical import methods


def test_paragraphs_are_kept_and_escaped() -> None:
    assert methods.part("a < b.\n\nc.").body == "<p>a &lt; b.</p>\n<p>c.</p>"
    assert methods.part(None).body == methods.part("").body == ""
