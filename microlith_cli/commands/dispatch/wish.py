"""What the command line of `dispatch` asks for, but for the payload."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from microlith_cli.commands.dispatch.kept import KeptFacts
from microlith_cli.errors import UsageError
from microlith_cli.headers import read_headers
from microlith_cli.options import A_CENTURY, Options, seconds
from microlith_cli.session import Mode

VALUED = (
    *("--wait", "--fail-on", "--timeout", "--quiet-for"),
    *("--after", "--at", "--header"),
    *("--data", "--from", "--batch", "--concurrency"),
)
SWITCHES = ("--all", "--edit", "--once", "--attach", "--reveal", "--json", "--help")
TIMEOUT = 5.0  # seconds
GRACE = 10.0  # seconds beyond the timeout, in which a running microlith must have said so
CONCURRENCY = 8
MOST_AT_ONCE = 64
"""As many requests of one client as a running microlith takes at a time."""


@dataclass(slots=True)
class Wish:
    """What the command line asks for, but for the payload.

    Attributes:
        type_name: The message; empty where it comes from an earlier one or from a batch.
        tokens: Flags for its fields.
        mode: Whom to ask.
        wait: What to wait for, each with its condition.
        every: Whether to wait for all of it.
        fail_on: What means that the application said no.
        timeout: Seconds for the waits.
        quiet_for: Seconds for which nothing may be left to do; 0: not asked for.
        reveal: Whether secrets are shown.
        after: In how many seconds it is to be sent; None: now, or `at`.
        at: The moment it is to be sent at; empty: now, or `after`.
        headers: What travels with it.
        facts: What happened so far.
    """

    type_name: str
    tokens: list[str]
    mode: Mode
    wait: list[str]
    every: bool
    fail_on: list[str]
    timeout: float
    quiet_for: float
    reveal: bool
    after: float | None = None
    at: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    facts: KeptFacts = field(default_factory=KeptFacts)

    @property
    def waits(self) -> bool:
        """Whether it waits for more than that the message is accepted."""
        return bool(self.wait or self.fail_on or self.quiet_for)

    def request(
        self, payload: Mapping[str, Any], *, trace: bool, running: bool = False, type_name: str = ""
    ) -> dict[str, Any]:
        """Put it into the words of the control channel.

        Args:
            payload: The fields of the message.
            trace: Whether to be told what happens in its correlation.
            running: Whether to be told what is under way there, again and again.
            type_name: The message, where it is not the one of this wish.
        """
        later = {"after": self.after} if self.after is not None else {"at": self.at} if self.at else {}
        headers = {"headers": self.headers} if self.headers else {}
        return (
            later
            | headers
            | {
                "verb": "dispatch",
                "type": type_name or self.type_name,
                "data": payload,
                "wait": self.wait,
                "all": self.every,
                "fail_on": self.fail_on,
                "timeout": self.timeout,
                "quiet_for": self.quiet_for,
                "trace": trace,
                "running": running,
                "reveal": self.reveal,
            }
        )


def read_wish(given: Options) -> Wish:
    """Read the command line.

    Raises:
        UsageError: Options that exclude each other, or values that make no sense.
    """
    for one, other in (("--once", "--attach"), ("--batch", "--data"), ("--batch", "--edit"), ("--batch", "--from")):
        if given.has(one) and given.has(other):
            raise UsageError(f"{one} and {other} exclude each other.")
    for later in ("--after", "--at"):
        for other in ("--wait", "--fail-on", "--quiet-for", "--after" if later == "--at" else "--at"):
            if given.has(later) and given.has(other):
                raise UsageError(
                    f"{later} and {other} exclude each other.",
                    hint="What is sent later is seen with `microlith trace`.",
                )
    if given.has("--all") and not given.all("--wait"):
        raise UsageError("--all needs at least one --wait.")
    mode: Mode = "once" if given.has("--once") else "attach" if given.has("--attach") else "auto"
    timeout, quiet = given.one("--timeout"), given.one("--quiet-for")
    named = bool(given.rest) and not given.rest[0].startswith("-")
    if not named and not given.has("--from") and not given.has("--batch"):
        message_of(given)
    return Wish(
        type_name=given.rest[0] if named else "",
        tokens=given.rest[1:] if named else given.rest,
        mode=mode,
        wait=given.all("--wait"),
        every=given.has("--all"),
        fail_on=given.all("--fail-on"),
        timeout=TIMEOUT if timeout is None else seconds(timeout, "--timeout"),
        quiet_for=0.0 if quiet is None else seconds(quiet, "--quiet-for"),
        reveal=given.has("--reveal"),
        after=None if (after := given.one("--after")) is None else seconds(after, "--after", most=A_CENTURY),
        at=given.one("--at") or "",
        headers=read_headers(given.all("--header"), data=given.one("--batch") or given.one("--data")),
    )


def message_of(given: Options) -> str:
    """Return the message that was named.

    Raises:
        UsageError: None was.
    """
    if not given.rest:
        raise UsageError("Which message?", hint="`microlith list` shows them; `microlith dispatch --help` the options.")
    if given.rest[0].startswith("-"):
        raise UsageError(f"The name of the message comes before its fields, and before {given.rest[0]}.")
    return given.rest[0]


def concurrency_of(given: Options) -> int:
    """Return how many messages of a batch are under way at a time.

    Raises:
        UsageError: It is no number, or too many.
    """
    text = given.one("--concurrency")
    if text is None:
        return CONCURRENCY
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:4]) <= MOST_AT_ONCE):
        raise UsageError(f"--concurrency takes a number from 1 to {MOST_AT_ONCE}, not {text!r}.")
    return int(text)
