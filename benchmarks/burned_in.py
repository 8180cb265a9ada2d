"""Real images with invented text burned in: the set that `burned_in_text.py` and the slow tests measure with.

Two parts, told apart by image, font and string: `dev`, which thresholds were set on, and `held`, which they were not.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image, ImageDraw, ImageFont

DEMO = Path(__file__).resolve().parents[1] / "radkit" / "demo" / "data"
SIZES_PX = range(9, 27)
TEXTS_AN_IMAGE = 4
# Images that show no text but for single letters: looked at by eye, each of them.
IMAGES = {
    "dev": (
        "dicom_variety/001_*", "dicom_variety/010_*", "dicom_variety/015_*", "dicom_variety/044_*",
        "dicom_variety/103_*", "dicom_variety/066_*", "dicom_variety/020_*", "dicom_variety/023_*",
        "dicom_variety/002_*", "dicom_variety/079_*", "dicom_variety/099_*", "dicom_variety/101_*",
        "dicom_variety/068_*", "dicom_variety/088_*", "dicom_variety/114_*", "series/dcmqa_ct_ge/01.dcm",
        "series/dcmqa_ct_ge/07.dcm", "series/dcmqa_ct_ge/22.dcm", "series/pgbm001_t1/11-T1post-*/000008.dcm",
        "series/pgbm001_t1/35637-*/000015.dcm", "us/026", "us/055", "us/030", "us/060",
    ),
    "held": (
        "series/totalseg_ct/example_ct_dicom/*16573", "series/totalseg_ct/example_ct_dicom/*16592",
        "series/dcmqa_ct_ge/04.dcm", "series/dcmqa_ct_ge/10.dcm", "series/dcmqa_ct_ge/16.dcm",
        "series/pgbm001_t2/11-T1post-*/000005.dcm", "series/pgbm001_t2/11-T1post-*/000021.dcm",
        "series/pgbm001_t1/35637-*/000007.dcm", "series/pgbm001_t1/35637-*/000023.dcm",
        "det_seg_covid_cxr_lungs/images/05ac537601af*", "det_seg_covid_cxr_lungs/images/21c5a6455e90*",
        "det_seg_covid_cxr_lungs/images/735c804d1c3a*", "det_seg_covid_cxr_lungs/images/8a953393fc6c*",
        "det_seg_covid_cxr_lungs/images/c7e48a7d3fce*", "cls_nih_cxr/images/00001745_001*",
        "seg2d_sunnybrook_cine_mr/Images/*/SC-HF-NI-03-IM-0001-0069*",
        "seg2d_sunnybrook_cine_mr/Images/*/SC-HYP-01-IM-0001-0128*",
        "seg2d_sunnybrook_cine_mr/Images/*/SC-N-03-IM-0001-0288*", "dicom_variety/024_*", "dicom_variety/057_*",
        "us/034",
    ),
    "demo": tuple(f"series/brain_mr_t1_post/{number:06d}.dcm" for number in range(0, 25, 3)),
}  # fmt: skip
# Where an ultrasound image shows no text: rows, columns.
_WITHOUT_TEXT = {
    "026": (slice(45, 200), slice(90, 275)), "055": (slice(190, 560), slice(230, 700)),
    "030": (slice(190, 330), slice(60, 560)), "060": (slice(120, 400), slice(215, 750)),
    "034": (slice(110, 370), slice(70, 600)),
}  # fmt: skip
_WORDS = {
    "dev": (
        "DOE^JOHN", "Smith, Jane A.", "ID: 4711-0815", "12.03.1961", "1961-03-12", "ACC# 20394417", "14:32:05",
        "St. Mary's Hospital", "M 054Y", "Dr. A. Miller", "MRN 00918273", "Mar 12 2019", "HUBER MARIA", "07/22/1948",
        "University Clinic", "Ph: Garcia", "KLEIN, PETER", "P00017", "Exam 88231", "DOB 03/12/1961",
        "ROSSI^ANNA", "Nguyen, Van T.", "PID 903-22-118", "28.11.1975", "2003-07-09", "A1029384756", "09:15:44",
        "General Infirmary", "F 071Y", "Op: J. Novak", "Case No. 55120", "Sep 30 2021", "WEBER KARL", "11/05/1983",
        "Radiology Dept.", "Ref: Dr Okafor", "IVANOVA O.", "Q77-41", "Study 400291", "Born 1939",
    ),
    "held": (
        "TANAKA^YUKI", "O'Brien, Liam", "Pat.Nr. 66-10432", "04.07.1990", "19551224", "ACC 7730021X", "16:58:11",
        "City Hospital North", "66Y", "Tech: Svensson", "MRN: 5529107", "14-JUN-1972", "FERRARI LUCA", "1/9/2001",
        "Dept. of Imaging", "Req: Dr. Haddad", "MOLINA GARZA", "ZX-90817", "Visit 3381", "SOUSA, M.", "LI WEI",
    ),
}  # fmt: skip
_FONTS = {
    "dev": (
        "DejaVuSans.ttf", "DejaVuSansMono.ttf", "DejaVuSerif.ttf", "bitmap", "DejaVuSans-Bold.ttf", "STIXGeneral.ttf",
        "cmss10.ttf",
    ),
    "held": ("aileron", "cmtt10.ttf", "STIXGeneralBol.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSerif-Bold.ttf"),
}  # fmt: skip


@dataclass(frozen=True)
class Text:
    """One burned-in text: where its ink is, (rows, columns) bool of the whole image, and what it says."""

    ink: np.ndarray
    words: str
    size_px: int


@dataclass(frozen=True)
class Sample:
    """An image without text, the same with it, and the texts.

    `clean` and `burned` are datasets of Explicit VR Little Endian, grey or RGB.
    """

    name: str
    clean: pydicom.Dataset
    burned: pydicom.Dataset
    texts: tuple[Text, ...]


def samples(part: str, images: Path | None) -> Iterator[Sample]:
    """Yields a part's samples, the same each time.

    Args:
        part: `dev` or `held`.
        images: A folder of the sets named above; without one, slices that the demo ships.
    """
    names = IMAGES[part] if images else IMAGES["demo"][part == "held" :: 2]
    for number, name in enumerate(names):
        random = np.random.default_rng([number, part == "held"])
        values, dataset = _image(name, images or DEMO)
        yield _burned(name, values, dataset, random, part)


def _image(name: str, folder: Path) -> tuple[np.ndarray, pydicom.Dataset]:
    path = next(iter(sorted(folder.glob(f"dicom_variety/{name[3:]}_*" if name.startswith("us/") else name))))
    if path.suffix in (".png", ".jpg"):
        return np.asarray(Image.open(path).convert("L")), pydicom.Dataset()
    dataset = pydicom.dcmread(path)
    values = dataset.pixel_array
    if int(dataset.get("NumberOfFrames") or 1) > 1:
        values = values[0]
    if name.startswith("us/"):
        values = values[_WITHOUT_TEXT[name[3:]]]
    return np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="))), dataset


def _burned(name: str, values: np.ndarray, dataset: pydicom.Dataset, random: np.random.Generator, part: str) -> Sample:
    burned, texts = values.copy(), []
    taken = np.zeros(values.shape[:2], bool)
    for _ in range(TEXTS_AN_IMAGE):
        words = str(random.choice(_WORDS[part]))
        size, font = int(random.choice(SIZES_PX)), str(random.choice(_FONTS[part]))
        stencil = _stencil(words, font, size, smooth=bool(random.integers(2)))
        place = _place(stencil.shape, taken, random)
        if place is None:
            continue
        _burn(burned, values, stencil, place, random)
        ink = np.zeros(values.shape[:2], bool)
        ink[place] = stencil > 0.5
        texts.append(Text(ink, words, size))
    return Sample(name, instance(values, dataset), instance(burned, dataset), tuple(texts))


def _place(shape: tuple[int, ...], taken: np.ndarray, random: np.random.Generator) -> tuple[slice, slice] | None:
    """Returns a free place: half of the texts stand in a corner, half anywhere."""
    free = np.array(taken.shape) - shape - 8
    if (free < 0).any():
        return None
    for _ in range(20):
        top, left = (int(random.integers(0, most + 1)) for most in free)
        if random.integers(2):
            top, left = (int(random.choice((0, most))) for most in free)
        place = slice(top + 4, top + 4 + shape[0]), slice(left + 4, left + 4 + shape[1])
        around = slice(top, top + shape[0] + 8), slice(left, left + shape[1] + 8)
        if not taken[around].any():
            taken[around] = True
            return place
    return None


def _burn(
    burned: np.ndarray, values: np.ndarray, stencil: np.ndarray, place: tuple[slice, slice], random: np.random.Generator
) -> None:
    """Writes a text light where it is dark and dark where it is light; in the middle, light."""
    low, high = np.percentile(values, (0.5, 99.5)).tolist()
    under = float(np.median(values[place]))
    light = (under - low) < 0.6 * (high - low)
    strength = float(random.uniform(0.6, 1.0))
    if light:
        ink = max(under + 0.4 * (high - low), low + strength * (high - low))
        ink = float(values.max()) if random.integers(2) else ink
    else:
        ink = min(under - 0.4 * (high - low), high - strength * (high - low))
        ink = float(values.min()) if random.integers(2) else ink
    limits = np.iinfo(values.dtype)
    blend = stencil[..., None] if values.ndim == 3 else stencil
    mixed = burned[place] * (1 - blend) + ink * blend
    burned[place] = np.clip(np.round(mixed), limits.min, limits.max).astype(values.dtype)


def _stencil(words: str, font: str, size: int, smooth: bool) -> np.ndarray:
    """Returns a text's opacity, (rows, columns) 0 to 1, cut to its ink."""
    drawn = _font(font, size)
    _, _, right, bottom = drawn.getbbox(words)
    paper = Image.new("L", (int(right) + 8, int(bottom) + 8))
    pen = ImageDraw.Draw(paper)
    pen.fontmode = "L" if smooth else "1"
    pen.text((2, 2), words, font=drawn, fill=255)
    opacity = np.asarray(paper, np.float64) / 255
    rows, columns = np.nonzero(opacity > 0.2)
    return opacity[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]


@functools.cache
def _font(name: str, size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    if name == "bitmap":
        return ImageFont.load_default_imagefont()
    if name == "aileron":
        return ImageFont.load_default(size)
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)


def instance(values: np.ndarray, source: pydicom.Dataset | None = None) -> pydicom.Dataset:
    """Returns a dataset of Explicit VR Little Endian with these pixels, and what `source` says of how to show them."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    bits = 8 * values.dtype.itemsize
    dataset.Modality = str(source.get("Modality", "OT")) if source is not None else "OT"
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel = 3 if values.ndim == 3 else 1
    photometric = str(source.get("PhotometricInterpretation", "")) if source is not None else ""
    grey = photometric if photometric.startswith("MONOCHROME") else "MONOCHROME2"
    dataset.PhotometricInterpretation = "RGB" if values.ndim == 3 else grey
    if values.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for keyword in ("WindowCenter", "WindowWidth", "RescaleSlope", "RescaleIntercept"):
        if source is not None and keyword in source:
            setattr(dataset, keyword, source[keyword].value)
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    dataset.add_new("PixelData", "OW" if bits > 8 else "OB", data + b"\0" * (len(data) % 2))
    return dataset
