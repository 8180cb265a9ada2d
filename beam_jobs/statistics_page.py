"""The end of `statistics`: `explore.html` and `datasheet.md`, from a data set's figures and a sample of its records.

`write` is all that the verb calls. What is on the page is decided by this module's neighbours, how it is drawn in
`radkit.reports.explore`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from beam_jobs import statistics_balance, statistics_looks, statistics_plots, statistics_sheets
from radkit import config, outputs
from radkit.data import splits
from radkit.data.exploring import datasheet
from radkit.reports import explore

EXPLORE, DATASHEET = "explore.html", "datasheet.md"
_MOST_ANOMALIES = 12  # that the page tells of
_FEWEST = 20  # records below which nothing is said of outliers and little of the rest holds


def write(
    folder: Path, output: Path, data: config.Data, found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> None:
    """Writes `explore.html` and `datasheet.md`; answers that persons wrote into the latter stay.

    Args:
        folder: The data set's.
        output: Folder to write into.
        data: The config's data section.
        found: What `statistics.json` says: figures by split.
        rows: Of a sample of records, as `image_features.describe` gives them, each with its `split`.
    """
    sheet = output / DATASHEET
    facts = datasheet.page(folder, data, found, datasheet.earlier(sheet))
    page = explore.page(content(folder, data, found, rows))  # both are made before either is written
    outputs.write_text(sheet, facts)
    outputs.write_text(output / EXPLORE, page)


def content(
    folder: Path, data: config.Data, found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> explore.Explore:
    """Returns what the page shows; see `write`."""
    sample = statistics_looks.sample(rows, data)
    figures = datasheet.figures(folder, found)
    return explore.Explore(
        title=f"Data set {data.dataset}",
        lead=f"What {data.dataset} {data.version} holds, how it is spread over splits and sites, and how it looks.",
        figures=figures,
        warnings=[*statistics_looks.warnings(sample), *_anomalies(found)],
        notes=[
            f"Test set: {splits.told(splits.read(folder))}.",
            *_notes(len(rows), statistics_balance.total(found)),
        ],
        balance=statistics_balance.balances(sample, found),
        tables=statistics_balance.flag_tables(found, data),
        histograms=statistics_plots.values(sample),
        shapes=statistics_plots.shapes(sample),
        constant=statistics_plots.constant(sample),
        sheets=statistics_sheets.sheets(sample),
        outlines=data.mask_labels,
        choices=statistics_looks.choices(sample),
        scatters=statistics_looks.scatters(sample),
        told=[statistics_looks.told_table(sample), statistics_looks.explained_table(sample)],
        outliers=statistics_sheets.outliers(sample),
    )


def _anomalies(found: Mapping[str, Any]) -> list[str]:
    """Returns the anomalies that `anomalies.csv` lists, errors first, as many as one reads."""
    listed = sorted(found.get("anomalies", ()), key=lambda anomaly: anomaly["severity"] != "error")
    said = [f"{one['name']}{_at(one)}: {one['text']}" for one in listed]
    more = len(said) - _MOST_ANOMALIES
    return [*said[:_MOST_ANOMALIES], *([f"{more:,} more are in anomalies.csv."] if more > 0 else [])]


def _at(anomaly: Mapping[str, Any]) -> str:
    return f", {anomaly['where']}" if anomaly["where"] else ""


def _notes(shown: int, total: int) -> list[str]:
    said = "The page shows pixels and pseudonymous identifiers: it is as confidential as the records."
    if shown < total:
        said = (
            f"Grey values, pictures and planes are of {shown:,} of the {total:,} records, drawn by a hash of their "
            f"identifiers; counts by split, site, manufacturer, view, sex and age are of all. {said}"
        )
    if 0 < shown < _FEWEST:
        said = f"With {shown} records, little of what is drawn below says anything of others. {said}"
    if not shown:
        said = "No record was sampled: there are no pictures. " + said
    return [said]
