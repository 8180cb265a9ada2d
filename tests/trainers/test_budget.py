"""A time budget: runs of any speed end in time, validated at their end, with little of the time left over."""

import math
import random
from dataclasses import dataclass, field

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.budget import Budget


@dataclass
class Machine:
    """A run on a machine whose clock only moves when something is done."""

    step_s: float
    validation_s: float = 0.0
    page_s: float = 0.0
    compile_s: float = 0.0
    jitter: float = 0.0
    now: float = 0.0
    chance: random.Random = field(default_factory=lambda: random.Random(1))

    def clock(self) -> float:
        return self.now

    def takes(self, seconds: float) -> None:
        self.now += seconds * (1 + self.jitter * self.chance.uniform(-1, 1))

    def budget(self, seconds: float, **more: float) -> Budget:
        said = {"first_step": 0, "guess": 1000, "every": 50, **more}
        return Budget(seconds, clock=self.clock, **said)  # type: ignore[arg-type]

    def run_in_bursts(self, budget: Budget, burst: int, first_step: int = 0) -> list[tuple[int, int]]:
        """Trains as the loop does; returns steps after which it validated, each with how many were taken by then."""
        validated, taken = [], first_step
        self.takes(self.compile_s)
        while taken < budget.total:
            count = burst if taken % burst == 0 and taken + burst <= budget.total else 1
            self.takes(self.step_s * count)
            first, taken = taken, taken + count
            for step in range(first + 1, taken + 1):
                budget.stepped(step)
                if (step % burst == 0 or step == budget.total) and budget.is_due(step):
                    self.takes(self.validation_s)
                    validated.append((step, taken))
                    budget.validated(step, self.validation_s)
                    if not budget.is_rehearsed:
                        self.takes(self.page_s)
                        budget.paged(self.page_s)
        self.takes(self.page_s)
        return validated

    def run(self, budget: Budget, first_step: int = 0) -> tuple[list[int], list[int]]:
        """Trains to the end; returns the steps after which it validated, and what the total was after each step."""
        validated, totals, step = [], [], first_step
        self.takes(self.compile_s)
        while step < budget.total:
            self.takes(self.step_s)
            step += 1
            budget.stepped(step)
            if budget.is_due(step):
                self.takes(self.validation_s)
                validated.append(step)
                budget.validated(step, self.validation_s)
                if not budget.is_rehearsed:
                    self.takes(self.page_s)
                    budget.paged(self.page_s)
            totals.append(budget.total)
        self.takes(self.page_s)
        return validated, totals


class TestEnds:
    @hypothesis.settings(max_examples=60)
    @given(
        step=st.floats(0.1, 0.5),
        validation=st.floats(0.0, 8.0),
        page=st.floats(0.0, 6.0),
        compiling=st.floats(0.0, 15.0),
        jitter=st.floats(0.0, 0.1),
        guess=st.integers(1, 10**6),
        every=st.integers(1, 2000),
    )
    def test_in_time_and_validated_at_the_last_step(
        self, step: float, validation: float, page: float, compiling: float, jitter: float, guess: int, every: int
    ) -> None:
        machine = Machine(step, validation, page, compiling, jitter)
        budget = machine.budget(120.0, guess=guess, every=every)
        validated, totals = machine.run(budget)
        assert machine.now <= 120.0
        assert validated[-1] == len(totals) == budget.total
        assert machine.now >= 0.6 * 120.0

    def test_most_of_the_time_is_used_for_steps(self) -> None:
        machine = Machine(0.1, validation_s=2.0, page_s=1.0, compile_s=5.0)
        validated, totals = machine.run(machine.budget(240.0, every=200))
        assert 226 <= machine.now <= 240
        assert len(totals) * 0.1 >= 0.8 * 240
        assert validated[0] * 0.1 + 5 <= 0.12 * 240  # what the end takes is known early

    def test_a_machine_that_becomes_slower_ends_in_time(self) -> None:
        machine = Machine(0.05, validation_s=1.0, page_s=1.0)
        budget = machine.budget(60.0)
        step = 0
        while step < budget.total:
            machine.step_s = 0.05 if machine.now < 30 else 0.25
            machine.takes(machine.step_s)
            step += 1
            budget.stepped(step)
            if budget.is_due(step):
                machine.takes(1.0)
                budget.validated(step, 1.0)
                if not budget.is_rehearsed:
                    machine.takes(1.0)
                    budget.paged(1.0)
        assert 48 <= machine.now + 1.0 <= 60

    def test_validations_take_a_quarter_of_the_time_at_most(self) -> None:
        machine = Machine(0.1, validation_s=5.0)
        validated, _ = machine.run(machine.budget(200.0, every=1))
        assert 5 * (len(validated) - 2) <= 0.27 * 200

    def test_a_time_too_short_for_anything_is_one_step(self) -> None:
        machine = Machine(1.0, validation_s=9.0, page_s=9.0)
        validated, totals = machine.run(machine.budget(0.5))
        assert len(totals) <= 2
        assert validated[-1] == len(totals)


