"""The end of `anonymize`: duplicates settled, lists written, a sample looked through, and the word to the person."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from beam_jobs import anonymize_batch
from radkit import outputs, program
from radkit.deid import dicomdir, files, link_tables, part10
from radkit.deid import verify as verification
from radkit.deid.settings import PIXELS, Settings
from radkit.deid.text_in_pixels import review
from radkit.errors import UserError

CLOSING = "closing"  # stands while an output is not as its batches left it, and not yet finished
MOST_SAMPLED = 100
MOST_SHOWN = 2000  # pictures that a browser still scrolls through
_MOST_TOLD = 50


def write(
    root: Path,
    settings: Settings,
    tables: Sequence[link_tables.Table],
    path_digests: Sequence[str],
    *,
    escrow: bool = False,
) -> None:
    """Makes of the batches' outcomes what the output holds beside its instances.

    Args:
        root: The folder that the batches wrote to.
        settings: Of the run.
        tables: What goes with the images.
        path_digests: Keyed digests of the inputs' names, in the listing's order.
        escrow: Whether the originals stand in each instance, encrypted.
    """
    (root / CLOSING).touch()
    parts = sorted((root / anonymize_batch.PARTS).glob("*.json"))
    outcomes: list[dict[str, Any]] = [row for part in parts for row in json.loads(part.read_text(encoding="utf-8"))]
    outcomes.sort(key=lambda outcome: int(outcome["number"]))
    reasons = _settle(root, outcomes)
    listed = [(number, path_digests[number - 1], reason) for number, reason in reasons.items()]
    outputs.write_csv(root / outputs.QUARANTINE, ("input_number", "path_digest", "reason"), listed)
    for table in tables:
        outputs.write_csv(root / table.name, table.header, table.rows)
    kept = [o for o in outcomes if "place" in o and o["number"] not in reasons and not o["duplicate"]]
    directories = sum("directory" in outcome for outcome in outcomes)
    if directories and kept:
        dicomdir.write(root, sorted(outcome["place"] for outcome in kept))
    if PIXELS in settings.options:
        rows = [o["masked"] for o in kept if "masked" in o][:MOST_SHOWN]
        page = review.page(rows, untouched=sum(o["looked_at"] and "masked" not in o for o in kept))
        outputs.write_text(root / "pixels.html", page)
    sample = kept[:: -(-len(kept) // MOST_SAMPLED) or 1]
    found = sum(len(verification.file(root / outcome["place"], settings, escrow=escrow)) for outcome in sample)
    outputs.write_json(
        root / "summary.json",
        {
            "files": len(outcomes),
            "written": len(kept),
            "patients": len({o["place"].split("/")[0] for o in kept}),
            "duplicates": sum(o["duplicate"] for o in outcomes),
            "directories": directories,
            "quarantined": len(reasons),
            "quarantined_by_reason": dict(Counter(reasons.values())),
            "pixels_with_text_not_looked_at": sum(o["pixels_with_text"] for o in kept),
            "pixels_looked_at": sum(o["looked_at"] for o in kept),
            "pixels_with_text_masked": sum("masked" in o for o in kept),
            "defaced": sum(o["defaced"] for o in kept),
            "attributes_removed": sum(o["removed"] for o in kept),
            "attributes_replaced": sum(o["replaced"] for o in kept),
            "verified": len(sample),
            "verified_findings": found,
        },
    )


def tidy(root: Path) -> None:
    """Removes what only the run itself needed."""
    for name in (anonymize_batch.PARTS, anonymize_batch.VAULT):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / CLOSING).unlink()


def _settle(root: Path, outcomes: list[dict[str, Any]]) -> dict[int, str]:
    """Decides between files of one SOPInstanceUID, marks duplicates; returns the reason of each file set aside."""
    reasons = {o["number"]: o["reason"] for o in outcomes if "reason" in o}
    written = [(o["number"], o["place"], o["aside"]) for o in outcomes if "place" in o]
    same, different = files.settle(root, written)
    for outcome in outcomes:
        outcome["duplicate"] = outcome["number"] in same
    return dict(sorted({**reasons, **dict.fromkeys(different, files.OTHER_CONTENT)}.items()))


def close(output: Path, tables: Sequence[link_tables.Table]) -> int:
    """Says what is there and returns the exit status."""
    summary = outputs.read_json(output / "summary.json")
    for table in tables:
        dropped = f"; columns left out: {', '.join(table.dropped)}" if table.dropped else ""
        print(f"anonymize: {table.name}: {len(table.rows)} rows{dropped}")
    if summary["pixels_with_text_not_looked_at"]:
        print(
            f"anonymize: {summary['pixels_with_text_not_looked_at']} instances may show text in their pixels; "
            f"they were not looked at (--options={PIXELS} looks)"
        )
    if summary["verified_findings"]:
        print(f"anonymize: {summary['verified_findings']} findings in its own output; run --verify and tell us")
    print(
        f"anonymize: {summary['files']} files, {summary['written']} written, {summary['duplicates']} duplicates, "
        f"{summary['quarantined']} set aside -> {output}"
    )
    return program.QUARANTINED if summary["quarantined"] or summary["verified_findings"] else program.DONE


def verify(folder: Path, settings: Settings | None, *, escrow: bool = False) -> int:
    """Looks through every DICOM file of a folder and says what the profile would still take out; never a value.

    Args:
        folder: Any; files are told by their place in its sorted listing, as their names may name a patient.
        settings: What it should conform to; what each file says of itself if left out.
        escrow: Whether encrypted originals may stand in it.
    """
    if not folder.is_dir():
        raise UserError(f"--verify {folder} is not a folder; name one")
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and _is_instance(path))
    if not paths:
        raise UserError(f"--verify {folder} holds no DICOM files; name a folder with some")
    wrong, told = 0, 0
    of_directory = settings
    if settings is None and any(path.name == dicomdir.NAME for path in paths):  # which cannot say it of itself
        of_directory = Settings(frozenset().union(*map(verification.said, paths[:MOST_SAMPLED])))
    for number, path in enumerate(tqdm(paths, desc="verify", unit="file", mininterval=0.5), start=1):
        chosen = of_directory if path.name == dicomdir.NAME else settings
        findings = verification.file(path, chosen, escrow=escrow)
        wrong += bool(findings)
        for finding in findings[: max(_MOST_TOLD - told, 0)]:
            print(f"verify: file {number}: {finding.path}: {finding.what}")
        told += len(findings)
    if told:
        print("verify: files are numbered from 1 in the order of their paths; values are not told")
    if told > _MOST_TOLD:
        print(f"verify: {told - _MOST_TOLD} further findings")
    print(f"verify: {len(paths)} DICOM files, {wrong} with findings, {told} findings")
    return program.QUARANTINED if told else program.DONE


def _is_instance(path: Path) -> bool:
    """Tells DICOM files, as `anonymize` reads them, from what else a folder holds."""
    with path.open("rb") as file:
        head = file.read(132)
    return head[128:] == b"DICM" or head[:2] in part10.FIRST_BYTES or path.suffix == ".dcm"
