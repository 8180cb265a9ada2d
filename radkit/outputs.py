"""Output folders that are absent or complete, never half: written aside, renamed at the end.

Each finished folder holds `provenance.json` (which verb, which settings, which inputs, which radkit). A second
run with the same provenance is done at once; anything else in the way is refused, never overwritten.
"""

import contextlib
import csv
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import radkit
from radkit.errors import Unfinished, UserError

PROVENANCE = "provenance.json"
QUARANTINE = "quarantine.csv"
BESIDE_DATA = ("audit", "conflicts")  # folders of an output that are about its data
_PLANNED = "provenance.planned.json"  # of a folder that is not finished


def provenance(verb: str, settings: Mapping[str, Any], inputs: str) -> dict[str, Any]:
    """Returns what `provenance.json` says: the same run gives the same text, byte for byte.

    Args:
        verb: The radkit verb that writes the folder.
        settings: Everything that decides the output, as plain JSON values; no paths, no times, no secrets.
        inputs: Digest of the input (see `digest_of_files`).
    """
    return {
        "verb": verb,
        "radkit": radkit.__version__,
        "settings": json.loads(json.dumps(settings)),
        "inputs": inputs,
    }


def digest_of_files(paths: Iterable[Path], root: Path) -> str:
    """Returns a SHA-256 over relative names and contents, whatever the order they are listed in."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(os.fsencode(path.relative_to(root).as_posix()) + b"\0")
        digest.update(_digest_of_file(path))
    return digest.hexdigest()


def digest_of_names(paths: Iterable[Path], root: Path) -> str:
    """Returns a SHA-256 over relative names and sizes: what can be had of millions of files in seconds."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        # Names need not be UTF-8: old archives carry other encodings.
        digest.update(os.fsencode(path.relative_to(root).as_posix()) + f"\0{path.stat().st_size}\n".encode())
    return digest.hexdigest()


