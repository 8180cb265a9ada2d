"""Network factories, one a file: a network knows shapes, not DICOM.

A file defines `TASK`, `build(input_shape, num_classes, ...)` and, where its family has members of their own names,
`VARIANTS`: a member's name to the settings that make it, as `resnet50`; `ALIASES`: other names of members; and `RANKS`
where it is not built in 2-D and 3-D. A backbone also defines `features(x, ...)`.
"""

import inspect
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from radkit import folder
from radkit.errors import UserError, did_you_mean

NOT_ENTRIES = ("heads", "box_heads", "proposals", "encoders", "slices")
_OF_ALL = ("weights", "freeze")


def names(task: str | None = None) -> list[str]:
    """Returns the names that `build` knows, sorted; of one task when it is named.

    A family's members stand for it: `resnet18`, `resnet50`, not `resnet`, which `build` knows too.
    """
    found = []
    for file in folder.names(__name__):
        if task is None or folder.find(__name__, file, "TASK") == task:
            found += list(_variants(file)) or [file]
    return sorted(found)


def _variants(file: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        found: Mapping[str, Mapping[str, Any]] = folder.find(__name__, file, "VARIANTS")
    except UserError:
        return {}
    return found


def _aliases(file: str) -> Mapping[str, str]:
    try:
        found: Mapping[str, str] = folder.find(__name__, file, "ALIASES")
    except UserError:
        return {}
    return found


def find(name: str) -> tuple[str, Mapping[str, Any]]:
    """Returns the file that a name means, and the settings that make it that member of its family.

    Raises:
        UserError: No such name; the message lists the names there are.

    Example:
        >>> find("unet")
        ('unet', {})
    """
    if not isinstance(name, str):
        raise UserError(f"a model's name is a string, as 'unet', not {name!r}; there are: {', '.join(names())}")
    if ":" in name or name in folder.names(__name__):
        return name, {}
    members = {
        member: (file, settings) for file in folder.names(__name__) for member, settings in _variants(file).items()
    }
    aliases = {alias: members[member] for file in folder.names(__name__) for alias, member in _aliases(file).items()}
    plain = {_plain(member): found for member, found in (aliases | members).items()} | {
        _plain(file): (file, {}) for file in folder.names(__name__)
    }
    if _plain(name) in plain:
        return plain[_plain(name)]
    known = names()
    raise UserError(
        f"models has no {name!r}{did_you_mean(name, known)}; there are: {', '.join(known)}; "
        "code of your own is named as 'my_package.my_file:name'"
    )


def _plain(name: str) -> str:
    """ResNet-50, resnet_50 and resnet50 are one."""
    return name.lower().replace("-", "").replace("_", "")


def build(
    name: str,
    *,
    input_shape: Sequence[int | None],
    num_classes: int,
    weights: str | os.PathLike[str] = "",
    freeze: str | Sequence[str] = (),
    **settings: Any,
) -> keras.Model:
    """Returns a network.

    Args:
        name: A name of `names()`, a file of this folder, as `unet`, or `my_package.my_file:function`.
        input_shape: Spatial sizes (two or three; None where free) and channels, as `(None, None, None, 1)`, without
            the batch; of a table the number of its columns, as `(12,)`.
        num_classes: Channels of the output; it is logits, float32.
        weights: Empty: new ones by the seed; else `imagenet`, a file, or `run:DIR`; see `radkit.models.weights`.
        freeze: Patterns of layers' names, as `stem*`, whose weights do not learn; see `radkit.models.weights.freeze`.
        **settings: The factory's own, as `filters=(16, 32)`.

    Raises:
        UserError: No such network, a setting that it does not have, a shape that it cannot take, or weights that do not
            fit.

    Example:
        >>> build("unet", input_shape=(32, 32, 1), num_classes=2, filters=(4, 8)).output_shape
        (None, 32, 32, 2)
    """
    file, of_member = find(name)
    shape = _shape(name, input_shape)
    classes = _whole(num_classes)
    if classes is None or classes < 1:
        raise UserError(f"num_classes of {name!r} must be a whole number of at least 1, not {num_classes!r}")
    factory = folder.find(__name__, file, "build")
    if not callable(factory):
        raise UserError(f"model {name!r} is {type(factory).__name__}; a function that builds it was expected")
    _check(name, factory, settings)
    model = _built(name, factory, shape, classes, {**of_member, **settings})
    if weights or freeze:
        from radkit.models import weights as transfer

        transfer.start(model, name, weights, freeze)
    return model


def ranks(name: str) -> tuple[int, ...]:
    """Returns for how many spatial axes a network can be built: (2, 3), unless its file says otherwise as `RANKS`.

    >>> ranks("unet")
    (2, 3)
    """
    file = find(name)[0]
    try:
        outside = f"{file.partition(':')[0]}:RANKS" if ":" in file else file
        found: tuple[int, ...] = folder.find(__name__, outside, "RANKS")
    except UserError:
        return (2, 3)
    return found


def _shape(name: str, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
    """Returns the shape as plain numbers; refuses what is none."""
    known = ranks(name)
    spatial = " or ".join(str(rank) for rank in known if rank)
    wanted = f"{spatial} spatial sizes and channels" if spatial else "a number of columns"
    told = f"input_shape of {name!r} must be {wanted}"
    try:
        given = tuple(input_shape)
    except TypeError:
        given = ()
    if isinstance(input_shape, str) or len(given) - 1 not in known:
        raise UserError(f"{told}, not {input_shape!r}")
    shape = tuple(_whole(size) for size in given)
    for number, (asked, size) in enumerate(zip(given, shape)):
        free = asked is None and number < len(given) - 1
        if not free and (size is None or size < 1):
            also = ", or None where it is free" if number < len(given) - 1 else "; it cannot be free"
            which = f"size {number}" if number < len(given) - 1 else "last number"
            raise UserError(f"{told}, without the batch; its {which} must be 1 or more{also}, not {asked!r}")
    return shape


def _whole(number: Any) -> int | None:
    """Returns a whole number of any library as Python's; None if it is none."""
    if isinstance(number, bool):
        return None
    try:
        return operator.index(number)
    except TypeError:
        return None


def _check(name: str, factory: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    parameters = inspect.signature(factory).parameters
    known = [setting for setting in parameters if setting not in ("input_shape", "num_classes")]
    for setting, value in settings.items():
        if setting not in known:
            raise UserError(
                f"model {name!r} has no setting {setting!r}{did_you_mean(setting, known)}; "
                f"there are: {', '.join((*known, *_OF_ALL))}"
            )
        # 'no' would count as yes.
        if isinstance(parameters[setting].default, bool) and not isinstance(value, bool):
            raise UserError(f"model {name!r}: {setting} must be True or False, not {value!r}")


def _built(
    name: str,
    factory: Callable[..., Any],
    input_shape: tuple[int | None, ...],
    num_classes: int,
    settings: dict[str, Any],
) -> keras.Model:
    try:
        model = factory(input_shape, num_classes, **settings)
    except UserError:
        raise
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(f"model {name!r} cannot be built with {settings}: {_reason(error)}") from error
    if not isinstance(model, keras.Model):
        raise UserError(f"model {name!r} gave {type(model).__name__}; its function must return a keras.Model")
    return model


def _reason(error: Exception) -> str:
    """Returns what went wrong, in one line: Keras writes first in which layer's call, and the reason in bold below."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    inner = lines[0].startswith("Exception encountered when calling") and len(lines) > 1
    return lines[1 if inner else 0].replace("\x1b[1m", "").replace("\x1b[0m", "").strip()
