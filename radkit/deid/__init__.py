"""De-identification: DICOM PS3.15 Annex E, keyed and stateless, at every nesting level, as a pass over raw bytes."""

from radkit.deid.datasets import deidentify
from radkit.deid.settings import Settings

__all__ = ["Settings", "deidentify"]
