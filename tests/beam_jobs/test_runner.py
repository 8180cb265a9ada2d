"""How jobs run: a runner is always named, wrong flags are refused, outcomes come in one file."""

import io
import json
import os
import socket
from urllib.error import URLError

import apache_beam as beam
import pytest
from apache_beam.utils.subprocess_server import JavaJarServer
from hypothesis import given
from hypothesis import strategies as st

from beam_jobs import runner
from radkit.errors import UserError

FN_API = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@given(st.lists(st.integers(), max_size=50), st.integers(1, 20))
def test_batches_hold_every_item_once_in_order(items, size):
    found = list(runner.batches(items, size))
    assert [number for number, _ in found] == list(range(len(found)))
    assert [item for _, batch in found for item in batch] == items
    assert all(len(batch) == size for _, batch in found[:-1])


def test_a_small_job_runs_in_this_process():
    assert runner.flags([], runner.ITEMS_WORTH_PROCESSES - 1) == [FN_API]


def test_a_long_job_runs_in_as_many_processes_as_there_are_processors():
    assert runner.flags([], runner.ITEMS_WORTH_PROCESSES) == [
        FN_API, "--direct_running_mode=multi_processing", f"--direct_num_workers={os.cpu_count()}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given_flags", "found"),
    [
        (["--runner=PortableRunner"], ["--runner=PortableRunner"]),
        (["--runner=DaskRunner"], ["--runner=apache_beam.runners.dask.dask_runner.DaskRunner"]),
        (["--direct_num_workers=3"], [FN_API, "--direct_running_mode=multi_processing", "--direct_num_workers=3"]),
        (["--direct_running_mode=in_memory"], [FN_API, "--direct_running_mode=in_memory"]),
    ],
)
def test_what_the_user_says_holds(given_flags, found):
    assert runner.flags(given_flags, 10**6) == found


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("--runer=X", "unknown flag '--runer' (did you mean '--runner'?)"),
        ("--no_such_flag", "unknown flag '--no_such_flag'"),
        ("-x", "unknown flag"),
        ("FnApiRunner", "'FnApiRunner' was not expected; flags are written --name=value"),
        ("--direct_num_workers=many", "Beam refuses its flags: argument --direct_num_workers"),
        ("--runner=NoRunner", "Beam refuses its flags: Unexpected pipeline runner: NoRunner"),
        ("--direct_running_mode=magic", "Beam refuses its flags: argument --direct_running_mode"),
    ],
)
def test_a_wrong_flag_is_refused_before_anything_runs(wrong, said, capfd):
    def build(pipeline, ledger):
        raise AssertionError("built")

    with pytest.raises(UserError) as caught:
        runner.run(build, [wrong], num_items=1, what="none")
    assert said in str(caught.value)
    assert not capfd.readouterr().err


def refuse(pipeline, ledger):
    raise AssertionError("built")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--runner=PortableRunner"], "--runner=PortableRunner needs a job server; name it with --job_endpoint"),
        (["--runner=PortableRunner", "--job_endpoint=localhost"], "is written host:port"),
        (["--runner=PortableRunner", "--job_endpoint=localhost:99999"], "is written host:port"),
        (["--runner=FlinkRunner", "--job_endpoint=:9"], "is written host:port"),
    ],
)
def test_a_job_server_must_be_named(flags, said):
    with pytest.raises(UserError) as caught:
        runner.run(refuse, flags, num_items=1, what="none")
    assert said in str(caught.value)


def test_a_job_server_must_answer():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        flags = ["--runner=PortableRunner", f"--job_endpoint=127.0.0.1:{server.getsockname()[1]}"]
        with pytest.raises(UserError, match="no job server answers there"):
            runner.refuse_unknown(flags)
        server.listen()
        runner.refuse_unknown(flags)


def test_a_job_server_that_cannot_be_downloaded_is_told_in_a_line(monkeypatch, tmp_path):
    def offline(url, *_):
        raise URLError("no network")

    monkeypatch.setattr(JavaJarServer, "_download_jar_to_cache", offline)
    flags = ["--runner=FlinkRunner", f"--jar_cache_dir={tmp_path}"]
    with pytest.raises(UserError, match="could not be downloaded") as caught:
        runner.run(lambda pipeline, _: pipeline | beam.Create([1]), flags, num_items=1, what="none")
    assert "no network" in str(caught.value.__cause__)


def run(tmp_path, function, items=10):
    """Runs a pipeline of one function; returns what it gave, sorted, and the ledger's folder."""
    ledgers = []

    def build(pipeline, ledger):
        ledgers.append(ledger)
        _ = (
            pipeline
            | beam.Create(list(runner.batches(range(items), 3)))
            | beam.FlatMap(function, ledger)
            | runner.WriteOutcomes(str(tmp_path / "outcomes"))
        )

    runner.run(build, [], num_items=items, what="made up")
    return runner.read_outcomes(tmp_path / "outcomes"), ledgers[0]


def doubled(batch, ledger):
    number, items = batch
    for item in items:
        yield {"item": item, "said": f"ä\u2028\n{item}"}
    runner.finished(ledger, number, len(items))


def test_outcomes_are_one_sorted_file_and_the_ledger_goes(tmp_path, capfd):
    found, ledger = run(tmp_path, doubled)
    assert sorted(o["item"] for o in found) == list(range(10))
    assert all(o["said"] == f"ä\u2028\n{o['item']}" for o in found)
    lines = (tmp_path / "outcomes").read_text().splitlines()
    assert lines == sorted(lines)
    assert [p.name for p in tmp_path.iterdir()] == ["outcomes"]
    assert not os.path.exists(ledger)
    assert "10/10" in capfd.readouterr().err


def test_nothing_to_write_is_no_outcome(tmp_path):
    assert run(tmp_path, lambda batch, ledger: [])[0] == []


def test_a_failure_in_a_worker_is_raised_and_leaves_no_ledger(tmp_path, capfd):
    seen = []

    def fail(batch, ledger):
        seen.append(ledger)
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        run(tmp_path, fail)
    assert not (tmp_path / "outcomes").exists()
    assert not [ledger for ledger in seen if os.path.exists(ledger)]
    capfd.readouterr()


def test_a_part_that_ends_on_another_machine_is_not_noted(tmp_path):
    runner.finished(str(tmp_path / "none"), 1, 2)
    assert not list(tmp_path.iterdir())


def test_the_bar_counts_what_workers_note(tmp_path):
    terminal = io.StringIO()
    with runner._progress(str(tmp_path), 8, "files", terminal):
        runner.finished(str(tmp_path), 0, 5)
        runner.finished(str(tmp_path), "a.b", 3)
        runner.finished(str(tmp_path), 0, 5)  # a part that is done again counts once
    assert "8/8" in terminal.getvalue()


def test_outcomes_are_read_line_by_line(tmp_path):
    (tmp_path / "a").write_text("".join(json.dumps({"n": n}) + "\n" for n in range(3)))
    assert runner.read_outcomes(tmp_path / "a") == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert runner.read_outcomes(tmp_path / "none") == []
