"""The sample of records that a page is made of: how it is grouped, how it looks, what can be told from that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radkit import config
from radkit.data.exploring import projections, strata
from radkit.reports import explore, svg

_MOST_NEIGHBOURS = 1000  # records that t-SNE lays out: its time grows faster than their number
_MOST_FEATURES = 8  # listed by how much of them the label explains
_DISCRIMINATED = ("label", "site")  # whose groups LDA sets apart
_TOLD = ("label", "split", "site", "manufacturer", "model", "kernel", "view", "tube voltage", "field strength", "sex")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ACQUIRED = ("site", "manufacturer", "model", "kernel", "view", "tube voltage", "field strength", "body part")
_STRONG = 0.3  # of Cramér's V, from where on it is warned of
_BEYOND_CHANCE = 0.1  # of a balanced accuracy's lower end

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sample:
    """Records and what is made of them.

    Attributes:
        rows: As `image_features.describe` gives them, each with its split.
        data: The config's data section.
        schemes: Ways to group them: heading -> each row's group.
        colours: Heading -> its groups in order, each with its colour's number.
        names: Of the features.
        table: (records, features) as measured.
        features: From `projections.standard`.
        told: Heading -> how well its groups are told from the features.
        associations: Heading -> Cramér's V with the label.
    """

    rows: Sequence[Row]
    data: config.Data
    schemes: Mapping[str, Sequence[str]]
    colours: Mapping[str, Sequence[tuple[str, int]]]
    names: Sequence[str]
    table: np.ndarray
    features: np.ndarray
    told: Mapping[str, projections.Told]
    associations: Mapping[str, float]


def sample(rows: Sequence[Row], data: config.Data) -> Sample:
    """Returns the sample, grouped and measured."""
    schemes = strata.schemes(rows, data)
    names = sorted(rows[0]["features"]) if rows else []
    table = np.array([[row["features"][name] for name in names] for row in rows], np.float64).reshape(
        len(rows), len(names)
    )
    features = projections.standard(table) if rows else table
    patients = [str(row["patient_id"]) for row in rows]
    told = {h: projections.told(features, known(schemes[h]), patients) for h in _TOLD if h in schemes}
    label = schemes.get("label", ())
    associations = {h: strata.association(groups, label) for h, groups in schemes.items() if h != "label" and label}
    return Sample(
        rows=rows,
        data=data,
        schemes=schemes,
        colours={heading: _coloured(strata.ordered(heading, groups, data)) for heading, groups in schemes.items()},
        names=names,
        table=table,
        features=features,
        told={heading: found for heading, found in told.items() if found},
        associations={heading: strength for heading, strength in associations.items() if strength == strength},
    )


def known(groups: Sequence[str]) -> list[str]:
    """Returns the groups with "" for what is not known, or is several joined."""
    return ["" if group in (strata.UNKNOWN, strata.OTHERS) else group for group in groups]


def _coloured(names: Sequence[str]) -> list[tuple[str, int]]:
    grey = svg.NUM_COLOURS - 1
    return [(n, grey if n in (strata.OTHERS, strata.UNKNOWN) else svg.colour(place)) for place, n in enumerate(names)]


def choices(found: Sample) -> list[explore.Choice]:
    """Returns what the dots may be coloured by."""
    return [explore.Choice(h, letter, found.colours[h]) for h, letter in zip(found.schemes, _LETTERS)]


def scatters(found: Sample) -> list[svg.Scatter]:
    """Returns the planes: PCA, t-SNE, and LDA of label and of site."""
    words, classes = _words(found), _classes(found)
    planes = []
    main = projections.principal(found.features)
    if main:
        axes = tuple(f"component {n}, {share:.0%} of variance" for n, share in enumerate(main.shares, 1))
        planes.append(_scatter("PCA", (axes[0], axes[1]), main, words, classes))
    near = projections.neighbours(found.features[:_MOST_NEIGHBOURS])
    if near:
        caption = "Records that are like each other stand together; distances between heaps say nothing."
        if len(found.rows) > _MOST_NEIGHBOURS:
            caption += f" {_MOST_NEIGHBOURS:,} of the records."
        planes.append(_scatter("t-SNE", ("", ""), near, words, classes, caption))
    for heading in (h for h in _DISCRIMINATED if h in found.schemes):
        plane = projections.discriminant(found.features, known(found.schemes[heading]))
        if plane:
            caption = "The plane that sets these groups apart, of records that it was fitted to: it flatters."
            names = ("discriminant 1", "discriminant 2" if _groups(found, heading) > 2 else "what is left, component 1")
            planes.append(_scatter(f"LDA by {heading}", names, plane, words, classes, caption))
    return planes


def _groups(found: Sample, heading: str) -> int:
    return len({group for group in known(found.schemes[heading]) if group})


def _scatter(
    heading: str,
    axes: tuple[str, str],
    plane: projections.Projection,
    words: Sequence[str],
    classes: Sequence[str],
    caption: str = "",
) -> svg.Scatter:
    return svg.Scatter(heading, axes, [(float(x), float(y)) for x, y in plane.points], words, classes, caption)


def _words(found: Sample) -> list[str]:
    """What is told of each dot: its record, and the groups that it is in."""
    groups = zip(*found.schemes.values()) if found.schemes else ((),) * len(found.rows)
    return [f"{row['record_uid']}: {', '.join(of)}" for row, of in zip(found.rows, groups)]


def _classes(found: Sample) -> list[str]:
    """Each dot's CSS classes: a letter for each choice, and its group's place there."""
    columns = []
    for choice in choices(found):
        place = {name: number for number, (name, _) in enumerate(choice.names)}
        columns.append([f"{choice.letter}-{place[group]}" for group in found.schemes[choice.heading]])
    return [" ".join(row) for row in zip(*columns)] if columns else [""] * len(found.rows)


def told_table(found: Sample) -> explore.Table:
    """Returns what can be told from the features alone, each with its interval and with what guessing gives."""
    rows = [
        (heading, ", ".join(one.groups), one.accuracy, f"{one.low:.3f} to {one.high:.3f}", one.chance)
        for heading, one in found.told.items()
    ]
    words = (
        "Linear discriminants of the features, learned from some patients and asked about others: mean of the groups' "
        "own accuracies, with its 95 % interval over patients. What simple features tell, a network learns first."
    )
    header = ("what is told", "groups", "balanced accuracy", "95 % interval", "guessing")
    return explore.Table("What these features tell", header, rows, words)


def explained_table(found: Sample) -> explore.Table:
    """Returns the features of which the label explains most, with what site and view explain of them."""
    headings = [heading for heading in ("label", "site", "view", "manufacturer", "split") if heading in found.schemes]
    shares = {heading: projections.explained(found.table, known(found.schemes[heading])) for heading in headings}
    shares = {heading: of for heading, of in shares.items() if of.size and np.isfinite(of).all()}
    if not shares.keys() - {"split"}:
        return explore.Table("", (), ())
    first = next(iter(shares))
    order = np.argsort(-shares[first], kind="stable")[:_MOST_FEATURES]
    rows = [(found.names[n].replace("_", " "), *(float(of[n]) for of in shares.values())) for n in order]
    words = f"Share of a feature's variance that lies between the groups (eta squared), the highest by {first}."
    return explore.Table("Features that differ most", ("feature", *shares), rows, words)


def warnings(found: Sample) -> list[str]:
    """Returns what a reader must know: what goes together with the label and shows in the images; unlike splits."""
    said = []
    for heading in _ACQUIRED:
        strength, told = found.associations.get(heading, 0.0), found.told.get(heading)
        if strength < _STRONG:
            continue
        shows = f", and the images show it (balanced accuracy {told.accuracy:.2f})" if told and _beyond(told) else ""
        said.append(
            f"Label and {heading} go together (Cramér's V {strength:.2f}){shows}: a network may learn {heading} "
            f"instead. Read results by {heading}, too."
        )
    told = found.told.get("split")
    if told and _beyond(told):
        said.append(
            f"The splits look different: simple features tell them apart (balanced accuracy {told.accuracy:.2f}, "
            f"guessing {told.chance:.2f}). A temporal or geographic test set is meant to; a random one is not."
        )
    return said


def _beyond(told: projections.Told) -> bool:
    return told.low > told.chance + _BEYOND_CHANCE
