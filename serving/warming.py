"""Plays the warm-up requests of an export when it is loaded, so that no client waits for what a first call makes ready.

Source: TensorFlow Serving, g3doc/saved_model_warmup.md.
"""

from typing import Any

from google.protobuf.message import DecodeError

from radkit.data import shards
from radkit.errors import UserError
from serving import answering, messages, protocol, refusals, warm_up


def play(asked: answering.Asked, times: int = 1) -> int:
    """Asks the model what its warm-up file holds; returns the number of requests, 0 where there is no file.

    Args:
        asked: The version.
        times: How often each is asked.

    Raises:
        UserError: The file is damaged or too long, or the model does not answer it.
    """
    path = asked.model.folder / warm_up.FILE
    if not path.is_file():
        return 0
    number = 0
    try:
        for number, data in enumerate(shards.read_shard(path), 1):
            if number > warm_up.MOST:
                raise UserError(f"{path} holds more than {warm_up.MOST} requests; keep fewer")
            log = messages.PredictionLog.FromString(data)
            for _ in range(times):
                _play(asked, log)
    except (DecodeError, ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    except refusals.Refusal as refusal:
        raise UserError(f"{path}: warm-up request {number} was not answered: {refusal}") from refusal
    return number


def _play(asked: answering.Asked, log: Any) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        data = request.SerializeToString()
        answering.predict(asked, *answering.predict_request(data, protocol.MAX_BYTES))
    elif kind == "classify_log":
        answering.classify(asked, log.classify_log.request)
    elif kind == "regress_log":
        answering.regress(asked, log.regress_log.request)
    elif kind == "multi_inference_log":
        answering.multi_inference(asked, log.multi_inference_log.request)
    # Other kinds (sessions, streams) are none of what is answered here.
