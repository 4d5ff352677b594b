"""What is known of a handler: its message, what it returns, where it is written.

Reads signatures only; runs nothing.
"""

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from microlith.errors import InjectionError
from microlith.handlers.keys import KeyOf
from microlith.handlers.retries import Retry
from microlith.messages import Message, is_message

DEFAULT_TIMEOUT = 30.0

Methods = Mapping[type[Message], tuple[Callable[..., Any], Sequence[type[Message]]]]
"""What is written for each message class of a handler that takes several, and what that may return."""


class HandlerSpec:
    """A handler as its component declared it.

    Attributes:
        name: Component and function, such as "auth.login".
        component: Name of the component.
        message: Class it takes; the first, if there are several.
        messages: Every class it takes; several for a process.
        function: The function itself, `async def` or `def`.
        concurrency: How many messages it may handle at a time; 1 keeps their order.
        timeout: Seconds one handling may take.
        retry: How often a failure is tried again; None: a failure is final.
        key: Tells the key of a message; those of one key keep their order. None: no message has one.
        parks: Whether messages of a key are parked when one before them became a dead letter.
    """

    def __init__(
        self,
        component: str,
        message: type[Message],
        function: Callable[..., Any],
        *,
        concurrency: int = 1,
        timeout: float = DEFAULT_TIMEOUT,
        retry: Retry | None = None,
        written_as: Callable[..., Any] | None = None,
        returns: Sequence[type[Message]] | None = None,
        key: KeyOf | None = None,
        parks: bool = True,
        methods: Methods | None = None,
    ) -> None:
        """Note a handler.

        Args:
            component: Name of the component.
            message: Class it takes.
            function: The function itself.
            concurrency: How many messages it may handle at a time.
            timeout: Seconds one handling may take.
            retry: How often a failure is tried again.
            written_as: The function whose file and line are shown, when a handler is made from another one.
            returns: The message classes it may return, when its annotation does not tell.
            key: Tells the key of a message.
            parks: Whether messages are parked behind a dead letter of their key.
            methods: For a handler that takes several classes: what is written for each, and what that may return.
        """
        self.component = component
        self.message = message
        self.messages = (message,) if methods is None else tuple(methods)
        self.function = function
        self.concurrency = concurrency
        self.timeout = timeout
        self.retry = retry
        self.key = key
        self.parks = parks and key is not None
        self._written_as = written_as or function
        self._returns = returns
        self._methods = methods
        self.name = f"{component}.{getattr(function, '__name__', type(function).__name__)}"

    @property
    def is_async(self) -> bool:
        """Whether it runs on the loop; otherwise it runs in a thread."""
        # A decorator may turn either kind into the other; one that only calls an `async def` returns its coroutine.
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(inspect.unwrap(self.function))

    @property
    def file(self) -> str:
        """Path of the file it is written in."""
        code = getattr(inspect.unwrap(self._written_as), "__code__", None)
        return code.co_filename if code else "?"

    @property
    def line(self) -> int:
        """Line of its `def`, or of its first decorator."""
        return _line(self._written_as)

    @property
    def place(self) -> str:
        """File and line, for an error."""
        return f"{self.file}:{self.line}"

    def hints(self) -> dict[str, Any]:
        """Return the resolved annotations.

        Raises:
            InjectionError: An annotation names something that does not exist.
        """
        try:
            return typing.get_type_hints(self.function)
        except (NameError, TypeError, AttributeError) as error:
            raise InjectionError(
                self.name, "?", str(error), hint=f"Import what the annotations name, in {self.place}."
            ) from error

    def emits(self, message: type[Message] | None = None) -> list[type[Message]]:
        """List the message classes its return annotation names, in order; of several methods, that of one message."""
        if self._methods is not None:
            methods = self._methods.values() if message is None else [self._methods[message]]
            return list(dict.fromkeys(cls for _, returns in methods for cls in returns))
        found = messages_in(self.hints().get("return")) if self._returns is None else self._returns
        return list(dict.fromkeys(found))

    def line_for(self, message: type[Message]) -> int:
        """Line of what is written for one message class."""
        return self.line if self._methods is None else _line(self._methods[message][0])


def _line(function: Callable[..., Any]) -> int:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code.co_firstlineno if code else 0


def messages_in(annotation: Any) -> Iterator[type[Message]]:
    """Yield the message classes that an annotation names, in unions and containers too."""
    if is_message(annotation):
        yield annotation
    elif isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        for argument in typing.get_args(annotation):
            yield from messages_in(argument)
