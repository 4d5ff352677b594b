"""The frame around every command: global options, and errors turned into text and exit codes.

It is the only place that does the latter. Commands are imported when they are used, and typer with
the first that needs it.
"""

import os
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TextIO, cast

from microlith_cli import VERSION
from microlith_cli.commands import GLOBAL_OPTIONS, HELP, RAW, TABLE
from microlith_cli.console import plain
from microlith_cli.errors import (
    DONE,
    INTERRUPTED,
    NOT_REACHABLE,
    SAID_NO,
    TIMED_OUT,
    WRONG_USAGE,
    OutputError,
    ToolError,
    UnknownNameError,
    UsageError,
)

if TYPE_CHECKING:
    import typer

_COLORS = ("auto", "always", "never")
# Errors of the runtime that are not simply "the application said no".
_RUNTIME_EXITS = {
    "PayloadError": WRONG_USAGE,
    "UnsafePayloadError": WRONG_USAGE,
    "UnknownTypeError": WRONG_USAGE,
    "AmbiguousTypeError": WRONG_USAGE,
    "WaitTimeout": TIMED_OUT,
    "CarrierError": WRONG_USAGE,
    "UnsetVariableError": WRONG_USAGE,
    "TransportUrlError": WRONG_USAGE,
    "TransportUnavailableError": NOT_REACHABLE,
    "StoreAwayError": NOT_REACHABLE,
    "StoreUrlError": WRONG_USAGE,
}


class UnsupportedSystemError(ToolError):
    """The tool does not run on this operating system."""

    def __init__(self) -> None:
        super().__init__(
            "The tool does not run on Windows yet: it talks over Unix sockets and locks files as POSIX systems do.",
            hint="Use it inside WSL. The package `microlith` itself can be imported anywhere.",
        )


def run(arguments: list[str]) -> int:
    """Run one command line as this process; returns the exit code. Every error ends here."""
    _open_closed_streams()
    # In a locale that is not UTF-8, Python keeps what it cannot read as half surrogates.
    arguments = [os.fsencode(argument).decode("utf-8", "surrogateescape") for argument in arguments]
    try:
        return perform(arguments)
    except OutputError as error:
        _close_quietly(sys.stdout)
        plain.complain_error(str(error), error.hint)
        return error.exit
    except BrokenPipeError:
        _close_quietly()
        return DONE


def perform(arguments: list[str]) -> int:
    """Run one command line; returns the exit code. Its errors end here, told to the user.

    Raises:
        OutputError, BrokenPipeError: There is no way left to tell anything.
    """
    plain.settings.as_json = "--json" in arguments
    try:
        return _run(arguments)
    except (OutputError, BrokenPipeError):
        raise
    except ToolError as error:
        return fail(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the outermost frame: nothing is above it to handle more)
        return _fail(*_described(error))


def fail(error: ToolError) -> int:
    """Tell the user of an error of the tool's own; returns its exit code."""
    return _fail(error.as_dict(), error.exit)


