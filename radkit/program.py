"""What every radkit program shares: its flags, its exit status, and mistakes told in one line.

A program is a module with `FLAGS` (its own `absl.flags.FlagValues`), a docstring that is its manual, and
`main(argv) -> int`, usually `return program.run(sys.modules[__name__], _run, argv)`.
"""

import copy
import logging
import os
import sys
import textwrap
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from absl import flags

from radkit.errors import UserError, disk_error

DONE = 0  # done and complete
QUARANTINED = 1  # done, but some inputs were set aside and are listed
REFUSED = 2  # wrong use, or refused: nothing was written


def new_flags(*, data_in: str | None, out: str | None, config: bool = False) -> flags.FlagValues:
    """Returns a program's own flags, with the shared ones a program asks for.

    Args:
        data_in: Help for `--input`, or None when the program has none.
        out: Help for `--output`, or None.
        config: Whether `--config` and `--set` exist.
    """
    values = flags.FlagValues()
    if data_in is not None:
        flags.DEFINE_string("input", None, data_in, flag_values=values)
    if out is not None:
        flags.DEFINE_string("output", None, out, flag_values=values)
    if config:
        flags.DEFINE_string(
            "config", None, "The experiment: a name in configs/, a .py file, or a saved .json.", flag_values=values
        )
        flags.DEFINE_multi_string(
            "set", [], "Overrides one field, as trainer.batch_size=4; may be given again.", flag_values=values
        )
    return values


def run(
    program: ModuleType,
    body: Callable[[flags.FlagValues, list[str]], int],
    argv: Sequence[str],
    *,
    passes_on: bool = False,
) -> int:
    """Parses the flags, runs `body(flags, rest)` and returns the exit status.

    Args:
        program: The module; its docstring is the manual, its `FLAGS` the flags.
        body: The work. It may raise `UserError`, which is printed as one line, status 2.
        argv: As `sys.argv`: the program's name first.
        passes_on: Whether flags that the program does not know are handed to `body` (Beam's own), as --name=value.

    An exception that nobody foresaw is shown with its traceback and gives status 2, too: Python's own status for it,
    1, would say that the work was done.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if {"--help", "-h", "--helpfull"} & set(argv[1:]):
        say(manual(program))
        return DONE
    values: flags.FlagValues = copy.deepcopy(program.FLAGS)  # so that no call sees another's flags
    try:
        return body(values, _parse(values, argv, passes_on))
    except UserError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return _refuse("interrupted; what was written aside is removed and nothing else was touched")
    except Exception as error:  # noqa: BLE001 - shown below, whatever others have made of logging
        told = disk_error(error)
        if told:
            return _refuse(told)
        traceback.print_exc()
        return _refuse("stopped by a defect of radkit or of code that it was given; the output is not complete")


def _parse(values: flags.FlagValues, argv: Sequence[str], passes_on: bool) -> list[str]:
    try:
        rest: list[str] = values(list(argv), known_only=passes_on)[1:]
    except (flags.Error, ValueError) as error:
        raise UserError(str(error)) from error
    if rest and not passes_on:
        raise UserError(f"{rest[0]!r} was not expected; flags are written --name=value (see --help)")
    return _joined(rest)


def _joined(words: Sequence[str]) -> list[str]:
    """Returns flags with their values in one word each: `--name value` as `--name=value`."""
    joined: list[str] = []
    for word in words:
        before = joined[-1] if joined else ""
        if before.startswith("--") and "=" not in before and not word.startswith("-"):
            joined[-1] = f"{before}={word}"
        else:
            joined.append(word)
    return joined


def _refuse(message: str) -> int:
    if logging.getLogger().isEnabledFor(logging.DEBUG):
        traceback.print_exc()
    print(f"radkit: {' '.join(message.split())}", file=sys.stderr)
    return REFUSED


def say(text: str) -> None:
    """Prints a line; that nobody reads on, as where `| head` has seen enough, is no failure."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # what Python writes at its end would fail, too
        os.close(nowhere)


def manual(program: ModuleType) -> str:
    """Returns the text of `--help`: the module's docstring and its flags with their defaults."""
    lines = [(program.__doc__ or "").strip(), "", "Flags:"]
    values: flags.FlagValues = program.FLAGS
    for name in sorted(values):
        flag = values[name]
        default = "" if flag.default in (None, [], "") else flag.default_as_str.strip("'")
        lines.append(f"  --{name} [{default}]" if default else f"  --{name}")
        help_text = (flag.help or "").partition(";\n    repeat this option")[0]  # absl's; the flag's own says it
        lines.append(textwrap.indent(textwrap.fill(" ".join(help_text.split()), 96), "      "))
    return "\n".join(lines)


def required(values: flags.FlagValues, *names: str) -> None:
    """Refuses when a flag that the program cannot do without was not given."""
    missing = [f"--{name}" for name in names if values[name].value in (None, "", [])]
    if missing:
        raise UserError(f"{', '.join(missing)} must be given (see --help)")


def input_folder(values: flags.FlagValues) -> Path:
    """Returns `--input` as a folder that is there and holds something.

    Raises:
        UserError: It is missing, a file, or empty.
    """
    required(values, "input")
    folder = Path(values["input"].value)
    if not folder.exists():
        raise UserError(f"--input {folder} does not exist; name a folder")
    if not folder.is_dir():
        raise UserError(f"--input {folder} is a file; name the folder that holds it")
    if not any(folder.iterdir()):
        raise UserError(f"--input {folder} is empty; name a folder with files in it")
    return folder
