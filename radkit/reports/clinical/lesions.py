"""Lesion by lesion: curves, operating point and classes of a detector; connected parts of masks."""

from collections.abc import Mapping, Sequence
from typing import Any

from radkit.reports import html, plots, sections, text
from radkit.reports.clinical import figures_table, parts

_FEWEST = 1 / 16  # false positives an image: where the axis begins, as 0 has no logarithm
_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


def part(told: Mapping[str, Any] | None) -> parts.Part:
    """Returns the section of a detector, or of a segmentation's connected parts; nothing without."""
    if not told:
        return parts.Part("")
    return _of_boxes(told) if told["kind"] == "boxes" else _of_masks(told)


def _of_boxes(told: Mapping[str, Any]) -> parts.Part:
    counted = (
        f"{told['n']} images of {told['num_patients']} patients with {told['num_reference']} boxes; the model found "
        f"{told['num_found']}, down to its lowest score. {told['rule'][:1].upper()}{told['rule'][1:]}."
    )
    drawings = [_curves(told)] if told["froc"]["score"] else []
    none = "" if drawings else html.paragraph("No curve: the reference holds no boxes, or nothing was found.")
    body = [
        html.paragraph(counted),
        none,
        *[parts.shown(drawing) for drawing in drawings],
        html.subsection("At the operating point of boxes", *_point(told["operating_point"])),
        html.subsection("By class", *_classes(told["classes"])),
    ]
    return parts.Part("\n".join(piece for piece in body if piece), drawings)


def _point(point: Mapping[str, Any]) -> list[str]:
    if point["threshold"] is None:
        return [html.paragraph(f"No score meets the rule ({point['told']}); nothing counts as found.")]
    counts = point["counts"]
    words = (
        f"A box counts from a score of {text.number(float(point['threshold']))} on: {point['told']}. "
        f"{counts['hits']} hits, {counts['misses']} misses, {counts['false_positives']} false positives."
    )
    return [html.paragraph(words), figures_table.table(point["figures"], "Figures at this score")]


def _classes(classes: Sequence[Mapping[str, Any]]) -> list[str]:
    names = [one["name"] for one in classes[0]["figures"]] if classes else []
    rows = [
        (one["name"], one["num_reference"], one["num_found"], *[in_words(figure) for figure in one["figures"]])
        for one in classes
    ]
    header = ("class", "boxes", "found boxes", *names)
    return [html.table(header, rows, "Found boxes are all; AP50 is over all scores, the others at the operating point")]


def in_words(figure: Mapping[str, Any]) -> str:
    """Returns a figure with its interval in one cell."""
    between = sections.interval(figure["low"], figure["high"])
    value = text.number(figures_table.undefined(figure["value"]))
    return f"{value} ({between})" if between else value


def _curves(told: Mapping[str, Any]) -> parts.Drawing:
    froc, point = told["froc"], told["operating_point"]
    plot, (left, right) = plots.panels(2, width=4.8, height=4.2)
    farthest = max(8 * 2**0.25, *froc["fp_per_image"])
    across = [_FEWEST, *[max(_FEWEST, rate) for rate in froc["fp_per_image"]], farthest]
    left.step(across, [0.0, *froc["sensitivity"], froc["sensitivity"][-1]], where="post", color=plots.COLOURS[0])
    at = _marked(left, point)
    left.set_xscale("log", base=2)
    left.set_xticks(_RATES, [f"1/{1 / rate:g}" if rate < 1 else f"{rate:g}" for rate in _RATES])
    left.minorticks_off()
    left.set(xlim=(_FEWEST, farthest), ylim=(-0.02, 1.02))
    plots.label(left, "FROC", "false positives per image", "sensitivity for boxes")
    for place, one in enumerate(told["precision_recall"]):
        colour = plots.COLOURS[place % len(plots.COLOURS)]
        right.plot(one["recall"], one["precision"], color=colour, linewidth=1.8, label=f"{one['name']} ({one['n']})")
    right.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if told["precision_recall"]:
        right.legend(loc="lower left", fontsize=8, frameon=True, framealpha=0.9, edgecolor="none")
    plots.label(right, "Precision-recall at IoU 0.5", "recall (sensitivity)", "precision (PPV)")
    rates = ", ".join(f"{_held(froc, rate):.3f} at {rate:g}" for rate in _RATES)
    alt = f"FROC curve: sensitivity {rates} false positives per image{at}; precision-recall curve of each class"
    words = "Left: the curve holds its last sensitivity; the diamond is the operating point. Right: COCO's rules."
    return parts.Drawing("froc_and_precision_recall", plot, alt, words)


def _marked(axis: Any, point: Mapping[str, Any]) -> str:
    """Draws the operating point and returns it in words; nothing where it is undefined."""
    by_name = {figure["name"]: figure["value"] for figure in point["figures"]}
    rate, share = by_name["false positives per case"], by_name["sensitivity"]
    if point["threshold"] is None or rate is None or share is None:
        return ""
    axis.plot([max(_FEWEST, rate)], [share], "D", color="#222222", markersize=7)
    return f", {share:.3f} at {rate:.3g} at the operating point"


def _held(froc: Mapping[str, Any], rate: float) -> float:
    """Returns the sensitivity of the last point that keeps to a rate; 0: none does."""
    kept = [share for fp, share in zip(froc["fp_per_image"], froc["sensitivity"]) if fp <= rate * (1 + 1e-12)]
    return float(kept[-1]) if kept else 0.0


def _of_masks(told: Mapping[str, Any]) -> parts.Part:
    keys = ("n", "unknown", "both_empty", "missed", "invented", "num_at_worst")
    header = ("label", "cases", "unknown", "both empty", "missed", "invented", "set to worst")
    rows = [(one["name"], *[one[key] for key in keys]) for one in told["labels"]]
    caption = f"{told['n']} cases, {told['num_patients']} patients"
    words = (
        "Unknown: nobody labelled any voxel. Missed: the model's mask alone is empty; invented: the reference's is. "
        "Set to worst: distances of these are infinite and count as the image's diagonal."
    )
    body = [html.subsection("Empty masks", html.table(header, rows, caption), html.paragraph(words))]
    for one in told["labels"]:
        counts = one["parts"]
        words = f"{counts['reference']} parts in the reference, {counts['found']} found, {counts['hit']} of them hits"
        table = figures_table.table(one["figures"], words) if one["n"] else ""
        body.append(html.subsection(f"Lesions: {one['name']}", table))
    body.append(html.paragraph(f"{told['method'][:1].upper()}{told['method'][1:]}."))
    return parts.Part("\n".join(body))
