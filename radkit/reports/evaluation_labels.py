"""Pages that say how good a model of several labels, of degrees or of numbers is.

`result` is what an evaluation saves, as `radkit.reports.evaluation` tells; `images` are the worst cases, (rows,
columns) each, worst first, with a caption each; `notes` are warnings; `history` is as of `plots.learning_curves`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit.errors import UserError
from radkit.metrics import agreement, classification
from radkit.reports import curves, evaluation, html, plots, sections, text


@dataclass(frozen=True, eq=False)
class Page:
    """What every page shows.

    Attributes:
        title: Plain text.
        result: The summary.
        images: See this module.
        captions: One an image.
        notes: See this module.
        history: See this module.
    """

    title: str
    result: Mapping[str, Any]
    images: Sequence[np.ndarray] = ()
    captions: Sequence[str] = ()
    notes: Sequence[str] = ()
    history: Sequence[Mapping[str, Any]] = ()

    def around(self, lead: str, num_cases: int, *own: str) -> str:
        """Returns the whole page with its own sections between figures and pictures.

        Raises:
            UserError: An image lacks its caption.
        """
        if len(self.images) != len(self.captions):
            raise UserError(
                f"each image needs a caption, but there are {len(self.images)} images and {len(self.captions)} captions"
            )
        told = sections.of_test_set(self.result)
        pictures = [sections.picture(*pair) for pair in zip(self.images, self.captions)]
        return html.page(
            self.title,
            sections.warned(self.result, self.notes),
            sections.headline(self.result, f"{num_cases} cases{told}"),
            *own,
            sections.subgroups(self.result),
            html.section("Worst cases", html.gallery(pictures)) if pictures else "",
            sections.learning(self.history),
            lead=f"{lead}{told}",
        )


def multi_label(page: Page, truth: np.ndarray, scores: np.ndarray, names: Sequence[str]) -> str:
    """Returns the HTML page of a model of several labels.

    Args:
        page: What every page shows.
        truth: (n, labels): 1 yes, 0 no, -1 unknown.
        scores: Probability of yes, (n, labels).
        names: Of the labels.
    """
    drawn = [
        curves.Curve(name, truth[truth[:, k] >= 0, k] == 1, scores[truth[:, k] >= 0, k]) for k, name in enumerate(names)
    ]
    known = [curve for curve in drawn if curve.truth.size]
    rows = [(name, *[int((truth[:, k] == value).sum()) for value in (1, 0, -1)]) for k, name in enumerate(names)]
    return page.around(
        "Evaluation of a model of several labels",
        len(truth),
        html.section("Labels", html.table(("label", "yes", "no", "unknown"), rows, "Unknown ones are left out")),
        html.section("Discrimination", *evaluation.discrimination(known, None)) if known else "",
        html.section("Calibration and scores", evaluation.calibration(known, None)) if known else "",
    )


def ordinal(page: Page, truth: np.ndarray, called: np.ndarray, names: Sequence[str]) -> str:
    """Returns the HTML page of a model of degrees.

    Args:
        page: What every page shows.
        truth: (n,): place in `names`.
        called: (n,): likewise.
        names: Of the degrees, lowest first.
    """
    counts = classification.confusion_table(truth, called, range(len(names)))
    rows = [(name, *row) for name, row in zip(names, counts.tolist())]
    table = html.table(
        ["reference", *[f"called {name}" for name in names]], rows, "Calls: the middle of what is likely"
    )
    return page.around("Evaluation of a model of degrees", len(truth), html.section("Calls", table))


def regression(page: Page, truth: np.ndarray, found: np.ndarray, name: str, unit: str) -> str:
    """Returns the HTML page of a model of a number.

    Args:
        page: What every page shows.
        truth: (n,).
        found: (n,), the same unit.
        name: What is measured.
        unit: As `mm`; empty: none.
    """
    limits = agreement.bland_altman(found, truth)
    alt = f"Bland-Altman plot of {len(truth)} cases: bias {text.number(limits['bias'])} {unit}".strip()
    rows = [(sections.words(figure), value) for figure, value in limits.items()]
    table = html.table(("prediction minus reference", unit or "value"), rows)
    plot = html.figure(plots.bland_altman(truth, found, unit, name), alt)
    return page.around("Evaluation of a model of a number", len(truth), html.section("Agreement", plot, table))
