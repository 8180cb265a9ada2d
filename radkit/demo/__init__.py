"""The whole chain on real images: a hospital's folder of DICOM in, answers over gRPC out, and a page of results.

    radkit demo --output demo_output

Public images (see `data/LICENSES.md` beside this module) are written out as the DICOM export of an invented hospital,
so that there is something to de-identify. Then each verb runs as a person would run it: index, anonymize, curate,
convert, statistics, check-leakage, train, evaluate, export, serve, predict; for 3-D segmentation (hippocampus in MR)
and for classification (chest radiographs). It ends with a table of steps and `<output>/demo.html`. The same command
gives the same splits, records and figures again; an --output of an earlier demo is made anew.

Exit status: 0 done; 2 refused or a step failed (its own words are shown).
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from radkit import program
from radkit.demo import chain

FLAGS = program.new_flags(data_in=None, out="Folder to write everything into.")
flags.DEFINE_integer("volumes", 120, "Hippocampus volumes.", lower_bound=12, upper_bound=120, flag_values=FLAGS)
flags.DEFINE_integer("radiographs", 640, "Chest radiographs.", lower_bound=48, upper_bound=640, flag_values=FLAGS)
flags.DEFINE_integer(
    "steps",
    0,
    "Training steps of each network; 0: the configs', fewer of hippocampus.",
    lower_bound=0,
    flag_values=FLAGS,
)
flags.DEFINE_integer(
    "processes",
    None,
    "Processes that write the hospital's folder; as many as processors if not given.",
    flag_values=FLAGS,
)


def main(argv: Sequence[str]) -> int:
    """Runs the verb; see the module's docstring."""
    return program.run(sys.modules[__name__], _run, argv)


def _run(values: flags.FlagValues, _: list[str]) -> int:
    return chain.run(
        Path(values["output"].value or "demo_output"),
        num_volumes=values["volumes"].value,
        num_radiographs=values["radiographs"].value,
        steps=values["steps"].value,
        processes=values["processes"].value or os.cpu_count() or 1,
    )
