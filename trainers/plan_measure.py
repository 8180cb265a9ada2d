"""Takes two training steps of an experiment (JSON on standard input) and prints the most memory the process held.

`radkit plan --measure` runs it: `python -m trainers.plan_measure PRECISION < experiment.json`. Linux only.
"""

import json
import sys

from radkit import config
from trainers import plan, strategy


def main(argv: list[str]) -> int:
    """Prints bytes."""
    experiment = config.from_json(json.load(sys.stdin))
    strategy.set_precision(argv[1])
    plan.take_steps(experiment)
    print(peak_bytes())
    return 0


def peak_bytes() -> int:
    """Returns the most memory that this process has held, in bytes.

    Of the process itself: what `resource` tells begins with the parent's.
    """
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(line for line in file if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main(sys.argv))
