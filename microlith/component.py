"""The component: a named boundary with its messages, handlers, projections and resources.

Components share nothing and import nothing of each other but messages.

Declaring one imports nothing and starts nothing; the application does, at start.
"""

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from types import ModuleType
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from microlith.aggregates import Aggregate, Decider, decider_of, handlers_of
from microlith.errors import DiscoveryError, DuplicateNameError
from microlith.handlers.declared import DEFAULT_TIMEOUT, HandlerSpec
from microlith.handlers.keys import KeyFieldError, key_of_field
from microlith.handlers.retries import Retry
from microlith.messages import Command, Event, Message, Query, Response, is_message
from microlith.processes import Process, ProcessType, handler_of, process_type, state_upcaster
from microlith.projections import ExternalProjection, Projection, ReadModel
from microlith.serialization import Upcaster

F = TypeVar("F", bound=Callable[..., Any])
P = ParamSpec("P")
R = TypeVar("R", bound=Response)
T = TypeVar("T")
Upcast = TypeVar("Upcast", bound=Upcaster)

DISCOVERED = ("commands", "events", "queries", "handlers", "aggregates", "processes", "projections")
"""Sub-packages whose modules are imported at start."""

_QUERY_CONCURRENCY = 64
_KEYED_CONCURRENCY = 16


class Answering(Protocol[R]):
    """What `handles` returns for a query: takes a handler that returns the query's response, `async def` or `def`."""

    @overload
    def __call__(self, handler: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, handler: Callable[P, R]) -> Callable[P, R]: ...
    def __call__(self, handler: Any) -> Any:
        """Declare the handler, and return it as it is."""
        ...


