"""The page of a leakage check: what lies on two sides, pictures of the pairs, what the header tells of the label."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit.reports import html

_SIDE = 160  # pixels of a picture
_GAP = 6  # between the two of a pair
_WORDS = {
    "shared_patient": "patients on several sides",
    "shared_study": "studies on several sides",
    "shared_series": "series on several sides",
    "shared_record": "records on several sides",
    "same_day": "patients with studies of one day on several sides",
    "identical_pixels": "pairs of identical images on two sides",
    "near_identical": "pairs of near-identical images on two sides",
    "identical_pixels_within": "pairs of identical images of two patients on one side",
    "near_identical_within": "pairs of near-identical images of two patients on one side",
}


@dataclass(frozen=True)
class ShownPair:
    """A pair of images and what is said of it.

    Attributes:
        left: uint8, (rows, columns).
        right: uint8, (rows, columns).
        title: Which records, on which sides.
        said: What was found.
    """

    left: np.ndarray
    right: np.ndarray
    title: str
    said: str


def page(summary: Mapping[str, Any], shared: Sequence[Mapping[str, Any]], pairs: Sequence[ShownPair]) -> str:
    """Returns the page as HTML.

    Args:
        summary: What `leakage.json` says.
        shared: Identifiers on several sides, the first of them.
        pairs: Pairs to be shown, the first of them.
    """
    lead = f"{summary['records']} records of {summary['patients']} patients; " + (
        "what is tested on is partly known from training" if summary["leaks"] else "no leak was found"
    )
    rows = [[_WORDS[name], count] for name, count in summary["counts"].items()]
    return html.page(
        "Leakage",
        html.notes(summary["notes"]),
        html.section("What was found", html.table(("", "number"), rows), _sides(summary)),
        html.section("Identifiers on several sides", _shared(shared)),
        html.section("Images that are there twice", html.gallery([_figure(pair) for pair in pairs])),
        html.section("What the header tells of the label", _header(summary), _explained(summary)),
        lead=lead,
    )


def picture(thumbnail: np.ndarray) -> np.ndarray:
    """Returns a thumbnail's plane (of a volume the middle one) as uint8."""
    plane = thumbnail if thumbnail.ndim == 2 else thumbnail[len(thumbnail) // 2]
    return (plane // 257).astype(np.uint8)


def _sides(summary: Mapping[str, Any]) -> str:
    return html.table(("side", "records"), sorted(summary["sides"].items()), "Sides that were compared")


def _shared(shared: Sequence[Mapping[str, Any]]) -> str:
    if not shared:
        return html.paragraph("None.")
    rows = [
        [
            _WORDS[one["kind"]],
            one["value"],
            ", ".join(f"{count} {side}" for side, count in sorted(one["sides"].items())),
        ]
        for one in shared
    ]
    return html.table(("kind", "identifier", "records"), rows, "The first of them; shared.csv has all")


def _figure(pair: ShownPair) -> str:
    rows = max(len(pair.left), len(pair.right))
    canvas = np.full((rows, pair.left.shape[1] + _GAP + pair.right.shape[1]), 255, np.uint8)
    canvas[: len(pair.left), : pair.left.shape[1]] = pair.left
    canvas[: len(pair.right), pair.left.shape[1] + _GAP :] = pair.right
    return html.figure(canvas, alt=f"two images side by side: {pair.title}", caption=f"{pair.title}: {pair.said}")


def _header(summary: Mapping[str, Any]) -> str:
    figures = [(name, figure) for name, of in summary["header"].items() for figure in of]
    if not figures:
        return html.paragraph("No label to be told, or too few records or patients to say.")
    rows = [
        [name, f["target"], f["by"], f["concordance"], f"{f['low']:.3f} to {f['high']:.3f}", f["records"]]
        for name, f in figures
    ]
    return html.table(("data set", "label", "told by", "concordance", "95 % interval", "records"), rows)


def _explained(summary: Mapping[str, Any]) -> str:
    return html.paragraph(
        "The image was not looked at. Concordance is 0.5 by chance; of two classes it is the area under the ROC curve, "
        "cross-validated with each patient in one fold. A label that is told so is not wrong, but a network may learn "
        f"the scanner in place of the disease; lower ends of {summary['warning_level']:g} and more are warned of."
    )
