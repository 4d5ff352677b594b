"""The commands of the tool: one file each, imported when it is used.

A row says the name, the line in the help, and where the command is. What stands there is a typer
application, a function for typer, or, for the rows in `RAW`, a function that takes the arguments as they are
and returns the exit code: it reads flags that are known only at run time, or must start fast.

Imports no command.
"""

TABLE = (
    ("new", "Make an application, or add a part to one.", "microlith_cli.commands.new:command"),
    ("run", "Run the application; reload it when its files change.", "microlith_cli.commands.run:command"),
    (
        "dispatch",
        "Send a command, query or event, and wait for what comes of it.",
        "microlith_cli.commands.dispatch:run",
    ),
    ("shell", "Run command after command, with completion, or a script.", "microlith_cli.shell:run"),
    ("trace", "Show what one message caused, or everything as it happens.", "microlith_cli.commands.trace:run"),
    ("events", "Look at the event log, check it, export and import it.", "microlith_cli.commands.events:command"),
    ("replay", "Run recorded events again, safely.", "microlith_cli.commands.replay:command"),
    ("list", "List messages, handlers, components and projections.", "microlith_cli.commands.list:command"),
    ("describe", "Show all there is to know about one message.", "microlith_cli.commands.describe:command"),
    ("graph", "Show who sends what to whom.", "microlith_cli.commands.graph:command"),
    ("check", "Check that components import only messages of each other.", "microlith_cli.commands.check:command"),
    ("doctor", "Look for what is wrong, and say what mends it.", "microlith_cli.commands.doctor:command"),
    ("config", "Show every setting, and where it came from.", "microlith_cli.commands.config:command"),
    ("broker", "Make at the brokers what the application needs there.", "microlith_cli.commands.broker:command"),
    ("export", "Write files that run the application elsewhere.", "microlith_cli.commands.export:command"),
    (
        "dead-letters",
        "List messages that failed for good; retry or drop them.",
        "microlith_cli.commands.dead_letters:command",
    ),
    (
        "schedules",
        "List messages that are to be sent later; cancel them.",
        "microlith_cli.commands.schedules:command",
    ),
    ("bench", "Send one message many times, and tell how long it takes.", "microlith_cli.commands.dispatch.bench:run"),
    ("demo", "Try microlith in a folder of its own, in one minute.", "microlith_cli.commands.demo:command"),
    ("completion", "Print the completion script of a shell.", "microlith_cli.commands.completion:run"),
)

RAW = frozenset({"bench", "dispatch", "shell", "trace", "completion"})

GLOBAL_OPTIONS = ("-C", "-q", "--quiet", "-v", "--verbose", "--color", "--version", "--help")