def _open_closed_streams() -> None:
    """Put the null device where the tool was started without a stream, as by `>&-`: no file may get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8", closefd=False))


def _run(arguments: list[str]) -> int:
    rest = _global_options(arguments)
    if not rest or rest[0] in {"--help", "-h"}:
        plain.out(HELP.rstrip("\n"))
        return DONE
    if rest[0] in {"--version", "-V"}:
        plain.out(f"microlith {VERSION}")
        return DONE
    if os.name == "nt":
        raise UnsupportedSystemError
    name, *given = rest
    targets = {known: target for known, _, target in TABLE}
    if name not in targets:
        raise UnknownNameError("command", name, list(targets), see="microlith --help")
    module, _, attribute = targets[name].partition(":")
    found = getattr(import_module(module), attribute)
    if name in RAW:
        return cast("Callable[[list[str]], int]", found)(given)
    return _run_typer(name, found, given)


def _global_options(arguments: list[str]) -> list[str]:
    """Act on what stands before the command; returns the rest."""
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option, joined, value = rest[0].partition("=")
        if option in {"--help", "-h", "--version", "-V"}:
            break
        del rest[0]
        if option in {"-q", "--quiet"}:
            plain.settings.verbosity = -1
        elif option in {"-v", "--verbose"}:
            plain.settings.verbosity = 1
        elif option in {"-C", "--color"}:
            if not joined:
                if not rest:
                    raise UsageError(f"{option} needs a value.")
                value = rest.pop(0)
            _set(option, value)
        else:
            raise UnknownNameError("option", option, GLOBAL_OPTIONS, see="microlith --help")
    return rest


def _set(option: str, value: str) -> None:
    if option == "--color":
        if value not in _COLORS:
            raise UsageError(f"--color takes {', '.join(_COLORS)}, not {value!r}.")
        plain.settings.color = cast("plain.ColorChoice", value)
    else:
        try:
            os.chdir(value)
        except OSError as error:
            raise UsageError(f"-C {value}: {error.strerror}.") from error


def _run_typer(name: str, found: object, arguments: list[str]) -> int:
    # typer takes 70 ms: the commands that are used most do without.
    import typer  # noqa: PLC0415

    command = typer.main.get_command(found if isinstance(found, typer.Typer) else _alone(name, found))
    try:
        code = command.main(arguments, prog_name=f"microlith {name}", standalone_mode=False)
    except typer.TyperException as error:
        raise _usage_error(error, name) from error
    except typer.Abort:
        return INTERRUPTED
    except SystemExit as ended:
        if ended.code != 1:  # a command's own end, such as by a signal
            raise
        raise BrokenPipeError from None  # typer's, at a pipe that nobody reads any more
    return code if isinstance(code, int) else DONE


def _alone(name: str, found: object) -> "typer.Typer":
    import typer  # noqa: PLC0415 (imported by the caller already)

    application = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    application.command(name)(cast("Callable[..., Any]", found))
    return application


def _usage_error(error: "typer.TyperException", name: str) -> UsageError:
    option = getattr(error, "option_name", None)
    known = getattr(error, "possibilities", None) or []
    see = f"microlith {name} --help"
    if isinstance(option, str) and "No such option" in str(error):
        if option in GLOBAL_OPTIONS:
            return UsageError(f"{option} is an option of microlith itself.", hint=f"Write `microlith {option} {name}`.")
        return UnknownNameError("option", option, list(known), see=see)
    text = error.format_message().replace("\n", " ").strip()
    return UsageError(text if text.endswith((".", "?")) else f"{text}.", hint=f"`{see}` shows how it is used.")


def _described(error: Exception) -> tuple[Mapping[str, Any], int]:
    """Describe an error that is not the tool's own."""
    runtime = sys.modules.get("microlith.errors")  # when it is not imported, no error can be one of its
    if plain.settings.verbosity > 0 or runtime is None or not isinstance(error, runtime.MicrolithError):
        # Costs 10 ms, and is for the rare case.
        import traceback  # noqa: PLC0415

        plain.complain(plain.escape("".join(traceback.format_exception(error))).rstrip("\n"))
    kind = type(error).__name__
    if runtime is None or not isinstance(error, runtime.MicrolithError):
        return {"type": kind, "message": f"{kind}: {error}", "hint": "This is a mistake in microlith."}, SAID_NO
    described = {"type": kind, "message": str(error), "hint": error.hint}
    if problems := getattr(error, "problems", None):
        described["problems"] = list(problems)
    codes = (_RUNTIME_EXITS.get(cls.__name__) for cls in type(error).__mro__)
    return described, next((code for code in codes if code is not None), SAID_NO)


def _fail(error: Mapping[str, Any], code: int) -> int:
    try:
        if plain.settings.as_json:
            plain.out_json({"error": error, "exit": code})
        else:
            plain.complain_error(str(error.get("message", "")), str(error.get("hint") or ""))
    except BrokenPipeError:
        _close_quietly()
    return code


def _close_quietly(*streams: TextIO) -> None:
    """Keep the interpreter from complaining, when it ends, about a stream that takes nothing; both by default."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams or (sys.stdout, sys.stderr):
        if stream is not None:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
