"""Requests that a server plays when it loads an export, so that no client waits for what is made at a first call.

`assets.extra/tf_serving_warmup_requests`, a TFRecord of PredictionLog; TensorFlow Serving and `radkit serve` read it.
Source: TensorFlow Serving, g3doc/saved_model_warmup.md; tensorflow_serving/apis/prediction_log.proto.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from radkit.data import shards
from serving import messages, protocol

FILE = Path("assets.extra") / "tf_serving_warmup_requests"
MOST = 1000  # TensorFlow Serving refuses more


def write(folder: Path, model: str, given: Mapping[str, Mapping[str, np.ndarray]]) -> int:
    """Writes one request for each group of inputs; returns their number.

    Args:
        folder: The version's.
        model: The name that the requests bear.
        given: Inputs by `NUMBER/SIGNATURE`, as `gate.golden` gives them.
    """
    (folder / FILE).parent.mkdir(exist_ok=True)
    logs = [_log(model, group.partition("/")[2], inputs) for group, inputs in given.items()]
    shards.write_shard(folder / FILE, logs)
    return len(logs)


def _log(model: str, signature: str, inputs: Mapping[str, np.ndarray]) -> bytes:
    log = messages.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = model, signature
    for name, value in inputs.items():
        protocol.to_tensor(value, into=request.inputs[name])
    return bytes(log.SerializeToString(deterministic=True))
