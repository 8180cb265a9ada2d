"""The registry is the folder: a file's name is the name that configs use.

`radkit/models/unet.py` is the model `unet`. Code outside radkit is reached as `my_package.my_file:name`.
"""

import importlib
import pkgutil
from types import ModuleType
from typing import Any

from radkit.errors import UserError, did_you_mean


def names(package: str) -> list[str]:
    """Returns the names in a package's folder, sorted.

    Args:
        package: Dotted name, as `radkit.tasks`. No entries are sub-packages, files that begin with `_`, and what
            the package names in `NOT_ENTRIES`: what its entries share.
    """
    module = importlib.import_module(package)
    shared = getattr(module, "NOT_ENTRIES", ())
    found = [m.name for m in pkgutil.iter_modules(module.__path__) if not m.ispkg]
    return sorted(name for name in found if not name.startswith("_") and name not in shared)


def find(package: str, name: str, attribute: str) -> Any:
    """Returns `attribute` of the file `name` in a package, or what `my_package.my_file:name` points to.

    Args:
        package: Dotted name of the folder.
        name: A file's name without `.py`, or `module:attribute` for outside code.
        attribute: What each file of this folder defines, as `build`.

    Raises:
        UserError: No such name; the message lists the names there are.
    """
    if ":" in name:
        module_name, _, attribute = name.partition(":")
        return _attribute(_outside(module_name), attribute)
    known = names(package)
    if name not in known:
        kind = package.rsplit(".", 1)[-1]
        raise UserError(
            f"{kind} has no {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}; "
            "code of your own is named as 'my_package.my_file:name'"
        )
    return _attribute(importlib.import_module(f"{package}.{name}"), attribute)


def _outside(module_name: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(f"{module_name!r} cannot be imported: {error}; put it on PYTHONPATH") from error
    except (ImportError, SyntaxError, ValueError, TypeError) as error:  # a name that is none, or a broken file
        raise UserError(f"{module_name!r} cannot be imported: {error}") from error
    except SystemExit as error:  # it would end the verb without a word
        raise UserError(f"{module_name!r} cannot be imported: it ends the program (SystemExit: {error})") from error


def _attribute(module: ModuleType, attribute: str) -> Any:
    if not hasattr(module, attribute):
        raise UserError(f"{module.__name__} defines no {attribute!r}")
    return getattr(module, attribute)