def _digest_of_file(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def already_done(output: Path, expected: Mapping[str, Any]) -> bool:
    """Tells whether `output` is the finished result of this very run.

    Raises:
        UserError: The folder is there and is something else.
    """
    if not output.exists():
        return False
    if not output.is_dir():
        raise UserError(f"--output {output} is a file; name a folder that does not exist yet")
    if not any(output.iterdir()):
        return False
    found = read_provenance(output)
    if found is None:
        raise UserError(f"--output {output} exists and radkit did not write it; name another folder")
    if found != dict(expected):
        differing = [k for k in expected if found.get(k) != expected[k]] or ["more"]
        raise UserError(
            f"--output {output} holds a run of {found.get('verb')!r} that differs in {', '.join(differing)}; "
            "remove it or name another folder"
        )
    return True


def read_provenance(folder: Path) -> dict[str, Any] | None:
    """Returns the folder's provenance, or None when radkit did not write it."""
    try:
        read = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return read if isinstance(read, dict) and "verb" in read else None


@contextlib.contextmanager
def staged(output: Path, record: Mapping[str, Any], *, resumes: bool = False) -> Iterator[Path]:
    """Yields a folder beside `output` to write into; on success it becomes `output`, on failure it goes.

    An `Unfinished` failure leaves it where `resumes`: the next run of the same provenance goes on.

    Args:
        output: The folder to make; it must not exist, or be empty.
        record: The provenance, written last.
        resumes: Whether what a killed run of the same provenance wrote is taken over, to go on with.

    Raises:
        UserError: Another process filled `output` meanwhile.
    """
    output = output.resolve()  # of a link, what it points to; "." and ".." have no name beside which to write
    made = [folder for folder in output.parents if not folder.exists()]
    make_folder(output.parent)
    aside = output.with_name(f"{output.name}.incomplete.{os.getpid()}")
    if resumes:
        _take_over(output, aside, record)
    sweep(output, but=aside)
    make_folder(aside)
    try:
        if resumes:
            write_json(aside / _PLANNED, record)
        yield aside
        (aside / _PLANNED).unlink(missing_ok=True)
        write_json(aside / PROVENANCE, record)
        _put(aside, output)
    except Unfinished:
        if not resumes:
            shutil.rmtree(aside, ignore_errors=True)
        raise
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    finally:
        for folder in made:  # innermost first; one that holds something stays
            with contextlib.suppress(OSError):
                folder.rmdir()


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it; one that is there is left as it is.

    Raises:
        UserError: A file stands where a folder must be, or none can be made there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{folder} cannot be made: a file stands in its way; name another --output") from error
    except FileNotFoundError as error:  # /proc, and folders that another process removes
        raise UserError(f"{folder} cannot be made; name another --output") from error


@contextlib.contextmanager
def place_named(path: Path) -> Iterator[None]:
    """Names the folder when the block finds that no file can be made there, though it is there: /proc is such a one.

    Raises:
        UserError: Of such a folder.
    """
    try:
        yield
    except FileNotFoundError as error:
        if not path.parent.is_dir():
            raise
        raise UserError(f"nothing can be written in {path.parent}; name another --output") from error


def require_outside(output: Path, folder: Path) -> None:
    """Refuses to write into a folder that is read: its files are counted, digested and copied as a whole.

    Raises:
        UserError: `output` is `folder`, or lies in it.
    """
    if output.resolve().is_relative_to(folder.resolve()):
        raise UserError(f"--output {output} lies within the records {folder}; name a folder beside them")


def _put(aside: Path, output: Path) -> None:
    try:
        aside.rename(output)  # over an empty folder, too
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise UserError(
                f"--output {output} was filled by another process meanwhile; it is left as it is"
            ) from error
        raise


def sweep(output: Path, but: Path | None = None) -> None:
    """Removes what a killed run left beside `output`; a running process's folder stays, and one that is named."""
    for litter in _left_by_the_dead(output):
        if litter != but:
            shutil.rmtree(litter, ignore_errors=True)


def _left_by_the_dead(output: Path) -> list[Path]:
    pattern = re.compile(re.escape(f"{output.name}.incomplete.") + "([0-9]{1,9})")
    return [
        litter
        for litter in sorted(output.parent.iterdir())
        if (by := pattern.fullmatch(litter.name)) and not _alive(int(by[1])) and litter.is_dir()
    ]


def can_resume(output: Path, record: Mapping[str, Any]) -> bool:
    """Tells whether a killed run of the same provenance left a folder to go on with."""
    if not output.resolve().parent.is_dir():
        return False
    return any(_planned(left) == dict(record) for left in _left_by_the_dead(output.resolve()))


def left_behind(output: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Returns the folders of runs that stopped and may be gone on with, and the provenance that each would have had."""
    if not output.resolve().parent.is_dir():
        return []
    found = [(left, _planned(left)) for left in _left_by_the_dead(output.resolve())]
    return [(left, planned) for left, planned in found if isinstance(planned, dict)]


def empty(aside: Path) -> None:
    """Removes what a folder that `staged` yielded holds, but for the word whose it is."""
    for entry in aside.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != _PLANNED:
            entry.unlink()


def _planned(left: Path) -> Any:
    try:
        return json.loads((left / _PLANNED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _take_over(output: Path, aside: Path, record: Mapping[str, Any]) -> None:
    """Gives a killed run's folder to this run when it would have had the same provenance."""
    for left in _left_by_the_dead(output):
        if _planned(left) == dict(record):
            with contextlib.suppress(OSError):  # another process was faster
                left.rename(aside)
            return


def _alive(process: int) -> bool:
    # In a container every run has the same number: what bears our own was left by one before us.
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_json(path: Path, value: Any) -> None:
    """Writes sorted, indented JSON through a temporary file and a rename."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Returns a JSON file's value.

    Raises:
        UserError: The file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; the folder is not a finished output of radkit") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged; make the folder again") from error


def write_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Writes text through a temporary file and a rename.

    Args:
        path: The file.
        text: What it holds.
        durable: Whether to wait for the disk; what a killed run would only do again need not.
    """
    with _replacing(path) as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Writes a table with a header row, complete or not at all."""
    with _replacing(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    aside = path.with_name(f"{path.name}.incomplete.{os.getpid()}")
    try:
        with place_named(path):
            file = aside.open("w", encoding="utf-8", newline="")
        with file:
            yield file
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def require_space(folder: Path, num_bytes: int) -> None:
    """Refuses before a library that does not survive a full disk begins to write.

    Raises:
        OSError: ENOSPC, when the disk of `folder` has less room than this.
    """
    if shutil.disk_usage(folder).free < num_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
