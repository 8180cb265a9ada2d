"""Deals the patients of a conversion: who is tested on, how the others are dealt, and into which folds.

A patient is never on two sides. With a test set by day or by site the cut is exact, too: where a patient has images on
both sides of it, `data.split.straddling` says which of them are taken, if any.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from radkit import config, outputs
from radkit.data import shards, splits
from radkit.data.contents import Unit
from radkit.data.shards import SPLITS
from radkit.data.splitting import patient_strata, patients_table, quotas, sides
from radkit.data.splitting.patient_strata import Kinds
from radkit.data.splitting.patients_table import Known
from radkit.data.splitting.sides import Image
from radkit.dicom.findings import Finding
from radkit.errors import UserError


@dataclass(frozen=True)
class Kept:
    """How an earlier conversion dealt its patients.

    Attributes:
        sides: Split by patient.
        folds: Folds by patient, one a repeat.
        num_folds: How many there were; 0: none.
    """

    sides: Mapping[str, str] = field(default_factory=dict)
    folds: Mapping[str, Sequence[int]] = field(default_factory=dict)
    num_folds: int = 0


@dataclass(frozen=True)
class Dealt:
    """Who is where.

    Attributes:
        units: Those that are taken, in the order given.
        split_of: Of each patient with such a unit.
        folds: Of each of them that is not the test's, one a repeat; empty without `data.split.folds`.
        left_out: How many units are not taken, by reason.
        patients_left_out: How many patients have no unit that is taken, by reason.
        said: What `splits.json` says of the settings.
        findings: What a person should know of it.
    """

    units: list[Unit]
    split_of: dict[str, str]
    folds: dict[str, list[int]]
    left_out: Counter[str]
    patients_left_out: dict[str, int]
    said: dict[str, Any]
    findings: list[Finding] = field(default_factory=list)


def read_kept(path: Path) -> Kept:
    """Returns how the patients of a data set were dealt.

    Args:
        path: Its folder, or its `patients.json`; the folds lie beside it.

    Raises:
        UserError: It is none, or not as convert wrote it.
    """
    held, folds = (outputs.read_json(one) if one.is_file() else {} for one in kept_files(path))
    if not isinstance(held, dict) or not held or not set(held) <= set(SPLITS):
        raise UserError(
            f"--keep_splits {path} is no data set's folder or {splits.PATIENTS_JSON} that convert wrote; name one"
        )
    try:
        places = [(patient, split) for split, patients in held.items() for patient in patients]
        kept = Kept(dict(places), folds.get("patients", {}), folds.get("folds", 0))
        is_sound = len(kept.sides) == len(places) and _are_folds(kept)
    except (AttributeError, TypeError):
        is_sound = False
    if not is_sound:
        raise UserError(
            f"--keep_splits {path}: {splits.PATIENTS_JSON} or {splits.FOLDS_JSON} is not as convert wrote it: each "
            "patient in one split, and in one fold a repeat; name a data set that nobody changed"
        )
    return kept


def _are_folds(kept: Kept) -> bool:
    return all(fold in range(kept.num_folds) for folds in kept.folds.values() for fold in folds)


def kept_files(path: Path) -> tuple[Path, Path]:
    """Returns the files by which `read_kept` goes; the second, the folds', need not be there."""
    patients = path / splits.PATIENTS_JSON if path.is_dir() else path
    if path.is_dir() and not patients.is_file():
        patients = shards.find_dataset(path) / splits.PATIENTS_JSON
    return patients, patients.with_name(splits.FOLDS_JSON)


def deal(
    units: Sequence[Unit],
    data: config.Data,
    known: Mapping[tuple[str, str], Known] | None = None,
    kept: Kept | None = None,
) -> Dealt:
    """Returns who is where.

    Args:
        units: Of the whole input.
        data: The config's data section.
        known: What is known of each unit, by patient and uid; what it says itself where it is not there.
        kept: Patients that stay where they were.

    Raises:
        UserError: What the config asks for is not known of some; a fold or the test set would be empty; or a patient
            that is kept would come to another side.
    """
    kept = kept or Kept()
    images = [Image(unit, _known(unit, known or {}, data)) for unit in units]
    chosen = sides.choose(images, data)
    taken = [(image, side) for image, side in zip(images, chosen.sides) if side]
    kinds = patient_strata.of([image for image, _ in taken], data)
    split_of = _split_of({image.unit.patient_id: side for image, side in taken}, kinds, data, kept)
    _refuse_moved(split_of, kept)
    developed = [patient for patient, split in split_of.items() if split != sides.TEST]
    return Dealt(
        [image.unit for image, _ in taken],
        split_of,
        _folds(developed, kinds, data, kept),
        chosen.left_out,
        chosen.patients_left_out,
        said(data),
        [Finding("remark", text) for text in chosen.remarks],
    )


