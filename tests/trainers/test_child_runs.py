"""Runs in processes of their own, with a stand-in for `radkit train` that ends as it is told to."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from radkit import config, runs
from radkit.errors import UserError
from tests.conftest import MadeUp
from trainers import checkpoints, child_runs

STAND_IN = """#!{python}
import json, os, pathlib, signal, sys, time
said = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
run, how = pathlib.Path(said["output"]), said["how"]
run.mkdir(parents=True, exist_ok=True)
def save(number, _):
    (run / "saved").write_text(str(number))
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
signal.signal(signal.SIGUSR1, save)
(run / "watched_by").write_text(os.environ["RADKIT_SUPERVISOR"])
if how == "finish late":  # as one that writes its page: it is told to stop, and is done all the same
    signal.signal(signal.SIGINT, lambda *_: (run / "manifest.json").write_text("{{}}"))
    (run / "begun").touch()
    while not (run / "manifest.json").exists():
        time.sleep(0.02)
    sys.exit(0)
if how == "finish":
    (run / "manifest.json").write_text(json.dumps(sys.argv[1:]))
elif how == "refuse":
    print("radkit: a warning")
    print("radkit: trainer.steps is wrong", flush=True)
    sys.exit(2)
elif how == "die":
    print("radkit: a warning", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
else:
    (run / "begun").touch()
    time.sleep(60)
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "radkit"
    script.write_text(STAND_IN.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))


EXPERIMENT = config.Experiment(config.Data("blobs"), config.Model("unet"), config.Task("segmentation"))


def train(run: Path, how: str, **more: object) -> child_runs.Ended:
    return child_runs.train(EXPERIMENT, Path("records"), run, flags=[f"--how={how}"], every_s=0.05, **more)


@pytest.mark.usefixtures("stand_in")
class TestTrain:
    def test_a_run_that_finishes_was_given_its_config_and_flags(self, tmp_path: Path) -> None:
        run = tmp_path / "trials" / "000"
        assert train(run, "finish") == child_runs.Ended("finished")
        argv = json.loads((run / runs.MANIFEST).read_text())
        said = run.with_name("000.json")
        assert argv == [
            "-m",
            "radkit",
            "train",
            f"--config={said}",
            "--input=records",
            f"--output={run}",
            "--how=finish",
        ]
        assert config.load(str(said)) == EXPERIMENT
        assert (run / "watched_by").read_text() == str(os.getpid())  # it stops where this process is killed

    def test_a_finished_run_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / runs.MANIFEST).touch()
        assert train(tmp_path / "run", "die").how == "finished"

    def test_a_refused_run_says_why_in_its_own_words(self, tmp_path: Path) -> None:
        ended = train(tmp_path / "run", "refuse", log=tmp_path / "run.log")
        assert ended == child_runs.Ended("failed", "trainer.steps is wrong")
        assert "a warning" in (tmp_path / "run.log").read_text()

    def test_a_killed_run_does_not_stand_for_a_warning_of_its(self, tmp_path: Path) -> None:
        ended = train(tmp_path / "run", "die", log=tmp_path / "run.log")
        assert ended.how == "failed"
        assert "killed by signal 9" in ended.why
        assert ended.is_lost

    def test_a_run_that_is_cut_short_may_save_its_state(self, tmp_path: Path) -> None:
        run = tmp_path / "run"
        assert train(run, "wait", watch=(run / "begun").exists).how == "cut"
        assert (run / "saved").read_text() == str(int(signal.SIGTERM))

    @pytest.mark.parametrize("how", ["finish late", "cut"])
    def test_a_signal_to_a_run_that_ends_of_itself_is_not_lost(self, tmp_path: Path, how: str) -> None:
        run = tmp_path / "run"

        def interrupt() -> bool:
            if not (run / "begun").exists():
                return False
            os.kill(os.getpid(), signal.SIGINT)
            return how == "cut"

        ended = train(run, "wait" if how == "cut" else how, watch=interrupt)
        assert ended == child_runs.Ended("cut" if how == "cut" else "finished", is_asked=True)

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])  # Ctrl-C, Slurm
    def test_a_signal_ends_the_run_once_and_gives_the_handlers_back(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        run, before = tmp_path / "run", signal.getsignal(number)

        def interrupt() -> None:
            while not (run / "begun").exists():
                time.sleep(0.02)
            os.kill(os.getpid(), number)

        thread = threading.Thread(target=interrupt)
        thread.start()
        assert train(run, "wait").how == "stopped"
        thread.join()
        assert (run / "saved").read_text() == str(int(number))
        assert signal.getsignal(number) is before

    def test_a_run_that_another_process_trains_is_refused(self, tmp_path: Path) -> None:
        with checkpoints.lock(tmp_path / "run"), pytest.raises(UserError, match="another process"):
            train(tmp_path / "run", "finish")


@pytest.mark.slow
def test_a_real_run_ends_and_says_so(volumes: MadeUp, tmp_path: Path) -> None:
    run, experiment = tmp_path / "run", volumes.experiment
    assert child_runs.train(experiment, volumes.folder, run, log=tmp_path / "log").how == "finished"
    assert runs.experiment(run) == experiment
    wrong = volumes.with_trainer(seed=-4).experiment
    ended = child_runs.train(wrong, volumes.folder, tmp_path / "other", log=tmp_path / "other.log")
    assert ended.how == "failed"
    assert "trainer.seed must be 0" in ended.why
