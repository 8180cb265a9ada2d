"""Which side of the split a patient is on, and which patients a run trains, validates and tests on.

`split_of` is a function of the patient alone, so adding patients moves none. `read`, `physical`, `chosen`, `patients`
read what a conversion wrote: `splits.json`, `patients.json`, `folds.json`. Folds do not move records between shards: a
fold is a set of patients, by which readers select records.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from radkit import config, outputs
from radkit.data.shards import SPLITS
from radkit.errors import UserError

SPLITS_JSON, PATIENTS_JSON, FOLDS_JSON = "splits.json", "patients.json", "folds.json"
_DEVELOPMENT = ("train", "validation")


def split_of(patient_id: str, shares: Sequence[float], seed: str) -> str:
    """Returns `train`, `validation` or `test` for all that belongs to a patient.

    Args:
        patient_id: The pseudonym.
        shares: Of train, validation and test; they add to 1.
        seed: Another seed deals the patients anew.

    >>> split_of("P1", (1.0, 0.0, 0.0), "radkit")
    'train'
    """
    at = place(f"{seed}\0{patient_id}")
    above = 0.0
    for split, share in zip(SPLITS, shares):
        above += share
        if at < above:
            return split
    return [split for split, share in zip(SPLITS, shares) if share > 0][-1]


def place(text: str) -> float:
    """Returns a number in [0, 1) that depends on the text alone: an order that is none of the input's."""
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def read(folder: Path) -> dict[str, Any]:
    """Returns what a data set says of its splits: `test_set` (its type and settings), shares, seed, counts.

    Of a data set that an older radkit wrote, which could only deal by hash, the same is said.

    Args:
        folder: The data set's version folder.

    Raises:
        UserError: The file is damaged.
    """
    if (folder / SPLITS_JSON).is_file():
        said = outputs.read_json(folder / SPLITS_JSON)
        if not isinstance(said, dict) or not isinstance(said.get("test_set"), dict) or "type" not in said["test_set"]:
            raise UserError(f"{folder / SPLITS_JSON} does not say of what type the test set is; convert again")
        return said
    return {"test_set": {"type": "random"}}


def told(said: Mapping[str, Any]) -> str:
    """Returns the type of a data set's test set in words, for every line and page that shows its figures.

    Args:
        said: From `read`.

    >>> told({"test_set": {"type": "temporal", "from": "2024-01-01"}})
    'temporal, from 2024-01-01'
    """
    test_set = said["test_set"]
    if test_set["type"] == "temporal":
        return f"temporal, from {test_set['from']}"
    if test_set["type"] == "geographic":
        return f"geographic, {' and '.join(test_set['sites'])}"
    if test_set["type"] == "explicit":
        return "explicit, as listed"
    by = said.get("stratify", ())
    return f"random, stratified by {' and '.join(by)}" if by else "random"


def physical(split: str, trainer: config.Trainer) -> tuple[str, ...]:
    """Returns the splits on the disk in which the records of `split` lie for a run of this fold.

    Args:
        split: `train`, `validation` or `test`, as the run sees it.
        trainer: Its `fold` and `test_fold`; -1 and -1: as the records were split.

    >>> physical("train", config.Trainer(fold=2)), physical("test", config.Trainer(fold=2))
    (('train', 'validation'), ('test',))
    """
    of_fold = trainer.fold >= 0 if split in _DEVELOPMENT else trainer.test_fold >= 0
    return _DEVELOPMENT if of_fold else (split,)


def chosen(folder: Path, split: str, trainer: config.Trainer) -> frozenset[str] | None:
    """Returns the pseudonymous patients whose records make up `split` for a run of this fold.

    Args:
        folder: The data set's version folder.
        split: `train`, `validation` or `test`, as the run sees it.
        trainer: Its `repeat`, `fold` and `test_fold`.

    Returns:
        Patients of `physical(split, trainer)`; None: all of them.

    Raises:
        UserError: The data set has no such folds.
    """
    if physical(split, trainer) == (split,):
        return None
    folds = _folds(folder, trainer)
    if split == "train":
        return frozenset(p for p, fold in folds.items() if fold not in (trainer.fold, trainer.test_fold))
    wanted = trainer.fold if split == "validation" else trainer.test_fold
    return frozenset(patient for patient, fold in folds.items() if fold == wanted)


def patients(folder: Path, split: str, trainer: config.Trainer) -> list[str]:
    """Returns the pseudonymous patients of `split` for a run of this fold, sorted: what its manifest keeps.

    Raises:
        UserError: As `chosen`.
    """
    found = chosen(folder, split, trainer)
    return sorted(outputs.read_json(folder / PATIENTS_JSON)[split] if found is None else found)


def _folds(folder: Path, trainer: config.Trainer) -> dict[str, int]:
    """Returns the fold of each development patient in the trainer's repeat."""
    if not (folder / FOLDS_JSON).is_file():
        raise UserError(
            f"a run of trainer.fold={trainer.fold} and test_fold={trainer.test_fold} asks for folds, and {folder} has "
            f"none ({FOLDS_JSON}); convert again with data.split.folds, let radkit train --folds deal them, "
            "or leave both at -1"
        )
    said = outputs.read_json(folder / FOLDS_JSON)
    for name, value, count in (
        ("repeat", trainer.repeat, said["repeats"]),
        ("fold", trainer.fold, said["folds"]),
        ("test_fold", trainer.test_fold, said["folds"]),
    ):
        if value >= count:
            raise UserError(f"trainer.{name}={value}: {folder} has {count}, from 0 to {count - 1}; name one of these")
    if trainer.fold < 0 or trainer.fold == trainer.test_fold:
        raise UserError(
            f"trainer.test_fold={trainer.test_fold} needs another fold to validate on; trainer.fold is {trainer.fold}"
        )
    return {patient: dealt[trainer.repeat] for patient, dealt in said["patients"].items()}
