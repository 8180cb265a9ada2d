"""Follow-ups for the survival metrics' tests: a published trial, and random ones full of ties."""

import numpy as np
from hypothesis import strategies as st

# Weeks of remission in leukaemia on 6-mercaptopurine (first 21) and on placebo: Freireich et al. 1963.
TIME = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
TIME += [1, 1, 2, 2, 3, 4, 4, 5, 5, 8, 8, 8, 8, 11, 11, 12, 12, 15, 17, 22, 23]
EVENT = [1, 1, 1, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0] + 21 * [1]
PLACEBO = 21 * [0] + 21 * [1]
RISK = [3 * placebo + place % 4 for place, placebo in enumerate(PLACEBO)]

CASES = st.lists(st.tuples(st.integers(0, 7), st.booleans(), st.integers(0, 4)), min_size=2, max_size=30)


def unzip(cases: list[tuple[int, bool, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns time, event and a score or covariate."""
    time, event, score = (np.array(part) for part in zip(*cases))
    return time.astype(float), event, score.astype(float)


def share_left(time: np.ndarray, event: np.ndarray, moment: float, of_censoring: bool = False) -> float:
    """Kaplan and Meier's product, one case's leaving after the other, events before those censored at their time."""
    share, left = 1.0, time.size
    for end, seen in sorted(zip(time, event), key=lambda case: (case[0], not case[1])):
        if end > moment:
            break
        share *= 1 - 1 / left if seen != of_censoring else 1
        left -= 1
    return share
