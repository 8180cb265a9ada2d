"""Turns the standard into the compact tables that de-identification reads; each lies as JSON beside this module.

    python -m radkit.deid.generate_tables STANDARD.json [HIGHDICOM_STANDARD_FOLDER]

`STANDARD.json` is Annex E of DICOM PS3.15 as data: `edition`, `source`, its `sha256`, `options` and `cid7050`
(Table E.1-1's columns and their codes), `attributes` (Table E.1-1), `safe_private` (Table E.3.10-1) and
`sr_content_items` (Table E.3.4-1). It gives `profile.json`, `safe_private.json` and `concepts.json`.

The folder is `_standard` of an installed highdicom: PS3.3's modules as JSON. It gives `iods.json`. Without it that
table stays as it is. The same input gives the same tables, byte for byte.
Exit status: 0 written, 2 wrong use.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.sr import _snomed_dict  # pydicom's only list of SNOMED-RT codes and the SCT codes that replaced them

from radkit.errors import UserError

TARGET = Path(__file__).parent
NEEDED = ("edition", "source", "sha256", "options", "cid7050", "attributes", "safe_private", "sr_content_items")
MAPS = ("sop_class_iod_map.json", "iod_module_map.json", "module_attribute_map.json")

# PS3.16 CID 7050. The code's meaning says "Full Dates Option" where PS3.15's heading says "with Full Dates Option".
MEANINGS = {
    "113100": "Basic Application Confidentiality Profile",
    "113101": "Clean Pixel Data Option",
    "113102": "Clean Recognizable Visual Features Option",
    "113103": "Clean Graphics Option",
    "113104": "Clean Structured Content Option",
    "113105": "Clean Descriptors Option",
    "113106": "Retain Longitudinal Temporal Information Full Dates Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
    "113109": "Retain Device Identity Option",
    "113110": "Retain UIDs Option",
    "113111": "Retain Safe Private Option",
    "113112": "Retain Institution Identity Option",
}

# A condition that holds for this instance cannot be told, so 1C counts as 1: a dummy too many harms less than a file
# that is no longer valid. "None" are rows of services (printing, procedure steps) whose Type goes by the message;
# no stored object is made of such modules, so nothing in them must stay.
KINDS = {"1": "1", "1C": "1", "2": "2", "2C": "2", "3": "3", "None": "3"}
CONTENT = 0x0040A730  # ContentSequence


@dataclass
class _Entry:
    kind: str = "3"
    items: dict[int, "_Entry"] = field(default_factory=dict)
    endless: bool = False  # its items are of the kind of the item that it stands in


_Tree = dict[int, _Entry]


def profile(standard: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Returns Table E.1-1: rows `[keyword, VRs, basic action, {option: action}]` by tag, and the options' codes.

    Args:
        standard: The standard's data, as the module says.
        digest: SHA-256 of the file it was read from.
    """
    exact: dict[str, list[Any]] = {}
    masked: dict[str, list[Any]] = {}
    for attribute in standard["attributes"]:
        match = attribute["match"]
        if "rule" in match:  # "group is odd": private attributes, which no table can list
            continue
        tag = match["group"] + match["element"]
        whole = match["mask"] == "FFFFFFFF"
        name = tag if whole else f"{tag}/{match['mask']}"
        row = [attribute["keyword"], "/".join(attribute["vr"] or ()), *_actions(attribute)]
        (exact if whole else masked)[name] = row
    tables = {"attributes": dict(sorted(exact.items())), "masked": dict(sorted(masked.items()))}
    return {**_head(standard, digest), "codes": _codes(standard), **tables}