class Component:
    """A named boundary.

    Attributes:
        name: Unique in the application: letters, digits and underscores.
        module: Name of the module it was declared in. If that is a package, its sub-packages
            `commands`, `events`, `queries`, `handlers`, `aggregates`, `processes` and `projections` belong to the component.
        handlers: Its handlers, in the order in which they were declared.
        projections: Its projections.
        deciders: Its aggregates.
        processes: Its process managers.
        resources: What it provides, by type: the function that builds it.
        upcasters: How it reads old shapes: message, version, function.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.module: str = sys._getframe(1).f_globals.get("__name__", "__main__")  # noqa: SLF001 (no public way to the caller)
        self.handlers: list[HandlerSpec] = []
        self.projections: list[Projection | ExternalProjection] = []
        self.deciders: list[Decider[Any]] = []
        self.processes: list[ProcessType] = []
        self.resources: dict[Any, Callable[[], Any]] = {}
        self.upcasters: list[tuple[type[Message], int, Upcaster]] = []

    @overload
    def handles(  # type: ignore[overload-overlap]  # a query is a message, too: the first that fits is meant
        self,
        message: type[Query[R]],
        *,
        concurrency: int | None = None,
        timeout: float = ...,
        retry: Retry | None = None,
    ) -> Answering[R]: ...
    @overload
    def handles(
        self,
        message: type[Message],
        *,
        concurrency: int | None = None,
        timeout: float = ...,
        retry: Retry | None = None,
        key: str | None = None,
    ) -> Callable[[F], F]: ...
    def handles(
        self,
        message: type[Message],
        *,
        concurrency: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retry: Retry | None = None,
        key: str | None = None,
    ) -> Any:
        """Declare that a function handles a message type.

        `async def` functions run on the event loop, `def` functions in a thread. Parameters are
        filled by their annotations: the message, `Envelope`, a bus, `View[Row]`, or a type that this
        component provides. What the function returns (a message, several, or None) is dispatched.

        Args:
            message: Command, query or event class.
            concurrency: How many messages it may handle at a time. By default 1 for commands and
                events, which keeps their order, 16 with a key, and 64 for queries.
            timeout: Seconds one handling may take before it is cancelled.
            retry: How often a failure is tried again before the message is a dead letter; by default not at all.
            key: A field of the message, such as "order_id" or "order.id". Messages with the same value in it are
                handled one at a time and in order, others beside them; and when one of them becomes a dead letter,
                later ones are parked behind it.

        Raises:
            KeyFieldError: The message has no such field.
        """
        if key is not None and not issubclass(message, Command | Event):
            raise KeyFieldError(f"{message.__name__} can have no key.", hint="Commands and events have an order.")
        key_of = None if key is None else key_of_field(message, key)
        if concurrency is None:
            several = _KEYED_CONCURRENCY if key is not None else 1
            concurrency = _QUERY_CONCURRENCY if issubclass(message, Query) else several
        if concurrency < 1:
            raise ValueError(f"concurrency must be at least 1, not {concurrency}")
        workers = concurrency

        def declare(function: F) -> F:
            spec = HandlerSpec(
                self.name, message, function, concurrency=workers, timeout=timeout, retry=retry, key=key_of
            )
            self.handlers.append(spec)
            return function

        return declare

    def provides(self, resource: type[T], factory: Callable[[], Any]) -> None:
        """Declare how to build something that handlers may ask for by its type.

        Built once at start, closed at stop. The factory may be a function, an `async def`, or return
        a context manager (also an asynchronous one), which is entered at start and left at stop. An
        object with `close()` or `aclose()` is closed by that, after it was left: leaving a `sqlite3.Connection`
        only commits.
        """
        self.resources[resource] = factory

    def projection(self, name: str, *rows: type[ReadModel], inline: bool = True) -> Projection:
        """Declare a projection: the read models it keeps, and with `.on(Event)` how events change them.

        Args:
            name: Unique in the component.
            rows: The read models it keeps.
            inline: Whether they change in the commit of the events, so that whoever waited for an event finds it in
                them. Otherwise they follow a moment later, and commits do not wait for them.

        Raises:
            DuplicateNameError: This component has a projection of that name.
        """
        self._check_projection(name)
        projection = Projection(self.name, name, rows, inline=inline)
        self.projections.append(projection)
        return projection

    def external_projection(self, name: str) -> ExternalProjection:
        """Declare a projection that keeps its rows in a database of yours; `.on(Event)` says how.

        Raises:
            DuplicateNameError: This component has a projection of that name.
        """
        self._check_projection(name)
        projection = ExternalProjection(self.name, name)
        self.projections.append(projection)
        return projection

    def _check_projection(self, name: str) -> None:
        if any(projection.short_name == name for projection in self.projections):
            raise DuplicateNameError("projections", f"{self.name}.{name}", self.module, self.module)

    def aggregate(self, aggregate: type[Aggregate], *, retry: Retry | None = None) -> Decider[Any]:
        """Declare an aggregate: its `@decides` methods become the handlers of their commands.

        Raises:
            AggregateError: The class cannot work as it is written.
        """
        return self.decider(decider_of(aggregate), retry=retry)

    def decider(self, decider: Decider[T], *, retry: Retry | None = None) -> Decider[T]:
        """Declare a decider: the functional form of an aggregate."""
        self.handlers.extend(handlers_of(decider, self.name, retry))
        self.deciders.append(decider)
        return decider

    def process(self, process: type[Process], *, retry: Retry | None = None) -> type[Process]:
        """Declare a process manager: its methods take events, one at a time for each key, in the order of the log.

        Args:
            process: The class.
            retry: How often a failure is tried again before the event is a dead letter; by default not at all.

        Raises:
            ProcessError: The class cannot work as it is written.
        """
        read = process_type(process)
        self.handlers.append(handler_of(read, self.name, retry))
        self.processes.append(read)
        return process

    def upcasts(self, message: type[Message] | type[Process], version: int) -> Callable[[Upcast], Upcast]:
        """Declare how stored data of one version becomes that of the next.

        The function gets the decoded JSON of a message, or of the state of a process, as it was stored and returns
        that of version + 1. It must be pure.
        """

        def declare(function: Upcast) -> Upcast:
            if issubclass(message, Process):
                self.upcasters.append((process_type(message).step, version, state_upcaster(function)))
            else:
                self.upcasters.append((message, version, function))
            return function

        return declare

    def discover(self) -> list[ModuleType]:
        """Import the component's modules and return them, its own first.

        Raises:
            DiscoveryError: One does not import; the reason is the cause.
        """
        own = sys.modules.get(self.module) or _import(self.module)
        modules = [own]
        if hasattr(own, "__path__"):
            for part in DISCOVERED:
                modules.extend(_import_below(f"{self.module}.{part}", own))
        return modules

    def messages(self, modules: list[ModuleType]) -> Iterator[type[Message]]:
        """Yield the message classes that these modules define, and those of its handlers and projections."""
        for module in modules:
            for value in list(vars(module).values()):
                if is_message(value) and value.__module__ == module.__name__:
                    yield value
        for spec in self.handlers:
            yield from spec.messages
            yield from spec.emits()
        for projection in self.projections:
            yield from projection.events
        for decider in self.deciders:
            yield from decider.events
        for process in self.processes:
            yield process.step

    def __repr__(self) -> str:
        return f"Component({self.name!r})"


def find_components(package: str) -> list[Component]:
    """Import a package's sub-packages and return the components they define, by name.

    Raises:
        DiscoveryError: One does not import.
    """
    root = _import(package)
    found: dict[str, Component] = {}
    for info in sorted(pkgutil.iter_modules(getattr(root, "__path__", [])), key=lambda info: info.name):
        if info.ispkg:
            module = _import(f"{package}.{info.name}")
            for value in vars(module).values():
                if isinstance(value, Component) and value.module == module.__name__:
                    found[value.name] = value
    return list(found.values())


def _import_below(package: str, parent: ModuleType) -> Iterator[ModuleType]:
    names = {info.name for info in pkgutil.iter_modules(parent.__path__)}
    if package.rpartition(".")[2] not in names:
        return
    module = _import(package)
    yield module
    for info in sorted(pkgutil.iter_modules(getattr(module, "__path__", [])), key=lambda info: info.name):
        yield _import(f"{package}.{info.name}")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except DiscoveryError:
        raise
    except Exception as error:
        place = _place(error)
        raise DiscoveryError(name, f"{type(error).__name__}: {error}{place}") from error


def _place(error: Exception) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}:{error.lineno})"
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    frames = [f for f in frames if not f.filename.endswith("microlith/component.py")]
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
