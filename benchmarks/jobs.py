"""Seconds of `radkit anonymize` on many files: the same work in a plain loop, in Beam in memory, and by two workers.

Each is a process of its own, in turn; what counts is the time from the first look at the folder to the finished output,
without the start of Python and the loading of Beam. The median of the rounds' ratios is printed.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import hospital_files

ROUNDS = 3
_LOOP = """
import json, sys, tempfile, time
from pathlib import Path
from beam_jobs import anonymize, anonymize_batch, anonymize_close, runner
from radkit.deid import Settings
from radkit.dicom import scan
source, out, key = map(Path, sys.argv[1:4])
began = time.monotonic()
for name in (anonymize_batch.PARTS, anonymize_batch.AUDIT):
    (out / name).mkdir(parents=True)
job = anonymize_batch.Job(str(out), str(key), Settings())
paths = scan.find(source)
numbered = [(number, str(path)) for number, path in enumerate(paths, start=1)]
with tempfile.TemporaryDirectory() as ledger:
    for batch in runner.batches(numbered, anonymize.FILES_PER_BATCH):
        anonymize_batch.clean(batch, job, ledger)
anonymize_close.write(out, Settings(), [], [""] * len(paths))
print(json.dumps(time.monotonic() - began))
"""
_JOB = """
import json, sys, time
from beam_jobs import anonymize
source, out, key, workers = sys.argv[1:5]
began = time.monotonic()
flags = [f"--input={source}", f"--output={out}", f"--key={key}", f"--direct_num_workers={workers}"]
status = anonymize.main(["radkit anonymize", *flags])
print(json.dumps(time.monotonic() - began))
sys.exit(status)
"""


def main(argv: Sequence[str]) -> None:
    """Runs the comparison; `--files=N` and `--job_rounds=N` are read from the command line."""
    given = dict(word[2:].split("=", 1) for word in argv if word.startswith("--") and "=" in word)
    count, rounds = int(given.get("files", 10_000)), int(given.get("job_rounds", ROUNDS))
    ways = {"plain loop": (_LOOP, "1"), "one worker": (_JOB, "1"), "two workers": (_JOB, "2")}
    with tempfile.TemporaryDirectory() as folder:
        source, key = Path(folder, "in"), Path(folder, "key")
        _make(source, count)
        key.write_bytes(bytes(32))
        key.chmod(0o600)
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, (code, workers) in ways.items():
                out = Path(folder, "out")
                command = [sys.executable, "-c", code, str(source), str(out), str(key), workers]
                seconds[name].append(_timed(command))
                subprocess.run(["rm", "-rf", out], check=True)
    for name, other in (("one worker", "plain loop"), ("two workers", "one worker")):
        ratio = statistics.median(b / a for a, b in zip(seconds[name], seconds[other], strict=True))
        print(f"job of {count} files: {name} is {ratio:.2f}x as fast as {other} (median of {rounds})")
    print({name: [round(s, 1) for s in taken] for name, taken in seconds.items()}, file=sys.stderr)


def _make(folder: Path, count: int) -> None:
    """Writes CT slices, 100 a folder; they differ in their SOPInstanceUID only, to be made quickly."""
    folder.mkdir()
    hospital_files.write(hospital_files.ct_slice(0, 0), folder / "first.dcm")
    first = (folder / "first.dcm").read_bytes()
    (folder / "first.dcm").unlink()
    old = f"{hospital_files.ROOT}.0.1".encode()
    for number in range(count):
        new = old[:-7] + b"%07d" % (1_000_000 + number)
        series = folder / f"{number // 100:04d}"
        series.mkdir(exist_ok=True)
        (series / f"{number}.dcm").write_bytes(first.replace(old, new))


def _timed(command: Sequence[str]) -> float:
    done = subprocess.run(
        command, check=True, cwd=Path(__file__).parents[1], stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    return float(json.loads(done.stdout.strip().splitlines()[-1]))
