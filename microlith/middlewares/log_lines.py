"""Logging: one line for each message that is sent, and one for each handling, with ids, outcome and time.

The same facts are in the record's `microlith` attribute, for formatters that write JSON. Secrets are
in neither.

Configures nothing: where the lines go is the host's `logging` configuration.
"""

import json
import logging
from time import monotonic
from typing import Any

from microlith.context import handling_now
from microlith.envelope import Envelope
from microlith.errors import text_of
from microlith.messages import Message
from microlith.middleware import Middleware, Proceed
from microlith.payloads import scrub
from microlith.secrecy import hidden_values, shown_fields

_LONGEST = 500
"""Characters of an error's text."""


class Logging(Middleware):
    """Writes `sent` and `handled` lines to a logger.

    What a later middleware refuses was sent as far as this one knows: give it after those that refuse.
    """

    def __init__(
        self,
        logger: logging.Logger | str = "microlith.messages",
        *,
        level: int = logging.INFO,
        failures: int = logging.ERROR,
        fields: bool = False,
    ) -> None:
        """Choose where and how much.

        Args:
            logger: The logger, or its name.
            level: Level of the lines.
            failures: Level of the line of a handling that failed.
            fields: Whether the message's fields are logged, too, with secrets masked.
        """
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        self._level = level
        self._failures = failures
        self._fields = fields

    def dispatching(self, envelope: Envelope[Any]) -> Envelope[Any]:
        """Log that a message is sent."""
        if self._logger.isEnabledFor(self._level):
            self._write(self._level, "sent", self._facts(envelope))
        return envelope

    async def handling(self, envelope: Envelope[Any], proceed: Proceed) -> Any:
        """Log how a handling ended, and how long it took."""
        begun = monotonic()
        try:
            value = await proceed()
        except BaseException as error:
            self._handled(envelope, begun, self._failures, "failed", error)
            raise
        self._handled(envelope, begun, self._level, "ok", None)
        return value

    def _handled(
        self, envelope: Envelope[Any], begun: float, level: int, outcome: str, error: BaseException | None
    ) -> None:
        if not self._logger.isEnabledFor(level):
            return
        handling = handling_now.get()
        facts: dict[str, Any] = {"outcome": outcome, "ms": round((monotonic() - begun) * 1000, 3)}
        if handling is not None:
            facts |= {"handler": handling.handler, "attempt": handling.attempt}
        facts |= self._facts(envelope)
        if error is not None:
            # The whole text is scrubbed before it is cut: half a secret is no longer found.
            text = scrub(text_of(error), hidden_values(envelope.message))
            facts["error"] = f"{type(error).__name__}: {text[:_LONGEST]}"
        self._write(level, "handled", facts)

    def _facts(self, envelope: Envelope[Any]) -> dict[str, Any]:
        message: Message = envelope.message
        facts: dict[str, Any] = {
            "kind": message.__kind__,
            "message_id": envelope.message_id,
            "correlation_id": envelope.correlation_id,
        }
        if envelope.causation_id is not None:
            facts["causation_id"] = envelope.causation_id
        if self._fields:
            facts["fields"] = shown_fields(message)
        return {"type": type(message).__name__, **facts}

    def _write(self, level: int, what: str, facts: dict[str, Any]) -> None:
        pairs = " ".join(f"{name}={_shown(value)}" for name, value in facts.items() if name != "type")
        self._logger.log(level, "%s %s %s", what, facts["type"], pairs, extra={"microlith": {"what": what, **facts}})


def _shown(value: Any) -> str:
    """Write a value so that it stays in its line and its place."""
    if isinstance(value, str) and value.isascii() and value.replace("-", "").replace(".", "").isalnum():
        return value
    return json.dumps(value)
