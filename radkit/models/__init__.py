"""Network factories, one a file: a network knows shapes, not DICOM.

A file defines `TASK`, `build(input_shape, num_classes, ...)` and, where its family has members of their own names,
`VARIANTS`: a member's name to the settings that make it, as `resnet50`; `ALIASES`: other names of members; and `RANKS`
where it is not built in 2-D and 3-D. A backbone also defines `features(x, ...)`.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from radkit import folder
from radkit.errors import UserError, did_you_mean

NOT_ENTRIES = ("heads", "box_heads", "encoders", "slices")
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
    weights: str = "",
    freeze: Sequence[str] = (),
    **settings: Any,
) -> keras.Model:
    """Returns a network.

    Args:
        name: A name of `names()`, a file of this folder, as `unet`, or `my_package.my_file:function`.
        input_shape: Spatial sizes (two or three; None where free) and channels, as `(None, None, None, 1)`; of a table
            the number of its columns, as `(12,)`.
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
    _check_rank(name, input_shape)
    factory = folder.find(__name__, file, "build")
    if not callable(factory):
        raise UserError(f"model {name!r} is {type(factory).__name__}; a function that builds it was expected")
    _check(name, factory, settings)
    model = _built(name, factory, input_shape, num_classes, {**of_member, **settings})
    if weights or freeze:
        from radkit.models import weights as transfer

        transfer.start(model, name, weights, freeze)
    return model


def ranks(name: str) -> tuple[int, ...]:
    """Returns for how many spatial axes a network can be built: (2, 3), unless its file says otherwise as `RANKS`.

    >>> ranks("unet")
    (2, 3)
    """
    try:
        found: tuple[int, ...] = folder.find(__name__, find(name)[0].partition(":")[0], "RANKS")
    except UserError:
        return (2, 3)
    return found


def _check_rank(name: str, input_shape: Sequence[int | None]) -> None:
    known = ranks(name)
    if len(input_shape) - 1 not in known:
        spatial = " or ".join(str(rank) for rank in known if rank)
        wanted = f"{spatial} spatial sizes and channels" if spatial else "a number of columns"
        raise UserError(f"input_shape of {name!r} must be {wanted}, not {tuple(input_shape)}")


def _check(name: str, factory: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    known = [p for p in inspect.signature(factory).parameters if p not in ("input_shape", "num_classes")]
    for setting in settings:
        if setting not in known:
            raise UserError(
                f"model {name!r} has no setting {setting!r}{did_you_mean(setting, known)}; "
                f"there are: {', '.join((*known, *_OF_ALL))}"
            )


def _built(
    name: str,
    factory: Callable[..., Any],
    input_shape: Sequence[int | None],
    num_classes: int,
    settings: dict[str, Any],
) -> keras.Model:
    try:
        model = factory(tuple(input_shape), num_classes, **settings)
    except UserError:
        raise
    except (TypeError, ValueError, IndexError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"model {name!r} cannot be built with {settings}: {reason}") from error
    if not isinstance(model, keras.Model):
        raise UserError(f"model {name!r} gave {type(model).__name__}; its function must return a keras.Model")
    return model
