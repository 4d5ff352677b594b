"""`.record FILE`: the commands that are typed, as a script for `microlith shell`.

What failed is written as a comment, for a script stops at it.
"""

from pathlib import Path

from microlith_cli.errors import ToolError, UsageError


class Recording:
    """Writes commands into a script, once it was told which."""

    def __init__(self) -> None:
        self._path: Path | None = None

    @property
    def path(self) -> Path | None:
        """Where the commands go; None: nowhere."""
        return self._path

    def begin(self, path: Path) -> None:
        """Write every command from now on into a new file.

        Raises:
            UsageError: The file exists, or cannot be made.
        """
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write("# Recorded by `microlith shell`; run it with: microlith shell < THIS_FILE\n")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be made: {error.strerror}.", hint="Name a file that is not there."
            ) from error
        self._path = path

    def end(self) -> None:
        """Write nothing any more."""
        self._path = None

    def add(self, typed: str, kept: str | None, code: int) -> None:
        """Write one command and what came of it.

        Args:
            typed: The line as typed.
            kept: What may be kept of it; None: nothing.
            code: Its exit code.

        Raises:
            ToolError: It cannot be written.
        """
        if self._path is None:
            return
        if kept is None:
            text = "# A line that holds a secret was left out here."
        else:
            text = kept.strip() if code == 0 else f"# exit code {code}: {kept.strip()}"
            if kept != typed:
                text = f"# A secret was left out of the next line; give it with --data @FILE.\n{text}"
        try:
            with self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(f"{text}\n")
        except OSError as error:
            path, self._path = self._path, None
            raise ToolError(f"{path} cannot be written, so nothing is recorded any more: {error.strerror}.") from error
