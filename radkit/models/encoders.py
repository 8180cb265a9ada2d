"""Any backbone as the encoder of another network: its feature maps by its name."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from radkit import folder, models
from radkit.errors import UserError, did_you_mean

MULTIPLE = 32
"""What sizes must divide by, so that every map is half of the one before: the coarsest stride of all."""


def names() -> list[str]:
    """Returns the names of `models.names()` that `features` knows, sorted."""
    return [name for name in models.names() if _factory(models.find(name)[0]) is not None]


def features(name: str, x: Any, **settings: Any) -> list[Any]:
    """Returns a backbone's feature maps, finest first, at strides 2, 4, 8, ...: those that it has; see `strides`.

    Args:
        name: A name as `resnet34`, a file as `resnet`, or `my_package.my_file:features` of your own.
        x: (batch, *spatial, channels); sizes that `MULTIPLE` divides give maps that halve exactly.
        **settings: The backbone's own, as `norm="instance"`.

    Raises:
        UserError: No such backbone, a network that is none, or a setting that it does not have.

    Example:
        >>> import keras
        >>> maps = features("resnet", keras.Input((32, 32, 1)), filters=(4, 8), blocks=(1, 1))
        >>> [one.shape[1] for one in maps]
        [16, 8]
    """
    file, of_member = models.find(name)
    made = _factory(file)
    if made is None:
        raise UserError(f"{name!r} is no backbone: it has no `features`; there are: {', '.join(names())}")
    known = list(inspect.signature(made).parameters)[1:]
    for setting in settings:
        if setting not in known:
            raise UserError(
                f"backbone {name!r} has no setting {setting!r}{did_you_mean(setting, known)}; "
                f"there are: {', '.join(known)}"
            )
    # What only concerns a member's head has no place here.
    ours = {setting: value for setting, value in of_member.items() if setting in known}
    return _made(name, made, x, {**ours, **settings})


def _made(name: str, made: Callable[..., Sequence[Any]], x: Any, settings: Mapping[str, Any]) -> list[Any]:
    try:
        return list(made(x, **settings))
    except UserError:
        raise
    except (TypeError, ValueError, IndexError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"backbone {name!r} cannot be built with {dict(settings)}: {reason}") from error


def _factory(file: str) -> Callable[..., Sequence[Any]] | None:
    if ":" in file:
        outside: Callable[..., Sequence[Any]] = folder.find(models.__name__, file, "features")
        return outside
    try:
        found: Callable[..., Sequence[Any]] = folder.find(models.__name__, file, "features")
    except UserError:
        return None
    return found


def strides(x: Any, maps: Sequence[Any]) -> list[tuple[int, ...]]:
    """Returns how many times coarser than the image each feature map is, one number an axis.

    Args:
        x: What `features` was given.
        maps: What it returned.

    Example:
        >>> import keras
        >>> image = keras.Input((None, None, 1))
        >>> strides(image, features("resnet", image, filters=(4, 8), blocks=(1, 1)))
        [(2, 2), (4, 4)]
    """
    whole, shapes = x.shape[1:-1], [one.shape for one in maps]
    if None in whole:  # sizes that are free have no ratio: what the maps of an image of some size would be has
        whole = (2 * MULTIPLE,) * len(whole)
        given = keras.KerasTensor((1, *whole, x.shape[-1]), dtype=x.dtype)
        shapes = [one.shape for one in keras.Function(x, list(maps)).compute_output_spec(given)]
    return [tuple(size // less for size, less in zip(whole, shape[1:-1])) for shape in shapes]
