"""`datasheet.md`: what a data set is, for those who did not make it. Facts are filled in; persons answer the rest.

The sections are those of Gebru et al. 2021, Datasheets for Datasets, doi:10.1145/3458723; the questions are ours, for
images of patients. A person's answers stay when the file is written again: each stands between two marks.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from radkit import config
from radkit.data.exploring import datasheet_facts
from radkit.data.exploring.datasheet_facts import Fact, figures
from radkit.errors import UserError

__all__ = ["figures", "page"]

_OPEN = "_Nobody has answered yet._"
# Section: the questions that only a person can answer, by the name of their mark.
_QUESTIONS = {
    "Motivation": {
        "purpose": "What was the data set made for: which clinical question, which patients, which use?",
        "makers": "Who made it, for which institution, and who paid for it?",
    },
    "Composition": {
        "sampling": "Are these all patients of a place and time, or a selection? Who is missing, and why?",
        "represents": "Whom does it represent, and whom not (age, sex, ethnicity, severity, scanners, countries)?",
    },
    "Collection": {
        "source": "Where do the images come from, how were patients found, and by whom?",
        "ethics": "Which ethics board or data protection officer approved it, under which number?",
        "consent": "Did patients consent, were they told, and how can they withdraw?",
    },
    "Labels": {
        "reading": "Who read the images (training, years), with which protocol, blinded to what, on which display?",
        "agreement": "How well do readers agree, and who decided where they did not?",
    },
    "Processing": {
        "deidentification": "How were images, texts and dates de-identified, and who checked it?",
        "raw": "Is the original kept, where, and who may see it?",
    },
    "Uses": {
        "used": "What has it been used for, and with which result?",
        "not_for": "What must it not be used for? Which shortcuts does it invite (see `explore.html`)?",
    },
    "Distribution": {
        "licence": "Under which licence or agreement may it be used, and by whom? radkit does not know.",
        "passed_on": "Is it passed on to others, how, and what are they bound to?",
    },
    "Maintenance": {
        "contact": "Who looks after it, and how are they reached?",
        "changes": "How are errors mended and patients taken out, and how do users learn of it?",
    },
}


def page(folder: Path, data: config.Data, found: Mapping[str, Any], earlier: str = "") -> str:
    """Returns the text of `datasheet.md`.

    Args:
        folder: The data set's; its `provenance.json`, `summary.json`, `splits.json` are read where they are there.
        data: The config's data section.
        found: What `statistics.json` says.
        earlier: The file as it is, with persons' answers.
    """
    answers = answered(earlier)
    lines = [
        f"# Datasheet: {data.dataset} {data.version}",
        "Facts were filled in by `radkit statistics`; what only a person knows is asked. Write answers between "
        "the marks: they stay when the file is made again.",
        _bullets(figures(folder, found)),
    ]
    facts = _facts(folder, data, found)
    for section, questions in _QUESTIONS.items():
        lines.append(f"## {section}")
        lines += [_fact(fact) for fact in facts.get(section, ())]
        lines += [_question(name, question, answers.pop(name, _OPEN)) for name, question in questions.items()]
    kept = [
        _question(name, "An answer to a question that this version does not ask", text)
        for name, text in answers.items()
    ]
    return "\n\n".join([*lines, *(["## Other answers", *kept] if kept else [])]) + "\n"


def earlier(path: Path) -> str:
    """Returns a datasheet's text, that persons may have written into; empty where there is none.

    Raises:
        UserError: It is no text: their answers would be lost.
    """
    try:
        return path.read_text(encoding="utf-8") if path.exists() else ""
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"{path} is no text in UTF-8; save it as such, its answers are kept then") from error


def _facts(folder: Path, data: config.Data, found: Mapping[str, Any]) -> dict[str, list[Fact]]:
    of = datasheet_facts
    return {
        "Composition": [
            *of.records(folder, data, found), *of.labels(data, found),
            *of.divided(folder, data, found), *of.population(found),
            "Not told by the headers:", *of.untold(found),
            "Findings, anomalies, and what was left out:", *of.quality(folder, found),
            "Identifiers of patients, studies, series and images are pseudonyms. Pixels may still identify a person "
            "(faces, implants, writing).",
        ],
        "Collection": of.acquired(found),
        "Labels": [*of.standards(found), *of.disagreements(folder)],
        "Processing": of.made(folder, data),
        "Maintenance": [f"Version {data.version}. The same inputs and settings give the same bytes."],
    }  # fmt: skip


def answered(text: str) -> dict[str, str]:
    """Returns what persons wrote into a datasheet, by the name of the mark; open questions are left out.

    >>> answered("<!-- answer: purpose -->\\nTriage.\\n<!-- end -->")
    {'purpose': 'Triage.'}
    """
    found = re.findall(r"<!-- answer: (\w+) -->\n(.*?)\n?<!-- end -->", text, re.DOTALL)
    return {name: words.strip() for name, words in found if words.strip() not in ("", _OPEN)}


def _question(name: str, question: str, answer: str) -> str:
    return f"**{question}**\n\n<!-- answer: {name} -->\n{answer}\n<!-- end -->"


def _bullets(pairs: list[tuple[str, str]]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in pairs)


def _fact(fact: Fact) -> str:
    if isinstance(fact, str):
        return _plain(fact)
    header, rows = fact
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return _plain(f"{value:,}" if isinstance(value, int) else str(value)).replace("|", "\\|")


def _plain(words: str) -> str:
    """Text of headers and tables must become neither markup nor links, nor pictures that a viewer would fetch."""
    one_line = " ".join(words.split())
    return one_line.replace("&", "&amp;").replace("<", "&lt;").replace("\\", "\\\\").replace("[", "\\[")
