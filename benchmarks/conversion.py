"""`radkit convert`: the same series in a plain loop, in Beam in memory, and by two workers; and records as bytes.

Ways are processes of their own, in turn; what counts is the time from the first look at the folder to the finished
data set, without the start of Python and the loading of Beam. The medians of the rounds' ratios are printed, and the
most memory that a way's processes held together.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from pydicom.uid import JPEG2000Lossless

from benchmarks import hospital_files

ROUNDS = 3
SLICES = 50
_CONFIG = """
from radkit.config import Data, Experiment, Model, Task
def get_config():
    return Experiment(Data(dataset="bench", modalities=("CT",), shard_mib=100.0), Model("unet"), Task("segmentation"))
"""
_LOOP = """
import json, sys, time
from pathlib import Path
from beam_jobs import convert as _
from radkit import config
from radkit.data import convert
from radkit.dicom import scan
source, out, configured = map(Path, sys.argv[1:4])
began = time.monotonic()
data = config.load(str(configured)).data
out.mkdir()
units, _ = convert.select([scan.read_instance(path) for path in scan.find(source)], data, None)
for shard in convert.plan(units, data):
    convert.write(shard, data, out)
print(json.dumps(time.monotonic() - began))
"""
_JOB = """
import json, sys, time
from beam_jobs import convert
source, out, configured, workers = sys.argv[1:5]
began = time.monotonic()
flags = [f"--input={source}", f"--output={out}", f"--config={configured}", f"--direct_num_workers={workers}"]
status = convert.main(["radkit convert", *flags])
print(json.dumps(time.monotonic() - began))
sys.exit(status)
"""


def main(argv: Sequence[str]) -> None:
    """Runs the comparison; `--files=N` and `--rounds=N` are read from the command line."""
    given = dict(word[2:].split("=", 1) for word in argv if word.startswith("--") and "=" in word)
    count, rounds = int(given.get("files", 5000)), int(given.get("rounds", ROUNDS))
    encoding(rounds)
    ways = {"plain loop": (_LOOP, "1"), "one worker": (_JOB, "1"), "two workers": (_JOB, "2")}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    memory: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        source, configured = Path(folder, "in"), Path(folder, "bench.py")
        configured.write_text(_CONFIG)
        _make(source, -(-count // SLICES))
        for _ in range(rounds):
            for name, (code, workers) in ways.items():
                out = Path(folder, "out")
                command = [sys.executable, "-c", code, str(source), str(out), str(configured), workers]
                took, peak = _timed(command)
                seconds[name].append(took)
                memory[name].append(peak)
                shutil.rmtree(out)
    for name, other in (("one worker", "plain loop"), ("two workers", "one worker")):
        ratio = statistics.median(b / a for a, b in zip(seconds[name], seconds[other], strict=True))
        more = statistics.median(a / b for a, b in zip(memory[name], memory[other], strict=True))
        print(f"job of {count} files: {name} is {ratio:.2f}x as fast as {other} and holds {more:.2f}x the memory")
    print({name: [round(s, 1) for s in taken] for name, taken in seconds.items()}, file=sys.stderr)
    print({name: [round(m) for m in held] for name, held in memory.items()}, "MiB", file=sys.stderr)


def _make(folder: Path, count: int) -> None:
    """Writes CT series, JPEG 2000; all are the first but for their UIDs and patients, to be made quickly."""
    hospital_files.ct_series(folder / "0000", 0, SLICES, JPEG2000Lossless)
    for number in range(1, count):
        (folder / f"{number:04d}").mkdir()
        for path in (folder / "0000").iterdir():
            content = path.read_bytes()
            for old in (f"{hospital_files.ROOT}.0.".encode(), f"{hospital_files.ROOT}.9.0".encode(), b"PAT0"):
                content = content.replace(old, _renumbered(old, number))
            (folder / f"{number:04d}" / path.name).write_bytes(content)


def _renumbered(old: bytes, number: int) -> bytes:
    """Returns another identifier of the same length: digits of the root's last part are changed."""
    if old == b"PAT0":
        return b"P%03d" % number
    return old.replace(b".7433.77", b".7%03d.77" % number)


def _timed(command: Sequence[str]) -> tuple[float, float]:
    """Returns the seconds that a way says it took, and the most MiB that it and its children held at once."""
    home = Path(__file__).parents[1]
    with subprocess.Popen(command, cwd=home, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        peak, ended = [0.0], threading.Event()

        def watch() -> None:
            while not ended.wait(0.1):
                peak[0] = max(peak[0], _held(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        assert process.stdout is not None
        said = process.stdout.read()
        ended.set()
        watcher.join()
    if process.returncode:
        raise SystemExit(f"{command[2][:40]!r} ended with status {process.returncode}")
    return float(json.loads(said.strip().splitlines()[-1])), peak[0]


def _held(pid: int) -> float:
    """Returns the MiB that a process and its children hold, pages that they share counted once (Linux)."""
    total = 0.0
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            total += int(line.split()[1]) / 1024 if line.startswith("Pss:") else 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += sum(_held(int(child)) for child in (task / "children").read_text().split())
    except OSError:
        return total
    return total


def encoding(rounds: int) -> None:
    """Compares the encoder and writer with TensorFlow's own, on one volume written many times."""
    import tensorflow as tf

    from radkit import config
    from radkit.data import convert, records, shards

    data = config.Data(dataset="bench")
    fields = convert.fields_of(data)
    image = np.random.default_rng(0).integers(-1000, 1000, (64, 256, 256, 1), np.int16)
    values = {
        field.name: image if field.name == "image" else _value(field.kind, field.dtype, field.shape) for field in fields
    }

    def ours(path: Path) -> None:
        shards.write_shard(path, (records.encode(values, fields) for _ in range(10)))

    def theirs(path: Path) -> None:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for _ in range(10):
                features = {name: _feature(tf, value) for name, value in values.items()}
                writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())

    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(rounds + 1):
            taken = [_took(way, Path(folder, "a")) for way in (ours, theirs)]
            ratios.append(taken[1] / taken[0])
    print(f"encode and write: radkit is {statistics.median(ratios[1:]):.1f}x as fast as tf.train.Example")


def _value(kind: str, dtype: str, shape: Sequence[int | None]) -> object:
    if kind in ("text", "class"):
        return "abc" if kind == "text" else 0
    return np.ones([64 if n is None else n for n in shape], dtype)


def _feature(tf, value):  # type: ignore[no-untyped-def]
    if isinstance(value, str):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
    if isinstance(value, int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.tobytes()]))


def _took(way: Callable[[Path], None], path: Path) -> float:
    began = time.process_time()
    way(path)
    return time.process_time() - began


if __name__ == "__main__":
    main(sys.argv[1:])
