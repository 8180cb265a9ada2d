"""The model beside readers, each on the cases that the reader read."""

from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import html, plots
from radkit.reports.clinical import forest, parts

Told = Mapping[str, Any]


def part(told: Told | None) -> parts.Part:
    """Returns what is told of readers' calls, ratings, numbers and marks; nothing where nobody read."""
    if not told:
        return parts.Part("")
    drawings = [drawing for place, one in enumerate(told["calls"], 1) if (drawing := _drawing(one, place)) is not None]
    shown = {drawing.stem: parts.shown(drawing) for drawing in drawings}
    body = [
        html.paragraph(_counted(told)),
        *[
            html.subsection(f"Calls: {one['endpoint']}", shown.get(f"readers_{place}", ""), *_calls(one))
            for place, one in enumerate(told["calls"], 1)
        ],
        *[html.subsection(f"Ratings: {one['endpoint']}", _ratings(one)) for one in told["ratings"]],
        *[html.subsection(f"Numbers: {one['question']}", *_values(one)) for one in told["values"]],
        *[html.subsection("Marks", _marks(one)) for one in told["marks"]],
        html.subsection("Model minus reader", _tests(told)),
    ]
    return parts.Part("\n".join(piece for piece in body if piece), drawings)


def _counted(told: Told) -> str:
    words = f"{len(told['readers'])} readers read {told['n']} of the cases, of {told['num_patients']} patients"
    if told["num_elsewhere"]:
        words += f"; {told['num_elsewhere']} rows of their table are of records that are not among the cases"
    return f"{words}. {told['method'][:1].upper()}{told['method'][1:]}."


def _calls(one: Told) -> list[str]:
    names = [figure["name"] for figure in one["readers"][0]["figures"]]
    rows = []
    for reader in one["readers"]:
        model = forest.by_name(reader["model"])
        own = [forest.figure(figure) for figure in reader["figures"]]
        rows.append((reader["reader"], reader["n"], *own, forest.figure(reader["kappa_with_model"])))
        if model:
            of_model = [forest.figure(model[name]) if name in model else "-" for name in names]
            rows.append((f"model, on the cases of {reader['reader']}", reader["n"], *of_model, "-"))
    calls = html.table(("who", "cases", *names, "kappa with the model"), rows)
    pairs = [(f"{pair['a']} and {pair['b']}", pair["n"], forest.figure(pair)) for pair in one["between"]]
    of_all = (("all readers, Fleiss", one["fleiss"]), ("readers and model, Fleiss", one["fleiss_with_model"]))
    pairs += [(words, figure["n"], forest.figure(figure)) for words, figure in of_all if figure is not None]
    return [calls, html.table(("agreement of", "cases", "kappa"), pairs) if pairs else ""]


def _ratings(one: Told) -> str:
    rows = [
        (
            reader["reader"],
            reader["n"],
            reader["positives"],
            forest.figure({**reader, "value": reader["auc"]}),
            forest.number(reader["model"]),
        )
        for reader in one["readers"]
    ]
    return html.table(("reader", "cases", "yes", "AUC", "AUC of the model"), rows, str(one["method"]))


def _values(one: Told) -> list[str]:
    rows = []
    for reader in one["readers"]:
        apart = reader["bland_altman"]
        limits = f"{forest.number(apart['loa_low'])} to {forest.number(apart['loa_high'])}"
        kappas = "; ".join(f"{kappa['name'].split(' ')[0]} {forest.figure(kappa)}" for kappa in reader["kappas"])
        bias, concordance = forest.number(apart["bias"]), forest.number(reader["ccc"])
        rows.append((reader["reader"], reader["n"], bias, limits, concordance, kappas or "-"))
    header = ("reader", "cases", "model minus reader", "limits of agreement", "concordance", "kappa with the model")
    table = html.table(header, rows)
    correlations = [
        (words, one[key]["num_readers"], one[key]["n"], forest.figure(one[key]))
        for key, words in (("icc", "readers alone"), ("icc_with_model", "readers and model"))
        if one[key]["num_readers"] > 1
    ]
    caption = str(one["icc"]["method"])
    return [table, html.table(("among", "raters", "cases", "ICC"), correlations, caption) if correlations else ""]


def _marks(one: Told) -> str:
    rows = [
        (
            reader["reader"],
            reader["n"],
            reader["num_normal"],
            reader["num_lesions"],
            forest.figure(reader["figures"][0]),
            forest.figure(reader["model"][0] if reader["model"] else None),
        )
        for reader in one["readers"]
    ]
    header = ("reader", "cases", "without lesions", "lesions", "JAFROC", "JAFROC of the model")
    return html.table(header, rows)


def _tests(told: Told) -> str:
    sections: Sequence[tuple[str, str]] = (("calls", "endpoint"), ("ratings", "endpoint"), ("marks", ""))
    rows = [
        (
            reader["reader"],
            str(test["name"]),
            str(entry[key]) if key else "-",
            _difference(test),
            forest.p(test["p"]),
            forest.p(test["p_adjusted"]),
        )
        for section, key in sections
        for entry in told[section]
        for reader in entry["readers"]
        for test in reader["tests"]
    ]
    header = ("reader", "figure", "question", "model minus reader", "p", "p corrected")
    return html.table(header, rows, f"{len(rows)} tests; p corrected for all of them (Holm 1979)") if rows else ""


def _difference(test: Told) -> str:
    if test["name"] == "McNemar":
        return f"only model right {test['only_this_right']}, only reader right {test['only_other_right']}"
    return forest.figure({"low": None, "high": None, **test, "value": test["difference"]})


def _drawing(one: Told, place: int) -> parts.Drawing | None:
    """Returns each reader, and the model on the same cases, by sensitivity and specificity; None: both undefined."""
    points = []
    for reader in one["readers"]:
        for who, figures in ((reader["reader"], reader["figures"]), ("model", reader["model"])):
            pair = [figure["value"] for figure in figures[:2]]
            if len(pair) == 2 and None not in pair:
                points.append((who, reader["reader"], *pair))
    if not points:
        return None
    plot, (axis,) = plots.panels(1, width=5.2, height=4.6)
    names = [reader["reader"] for reader in one["readers"]]
    for who, reader, sensitivity, specificity in points:
        colour = plots.COLOURS[names.index(reader) % len(plots.COLOURS)]
        words = f"model, cases of {reader}" if who == "model" else reader
        marker = "D" if who == "model" else "o"
        filled = "none" if who == "model" else colour
        axis.plot(
            [1 - specificity], [sensitivity], marker, color=colour, markerfacecolor=filled, markersize=8, label=words
        )
    plots.label(axis, f"Calls: {one['endpoint']}", "1 - specificity", "sensitivity")
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if len(points) <= 12:
        axis.legend(fontsize=8, frameon=False, loc="lower right")
    words = "; ".join(
        f"{who}{f' on the cases of {reader}' if who == 'model' else ''}: sensitivity {sensitivity:.3f}, specificity "
        f"{specificity:.3f}"
        for who, reader, sensitivity, specificity in points
    )
    caption = "Dots are readers, diamonds the model at its operating point on the same cases."
    return parts.Drawing(f"readers_{place}", plot, f"Readers and model, {one['endpoint']}: {words}", caption)
