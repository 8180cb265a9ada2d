"""What was done to each element: one JSON line an element, with no value but as a keyed digest.

    {"instance": "2.25....", "path": "00081140[1].00081155", "action": "U", "option": "", "old": "lfgc..."}

`instance` is the new SOPInstanceUID, `path` the tags from the top with item numbers from 1, `action` the standard's
code (X removed, Z emptied, D dummy, U mapped, C cleaned, K kept because an option says so), `option` the option that
decided ("" for the Basic Profile) and `old` the keyed digest of the value that came: who has the key can prove what
stood there, nobody else can.

Source: DICOM PS3.15 E.1.1.
"""

import hashlib
from dataclasses import dataclass, field

from radkit.deid.keys import Key
from radkit.deid.rules import Rule

# Digits by chance read as a date or a number of a patient's, to whoever searches an audit for one.
_DIGEST_BYTES = 16
_LETTERS = bytes.maketrans(b"0123456789", b"ghijklmnop")


@dataclass
class Log:
    """One instance's actions, in the order of its elements."""

    key: Key
    removed: int = 0
    replaced: int = 0
    _path: list[tuple[int, int]] = field(default_factory=list)
    _lines: list[tuple[str, str, str, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._secret = self.key.secret("audit")

    def enter(self, tag: int, number: int) -> None:
        """Goes into an item of a sequence, numbered from 1."""
        self._path.append((tag, number))

    def leave(self) -> None:
        """Goes back to where the item's sequence stands."""
        self._path.pop()

    def is_within(self, tags: tuple[int, ...]) -> bool:
        """Tells whether the top-level sequence that holds what comes next is one of these."""
        return bool(self._path) and self._path[0][0] in tags

    def is_nested(self) -> bool:
        """Tells whether what comes next stands within a sequence."""
        return bool(self._path)

    def is_in(self, tag: int) -> bool:
        """Tells whether the innermost sequence that holds what comes next is this one."""
        return bool(self._path) and self._path[-1][0] == tag

    def add(self, tag: int, rule: Rule, old: bytes) -> None:
        """Notes that an element here was changed or removed."""
        if rule.action == "X":
            self.removed += 1
        else:
            self.replaced += 1
        path = self.path(tag) if self._path else f"{tag:08X}"  # `note`, without the cost of a call
        digest = hashlib.blake2b(old, key=self._secret, digest_size=_DIGEST_BYTES).digest()
        self._lines.append((path, rule.action, rule.option, digest))

    def note(self, tag: int, rule: Rule, old: bytes) -> None:
        """Notes an element that stays, or whose items are noted by themselves."""
        path = self.path(tag) if self._path else f"{tag:08X}"
        # BLAKE2 takes the key by itself (RFC 7693), at a third of HMAC's price.
        digest = hashlib.blake2b(old, key=self._secret, digest_size=_DIGEST_BYTES).digest()
        self._lines.append((path, rule.action, rule.option, digest))

    def path(self, tag: int) -> str:
        """Returns where an element stands: the tags from the top, items numbered from 1."""
        within = "".join(f"{sequence:08X}[{number}]." for sequence, number in self._path)
        return f"{within}{tag:08X}"

    def __len__(self) -> int:
        return len(self._lines)

    def lines(self, instance: str) -> str:
        """Returns the JSON lines; nothing in them needs escaping.

        Args:
            instance: The new SOPInstanceUID.
        """
        head, width = f'{{"instance": "{instance}", "path": "', 2 * _DIGEST_BYTES
        old = b"".join(line[3] for line in self._lines).hex().encode().translate(_LETTERS).decode()
        return "".join(
            f'{head}{path}", "action": "{action}", "option": "{option}", "old": "{old[at : at + width]}"}}\n'
            for at, (path, action, option, _) in zip(range(0, len(old), width), self._lines, strict=True)
        )

    def tags(self) -> set[int]:
        """Returns the top-level tags of which something changed or went."""
        return {int(path[:8], 16) for path, action, _, _ in self._lines if action != "K"}
