"""`microlith replay`: run recorded events again; four different things under four names.

What each may touch is said by its own module. None writes to the log what was there before.
"""

import typer

from microlith_cli.commands.replay.correlation import correlation
from microlith_cli.commands.replay.message import message
from microlith_cli.commands.replay.projection import projection
from microlith_cli.commands.replay.state import state
from microlith_cli.errors import UsageError

command = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

FREE = {"allow_extra_args": True, "ignore_unknown_options": True}
"""For typer: flags that it does not know are the message's."""


@command.callback(invoke_without_command=True)
def replay(context: typer.Context) -> None:
    """Run recorded events again, safely."""
    if context.invoked_subcommand is None:
        raise UsageError("Replay what?", hint="`microlith replay projection --all` rebuilds every read model.")


command.command(short_help="Rebuild read models from the event log.")(projection)
command.command(short_help="Show the state that a stream folds to.")(state)
command.command(short_help="Tell what today's code would do, and compare.", context_settings=FREE)(correlation)
command.command(short_help="Send a copy of a recorded message.", context_settings=FREE)(message)
