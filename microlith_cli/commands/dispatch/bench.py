"""`microlith bench`: send one message many times, and tell how long it takes.

The time of one is from sending to its end as the tool sees it, through the control socket when the application runs.
"""

from collections.abc import Iterator
from typing import Any

from microlith_cli.commands.dispatch.batch import send_many, show_summary
from microlith_cli.commands.dispatch.wish import MOST_AT_ONCE, Wish, concurrency_of, read_wish
from microlith_cli.console import plain
from microlith_cli.errors import DONE, UsageError
from microlith_cli.filling import complete, read_data
from microlith_cli.options import Options, split
from microlith_cli.project import find_project
from microlith_cli.session import only_reply, open_session

VALUED = ("--count", "--concurrency", "--wait", "--fail-on", "--timeout", "--quiet-for", "--data", "--header")
SWITCHES = ("--all", "--once", "--attach", "--json", "--help")
COUNT = 1000
MOST = 10_000_000
USAGE = f"""\
Usage: microlith bench [OPTIONS] MESSAGE [--field value]...

  Send one message many times, and tell how long it takes.

  Fields are given as for `dispatch`. A query waits for its response, another
  message until it is accepted, or for every --wait. The messages are real: what
  they change is changed.

Options:
  --count N        How many messages. Default: {COUNT}.
  --concurrency N  Messages under way at a time, up to {MOST_AT_ONCE}. Default: 8.
  --wait TYPE      Wait for this message each time; repeated: for the first.
  --all            Wait for every --wait, not for the first.
  --fail-on TYPE   Count one as failed when this message comes. Repeatable.
  --timeout TIME   How long each may wait, such as 500ms, 5s, 2m. Default: 5s.
  --quiet-for TIME Wait each time until nothing is left to do for so long.
  --data JSON      The fields as JSON; @FILE reads a file, - reads stdin.
  --header NAME=VALUE
                   A header of each, as for `dispatch`. Repeatable.
  --once           Run the application in this process.
  --attach         Use the running application; exit code 4 when none runs.
  --json           Print the figures as one JSON object.
  --help           Show this text.

Exit codes are those of `dispatch`: 0 when every message ended well.
"""


def run(arguments: list[str]) -> int:
    """Send one message many times."""
    given = split(arguments, valued=VALUED, switches=SWITCHES)
    plain.settings.as_json = given.has("--json")
    if given.has("--help"):
        plain.out(USAGE.rstrip("\n"))
        return DONE
    count, at_once = _count(given), concurrency_of(given)
    wish = read_wish(given)
    base = read_data(given.one("--data"))
    with open_session(find_project(), wish.mode, say=plain.say) as session:
        entry = only_reply(session, {"verb": "describe", "type": wish.type_name})["message"]
        payload = complete(entry, wish.tokens, base)
        outcome, seconds = send_many(session, _requests(wish, payload, count), at_once, wish.timeout, told=False)
    show_summary(outcome.summary(seconds))
    return outcome.exit


def _requests(wish: Wish, payload: dict[str, Any], count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    for number in range(1, count + 1):
        yield number, wish.request(payload, trace=False)


def _count(given: Options) -> int:
    text = given.one("--count")
    if text is None:
        return COUNT
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= MOST):
        raise UsageError(f"--count takes a number from 1 to {MOST:,}, not {text!r}.")
    return int(text)
