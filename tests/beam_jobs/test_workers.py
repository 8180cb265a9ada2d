"""Worker processes that die: what they were doing is done again, alone at last, and left out if nothing helps."""

import errno
import os
import signal
import time
from concurrent.futures import CancelledError

import pytest

from beam_jobs import workers
from radkit.errors import UserError


@pytest.fixture
def pool():
    """Returns a pool of two workers."""
    made = workers.Pool(2)
    yield made
    made.close()


def touched(folder, name):
    (folder / f"{name}.{os.getpid()}.{time.monotonic_ns()}").touch()


def count(folder, name):
    return len(list(folder.glob(f"{name}.*")))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def work(folder, name, killers=frozenset()):
    workers.at(name)
    if name not in killers:
        touched(folder, name)


def dies_once(folder, name, killers=frozenset()):
    workers.at(name)
    touched(folder, f"{name}-begun")
    if count(folder, f"{name}-begun") == 1:
        die()
    touched(folder, name)


def dies_of_it(folder, names, killers=frozenset()):
    for name in names:
        workers.at(name)
        if name == "bad" and name not in killers:
            touched(folder, "died")
            die()
    touched(folder, "-".join(sorted(killers)))


def dies_before_it_says(folder):
    touched(folder, "died")
    die()


def test_a_task_is_done_in_another_process(pool, tmp_path):
    for number in range(7):
        pool.submit(work, tmp_path, f"n{number}").result()
    assert len(list(tmp_path.iterdir())) == 7
    assert not list(tmp_path.glob(f"*.{os.getpid()}.*"))


def test_errors_of_a_worker_are_raised_here(pool):
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result()
    assert pool.submit(divmod, 1, 1).result() is None


def raises(error):
    raise error


def test_a_traceback_is_shown_but_for_what_is_told_in_one_line(capfd):
    pool = workers.Pool(1)
    for error in (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), UserError("a line"), KeyError("a defect")):
        with pytest.raises(type(error)):
            pool.submit(raises, error).result()
    pool.close()
    said = capfd.readouterr().err
    assert said.count("Traceback") == 1
    assert "a defect" in said


class Unpicklable(Exception):
    def __init__(self, one, two):
        super().__init__(one)


def fails():
    raise Unpicklable("a word", 2)


def test_an_error_that_cannot_travel_is_told(pool):
    with pytest.raises(RuntimeError, match="Unpicklable: a word"):
        pool.submit(fails).result()


def test_a_task_that_cannot_travel_is_refused(pool):
    with pytest.raises(Exception, match=r"pickle|local object"):  # the words differ between Pythons
        pool.submit(lambda: None).result()
    assert pool.submit(divmod, 1, 1).result() is None


def test_a_worker_that_dies_once_is_replaced(pool, tmp_path):
    done = [pool.submit(dies_once, tmp_path, f"n{number}") for number in range(4)]
    assert [task.result() for task in done] == [None] * 4
    assert [count(tmp_path, f"n{number}") for number in range(4)] == [1] * 4
    assert [count(tmp_path, f"n{number}-begun") for number in range(4)] == [2] * 4


def test_what_kills_three_times_is_left_out(pool, tmp_path):
    pool.submit(dies_of_it, tmp_path, ["good", "bad", "better"]).result()
    assert count(tmp_path, "died") == 3
    assert count(tmp_path, "bad") == 1


def test_the_third_time_it_is_alone(pool, tmp_path, monkeypatch):
    spans = []
    ask = workers.Pool._ask

    def watched(self, worker, task):
        before = max(task.deaths.values(), default=0)
        start = time.monotonic()
        answer = ask(self, worker, task)
        spans.append((task.function is dies_of_it and before, start, time.monotonic()))
        return answer

    monkeypatch.setattr(workers.Pool, "_ask", watched)
    tasks = [pool.submit(time.sleep, 0.02) for _ in range(20)]
    tasks.append(pool.submit(dies_of_it, tmp_path, ["bad"]))
    tasks += [pool.submit(time.sleep, 0.02) for _ in range(20)]
    for task in tasks:
        task.result()
    assert len(spans) == 40 + 4
    (third,) = [span for span in spans if span[0] == workers.DEATHS_TOGETHER]
    assert not [span for span in spans if span is not third and span[1] < third[2] and span[2] > third[1]]


def test_death_without_a_word_gives_the_job_up(pool, tmp_path):
    task = pool.submit(dies_before_it_says, tmp_path)
    with pytest.raises(workers.WorkerDied, match="worker processes were killed"):
        task.result()
    assert count(tmp_path, "died") == 3
    assert pool.gave_up is task.exception()


def test_death_again_and_again_gives_the_job_up(pool, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "DEATHS_IN_ALL", 5)
    tasks = [pool.submit(dies_of_it, tmp_path, ["bad"]) for _ in range(6)]
    found = {type(task.exception()) for task in tasks}
    assert workers.WorkerDied in found
    assert count(tmp_path, "died") >= 5


def test_a_pool_that_is_killed_ends_at_once_and_nothing_goes_on(tmp_path):
    pool = workers.Pool(2)
    processes = [worker.process for worker in pool._workers]
    tasks = [pool.submit(time.sleep, 600) for _ in range(5)]
    while pool._busy < 2:
        time.sleep(0.01)
    pool.close(kill=True)
    assert {type(task.exception()) for task in tasks} == {CancelledError}
    assert not any(process.is_alive() for process in processes)
    assert pool.gave_up is None


def test_what_was_handed_over_is_done_before_the_end(tmp_path):
    pool = workers.Pool(2)
    for number in range(9):
        pool.submit(work, tmp_path, f"n{number}")
    pool.close()
    assert len(list(tmp_path.iterdir())) == 9


def test_without_a_parent_there_is_nobody_to_tell():
    assert workers.at("nothing") is None
