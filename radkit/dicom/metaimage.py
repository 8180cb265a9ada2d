"""What a MetaImage file's header must say before SimpleITK is asked to read it: its reader trusts numbers, and crashes.

Source: MetaIO, the format's description: https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from pathlib import Path

_MOST_BYTES = 1 << 16  # of a header
_MOST_AXES = 4
# By how many numbers a line has, for n axes; values of the left are each key's.
_COUNTS = {
    "DimSize": 1, "ElementSpacing": 1, "ElementSize": 1, "Offset": 1, "Origin": 1, "Position": 1, "CenterOfRotation": 1,
    "TransformMatrix": 2, "Rotation": 2, "Orientation": 2,
}  # fmt: skip
_WHOLE = ("NDims", "DimSize", "HeaderSize", "ElementNumberOfChannels", "CompressedDataSize")


class MetaImageError(ValueError):
    """A header that is none, or contradicts itself."""


def check(path: Path) -> None:
    """Refuses a header whose axes are not 2 to 4, or whose numbers are not as many as its axes ask for.

    Raises:
        MetaImageError: It is such a one.
        OSError: It cannot be opened.
    """
    with path.open("rb") as file:
        said = _said(file.read(_MOST_BYTES))
    try:
        axes = int(said["NDims"])
        for key in _WHOLE:
            numbers = [int(number) for number in said.get(key, "").split()]
            if key == "DimSize" and min(numbers) < 1:
                raise MetaImageError("DimSize is not positive")
        counts = {key: len([float(number) for number in said[key].split()]) for key in _COUNTS if key in said}
    except (KeyError, ValueError) as error:
        raise MetaImageError("its header is damaged") from error
    wrong = [key for key, count in counts.items() if count != axes ** _COUNTS[key]]
    if not 2 <= axes <= _MOST_AXES or "DimSize" not in said or wrong:
        raise MetaImageError("its header's numbers are not as many as its axes")


def _said(data: bytes) -> dict[str, str]:
    """Returns a header's values by their keys; ElementDataFile is the last."""
    found: dict[str, str] = {}
    for line in data.split(b"\n"):
        key, separator, value = line.decode("latin-1").partition("=")
        if not separator:
            raise MetaImageError("its header is damaged")
        found[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return found
    raise MetaImageError("its header does not end")
