"""The same bytes on every runner that runs here; for those that do not, what they would be sent."""

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions
from apache_beam.runners.portability import stager

from beam_jobs import convert as job
from beam_jobs import convert_shard
from tests import conftest
from tests.beam_jobs.test_convert_job import REPOSITORY, tree
from tests.conftest import MadeUp


@pytest.fixture(scope="module")
def job_server() -> Iterator[str]:
    """Returns the address of Beam's own portable runner, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = "apache_beam.runners.portability.local_job_service_main"
    process = subprocess.Popen(
        [sys.executable, "-m", server, "--port", str(port)],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("localhost", port), 1).close()
            break
        time.sleep(0.1)
    yield f"localhost:{port}"
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    "flags",
    [
        ["--direct_num_workers=1"],
        ["--direct_num_workers=3"],
        ["--direct_running_mode=in_memory"],
        ["--direct_running_mode=multi_threading", "--direct_num_workers=2"],
        ["--runner=FnApiRunner"],
        pytest.param(["--direct_running_mode=multi_processing", "--direct_num_workers=2"], marks=pytest.mark.slow),
    ],
)
def test_the_bytes_are_the_same_on_local_runners(volumes: MadeUp, tmp_path: Path, flags: list[str]) -> None:
    assert tree(conftest.convert(volumes, tmp_path / "out", *flags)) == tree(volumes.folder)


@pytest.mark.slow
def test_the_bytes_are_the_same_on_a_portable_runner(volumes: MadeUp, tmp_path: Path, job_server: str) -> None:
    flags = ["--runner=PortableRunner", f"--job_endpoint={job_server}", "--environment_type=LOOPBACK"]
    assert tree(conftest.convert(volumes, tmp_path / "out", *flags)) == tree(volumes.folder)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_bytes_are_the_same_on_dask(volumes: MadeUp, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    assert tree(conftest.convert(volumes, tmp_path / "out", "--runner=DaskRunner")) == tree(volumes.folder)


@pytest.mark.parametrize("runner", ["FnApiRunner", "FlinkRunner", "SparkRunner", "PortableRunner"])
def test_the_graph_holds_numbers_and_no_paths(volumes: MadeUp, tmp_path: Path, runner: str) -> None:
    where = convert_shard.Job(str(tmp_path / "output"), str(volumes.dicom), volumes.experiment.data)
    sizes = []
    for count in (10, 20_000):
        pipeline = beam.Pipeline(options=PipelineOptions([f"--runner={runner}"]))
        job.graph(pipeline, str(tmp_path / "ledger"), numbers=list(range(count)), job=where)
        proto = pipeline.to_runner_api()
        sizes.append(proto.ByteSize())
        assert b".dcm" not in proto.SerializeToString()
        again = beam.Pipeline.from_runner_api(proto, pipeline.runner, PipelineOptions([]))
        assert len(again.to_runner_api().components.transforms) == len(proto.components.transforms)
    assert sizes[0] < 50_000
    assert sizes[1] - sizes[0] < 10 * 20_000


@pytest.mark.slow
def test_the_code_is_staged_without_a_network(tmp_path: Path) -> None:
    options = PipelineOptions(["--setup_file", str(REPOSITORY / "setup.py")])
    assert options.view_as(SetupOptions).setup_file
    before = {path.name for path in REPOSITORY.iterdir()}
    resources = stager.Stager.create_job_resources(options, str(tmp_path))
    names = [resource.role_payload for resource in resources]
    assert any(b"tar.gz" in name or b"workflow" in name for name in names)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 20 * 2**20
    assert {path.name for path in REPOSITORY.iterdir()} - before <= {"dist", "radkit.egg-info"}
