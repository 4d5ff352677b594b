"""The filter language: which facts of a trace are of interest.

    type:Login* bus:event component:auth status:failed took:>50ms since:5m data.email=a@b.c

Terms stand side by side and all must hold. `:` compares as a glob and without case, `=` exactly, `>` and `<`
by size. A bare word is looked for in the type; `-term` or `not:term` must not hold; quotes keep
spaces together. One language for every command.

Reads nothing but the facts it is given, and knows no trace log.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import time

from microlith_cli.filtering.terms import HANDLING, Fact, FilterError, Side, Test, read_term

__all__ = ["FilterError", "compile_filter"]

_LONGEST_FILTER = 4096
_MOST_TERMS = 50
_REMEMBERED = 4096
"""Of as many messages it is known whether they fit, when their handling comes."""


@dataclass(frozen=True, slots=True)
class _Term:
    """One condition.

    Attributes:
        test: Whether a fact fulfils it.
        side: Which facts can be asked: those of messages, those of handlings, or both.
        wanted: False where the term is negated.
    """

    test: Test
    side: Side
    wanted: bool

    def holds(self, fact: Fact) -> bool:
        return self.test(fact) is self.wanted


def compile_filter(text: str, *, now: float | None = None, handlings: bool = True) -> Callable[[Fact], bool]:
    """Turn a filter into a predicate on facts, to be asked in the order of the facts.

    A handling is judged together with its message, if that was seen before: the predicate remembers
    the verdict on some thousand messages. Notices, such as a reload, always pass.

    Args:
        text: The filter; an empty one lets everything pass.
        now: Seconds since the epoch that `since` and `until` count from; None: the time of this call.
        handlings: Whether there are handlings to ask; where there are messages only, a term about handlings is refused.

    Raises:
        FilterError: Names the term, and the nearest key.
    """
    if len(text) > _LONGEST_FILTER:
        raise FilterError(text[:20], f"begins a filter of {len(text)} characters; at most {_LONGEST_FILTER} are taken")
    moment = time() if now is None else now
    words = list(_words(text))
    if len(words) > _MOST_TERMS:
        raise FilterError(words[_MOST_TERMS][0], f"is term {_MOST_TERMS + 1}; at most {_MOST_TERMS} are taken")
    terms = [_term(word, moment) for word in words]
    if not handlings:
        for (word, _), term in zip(words, terms, strict=True):
            if term.side == "handling":
                raise FilterError(word, "is about handling", hint="Events are filtered here; use `microlith trace`.")
    return _Filter(terms)


class _Filter:
    """A compiled filter."""

    def __init__(self, terms: list[_Term]) -> None:
        self._of_messages = [term for term in terms if term.side == "message"]
        self._of_handlings = [term for term in terms if term.side == "handling"]
        self._of_both = [term for term in terms if term.side == "both"]
        # A term that cannot be asked does not hold, so its opposite does.
        self._message_alone = not any(term.wanted for term in self._of_handlings)
        self._handling_alone = not any(term.wanted for term in self._of_messages)
        self._fitting: dict[str, bool] = {}

    def __call__(self, fact: Fact) -> bool:
        kind = fact.get("type")
        if kind in HANDLING:
            return self._fits_handling(fact)
        if isinstance(kind, str) and kind.startswith("microlith.") and "bus" not in fact:
            return True
        return self._fits_message(fact)

    def _fits_message(self, fact: Fact) -> bool:
        fits = all(term.holds(fact) for term in self._of_messages)
        identifier = fact.get("id")
        if self._of_messages and isinstance(identifier, str) and len(identifier) < 128:
            self._fitting[identifier] = fits
            if len(self._fitting) > _REMEMBERED:
                del self._fitting[next(iter(self._fitting))]
        return fits and self._message_alone and all(term.holds(fact) for term in self._of_both)

    def _fits_handling(self, fact: Fact) -> bool:
        cause = fact.get("causationid")
        fits = self._fitting.get(cause, self._handling_alone) if isinstance(cause, str) else self._handling_alone
        return fits and all(term.holds(fact) for term in (*self._of_handlings, *self._of_both))


def _words(text: str) -> Iterator[tuple[str, int]]:
    """Split at spaces outside quotes; gives each word without its quotes, and how much of it precedes the first quote."""
    word, quote, open_until, begun = "", "", -1, False
    for character in text:
        if quote:
            quote, word = ("", word) if character == quote else (quote, word + character)
        elif character in "\"'":
            quote, begun = character, True
            open_until = len(word) if open_until < 0 else open_until
        elif character.isspace():
            if begun:
                yield word, len(word) if open_until < 0 else open_until
            word, open_until, begun = "", -1, False
        else:
            word, begun = word + character, True
    if quote:
        raise FilterError(word, f"lacks its closing {quote}", hint=f"Close it with {quote}.")
    if begun:
        yield word, len(word) if open_until < 0 else open_until


def _term(found: tuple[str, int], now: float) -> _Term:
    word, unquoted = found
    rest, wanted = word, True
    while unquoted and rest.startswith(("-", "not:")):
        cut = 1 if rest.startswith("-") else 4
        rest, unquoted, wanted = rest[cut:], max(0, unquoted - cut), not wanted
    if not rest:
        raise FilterError(word, "excludes nothing" if word else "is empty")
    test, side = read_term(word, rest, unquoted, now)
    return _Term(test, side, wanted)
