"""The room's shared state: keys with JSON values that everybody sees the same (docs/protocol.md)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from sfu_client.errors import RefusedError
from sfu_client.events import StateChanged

UPDATE_ATTEMPTS = 20
"""Conflicts in a row after which `update` gives up: others write all the time then."""


class SharedState(Mapping[str, Any]):
    """A mapping that follows the room; change it by `set`, `delete` and `update`, never in place.

    Of every change a `StateChanged` is among the room's events, one's own too.
    """

    def __init__(self, request: Callable[..., Awaitable[dict[str, Any]]]) -> None:
        self._request = request
        self._values: dict[str, Any] = {}
        self._versions: dict[str, int] = {}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def version(self, key: str) -> int:
        """The number of the change that made the key's value, 0 where there is no such key."""
        return self._versions.get(key, 0)

    async def set(self, key: str, value: Any, *, if_version: int | None = None) -> int:
        """Give a key a value and return its version; with `if_version` only if it is at that one (0: absent).

        Raises `RefusedError` (`conflict`, whose `details` are the present `version` and `value`;
        `not_allowed`, `too_large`, `rate_limited`, or what the server's rules say), `UnavailableError`.
        """
        return await self._change("state_set", key, if_version, value=value)

    async def delete(self, key: str, *, if_version: int | None = None) -> int:
        """Take a key away and return the version of that change. Raises as `set`, and `not_found`."""
        return await self._change("state_delete", key, if_version)

    async def update(self, key: str, change: Callable[[Any], Any]) -> Any:
        """Set what `change` makes of the present value (None where there is none), whoever else writes.

        `change` is called again where somebody was faster. Returns what was asked for. Raises as `set`.
        """
        value, version = self._values.get(key), self.version(key)
        for attempt in range(UPDATE_ATTEMPTS):
            wanted = change(value)
            try:
                await self.set(key, wanted, if_version=version)
                return wanted
            except RefusedError as error:
                if error.code != "conflict" or attempt == UPDATE_ATTEMPTS - 1:
                    raise
                value, version = error.details.get("value"), int(error.details["version"])
        raise AssertionError("unreachable")

    async def _change(self, kind: str, key: str, if_version: int | None, **members: Any) -> int:
        condition = {} if if_version is None else {"if_version": if_version}
        reply = await self._request(kind, key=key, **members, **condition)
        return int(reply["version"])

    # --- what the room reports

    def joined(self, joined: Mapping[str, Any]) -> list[StateChanged]:
        """Take over a whole state: what is different from before."""
        entries = (joined.get("state") or {}).get("entries") or {}
        versions = {str(key): int(entry["version"]) for key, entry in entries.items()}
        values = {str(key): entry["value"] for key, entry in entries.items()}
        gone = [StateChanged(key, None, 0, True, "") for key in self._values if key not in values]
        changed = [
            StateChanged(key, values[key], version, False, "")
            for key, version in versions.items()
            if self._versions.get(key) != version
        ]
        self._values, self._versions = values, versions
        return gone + changed

    def patched(self, message: Mapping[str, Any]) -> StateChanged:
        """One change. Raises `KeyError`, `TypeError` or `ValueError` where it does not parse."""
        key, version = str(message["key"]), int(message["version"])
        deleted = bool(message.get("deleted"))
        if deleted:
            self._values.pop(key, None)
            self._versions.pop(key, None)
        else:
            self._values[key] = message["value"]
            self._versions[key] = version
        by = str(message.get("participant") or "")
        return StateChanged(key, None if deleted else message["value"], version, deleted, by)
