"""radkit's package; Beam workers install it through `--setup_file=./setup.py`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "radkit" / "__init__.py").read_text()).group(1)

SERVING = ["grpcio>=1.62", "highdicom>=0.26"]
REPORTS = ["matplotlib>=3.8"]
CODECS = [
    "imagecodecs>=2025.3.30",  # the fastest decoder of most transfer syntaxes
    "pyjpegls>=1.4", "pylibjpeg>=2.0", "pylibjpeg-openjpeg>=2.4",  # where that has no wheel
    "pylibjpeg-rle>=2.1", "python-gdcm>=3.0.24",  # de-identification encodes pixels again through pydicom
]  # fmt: skip
DATASETS = ["importlib-resources>=5"]  # TFDS imports it where a builder writes, and does not ask for it
TUNE = ["optuna>=4.2"]
DASK = ["dask>=2024.4.2", "distributed>=2024.4.2"]
DEID = [
    "cryptography>=45",  # vaults and escrow; older ones cannot encrypt CMS with AES-256
    "rapidocr-onnxruntime>=1.4.4; python_version < '3.13'",  # text in pixels; its wheel carries the weights
]
ALL = [*DEID, *SERVING, *REPORTS, *CODECS, *DATASETS, *TUNE]
DEV = [
    *ALL,
    "hypothesis>=6.100",
    "mypy>=1.11",
    "pandas>=2.0",  # tfds.benchmark's
    "pre-commit>=3.5",
    "pynetdicom>=3.0",  # sends to the archive that tests start
    "pytest>=8.2",
    "pytest-xdist>=3.6",
    "ruff>=0.8",
    "tensorflow-serving-api>=2.18,<2.22",  # the stock client that the server is tested with
]

setup(
    name="radkit",
    version=VERSION,
    description="From a folder of hospital DICOM to a model that answers over gRPC, with TensorFlow and Keras",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8") if (ROOT / "README.md").is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=[f"{name}*" for name in ("radkit", "beam_jobs", "trainers", "serving", "configs")]),
    package_data={
        "serving": ["deploy/*", "deploy/*/*"],
        "radkit.deid": ["*.json", "*.txt", "*/*.json"],
        "radkit.demo": ["data/*", "data/*/*", "data/*/*/*"],
    },
    install_requires=[
        "absl-py>=2.1",
        "apache-beam>=2.60",
        "google-crc32c>=1.5",  # TFRecord's checksum, at the speed of the disk
        "keras>=3.10,<4",
        "numpy>=1.26",
        "protobuf>=4.25",
        "pydicom>=3.0.1,<4",
        "scikit-learn>=1.4",
        "scipy>=1.11",
        "SimpleITK>=2.3",
        "tensorflow>=2.20,<2.22",
        "tensorflow-datasets>=4.9.8",
        "tqdm>=4.66",
    ],
    extras_require={
        "deid": DEID,
        "serving": SERVING,
        "reports": REPORTS,
        "codecs": CODECS,
        "datasets": DATASETS,
        "tune": TUNE,
        "dask": DASK,
        "all": ALL,
        "dev": DEV,
    },
    entry_points={"console_scripts": ["radkit=radkit.cli:console"]},
    classifiers=[
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
    ],
)
