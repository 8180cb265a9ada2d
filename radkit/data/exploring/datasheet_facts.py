"""What is known of a data set, as sentences and tables of a datasheet: from the files that its conversion left."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radkit import config, outputs
from radkit.data import shards, splits
from radkit.data.figures import tallies
from radkit.dicom.findings import KINDS

Table = tuple[tuple[str, ...], Sequence[tuple[Any, ...]]]  # header and rows
Fact = str | Table
_MOST = 20  # rows of a table
_GROUPS = {
    "site": "site", "manufacturer": "manufacturer", "view_position": "view", "sex": "sex", "age_band": "age (years)",
}  # fmt: skip
_TELLS = ("modality", "manufacturer", "manufacturer_model", "body_part", "view_position", "laterality", "kernel", "sex")


def figures(folder: Path, found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the data set in a few figures: (name, value)."""
    held = [(split, found.get(split, {})) for split in shards.SPLITS]
    return [
        ("records", f"{sum(int(part.get('records', 0)) for _, part in held):,}"),
        ("patients", f"{sum(int(part.get('patients', 0)) for _, part in held):,}"),
        *((split, f"{int(part.get('records', 0)):,}") for split, part in held),
        ("test set", splits.told(splits.read(folder)).split(",")[0]),
    ]


def records(folder: Path, data: config.Data, found: Mapping[str, Any]) -> list[Fact]:
    """Returns what a record is, and how many there are."""
    fields = len(_json(folder / "features.json").get("featuresDict", {}).get("features", ()))
    one = "volume (a series of slices)" if data.kind == "volume" else "radiograph"
    rows = [
        (split, part["records"], part["patients"], _axes(part.get("size")), _axes(part.get("spacing_mm")))
        for split in shards.SPLITS
        if (part := found.get(split, {})).get("records")
    ]
    header = ("split", "records", "patients", "size, median (least to most)", "spacing in mm, median (least to most)")
    listed = "fields.md" if (folder / "fields.md").is_file() else "features.json"
    what = f"One record is one {one} with {fields} fields; `{listed}` lists them."
    return [what, (header, rows)]


def _axes(axes: Sequence[Mapping[str, float | None]] | None) -> str:
    said = []
    for axis in axes or ():
        low, middle, high = axis["min"], axis["median"], axis["max"]
        if low is None or high is None or middle is None:
            said.append("unknown")
        else:
            said.append(f"{middle:g}" if low == high else f"{middle:g} ({low:g} to {high:g})")
    return " x ".join(said) if set(said) != {"unknown"} else "unknown"


def labels(data: config.Data, found: Mapping[str, Any]) -> list[Fact]:
    """Returns what records are labelled with, and how many have which label."""
    facts: list[Fact] = []
    if data.label:
        facts.append(f"Each record has a label, column `{data.label}`: {_kind(data)}.")
        facts += _label_tables(data, found)
    if data.mask_labels:
        header = ("mask label", *(f"{split}: records" for split in shards.SPLITS))
        of = {split: found.get(split, {}).get("mask", {}) for split in shards.SPLITS}
        rows = [(name, *(of[s].get(name, {}).get("records", 0) for s in shards.SPLITS)) for name in data.mask_labels]
        facts += ["Each record has a mask; this many hold at least a voxel of each label.", (header, rows)]
    if data.box_labels:
        header = ("box label", *(f"{split}: boxes" for split in shards.SPLITS))
        of = {split: found.get(split, {}).get("boxes", {}).get("by_class", {}) for split in shards.SPLITS}
        rows = [(name, *(of[s].get(name, {}).get("boxes", 0) for s in shards.SPLITS)) for name in data.box_labels]
        facts += ["Each record has boxes, or none where nothing is to be seen.", (header, rows)]
    if data.report:
        facts.append("Each record holds the text of its report, as the labels table had it.")
    return facts or ["Records have no labels, masks or boxes."]


def _kind(data: config.Data) -> str:
    names = ", ".join(data.class_names)
    unit = f", in {data.label_unit}" if data.label_unit else ""
    return {
        "class": f"one of {names}",
        "ordinal": f"one of {names}, in order of degree",
        "multi_label": f"yes, no or unknown for each of {names}",
        "regression": f"a number{unit}",
        "survival": f"a time{unit} to the event `{data.event}`, or to the last look without one",
    }[data.label_kind]


def _label_tables(data: config.Data, found: Mapping[str, Any]) -> list[Fact]:
    of = {split: found.get(split, {}).get("label", {}) for split in shards.SPLITS}
    if data.label_kind in ("class", "ordinal"):
        rows = [(name, *(of[s].get("counts", {}).get(name, 0) for s in shards.SPLITS)) for name in data.class_names]
        return [(("class", *shards.SPLITS), rows)]
    if data.label_kind == "multi_label":
        header = ("class", *(f"{split}: yes / no / unknown" for split in shards.SPLITS))
        return [(header, [(name, *(_flags(of[s], name) for s in shards.SPLITS)) for name in data.class_names])]
    header = ("split", "known", "events", "median", "least", "most")
    rows = []
    for split in shards.SPLITS:
        label = of[split].get("time", of[split])
        events = of[split].get("events", "-")
        rows.append((split, label.get("known", 0), events, *(_short(label.get(n)) for n in ("median", "min", "max"))))
    return [(header, rows)]


