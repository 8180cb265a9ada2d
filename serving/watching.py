"""Looks at the models' folders and the configuration file from time to time, in a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from radkit.errors import UserError
from serving import configs_text, registry

_LOG = logging.getLogger(__name__)
_SHORTEST_S = 0.05
_AGAIN_S = 60.0  # a configuration that was refused may be possible later


class Watcher:
    """Takes up what changes on disk while the server runs.

    Args:
        served: What is told to look.
        folders_s: Seconds between looks at the folders; 0 never looks again.
        config: `models.config`, or None.
        config_s: Seconds between looks at it; 0 never reads it again.
        beside: Models that are served whatever it says.
    """

    def __init__(
        self,
        served: registry.Registry,
        folders_s: float,
        config: Path | None = None,
        config_s: float = 0.0,
        beside: Sequence[configs_text.Wanted] = (),
    ) -> None:
        self._served, self._config, self._beside = served, config, beside
        self._read = config.read_bytes() if config else b""
        self._refused_at: float | None = None
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._every, args=(wait_s, look), name="watching", daemon=True)
            for wait_s, look in ((folders_s, self._folders), (config_s if config else 0.0, self._file))
            if wait_s > 0
        ]
        for thread in self._threads:
            thread.start()

    def stop(self, wait_s: float | None = None) -> None:
        """Ends the looking; a version that is just being loaded is waited for, None: to its end."""
        self._ended.set()
        for thread in self._threads:
            thread.join(wait_s)

    def _every(self, wait_s: float, look: Callable[[], None]) -> None:
        wait_s = max(wait_s, _SHORTEST_S)
        following = time.monotonic() + wait_s
        while not self._ended.wait(max(0.0, following - time.monotonic())):
            following = time.monotonic() + wait_s
            try:
                look()
            except Exception:  # noqa: BLE001 - what is served stays in service, and the next look may see more
                _LOG.exception("looking for new versions failed")

    def _folders(self) -> None:
        self._served.refresh()

    def _file(self) -> None:
        assert self._config is not None
        try:
            now = self._config.read_bytes()
            is_due = self._refused_at is not None and time.monotonic() - self._refused_at >= _AGAIN_S
            if now == self._read and not is_due:
                return
            self._read = now
            problems = self._served.configure(
                configs_text.once([*self._beside, *configs_text.models_file(self._config)])
            )
        except (OSError, UserError) as error:
            problems = [f"{self._config} is not taken up: {error}"]
        self._refused_at = time.monotonic() if problems else None
        for problem in problems:
            _LOG.warning("%s", problem)
