"""The demo's steps: each verb in a process of its own, timed, its last line kept as its main figure."""

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from radkit import outputs
from radkit.deid import keys
from radkit.demo import hospital, pages
from radkit.errors import UserError
from radkit.reports import text

DATA = Path(__file__).parent / "data"
TASKS = ("hippocampus", "chest")
CURATED = "hippocampus"
LOOKED_THROUGH = "chest"  # for leaks
FEWER_STEPS = {"hippocampus": 400}  # a demo is not to be waited for
_OURS = ".radkit-demo"

# Everyone knows this key: the demo's patients are invented, and the same key gives the same records on every machine.
_PUBLIC_KEY = hashlib.sha256(b"the key of radkit's demo, public").digest()


@dataclass
class Steps:
    """What was done so far."""

    rows: list[dict[str, object]] = field(default_factory=list)

    def take(self, step: str, what: str, work: Callable[[], str]) -> None:
        """Does one step, timed; `work` returns its main figure."""
        print(f"\n== {step}: {what}", flush=True)
        started = time.monotonic()
        figure = work()
        seconds = time.monotonic() - started
        self.rows.append({"step": step, "what": what, "seconds": seconds, "figure": figure})

    def verb(self, what: str, verb: str, *flags: str, step: str = "", allowed: Sequence[int] = (0,)) -> None:
        """Runs `radkit VERB --flags` in a process of its own."""
        self.take(step or verb, what, lambda: _verb(verb, flags, allowed))


def _verb(verb: str, flags: Sequence[str], allowed: Sequence[int]) -> str:
    command = [sys.executable, "-m", "radkit", verb, *flags]
    print(f"$ radkit {verb} {' '.join(flags)}", flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)  # its progress goes to the terminal
    print(done.stdout, end="", flush=True)
    if done.returncode not in allowed:
        raise UserError(f"the demo's step {verb!r} left with status {done.returncode}; its message is above")
    last = done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""
    return re.sub(r"(;| -> ).*$", "", last.removeprefix(f"{verb}: "))


def run(output: Path, *, num_volumes: int, num_radiographs: int, steps: int, processes: int) -> int:
    """Runs the chain and writes `demo.html`; returns the exit status."""
    if not (DATA / "hippocampus").is_dir():
        raise UserError("the demo's images are not in this installation; run it in a clone of the repository")
    _make_folder(output)
    done = Steps()
    done.take(
        "hospital",
        f"{num_volumes} MR volumes and {num_radiographs} radiographs as DICOM of invented patients",
        lambda: _hospital(output, num_volumes, num_radiographs, processes),
    )
    _records(done, output)
    _learn(done, output, steps)
    _answer(done, output)
    page = output / "demo.html"
    outputs.write_text(page, pages.demo(output, done.rows, TASKS))
    total = sum(float(str(row["seconds"])) for row in done.rows)
    rows = [(row["step"], text.duration(float(str(row["seconds"]))), row["figure"]) for row in done.rows]
    print("\n" + text.text_table([*rows, ("all", text.duration(total), "")], ("step", "time", "main figure")))
    print(f"\nmade: {output}/ (records, runs, models, answers); look at {page.resolve()}")
    return 0


def _make_folder(output: Path) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file; name a folder")
    if output.is_dir() and any(output.iterdir()):
        if not (output / _OURS).is_file():
            raise UserError(f"--output {output} exists and is no demo of radkit; name another folder")
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / _OURS).touch()


def _hospital(output: Path, num_volumes: int, num_radiographs: int, processes: int) -> str:
    folder = output / "hospital"
    hospital.build(DATA, folder, num_volumes=num_volumes, num_radiographs=num_radiographs, processes=processes)
    keys.write(keys.Key(_PUBLIC_KEY), output / "demo.key")
    return f"{sum(1 for path in folder.rglob('*') if path.is_file())} files"


def _records(done: Steps, output: Path) -> None:
    # The export holds a stray text file, as exports do: status 1 says that something was set aside.
    raw, clean, records = output / "hospital", output / "clean", output / "records"
    aside = (0, 1)
    done.verb("which series there are", "index", f"--input={raw}", f"--output={output / 'index'}", allowed=aside)
    done.verb(
        "identities out, at every depth",
        "anonymize",
        f"--input={raw}",
        f"--output={clean}",
        f"--key={output / 'demo.key'}",
        f"--tables={raw / 'labels.csv'}",
        "--keep_columns=pneumonia",
        allowed=aside,
    )
    quality = output / "quality"
    # Status 1 again: one of the series in the hospital beside the tasks' own has no mask that is asked for.
    flags = (f"--config={CURATED}", f"--input={clean}", f"--output={quality}")
    done.verb(f"what is wrong with images and masks: {CURATED}", "curate", *flags, allowed=aside)
    for task in TASKS:
        more = [f"--curation={quality}"] if task == CURATED else [f"--labels={clean / 'labels.csv'}"]
        what = f"series to records, split by patient: {task}"
        done.verb(what, "convert", f"--config={task}", f"--input={clean}", f"--output={records}", *more, allowed=aside)
    for task in TASKS:
        done.verb(f"what the records hold: {task}", "statistics", f"--input={records / task}")
    looked = f"--input={records / LOOKED_THROUGH}"
    what = f"nobody and nothing on two sides: {LOOKED_THROUGH}"
    done.verb(what, "check-leakage", looked, f"--output={output / 'leakage'}")


def _learn(done: Steps, output: Path, steps: int) -> None:
    for task in TASKS:
        records, run = output / "records" / task, output / "runs" / task
        number = steps or FEWER_STEPS.get(task, 0)
        fewer = [f"--set=trainer.steps={number}"] if number else []
        done.verb(f"learn: {task}", "train", f"--config={task}", f"--input={records}", f"--output={run}", *fewer)
        evaluation = output / "evaluation" / task
        flags = (f"--run={run}", f"--input={records}", f"--output={evaluation}")
        done.verb(f"patients never seen: {task}", "evaluate", *flags)
        done.verb(f"SavedModel: {task}", "export", f"--run={run}", f"--output={output / 'models' / task}")


def _answer(done: Steps, output: Path) -> None:
    with contextlib.ExitStack() as stack:

        def serve() -> str:
            address, line = stack.enter_context(_server(output))
            addresses.append(address)
            return line

        addresses: list[str] = []
        done.take("serve", "both models on one gRPC server", serve)
        for task in TASKS:
            case = output / "clean" / _patient(output, task)
            flags = [f"--server={addresses[0]}", f"--model={task}", f"--input={case}"]
            done.verb(f"one test patient: {task}", "predict", *flags, f"--output={output / 'answers' / task}")


@contextlib.contextmanager
def _server(output: Path) -> Iterator[tuple[str, str]]:
    """Starts `radkit serve` on a free port; yields its address and what it said."""
    models = [f"--model={task}={output / 'models' / task}" for task in TASKS]
    command = [sys.executable, "-m", "radkit", "serve", *models, "--port=0"]
    print(f"$ radkit serve {' '.join(models)} --port=0", flush=True)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        lines = [process.stdout.readline().strip() for _ in models] if process.stdout else []
        if not all(lines):
            raise UserError("the demo's server did not start; its message is above")
        print("\n".join(lines), flush=True)
        yield lines[-1].rsplit(" ", 1)[-1], f"{len(lines)} models ready"
    finally:
        process.terminate()
        process.wait()


def _patient(output: Path, task: str) -> str:
    """A patient of the test split, by pseudonym."""
    (version,) = (output / "records" / task).iterdir()
    patients = json.loads((version / "patients.json").read_text())
    return str(patients["test"][0])
