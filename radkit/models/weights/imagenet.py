"""Keras Applications' weights of ImageNet, fetched by Keras when they are asked for.

What they were trained on has three channels of 8 bits, and each architecture its own scaling; radkit's networks see
images as `data.normalise` makes them. The first layers adapt in training; see docs/transfer.md.

Source of addresses and digests: https://keras.io/api/applications/ (keras.applications, version 3.15).
"""

import hashlib
import os
from pathlib import Path

import keras

from radkit.errors import UserError, did_you_mean

CLASSES = 1000
_BASE = "https://storage.googleapis.com/tensorflow/keras-applications/"
_KERNELS = "{}_weights_tf_dim_ordering_tf_kernels{}.h5"
_EFFICIENTNET = "https://storage.googleapis.com/keras-applications/efficientnet{}{}.h5"
# Digests of the file with the classes' layer, and of that without: MD5, of ConvNeXt SHA-256.
_DIGESTS = {
    "vgg16": ("64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    "vgg19": ("cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
    "resnet50": ("2cb95161c43110f7111970584f804107", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet101": ("f1aeb4b969a6efcfb50fad2f0c20cfc5", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet152": ("100835be76be38e30d865e96f2aaae62", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
    "resnet50v2": ("3ef43a0b657b3be2300d5770ece849e0", "fac2f116257151a9d068a22e544a4917"),
    "resnet101v2": ("6343647c601c52e1368623803854d971", "c0ed64b8031c3730f411d2eb4eea35b5"),
    "resnet152v2": ("a49b44d1979771252814e80f8ec446f9", "ed17cf2e0169df9d443503ef94b23b33"),
    "densenet121": ("9d60b8095a5708f2dcce2bca79d332c7", "30ee3e1110167f948a6b9946edeeb738"),
    "densenet169": ("d699b8f76981ab1b30698df4c175e90b", "b8c4d4c20dd625c148057b9ff1c1176b"),
    "densenet201": ("1ceb130c1ea1b78c3bf6114dbdfd8807", "c13680b51ded0fb44dff2d8f86ac8bb1"),
    "inceptionv3": ("9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"),
    "efficientnetb0": ("902e53a9f72be733fc0bcb005b3ebbac", "50bc09e76180e00e4465e1a485ddc09d"),
    "efficientnetb1": ("1d254153d4ab51201f1646940f018540", "74c4e6b3e1f6a1eea24c589628592432"),
    "efficientnetb2": ("b15cce36ff4dcbd00b6dd88e7857a6ad", "111f8e2ac8aa800a7a99e3239f7bfb39"),
    "efficientnetb3": ("ffd1fdc53d0ce67064dc6a9c7960ede0", "af6d107764bb5b1abb91932881670226"),
    "efficientnetb4": ("18c95ad55216b8f92d7e70b3a046e2fc", "ebc24e6d6c33eaebbd558eafbeedf1ba"),
    "convnexttiny": (
        "8ae6e78ce2933352b1ef4008e6dd2f17bc40771563877d156bc6426c7cf503ff",
        "d547c096cabd03329d7be5562c5e14798aa39ed24b474157cef5e85ab9e49ef1",
    ),
    "convnextsmall": (
        "ce1277d8f1ee5a0ef0e171469089c18f5233860ceaf9b168049cb9263fd7483c",
        "6fc8009faa2f00c1c1dfce59feea9b0745eb260a7dd11bee65c8e20843da6eab",
    ),
}


def names() -> list[str]:
    """Returns the architectures that have such weights, written plainly, as `resnet50v2`."""
    return sorted(_DIGESTS)


def plain(name: str) -> str:
    """Returns an architecture's name without signs.

    >>> plain("ResNet-50_v2"), plain("convnext_t")
    ('resnet50v2', 'convnexttiny')
    """
    short = name.lower().replace("-", "").replace("_", "")
    return {"convnextt": "convnexttiny", "convnexts": "convnextsmall"}.get(short, short)


def address(name: str, top: bool) -> str:
    """Returns where a file lies.

    Args:
        name: One of `names()`.
        top: With the layer of the 1000 classes.
    """
    ending = "" if top else "_notop"
    if name.startswith("efficientnet"):
        return _EFFICIENTNET.format(name[-2:], ending)
    if name.startswith("convnext"):
        return f"{_BASE}convnext/convnext_{name.removeprefix('convnext')}{ending}.h5"
    folder, stem = name, name
    if name.startswith("resnet"):
        folder = "resnet"
    elif name.startswith("densenet"):
        folder = "densenet"
    elif name == "inceptionv3":
        folder = stem = "inception_v3"
    return f"{_BASE}{folder}/{_KERNELS.format(stem, ending)}"


def fetch(name: str, *, top: bool) -> Path:
    """Returns an architecture's file, from Keras's cache or from the network.

    Args:
        name: As a person writes it, as `ResNet-50`.
        top: With the layer of the 1000 classes.

    Raises:
        UserError: There are no such weights of it, or the network does not give them.
    """
    known = plain(name)
    if known not in _DIGESTS:
        raise UserError(
            f"there are no imagenet weights of {name!r}{did_you_mean(known, names())}; there are of: "
            f"{', '.join(names())}; an encoder's are asked for as 'imagenet:resnet50'"
        )
    where = address(known, top)
    digest = _DIGESTS[known][0 if top else 1]
    cached = _cache() / where.rpartition("/")[2]
    _require_digest(cached, digest)
    try:
        return Path(keras.utils.get_file(cached.name, where, cache_subdir="models", file_hash=digest))
    except Exception as error:  # Keras raises nothing narrower
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"the imagenet weights of {name!r} cannot be fetched ({reason}); where there is no network, put "
            f"{cached.name} into Keras's cache ({cached.parent}), or name that file as weights"
        ) from error


def _cache() -> Path:
    """Returns the folder where Keras keeps such files."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "models"


def _require_digest(path: Path, digest: str) -> None:
    """Refuses a file in the cache that is another one; Keras would fetch anew, and where it cannot, delete the file."""
    if not path.is_file():
        return
    found = hashlib.new("md5" if len(digest) == 32 else "sha256", path.read_bytes(), usedforsecurity=False).hexdigest()
    if found != digest:
        raise UserError(
            f"{path} is not the file that Keras publishes (its digest is {found}, not {digest}); delete it to have it "
            "fetched anew, or name its path as weights to begin with it as it is"
        )
