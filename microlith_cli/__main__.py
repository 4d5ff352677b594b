"""The entry of the tool: it looks at the arguments before it imports anything.

`--help`, `--version` and completion are answered here; everything else goes to `main`.
"""

import sys


def main() -> int:
    """Run the tool with the arguments of this process; returns the exit code."""
    arguments = sys.argv[1:]
    first = arguments[0] if arguments else "--help"
    # The imports below are inside because none of these answers may wait for what another one needs.
    if first in {"--version", "-V"}:
        from microlith_cli import VERSION  # noqa: PLC0415

        return _say(f"microlith {VERSION}\n")
    if first in {"--help", "-h"}:
        from microlith_cli.commands import HELP  # noqa: PLC0415

        return _say(HELP)
    if first == "_complete":
        from microlith_cli.commands.completion import answer  # noqa: PLC0415

        return _say(answer(arguments[1:]))
    from microlith_cli.main import run  # noqa: PLC0415

    return run(arguments)


def _say(text: str) -> int:
    if sys.stdout is None:  # as `>&-` leaves it
        return 0
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read has enough; the interpreter must not complain when it closes stdout again.
        sys.stdout = None
    except OSError as error:  # such as a full disk
        sys.stdout = None
        if sys.stderr is not None:
            sys.stderr.write(f"error The output could not be written: {error.strerror}.\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
