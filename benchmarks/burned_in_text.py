"""Text burned into real images: how much radkit finds and how much clean image it blacks out; and tesseract's share.

A text counts as found when at least 95 % of its ink is blacked out. `dev` is the part that thresholds were set on,
`held` has other images, fonts and strings. Without --images the images are the demo's: few, and MR alone.

    python benchmarks/burned_in_text.py --images=FOLDER   # holds dicom_variety/, series/ ...
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pydicom

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import burned_in

COVERED = 0.95
Masker = Callable[[pydicom.Dataset], np.ndarray]


def radkit(dataset: pydicom.Dataset, threads: int = 1) -> np.ndarray:
    """Returns what radkit blacks out, (rows, columns) bool; the header tells it nothing of the patient."""
    from radkit.deid import text_in_pixels

    mask = np.zeros((dataset.Rows, dataset.Columns), bool)
    cleaned = text_in_pixels.clean(dataset, (), threads=threads)
    for box in cleaned.boxes if cleaned else ():
        mask[box.where] = True
    return mask


def tesseract(dataset: pydicom.Dataset) -> np.ndarray:
    """Returns the words that tesseract is at all sure of, sparse text, at twice the size."""
    from PIL import Image

    from radkit.deid.text_in_pixels import decoding, rendering

    pixels = decoding.decode(dataset)
    shown = rendering.pictures(pixels.values(0), rendering.look(dataset, pixels.photometric, pixels.stored))
    mask = np.zeros((dataset.Rows, dataset.Columns), bool)
    if not shown:  # one value all over
        return mask
    with tempfile.TemporaryDirectory() as folder:
        paper = Image.fromarray(shown[0])
        paper.resize((2 * paper.width, 2 * paper.height)).save(f"{folder}/picture.png")
        command = ["tesseract", f"{folder}/picture.png", "-", "--psm", "11", "tsv"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for line in said.splitlines()[1:]:
        *_, left, top, wide, high, sure, words = line.split("\t")
        if float(sure) > 0 and len(words.strip()) > 1:
            x, y, w, h = (int(value) // 2 for value in (left, top, wide, high))
            mask[max(y - 2, 0) : y + h + 3, max(x - h, 0) : x + w + h] = True
    return mask


def measure(
    samples: Iterable[burned_in.Sample], masker: Masker
) -> tuple[list[tuple[str, burned_in.Text, float]], float]:
    """Returns each text's sample, itself and the covered share of its ink; and the masked share of clean images."""
    covered, clean_masked, clean_all = [], 0, 0
    for sample in samples:
        mask = masker(sample.burned)
        covered += [(sample.name, text, float(mask[text.ink].mean())) for text in sample.texts]
        mask = masker(sample.clean)
        clean_masked, clean_all = clean_masked + int(mask.sum()), clean_all + mask.size
    return covered, clean_masked / clean_all


def tell(name: str, part: str, samples: Iterable[burned_in.Sample], masker: Masker, missed: bool) -> None:
    start = time.process_time()
    covered, masked = measure(samples, masker)
    found = sum(share >= COVERED for _, _, share in covered)
    print(
        f"{name} {part}: recall {found / len(covered):.3f} ({found} of {len(covered)} texts), "
        f"clean area masked {100 * masked:.3f} %, {time.process_time() - start:.0f} CPU s",
        flush=True,
    )
    for sample, text, share in covered if missed else ():
        if share < COVERED:
            print(f"  missed: {text.words!r}, {text.size_px} px, on {sample}: {100 * share:.0f} % of its ink covered")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="Folder of the sets that burned_in.IMAGES names.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--missed", action="store_true", help="Name what was missed.")
    parser.add_argument("--parts", default="dev,held")
    parser.add_argument("--peer_python", help="Taken and not needed: the peer is a program.")
    flags = parser.parse_args()
    for part in flags.parts.split(","):
        samples = list(burned_in.samples(part, flags.images))
        tell("radkit", part, samples, lambda dataset: radkit(dataset, flags.threads), flags.missed)
        try:
            tell("tesseract", part, samples, tesseract, False)
        except FileNotFoundError:
            print("tesseract: not installed, not measured")


if __name__ == "__main__":
    main()