_PLANNED = ("--dry-run", "--diff", "--undo", "--json", "--help")
WORDS = {
    "new": ("app", "component", "command", "event", "query", "handler", "projection", "aggregate", "process", "--help"),
    "new app": ("--bare", *_PLANNED),
    "new component": _PLANNED,
    "new command": _PLANNED,
    "new event": _PLANNED,
    "new query": ("--returns", *_PLANNED),
    "new handler": _PLANNED,
    "new projection": ("--on", *_PLANNED),
    "new aggregate": _PLANNED,
    "new process": ("--on", "--key", *_PLANNED),
    "run": ("--no-reload", "--component", "--all", "--once", "--json", "--quiet", "--help"),
    "dispatch": (
        *("--wait", "--all", "--fail-on", "--timeout", "--quiet-for", "--after", "--at", "--data", "--from", "--edit"),
        *("--batch", "--concurrency", "--header"),
        *("--once", "--attach", "--reveal", "--json", "--help"),
    ),
    "bench": (
        *("--count", "--concurrency", "--wait", "--all", "--fail-on", "--timeout", "--quiet-for", "--data"),
        *("--header", "--once", "--attach", "--json", "--help"),
    ),
    "shell": ("--once", "--keep-going", "--json", "--help"),
    "trace": ("diff", "export", "import", "--follow", "--filter", "--format", "--limit", "--json", "--help"),
    "trace diff": ("--json", "--help"),
    "trace export": ("--redact", "--force", "--help"),
    "trace import": ("--json", "--help"),
    "events": ("erase", "list", "show", "export", "import", "verify", "--help"),
    "events erase": ("--dry-run", "--yes", "--json", "--help"),
    "events list": (
        *("--stream", "--type", "--after", "--limit", "--filter", "--follow"),
        *("--reveal", "--json", "--help"),
    ),
    "events show": ("--reveal", "--json", "--help"),
    "events export": ("--stream", "--type", "--after", "--filter", "--reveal", "--force", "--json", "--help"),
    "events import": ("--unreadable", "--json", "--help"),
    "events verify": ("--json", "--help"),
    "replay": ("projection", "state", "correlation", "message", "--help"),
    "replay projection": ("--all", "--json", "--help"),
    "replay correlation": ("--yes", "--timeout", "--export", "--json", "--help"),
    "replay message": ("--yes", "--timeout", "--quiet-for", "--header", "--once", "--attach", "--json", "--help"),
    "replay state": ("--at", "--steps", "--as", "--reveal", "--json", "--help"),
    "list": ("--components", "--messages", "--handlers", "--processes", "--projections", "--json", "--help"),
    "describe": ("--json", "--help"),
    "graph": ("--format", "--json", "--help"),
    "check": ("--json", "--help"),
    "doctor": ("--verify", "--alive", "--json", "--help"),
    "config": ("--json", "--help"),
    "broker": ("setup", "--help"),
    "broker setup": ("--dry-run", "--json", "--help"),
    "export": ("--to", "--force", "--json", "--help"),
    "dead-letters": ("list", "show", "retry", "drop", "--json", "--help"),
    "dead-letters list": ("--json", "--help"),
    "dead-letters show": ("--json", "--help"),
    "dead-letters retry": ("--all", "--timeout", "--json", "--help"),
    "dead-letters drop": ("--all", "--yes", "--json", "--help"),
    "schedules": ("list", "show", "cancel", "--json", "--help"),
    "schedules list": ("--json", "--help"),
    "schedules show": ("--json", "--help"),
    "schedules cancel": ("--yes", "--json", "--help"),
    "demo": ("--keep", "--json", "--help"),
    "completion": ("bash", "zsh", "fish", "--json", "--help"),
}
"""What may follow a command: for completion, which imports none. A test keeps it equal to what each one takes."""

HELP = """\
Usage: microlith [OPTIONS] COMMAND [ARGS]...

  Components that share nothing and talk only by messages.

Options:
  -C DIR                     Work in DIR instead of the current folder.
  -q, --quiet                Show results and errors, and nothing else.
  -v, --verbose              Show more, such as the traceback of an error.
  --color auto|always|never  Use colours; auto: when a terminal shows them.
  --version                  Show the version.
  --help                     Show this text; also after each COMMAND.

Commands:
  new           Make an application, or add a part to one.
  run           Run the application; reload it when its files change.
  dispatch      Send a command, query or event, and wait for what comes of it.
  shell         Run command after command, with completion, or a script.
  trace         Show what one message caused, or everything as it happens.
  events        Look at the event log, check it, export and import it.
  replay        Run recorded events again, safely.
  list          List messages, handlers, components and projections.
  describe      Show all there is to know about one message.
  graph         Show who sends what to whom.
  check         Check that components import only messages of each other.
  doctor        Look for what is wrong, and say what mends it.
  config        Show every setting, and where it came from.
  broker        Make at the brokers what the application needs there.
  export        Write files that run the application elsewhere.
  dead-letters  List messages that failed for good; retry or drop them.
  schedules     List messages that are to be sent later; cancel them.
  bench         Send one message many times, and tell how long it takes.
  demo          Try microlith in a folder of its own, in one minute.
  completion    Print the completion script of a shell.

Every command takes --json. Exit codes: 0 done, 1 the application said no,
2 wrong usage, 3 timed out, 4 not reachable, 130 interrupted.
"""
"""Static, so that showing it imports nothing; a test keeps it equal to the table."""
