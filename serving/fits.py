"""Whether a model was made for an image: asked before anything is sent."""

from collections.abc import Mapping

import numpy as np

from radkit import config
from radkit.dicom.volumes import SeriesError
from serving.signatures import Signature

_RADIOGRAPHS = ("CR", "DX", "MG", "IO", "PX", "RG")
_SLICED = ("CT", "MR", "PT", "NM")
_ANYWAY = "--any_modality sends it all the same"


def check_modality(modality: str, data: config.Data | None) -> None:
    """Refuses an image of another kind than the model's records are.

    The records' data.modalities says which; where that is empty, data.kind tells slices of a body from radiographs.

    Args:
        modality: Modality of the series.
        data: What the model tells of its records; None: nothing, and nothing is refused.

    Raises:
        SeriesError: It does not fit.
    """
    if data is None:
        return
    if data.modalities:
        if modality not in data.modalities:
            raise SeriesError(
                f"the model takes {', '.join(data.modalities)}, and the series is {_said(modality)}; {_ANYWAY}"
            )
        return
    wrong, kind = (_SLICED, "radiographs") if data.kind == "radiograph" else (_RADIOGRAPHS, "volumes")
    if modality in wrong:
        raise SeriesError(f"the model takes {kind}, and the series is {_said(modality)}; {_ANYWAY}")


def _said(modality: str) -> str:
    return f"of Modality {modality}" if modality else "without a Modality"


def check_size(inputs: Mapping[str, np.ndarray], signature: Signature, data: config.Data | None) -> None:
    """Refuses arrays whose sizes the model does not take, and a single slice for one that learned from volumes.

    Args:
        inputs: By name, as they would be sent.
        signature: The model's.
        data: As in `check_modality`.

    Raises:
        SeriesError: A size does not fit.
    """
    for name, array in inputs.items():
        if name in signature.inputs and not signature.inputs[name].fits(array.shape):
            raise SeriesError(f"{name} would be {array.shape}; the model takes {signature.inputs[name]}")
    image = inputs["image"].shape
    if data is not None and len(image) == 5 and image[1] == 1 < data.image_size[0]:
        raise SeriesError(
            f"the series is one slice, and the model learned from {data.image_size[0]} at once: a localizer? {_ANYWAY}"
        )
