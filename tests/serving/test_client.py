import socket
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from radkit.errors import UserError
from serving import channels, client, protocol
from serving.signatures import Spec

X = np.array([[1.0, -2.0, 3.5]], np.float32)


@pytest.fixture
def opened(address: str) -> Iterator[client.Client]:
    with client.Client(address) as made:
        yield made


def test_a_prediction_comes_back_as_arrays(opened: client.Client) -> None:
    found = opened.predict("numbers", {"x": X, "name": ["a"]}, version=10)
    np.testing.assert_allclose(found["doubled"], 2 * X + 1, atol=1e-6)
    assert found["name"].tolist() == [b"a!"]
    assert set(opened.predict("numbers", {"x": X, "name": ["a"]}, output_filter=["half"])) == {"half"}


def test_metadata_and_status_say_what_is_served(opened: client.Client) -> None:
    found = opened.metadata("segment")
    assert found.version == 1
    assert found.signature.inputs["image"] == Spec("float32", (None, None, None, None, 1))
    assert found.signature.outputs["class_names"].dtype == "string"
    assert opened.status("segment") == {1: "AVAILABLE"}


def test_refusals_carry_the_servers_words(opened: client.Client) -> None:
    with pytest.raises(client.Refused, match=r"INVALID_ARGUMENT.*float32 \(any, 3\) was expected"):
        opened.predict("numbers", {"x": X[:, :2], "name": ["a"]})
    with pytest.raises(UserError, match="no model 'none'"):
        opened.metadata("none")
    with pytest.raises(UserError, match="version 10; 3"):
        opened.predict("numbers", {"x": X, "name": ["a"]}, version=3)
    with pytest.raises(protocol.ProtocolError, match="cannot be sent"):
        opened.predict("numbers", {"x": np.array(["2020"], "M8[Y]")})


def test_a_reply_over_the_limit_is_told(address: str) -> None:
    with client.Client(address, max_message_bytes=1000) as small, pytest.raises(client.Refused, match="larger than"):
        small.predict("numbers", {"x": np.zeros((70, 3), np.float32), "name": ["a"] * 10})


def test_a_server_that_is_not_there_is_told_after_some_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(client.time, "sleep", waits.append)
    monkeypatch.setattr(channels.random, "uniform", lambda low, high: high)
    with client.Client("127.0.0.1:1") as made, pytest.raises(UserError, match="no server answers at 127"):
        made.status("m")
    assert tuple(waits) == channels.BACKOFF_S


def test_a_server_that_says_nothing_is_told_in_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        server = f"127.0.0.1:{silent.getsockname()[1]}"
        with client.Client(server, timeout_s=0.2) as made, pytest.raises(UserError, match=r"within 0\.2 s"):
            made.status("numbers")


@pytest.mark.parametrize("server", ["localhost", "localhost:x", ":8500", "localhost:99999"])
def test_an_address_is_host_and_port(server: str) -> None:
    with pytest.raises(UserError, match="host:port"):
        client.Client(server)


@pytest.mark.parametrize("module", ["serving.client", "serving.predict"])
def test_no_tensorflow_is_loaded(module: str) -> None:
    code = (
        f"import sys, {module}; print([m for m in ('tensorflow', 'keras', 'tensorflow_serving') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=True)
    assert done.stdout == "[]\n"