def _known(unit: Unit, known: Mapping[tuple[str, str], Known], data: config.Data) -> Known:
    found = known.get((unit.patient_id, unit.uid))
    if found is not None:
        return found
    facts = {patients_table.STUDY_DATE: unit.study_date, **dict(unit.facts)}
    of_facts = patients_table.known(None, data, lambda keyword: facts.get(keyword, ""))
    return replace(of_facts, site=of_facts.site or unit.site)


def _split_of(side_of: Mapping[str, str], kinds: Kinds, data: config.Data, kept: Kept) -> dict[str, str]:
    """Returns the split of each patient, of whom the side is known."""
    found = {patient: side for patient, side in side_of.items() if side != sides.DEVELOPMENT}
    others = [patient for patient, side in side_of.items() if side == sides.DEVELOPMENT]
    names, shares = list(SPLITS), tuple(data.splits)
    if data.split.test != "random":
        shares = tuple(share / (shares[0] + shares[1]) for share in shares[:2])
        names = names[:2]
    stays = {patient: side for patient, side in kept.sides.items() if side in names}

    def by_hash(patient: str) -> str:
        return splits.split_of(patient, shares, data.split_seed)

    return found | _dealt(others, kinds, _Deal(names, shares, data.split_seed, by_hash), stays)


@dataclass(frozen=True)
class _Deal:
    """To what patients are dealt.

    Attributes:
        names: Of the sides or folds.
        shares: Of each.
        seed: Of the order within a kind of patient.
        by_hash: Which one a patient falls to where kinds do not matter.
    """

    names: Sequence[str]
    shares: Sequence[float]
    seed: str
    by_hash: Callable[[str], str]


def _dealt(patients: Sequence[str], kinds: Kinds, how: _Deal, stays: Mapping[str, str]) -> dict[str, str]:
    exact = quotas.shares_of(how.shares)
    if kinds.tags is not None:
        return quotas.deal_tags({p: kinds.tags[p] for p in patients}, how.names, exact, how.seed, stays)
    if kinds.stratum is not None:
        return quotas.deal({p: kinds.stratum[p] for p in patients}, how.names, exact, how.seed, stays)
    return {patient: stays.get(patient) or how.by_hash(patient) for patient in patients}


def _refuse_moved(split_of: Mapping[str, str], kept: Kept) -> None:
    moved = [patient for patient, side in kept.sides.items() if split_of.get(patient, side) != side]
    if moved:
        raise UserError(
            f"--keep_splits: {len(moved)} of {len(kept.sides)} patients would come to another side by what data.split "
            "says now, as from the test set into training; keep the test set as it was, or leave --keep_splits out"
        )


def _folds(patients: Sequence[str], kinds: Kinds, data: config.Data, kept: Kept) -> dict[str, list[int]]:
    """Returns the fold of each patient in each repeat."""
    count, repeats = data.split.folds, data.split.repeats
    found: dict[str, list[int]] = {patient: [] for patient in patients} if count else {}
    for repeat in range(repeats if count else 0):
        seed = f"{data.split_seed}\0fold {repeat}"
        stays = {
            p: str(folds[repeat]) for p, folds in kept.folds.items() if kept.num_folds == count and repeat < len(folds)
        }
        names = [str(fold) for fold in range(count)]

        def by_hash(patient: str, seed: str = seed) -> str:
            return str(int(splits.place(f"{seed}\0{patient}") * count))

        dealt = _dealt(patients, kinds, _Deal(names, [1.0] * count, seed, by_hash), stays)
        if empty := sorted(set(names) - set(dealt.values())):
            raise UserError(
                f"data.split.folds={count}: fold {empty[0]} of repeat {repeat} has none of the {len(patients)} "
                "patients; fewer folds, or data.split.stratify, which makes folds of one size"
            )
        for patient, fold in dealt.items():
            found[patient].append(int(fold))
    return found


def said(data: config.Data) -> dict[str, Any]:
    """Returns what `splits.json` says of the settings: the test set's type, shares, seed, strata, folds."""
    split = data.split
    kind: dict[str, Any] = {"type": split.test}
    if split.test == "temporal":
        kind |= {"from": split.test_from, "straddling": split.straddling}
    if split.test == "geographic":
        kind |= {"sites": sorted(split.test_sites), "straddling": split.straddling}
    return {
        "test_set": kind,
        "shares": list(data.splits),
        "seed": data.split_seed,
        "stratify": list(split.stratify),
        "folds": split.folds,
        "repeats": split.repeats if split.folds else 0,
    }