@hypothesis.settings(max_examples=60)
@given(
    step=st.floats(0.02, 0.3),
    validation=st.floats(0.0, 8.0),
    page=st.floats(0.0, 6.0),
    jitter=st.floats(0.0, 0.1),
    guess=st.integers(1, 3000),
    burst=st.sampled_from([2, 3, 8, 24, 40]),
    several=st.integers(1, 20),
    first_step=st.sampled_from([0, 0, 7, 80]),
)
def test_bursts_end_in_time_and_are_validated_where_they_end(
    step: float, validation: float, page: float, jitter: float, guess: int, burst: int, several: int, first_step: int
) -> None:
    machine = Machine(step, validation, page, jitter=jitter)
    budget = machine.budget(120.0, guess=guess, every=burst * several, burst=burst, first_step=first_step)
    validated = machine.run_in_bursts(budget, burst, first_step)
    assert machine.now <= 120.0
    assert all(step == taken for step, taken in validated)  # else a checkpoint has weights of later steps
    assert validated[-1][0] == budget.total
    assert len(validated) == len(set(validated))


def test_the_time_of_a_step_is_that_of_whole_bursts() -> None:
    machine, burst = Machine(0.0), 24
    budget = machine.budget(1000.0, burst=burst, guess=10**6, every=10**5)
    for step in range(1, 5 * burst + 1):
        machine.now += 0.1 * burst * (step % burst == 1)
        budget.stepped(step)
    assert budget._step_s() == pytest.approx(0.1)


@pytest.mark.parametrize(("guess", "first_step"), [(1, 0), (6, 0), (9, 3)])
def test_a_small_guess_is_planned_in_whole_executions_too(guess: int, first_step: int) -> None:
    machine, burst = Machine(0.1), 4
    budget = machine.budget(100.0, guess=guess, every=40, burst=burst, first_step=first_step)
    totals = [budget.total]
    for step in range(first_step + 1, 4 * burst + 1):
        machine.takes(0.1)
        budget.stepped(step)
        totals.append(budget.total)
    assert all(total % burst == 0 for total in totals)
    assert totals[-1] > 16 * burst


def test_a_run_gone_on_with_has_the_rest_of_the_time_and_may_score_again() -> None:
    machine = Machine(0.1, validation_s=3.0, page_s=1.0)
    validated, totals = machine.run(machine.budget(100.0, spent=60.0, again=True, first_step=500), first_step=500)
    assert machine.now <= 40.0 - 3.0  # the best weights of the process before are validated once more
    assert validated[-1] == 500 + len(totals)


def test_a_time_that_is_used_up_takes_no_more_than_a_step() -> None:
    machine = Machine(0.1)
    _, totals = machine.run(machine.budget(100.0, spent=100.0, first_step=500), first_step=500)
    assert len(totals) <= 2


def test_hosts_follow_the_chief() -> None:
    chief, other = Machine(0.1, validation_s=1.0), Machine(0.4, validation_s=2.0)
    said: list[float] = []

    def say(value: float) -> float:
        said.append(value)
        return value

    def hear(_: float) -> float:
        return said.pop(0)

    settings = {"guess": 1000, "every": 50, "first_step": 0}
    first = Budget(30.0, clock=chief.clock, same=say, **settings)  # type: ignore[arg-type]
    second = Budget(30.0, clock=other.clock, same=hear, **settings)  # type: ignore[arg-type]
    step, validated = 0, 0
    while step < first.total:
        step += 1
        for machine, budget in ((chief, first), (other, second)):
            machine.takes(machine.step_s)
            budget.stepped(step)
        assert (first.total, first.is_due(step)) == (second.total, second.is_due(step))
        if first.is_due(step):
            validated += 1
            first.validated(step, 1.0)
            second.validated(step, 2.0)
    assert not said
    assert validated >= 2


@pytest.mark.parametrize("burst", [1, 8])
def test_steps_of_one_execution_are_told_at_its_end(burst: int) -> None:
    machine = Machine(0.0, validation_s=1.0)
    budget = machine.budget(60.0, burst=burst)
    step = 0
    while step < budget.total:
        machine.now += 0.1 * burst + (20.0 if step == 0 else 0.0)
        for _ in range(burst):
            step += 1
            budget.stepped(step)
        if budget.is_due(step):
            machine.now += 1.0
            budget.validated(step, 1.0)
            budget.paged(0.0)
    assert 50 <= machine.now <= 60
    assert math.isfinite(budget.left())
