"""How many steps fit into a time, told anew while a run trains: `trainer.minutes`.

Three things are measured as the run goes: a step, a validation, and the page that is written at the end. The first
validation comes early and is followed by the page, so that both are known (and there) long before the time is over.
"""

import math
import time
from collections import deque
from collections.abc import Callable

_WINDOW = 64  # steps whose time is the measure of the next ones
_EARLY = 0.1  # share of the time after which the first validation is due at the latest
_UNKNOWN = 0.15  # share of the time that is kept for validation and page before they were measured
_VALIDATION_SHARE = 0.25  # of the time, at most, goes into validations before the last one
_SAFETY = 1.2  # validation and page may take so much longer than the last time
_MARGIN = 0.02, 1.0  # share of the time, and seconds, that stay unplanned
_CHECKS = 20  # the number of steps is told anew after this part of what is left


class Budget:
    """The steps that fit into what is left of a run's time, and the steps after which it is validated.

    All hosts see the same: what this host measured counts on the chief only (`same`), and hosts ask at the same steps.

    Args:
        seconds: The run may take, validation and page included.
        first_step: Steps taken before.
        guess: Steps that the run is thought to have until something is measured.
        every: Steps between validations, where they do not take too much of the time.
        spent: Seconds that the run has taken already.
        again: Whether the best weights may have to be validated again for the page: an earlier process did it.
        burst: Steps of one execution; executions begin at its multiples.
        same: Gives the chief's value on all hosts.
        clock: In seconds.

    Attributes:
        total: Steps that the run is now thought to have; it ends when they are taken.
    """

    def __init__(
        self,
        seconds: float,
        *,
        first_step: int,
        guess: int,
        every: int,
        spent: float = 0.0,
        again: bool = False,
        burst: int = 1,
        same: Callable[[float], float] = float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._same, self._clock = same, clock
        self._seconds, self._ends = seconds, clock() + seconds - spent
        self._first, self._every, self._again = first_step, every, int(again)
        # Whole executions: all of the time of one is told with its first step.
        self._took: deque[float] = deque(maxlen=burst * max(2, math.ceil(_WINDOW / burst)))
        self._burst, self._even = burst, math.ceil(first_step / burst) * burst
        self._unmeasured = burst  # the first execution is compiled
        self._since = clock()
        self._validation = self._page = math.nan
        self._last_validation = first_step
        self.total = self._whole(max(guess, first_step + 1))
        self._next_validation = first_step + every
        self._next_check = first_step + 1

    def stepped(self, step: int) -> None:
        """Notes that a step was taken, and tells `total` anew where that is due."""
        now = self._clock()
        if self._unmeasured:
            self._unmeasured -= 1
        else:
            self._took.append(now - self._since)
        self._since = now
        # Not within an execution, whose other steps are taken already, whatever the plan.
        if step >= self._next_check and (step < self._even or step % self._burst == 0):
            self._plan(step)

    def is_due(self, step: int) -> bool:
        """Returns whether the network is validated after this step."""
        return step >= min(self._next_validation, self.total)

    def validated(self, step: int, seconds: float) -> None:
        """Notes that the network was validated after a step, and how long that took."""
        self._validation, self._last_validation = seconds, step
        self._plan(step)
        self._since = self._clock()

    def paged(self, seconds: float) -> None:
        """Notes how long the page took."""
        self._page = seconds
        self._since = self._clock()

    @property
    def is_rehearsed(self) -> bool:
        """Whether validation and page were measured."""
        return not math.isnan(self._page)

    def left(self) -> float:
        """Returns the seconds that are left of all of the time."""
        return self._ends - self._clock()

    def _plan(self, step: int) -> None:
        self.total = int(self._same(self._fitting(step)))
        self._next_validation = int(self._same(self._validated_next(step)))
        left = self.total - step
        self._next_check = step + max(1, min(left // _CHECKS, step - self._first))

    def _fitting(self, step: int) -> int:
        """Returns how many steps the run can have in all."""
        for_steps = self.left() - self._reserve()
        if not self._took:  # one more than is needed to measure one
            return self._whole(max(self.total, step + self._unmeasured + 1)) if for_steps > 0 else step
        seconds = self._step_s()
        if not math.isnan(self._validation):
            seconds += self._validation / self._interval()
        total = step + max(0, int(for_steps / seconds))
        return max(step, total - total % self._burst)  # what is left over would be taken, and compiled, step by step

    def _whole(self, steps: int) -> int:
        """Returns so many steps or a few more: single ones beside whole executions would be compiled anew."""
        return math.ceil(steps / self._burst) * self._burst

    def _step_s(self) -> float:
        return max(sum(self._took) / len(self._took), 1e-9)

    def _reserve(self) -> float:
        """Returns the seconds that the end takes: the last validation, the page, and what nobody foresees.

        The validation is kept even right after another one: what is learned after that wants one of its own.
        """
        margin = _MARGIN[0] * self._seconds + min(_MARGIN[1], _MARGIN[0] * self._seconds)
        if not self.is_rehearsed:
            return margin + _UNKNOWN * self._seconds
        return margin + _SAFETY * ((1 + self._again) * self._validation + self._page)

    def _interval(self) -> int:
        """Returns how many steps lie between validations: more than asked where those would take too much time."""
        if not self._took or math.isnan(self._validation):
            return self._every
        least = self._validation * (1 - _VALIDATION_SHARE) / _VALIDATION_SHARE / self._step_s()
        return max(self._every, math.ceil(least))

    def _validated_next(self, step: int) -> int:
        if math.isnan(self._validation):
            early = self._seconds - self.left() >= _EARLY * self._seconds
            return step if early else self._first + self._every
        interval = self._interval()
        coming = self._last_validation + interval
        return coming if coming + interval / 2 <= self.total else self.total  # the last one makes it needless
