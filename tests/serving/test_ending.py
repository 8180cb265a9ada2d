"""Servers as processes of their own: how they begin without a model, and how they end."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving import messages, protocol, warm_up
from tests.serving import running


@contextlib.contextmanager
def serving(*flags: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "radkit", "serve", "--port=0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _hears_sigterm(process: subprocess.Popen[str]) -> bool:
    (caught,) = re.findall(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{process.pid}/status").read_text())
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.slow
def test_a_server_that_is_still_loading_ends_at_once(tmp_path: Path) -> None:
    folder = running.save(tmp_path / "1", 2.0)
    log = messages.PredictionLog()
    log.predict_log.request.model_spec.signature_name = "slow"
    log.predict_log.request.model_spec.name = "m"
    log.predict_log.request.inputs["x"].CopyFrom(protocol.to_tensor(np.array([[1e9, 0]], np.float32)))
    (folder / warm_up.FILE).parent.mkdir()
    with tf.io.TFRecordWriter(str(folder / warm_up.FILE)) as writer:
        writer.write(log.SerializeToString())
    with serving(f"--model=m={tmp_path}") as process:
        ends = time.monotonic() + 60
        while not _hears_sigterm(process):
            assert time.monotonic() < ends
            time.sleep(0.05)
        time.sleep(10)  # it is in TensorFlow, and would be for hours
        process.terminate()
        assert process.wait(timeout=20) == 0


@pytest.mark.slow
def test_a_server_waits_for_its_first_version_and_answers_what_is_under_way_at_its_end(tmp_path: Path) -> None:
    base = tmp_path / "base"
    (base / "7").mkdir(parents=True)  # half copied
    running.save(tmp_path / "saved", 2.0)
    with serving(f"--model=m={base}", "--rest_api_port=-1") as process, futures.ThreadPoolExecutor(1) as threads:
        assert process.stdout is not None
        web = process.stdout.readline().split()[-1]
        running.put(tmp_path / "saved", base, 3)
        line = process.stdout.readline()
        assert line.startswith("serving m version 3 on ")
        with grpc.insecure_channel(line.split()[-1], options=running.NO_PROXY) as opened:
            watch = opened.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=60)
            assert next(watch) == b"\x08\x01"
            body = json.dumps({"signature_name": "slow", "instances": [[20_000, 2]]}).encode()
            asked = threads.submit(lambda: urllib.request.urlopen(f"http://{web}/v1/models/m:predict", body).read())
            time.sleep(0.5)
            process.terminate()
            assert [*watch] == [b"\x08\x02"]
            assert json.loads(asked.result(60)) == {"predictions": [[20_000, 2]]}
            assert process.wait(timeout=9) == 0  # less than the calls under way are given
