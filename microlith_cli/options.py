"""A command's own options, told apart from flags that only a schema knows.

For commands that take both: an option begins with `--`, so what begins so is never the value of
another one unless it is joined by `=`.

Knows no command and no field.
"""

import re
from collections.abc import Collection, Sequence

from microlith_cli.errors import UsageError

_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d|)")
_UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_A_DAY = 86400.0
A_CENTURY = 36525 * _A_DAY


class Options:
    """What was given: the values of each option, and everything else in its order."""

    def __init__(self, values: dict[str, list[str]], rest: list[str]) -> None:
        self._values = values
        self.rest = rest

    def has(self, option: str) -> bool:
        """Whether an option was given."""
        return option in self._values

    def all(self, option: str) -> list[str]:
        """Every value of an option that may be repeated."""
        return self._values.get(option, [])

    def one(self, option: str) -> str | None:
        """The value of an option; None when it was not given.

        Raises:
            UsageError: It was given twice.
        """
        values = self.all(option)
        if len(values) > 1:
            raise UsageError(f"{option} was given {len(values)} times; it is taken once.")
        return values[0] if values else None


def split(tokens: Sequence[str], *, valued: Collection[str], switches: Collection[str]) -> Options:
    """Take a command's own options out of its arguments.

    Args:
        tokens: The arguments as typed; after `--` nothing is an option.
        valued: Options that take a value.
        switches: Options that take none.

    Raises:
        UsageError: An option lacks its value, or a switch has one.
    """
    values: dict[str, list[str]] = {}
    rest: list[str] = []
    at = 0
    while at < len(tokens):
        word = tokens[at]
        name, joined, value = word.partition("=")
        at += 1
        if word == "--":
            rest += tokens[at:]
            break
        if name in switches:
            if joined:
                raise UsageError(f"{name} takes no value.")
            values.setdefault(name, []).append("")
        elif name in valued:
            if not joined:
                if at == len(tokens) or tokens[at].startswith("--"):
                    raise UsageError(f"{name} needs a value.")
                value = tokens[at]
                at += 1
            values.setdefault(name, []).append(value)
        else:
            rest.append(word)
    return Options(values, rest)


def seconds(text: str, option: str, *, most: float = _A_DAY) -> float:
    """Read a duration: `5`, `5s`, `500ms`, `2m`, `1d`.

    Raises:
        UsageError: It is none, not above zero, or above `most` seconds.
    """
    found = _TIME.fullmatch(text)
    value = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if not 0 < value <= most:
        longest = "a day" if most == _A_DAY else "a century"
        raise UsageError(f"{option} takes a time such as 500ms, 5s or 2m, up to {longest}; not {text!r}.")
    return value
