"""Folds of records that were converted without any: dealt once, written where a conversion would have written them."""

from pathlib import Path

from radkit import config, outputs
from radkit.data import splits
from radkit.data.splitting import quotas
from radkit.errors import UserError


def require(folder: Path, data: config.Data, num_folds: int) -> None:
    """Sees to it that a data set has so many folds; where it has none its patients are dealt, and stay so dealt.

    All patients that are not tested on are dealt, by a hash of pseudonym and `data.split_seed`, into folds whose sizes
    differ by one at most, `data.split.repeats` times. Records stay where they are.

    Args:
        folder: The data set's version folder; `folds.json` is written there.
        data: The config's data section.
        num_folds: 2 or more.

    Raises:
        UserError: It has another number of folds, `data.split.stratify` asks for strata, which only a conversion
            knows, there are fewer patients than folds, or nothing can be written there.
    """
    path = folder / splits.FOLDS_JSON
    if path.is_file():
        found = outputs.read_json(path)["folds"]
        if found != num_folds:
            raise UserError(
                f"{folder} is dealt into {found} folds, and {num_folds} are asked for; take --folds {found}, or "
                f"convert again with data.split.folds={num_folds}"
            )
        return
    if strata := (data.split.stratify or tuple(splits.read(folder).get("stratify", ()))):
        raise UserError(
            f"{folder} has no folds, and data.split.stratify names {' and '.join(strata)}, by which only a conversion "
            f"can deal; convert again with data.split.folds={num_folds} (--keep_splits moves nobody)"
        )
    try:
        outputs.write_json(path, _dealt(folder, data, num_folds))
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}): who is in which fold must be kept beside the records; make "
            f"the folder writable once, or convert again with data.split.folds={num_folds}"
        ) from error


def _dealt(folder: Path, data: config.Data, num_folds: int) -> dict[str, object]:
    """Returns what `folds.json` holds."""
    sides = outputs.read_json(folder / splits.PATIENTS_JSON)
    patients = sorted({*sides["train"], *sides["validation"]})
    if len(patients) < num_folds:
        raise UserError(f"{folder} has {len(patients)} patients outside the test split, too few for {num_folds} folds")
    names, shares = [str(fold) for fold in range(num_folds)], quotas.shares_of([1.0] * num_folds)
    repeats = [
        quotas.deal(dict.fromkeys(patients, ""), names, shares, f"{data.split_seed}\0fold {repeat}", {})
        for repeat in range(data.split.repeats)
    ]
    folds = {patient: [int(dealt[patient]) for dealt in repeats] for patient in patients}
    return {"folds": num_folds, "repeats": len(repeats), "patients": folds}