def _flags(label: Mapping[str, Any], name: str) -> str:
    flags = label.get("counts", {}).get(name, {})
    return " / ".join(f"{flags.get(flag, 0):,}" for flag in ("yes", "no", "unknown"))


def _short(number: Any) -> str:
    return "-" if number is None else f"{number:g}"


def standards(found: Mapping[str, Any]) -> list[Fact]:
    """Returns what labels and annotations rest on, and how many readers gave them."""
    facts: list[Fact] = []
    for what, named in (("label", "Labels"), ("annotation", "Masks and boxes")):
        rest, readers = (_counts(found, f"{what}_{of}") for of in ("reference_standard", "reader"))
        if not rest and not readers:
            continue
        told = {name: count for name, count in rest.items() if name != "unknown"}
        said = ", ".join(f"{name} ({count:,} records)" for name, count in sorted(told.items()))
        untold = f"; {rest['unknown']:,} records do not say" if told and rest.get("unknown") else ""
        facts.append(f"{named} rest on: {said or 'nobody says'}{untold}.")
        who = [name for name in readers if name != "unknown"]
        facts.append(f"{named} name {len(who):,} readers or groups of readers, by pseudonyms." if who else "")
    return [fact for fact in facts if fact]


def _counts(found: Mapping[str, Any], name: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for split in shards.SPLITS:
        total.update(found.get(split, {}).get(name, {}))
    return total


def population(found: Mapping[str, Any]) -> list[Fact]:
    """Returns whom and what machines the records are of, by split."""
    facts: list[Fact] = []
    for name, heading in _GROUPS.items():
        of = {split: found.get(split, {}).get("subgroups", {}).get(name, {}) for split in shards.SPLITS}
        groups = sorted({group for part in of.values() for group in part}, key=_rank)
        if not groups or groups == ["unknown"]:
            continue
        rows = [(group, *(_both(of[split].get(group)) for split in shards.SPLITS)) for group in groups]
        if len(rows) > _MOST:
            rows = [*rows[:_MOST], (f"and {len(rows) - _MOST} more", *("" for _ in shards.SPLITS))]
        facts.append(((heading, *(f"{split}: records (patients)" for split in shards.SPLITS)), rows))
    return facts or ["Headers and tables tell neither site, machine, view, sex nor age."]


def _rank(group: str) -> tuple[bool, int, str]:
    """Bands of age go up, all else by the alphabet; what is not known comes last."""
    bands = tallies.AGE_BANDS
    return group == tallies.UNKNOWN, bands.index(group) if group in bands else -1, group


def _both(group: Mapping[str, Any] | None) -> str:
    return f"{group['records']:,} ({group['patients']:,})" if group else "0"


def untold(found: Mapping[str, Any]) -> list[Fact]:
    """Returns what headers do not tell, and of how many records."""
    total = sum(int(found.get(split, {}).get("records", 0)) for split in shards.SPLITS)
    missing = [(name, _counts(found, name)["unknown"]) for name in (*_TELLS, "site") if _counts(found, name)]
    rows = [(name, f"{count:,} of {total:,}") for name, count in missing if count]
    for name in ("age_years", "slice_thickness_mm", "tube_voltage_kv", "field_strength_t"):
        count = sum(found.get(s, {}).get("numbers", {}).get(name, {}).get("unknown", 0) for s in shards.SPLITS)
        rows += [(name, f"{count:,} of {total:,}")] if count else []
    return [(("fact", "records that do not tell"), rows)] if rows else ["Every record tells all facts."]


def acquired(found: Mapping[str, Any]) -> list[Fact]:
    """Returns with which modalities, machines and when images were taken."""
    said: list[Fact] = []
    for name, heading in (("modality", "Modality"), ("manufacturer", "Manufacturer"), ("manufacturer_model", "Model")):
        counts = _counts(found, name).most_common()
        if [name for name, _ in counts] not in ([], ["unknown"]):
            listed = ", ".join(
                f"{value} ({count:,})" for value, count in sorted(counts, key=lambda c: (-c[1], c[0]))[:_MOST]
            )
            said.append(f"{heading} (records): {listed}.")
    ends = [found.get(split, {}).get("study_dates", {}) for split in shards.SPLITS]
    first = min((end["first"] for end in ends if end.get("first")), default="")
    last = max((end["last"] for end in ends if end.get("last")), default="")
    if first:
        said.append(
            f"Studies are dated {_date(first)} to {_date(last)}, as the images have it: de-identification may have "
            "moved dates."
        )
    else:
        said.append("Images tell no dates of studies: none were given, or de-identification removed them.")
    return said


def _date(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}" if len(day) == 8 else day


def divided(folder: Path, data: config.Data, found: Mapping[str, Any]) -> list[Fact]:
    """Returns how patients were split, and of what type the test set is."""
    said = splits.read(folder)
    shares = " / ".join(f"{share:g}" for share in said.get("shares", data.splits))
    shared = found.get("shared_patients", {}).get("count", 0)
    apart = f"Patients in two splits: {shared:,}." if shared else "No patient is in two splits."
    facts: list[Fact] = [
        f"Test set: {splits.told(said)}. {apart}",
        f"Shares asked for (train / validation / test): {shares}; seed `{said.get('seed', data.split_seed)}`.",
    ]
    if said.get("folds"):
        facts.append(f"Development patients are dealt into {said['folds']} folds, {said.get('repeats', 1)} times.")
    if said.get("left_out"):
        facts.append(f"Patients left out by the split's rules: {_listed(said['left_out'])}.")
    facts.append("Looks at the test split by `radkit evaluate` are counted in `test_looks.jsonl`.")
    return facts


def _listed(counts: Any) -> str:
    return (
        ", ".join(f"{name}: {count}" for name, count in sorted(counts.items()))
        if isinstance(counts, dict)
        else str(counts)
    )


def quality(folder: Path, found: Mapping[str, Any]) -> list[Fact]:
    """Returns what is known to be wrong: findings, anomalies, and what was set aside and why."""
    summary = _json(folder / "summary.json")
    facts: list[Fact] = []
    named = summary.get("findings_by_name", {})
    if named:
        rows = [
            (KINDS[n].title if n in KINDS else n, KINDS[n].severity if n in KINDS else "", c) for n, c in named.items()
        ]
        facts.append((("finding (`findings.csv`)", "severity", "count"), rows))
    wrong = Counter((a["name"], a["severity"]) for a in found.get("anomalies", ()))
    if wrong:
        rows = [(name, severity, count) for (name, severity), count in sorted(wrong.items())]
        facts.append((("anomaly (`anomalies.csv`)", "severity", "count"), rows))
    for key, name in (("left_out_by_reason", "left out by the config"), ("quarantined_by_reason", "set aside")):
        reasons = Counter(summary.get(key, {})).most_common(_MOST)
        facts += [((f"{name}: reason", "count"), list(reasons))] if reasons else []
    return facts or ["No findings, no anomalies, nothing set aside."]


def disagreements(folder: Path) -> list[Fact]:
    """Returns how many images readers disagree on."""
    path = folder / "adjudication.csv"
    if not path.is_file():
        return ["No disagreement of readers is recorded."]
    with path.open(newline="", encoding="utf-8") as file:
        images = {tuple(list(row.values())[:1]) for row in csv.DictReader(file)}
    return [f"Readers disagree on {len(images):,} images; `adjudication.csv` lists them."]


def made(folder: Path, data: config.Data) -> list[Fact]:
    """Returns what made the records, with the settings that are not radkit's own."""
    said = _json(folder / outputs.PROVENANCE)
    settings, usual = config.data_to_json(data), config.data_to_json(config.Data(dataset=data.dataset))
    changed = [(name, str(value)) for name, value in _flat(settings) if dict(_flat(usual)).get(name) != value]
    facts: list[Fact] = [
        f"`radkit {said.get('verb', 'convert')}`, version {said.get('radkit', 'unknown')}, record schema "
        f"{said.get('settings', {}).get('schema', 'unknown')}; `provenance.json` holds all settings, `inputs.csv` the "
        "SHA-256 of every file that was read.",
        f"Digest of all inputs: `{said['contents']}`." if "contents" in said else "",
        (("setting that differs from radkit's own", "value"), changed),
    ]
    return [*_source(folder), *(fact for fact in facts if fact)]


def _source(folder: Path) -> list[Fact]:
    """What made the DICOM that was converted, where the conversion kept it."""
    said = _json(folder / "source.json")
    if said.get("verb") != "anonymize":
        return []
    asked = said.get("settings", {})
    options = ", ".join(map(str, asked.get("options", ()))) or "none"
    return [
        f"Images were de-identified by `radkit anonymize` {said.get('radkit', '')}: profile "
        f"{asked.get('profile', 'unknown')}, mode {asked.get('mode', 'unknown')}, options: {options}, elements that "
        f"the standard does not list: {asked.get('unlisted', 'unknown')}."
    ]


def _flat(settings: Mapping[str, Any], above: str = "data") -> list[tuple[str, Any]]:
    found = []
    for name, value in sorted(settings.items()):
        found += _flat(value, f"{above}.{name}") if isinstance(value, Mapping) else [(f"{above}.{name}", value)]
    return found


def _json(path: Path) -> dict[str, Any]:
    return dict(outputs.read_json(path)) if path.is_file() else {}