def safe_private(standard: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Returns Table E.3.10-1: `{element's low byte: VR}` by `"group creator"`; arguments as `profile`'s."""
    elements: dict[str, dict[str, str]] = {}
    for row in standard["safe_private"]:
        block = elements.setdefault(f"{row['group']} {row['private_creator']}", {})
        block[row["element_low"]] = row["vr"]
    return {
        **_head(standard, digest),
        "elements": {name: dict(sorted(block.items())) for name, block in sorted(elements.items())},
    }


def concepts(standard: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Returns Table E.3.4-1: `{value type: [basic action, {option: action}]}` by `"scheme code"`; see `profile`.

    `NCDR [2.0b]` is designator and version as PS3.16 prints them; in a file these are two attributes.
    """
    found: dict[str, dict[str, list[Any]]] = {}
    for row in standard["sr_content_items"]:
        name = f"{row['scheme'].split(' [')[0]} {row['code']}"
        found.setdefault(name, {})[row["value_type"]] = _actions(row)
    new = {name.removeprefix("SCT ") for name in found if name.startswith("SCT ")}
    old = {code: to for code, to in _snomed_dict.mapping["SRT"].items() if to in new}
    rows = {name: dict(sorted(types.items())) for name, types in sorted(found.items())}
    return {**_head(standard, digest), "srt": dict(sorted(old.items())), "concepts": rows}


def iods(folder: Path, keywords: Mapping[str, int]) -> dict[str, Any]:
    """Returns the Types of all attributes of all SOP classes, at every path, each kind of item once.

    Args:
        folder: The folder that holds `MAPS`.
        keywords: Tags of keywords that pydicom's dictionary may lack.

    Returns:
        `sop_classes` (SOP class: IOD), `iods` (IOD: its modules' nodes) and `nodes`: the attributes of one kind of
        item as `TAG=TYPE` or `TAG=TYPE>ITEMS`, where ITEMS is a node's number, or `@` for the same node again;
        `left_out`, the keywords that are no tag and the modules that the maps name but lack.
    """
    contents = [_read(folder / name) for name in MAPS]
    sop_classes, modules_of, rows_of = (json.loads(content) for content in contents)
    used = {iod: sorted({row["key"] for row in modules_of[iod]}) for iod in sorted(set(sop_classes.values()))}
    modules = sorted({module for names in used.values() for module in names})
    unknown: set[str] = set()
    nodes: dict[str, int] = {}
    number = {}
    for module in modules:
        tree = _tree(rows_of.get(module, ()), keywords, unknown)
        _go_on(tree)
        if tree:
            number[module] = _number(tree, nodes)
    return {
        "source": "PS3.3 as the maps in highdicom's folder _standard: " + ", ".join(MAPS),
        "data_sha256": hashlib.sha256(b"".join(contents)).hexdigest(),
        "left_out": {"keywords": sorted(unknown), "modules": [name for name in modules if name not in rows_of]},
        "sop_classes": dict(sorted(sop_classes.items())),
        "iods": {iod: sorted({number[name] for name in names if name in number}) for iod, names in used.items()},
        "nodes": list(nodes),
    }


def text(table: Mapping[str, Any]) -> str:
    """Returns a table as JSON with one row a line, so that a new edition reads well as a diff."""
    parts = []
    for name, value in table.items():
        said = json.dumps(value)
        if isinstance(value, dict) and value:
            rows = [f"  {json.dumps(key)}: {json.dumps(row)}" for key, row in value.items()]
            said = "{\n" + ",\n".join(rows) + "\n }"
        elif isinstance(value, list) and value:
            said = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in value) + "\n ]"
        parts.append(f" {json.dumps(name)}: {said}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _actions(row: Mapping[str, Any]) -> list[Any]:
    return [row["basic"], dict(sorted(row["options"].items()))]


def _head(standard: Mapping[str, Any], digest: str) -> dict[str, str]:
    return {name: standard[name] for name in ("edition", "source", "sha256")} | {"data_sha256": digest}


def _codes(standard: Mapping[str, Any]) -> dict[str, list[str]]:
    codes = {name: standard["cid7050"][name] for name in ("BasicProfile", *standard["options"])}
    new = sorted(set(codes.values()) - set(MEANINGS))
    if new:
        raise UserError(f"CID 7050 has codes without a known meaning: {', '.join(new)}; add them to MEANINGS")
    return {name: [code, MEANINGS[code]] for name, code in codes.items()}


def _tree(rows: Iterable[Mapping[str, Any]], keywords: Mapping[str, int], unknown: set[str]) -> _Tree:
    """Returns one module's attributes as a tree; keywords that are no tag go to `unknown`."""
    root: _Tree = {}
    for row in rows:
        path = [*row["path"], row["keyword"]]
        tags = [tag_for_keyword(keyword) or keywords.get(keyword, 0) for keyword in path]
        if not all(tags):
            unknown.update(keyword for keyword, tag in zip(path, tags) if not tag)
            continue
        if row["type"] not in KINDS:
            raise UserError(f"{row['keyword']} is of Type {row['type']!r}; Types are {', '.join(KINDS)}")
        place = root
        for tag in tags[:-1]:
            place = place.setdefault(tag, _Entry()).items
        entry = place.setdefault(tags[-1], _Entry())
        entry.kind = min(entry.kind, KINDS[row["type"]])
    return root


def _go_on(tree: _Tree) -> None:
    """Lets content items nest without end: the maps stop after one or two levels of them (PS3.3 C.17.3)."""
    for tag, entry in tree.items():
        kinds = []
        while tag == CONTENT and (inner := entry.items.pop(CONTENT, None)):
            kinds.append(inner.kind)
            _merge(entry.items, inner.items)
        _go_on(entry.items)
        if tag == CONTENT:
            entry.items[CONTENT] = _Entry(min(kinds, default=entry.kind), endless=True)


def _merge(into: _Tree, other: _Tree) -> None:
    for tag, entry in other.items():
        mine = into.setdefault(tag, _Entry())
        mine.kind = min(mine.kind, entry.kind)
        _merge(mine.items, entry.items)


def _number(tree: _Tree, nodes: dict[str, int]) -> int:
    """Returns the number of this kind of item among `nodes`, to which it is added when it is new."""
    parts = []
    for tag, entry in sorted(tree.items()):
        items = ">@" if entry.endless else f">{_number(entry.items, nodes)}" if entry.items else ""
        parts.append(f"{tag:08X}={entry.kind}{items}")
    return nodes.setdefault(" ".join(parts), len(nodes))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; see the module's docstring for what to give") from error


def _write(name: str, table: Mapping[str, Any]) -> None:
    (TARGET / name).write_text(text(table), encoding="utf-8")
    sizes = [f"{len(rows)} {heading}" for heading, rows in table.items() if isinstance(rows, dict | list)]
    print(f"{name}: {', '.join(sizes)}")


def _generate(standard: Path, folder: Path | None) -> None:
    content = _read(standard)
    read = json.loads(content)
    missing = [name for name in NEEDED if name not in read]
    if missing:
        raise UserError(f"{standard} lacks {', '.join(missing)}; give Annex E of PS3.15 as data")
    makers: dict[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
        "profile.json": profile,
        "safe_private.json": safe_private,
        "concepts.json": concepts,
    }
    tables = {name: make(read, hashlib.sha256(content).hexdigest()) for name, make in makers.items()}
    if folder is not None:
        keywords = {row[0]: int(tag, 16) for tag, row in tables["profile.json"]["attributes"].items()}
        tables["iods.json"] = iods(folder, keywords)
    for name, table in tables.items():  # only when all could be made
        _write(name, table)


def main(argv: Sequence[str]) -> int:
    """Writes the tables beside this module and returns the exit status."""
    if len(argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        _generate(Path(argv[1]), Path(argv[2]) if len(argv) == 3 else None)
    except UserError as error:
        print(f"generate_tables: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
