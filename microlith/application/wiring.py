"""Wiring: imports the components, declares their messages and checks their handlers.

Done once, before anything is opened; every mistake that can be found without running is found here.
"""

from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from typing import Any, get_args, get_origin

from microlith.aggregates import Streams
from microlith.buses import CommandBus, EventBus, QueryBus
from microlith.clock import Clock
from microlith.component import Component, find_components
from microlith.errors import (
    DuplicateHandlerError,
    DuplicateNameError,
    InjectionError,
    WiringError,
    nearest,
)
from microlith.event_store.protocol import TableSpec
from microlith.handlers.declared import HandlerSpec
from microlith.handlers.injection import Resolver, plan_call
from microlith.messages import Event, Message, Query, Response, response_type
from microlith.places import GATEWAY
from microlith.privacy.marking import personal_fields
from microlith.processes import Processes, ProcessType
from microlith.projections import ExternalProjection, Projection, View
from microlith.projections.outside import Resolve
from microlith.serialization import MessageTypes


class UnknownComponentError(WiringError):
    """A component is to run that the application has not."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        close = nearest(name, known)
        super().__init__(
            f"There is no component {name!r} to run.",
            hint=f"Did you mean {close!r}?" if close else f"The components are {', '.join(known) or 'none'}.",
        )
        self.name = name


class Wiring:
    """What an application is made of, checked.

    Attributes:
        components: Its components.
        types: Every message type they declare.
        handlers: Every handler.
        projections: Every projection.
        processes: Every process, by the name of its handler.
        emits: For each message class, the handlers that say they return it.
        runs: Names of the components that run in this process; None for all.
        running: The components that run in this process.
        elsewhere: Handlers of the other components; they and their projections are not in the lists above.
    """

    def __init__(self, components: Sequence[Component] | str, runs: Collection[str] | None = None) -> None:
        self.components = find_components(components) if isinstance(components, str) else list(components)
        self.types = MessageTypes()
        self.handlers: list[HandlerSpec] = []
        self.projections: list[Projection | ExternalProjection] = []
        self.processes: dict[str, ProcessType] = {}
        self.emits: dict[type[Message], list[str]] = {}
        self._check_names()
        self._declare_messages()
        for component in self.components:
            self.handlers.extend(component.handlers)
            self.projections.extend(component.projections)
        self._check_handlers()
        self._check_processes()
        self._check_upcasters()
        self._tell_shapes()
        self._check_personal_fields()
        for projection in self.projections:
            if isinstance(projection, Projection):
                projection.wire()
            else:
                projection.plan(self.providing(projection, _nothing))
        self.runs = None if runs is None else frozenset(runs)
        self.running = self.components
        self.elsewhere: list[HandlerSpec] = []
        if self.runs is not None:
            self._leave_out(self.runs)

    def resolver(self, spec: HandlerSpec, values: Callable[[Any, Any], Any]) -> Resolver:
        """Make what tells a handler's injection what an annotation stands for.

        `values` gives the thing itself for (annotation, detail); detail is a component for a resource
        and a table for a view.
        """
        component = next((one for one in self.components if one.name == spec.component), None)

        def resolve(annotation: Any) -> tuple[bool, Any]:
            if (
                annotation in (CommandBus, QueryBus, EventBus, Streams, Processes, Clock)
                or getattr(annotation, "__name__", "") == "Microlith"
            ):
                return True, values(annotation, None)
            if get_origin(annotation) is View:
                table = self.table_of(component, get_args(annotation)[0])
                return (False, None) if table is None else (True, values(annotation, table))
            if component is not None and _hashable(annotation) and annotation in component.resources:
                return True, values(annotation, component)
            return False, None

        return resolve

    def providing(self, projection: ExternalProjection, values: Callable[[Any, Any], Any]) -> Resolve:
        """Make what tells an external projection which annotations its component provides for, and what that is."""
        component = next(one for one in self.components if one.name == projection.component)

        def resolve(annotation: Any) -> tuple[bool, Any]:
            if _hashable(annotation) and annotation in component.resources:
                return True, values(annotation, component)
            return False, None

        return resolve

    def table_of(self, component: Component | None, row: Any) -> TableSpec | None:
        """Find the table of a row class among the projections of one component."""
        for projection in component.projections if component else ():
            spec = projection.spec_of(row)
            if spec is not None:
                return spec
        return None

    def _leave_out(self, runs: Collection[str]) -> None:
        """Set aside what belongs to components that run in other processes."""
        names = [component.name for component in self.components]
        for name in sorted(runs):
            if name not in names:
                raise UnknownComponentError(name, names)
        if not runs and GATEWAY in names:
            hint = "Give the component another name: what is stored of the two would lie in one place."
            raise WiringError(f"A process that runs no component is called {GATEWAY!r}, as a component is.", hint=hint)
        self.running = [component for component in self.components if component.name in runs]
        self.elsewhere = [spec for spec in self.handlers if spec.component not in runs]
        self.handlers = [spec for spec in self.handlers if spec.component in runs]
        self.projections = [one for one in self.projections if one.component in runs]
        here = {spec.name for spec in self.handlers}
        self.processes = {name: process for name, process in self.processes.items() if name in here}

    def _check_names(self) -> None:
        seen: dict[str, Component] = {}
        for component in self.components:
            if not component.name.isidentifier():
                raise WiringError(
                    f"{component.name!r} cannot name a component.", hint="Use letters, digits and underscores."
                )
            if component.name in seen:
                raise DuplicateNameError("components", component.name, seen[component.name].module, component.module)
            seen[component.name] = component

    def _declare_messages(self) -> None:
        # Two rounds: a component may use another one's messages, which belong to whoever defines them.
        modules = {component.name: component.discover() for component in self.components}
        for component in self.components:
            own = {module.__name__ for module in modules[component.name]}
            for cls in component.messages(modules[component.name]):
                if cls.__module__ in own:
                    self.types.add(cls, component.name)
        for component in self.components:
            for cls in component.messages([]):
                self.types.add(cls, component.name)
                answer = response_type(cls) if issubclass(cls, Query) else None
                if answer is not None:
                    self.types.add(answer, component.name)

    def _check_upcasters(self) -> None:
        for component in self.components:
            for message, version, function in component.upcasters:
                entry = self.types.of(message)
                if version in entry.upcasters or not 1 <= version < entry.version:
                    raise WiringError(
                        f"{entry.name} is at version {entry.version}; an upcaster from version {version} "
                        + ("is declared twice." if version in entry.upcasters else "leads nowhere."),
                        hint="Declare one for each version from 1 up to the one before the present.",
                    )
                entry.upcasters[version] = function
        for entry in self.types:
            gap = next((v for v in range(1, entry.version) if v not in entry.upcasters), None)
            if gap is not None:
                raise WiringError(
                    f"{entry.name} is at version {entry.version}, but nothing reads version {gap}.",
                    hint=f"Add `@{entry.component}.upcasts({entry.name}, version={gap})`.",
                )

    def _tell_shapes(self) -> None:
        for component in self.components:
            for decider in component.deciders:
                if decider.shape is not None:
                    events = sorted(decider.events, key=lambda event: event.__name__)
                    chains = [sorted(self.types.of(event).upcasters.items()) for event in events]
                    decider.shape.read_through([function for chain in chains for _, function in chain])

    def _check_personal_fields(self) -> None:
        if self.types.personal and find_spec("cryptography") is None:
            marked = next(entry for entry in self.types if entry.personal and entry.kind in ("command", "event"))
            raise WiringError(
                f"{marked.full_name} has personal fields, and the library that encrypts them is not installed.",
                hint='Install it: `pip install "microlith[privacy]"`.',
            )
        for component in self.components:
            for decider in component.deciders:
                for command in decider.commands:
                    named = next((name for name in decider.stream_fields if name in personal_fields(command)), None)
                    if named is not None:
                        raise WiringError(
                            f"The stream of {decider.name} is named by {command.__name__}.{named}, which is personal.",
                            hint="Names of streams are stored in clear and stay: name it by an id.",
                        )

    def _check_handlers(self) -> None:
        taken: dict[type[Message], HandlerSpec] = {}
        names: dict[str, HandlerSpec] = {}
        for spec in self.handlers:
            if issubclass(spec.message, Response):
                raise InjectionError(
                    spec.name,
                    "message",
                    spec.message.__name__,
                    hint="A response goes to whoever asked; handle its query.",
                )
            other = taken.setdefault(spec.message, spec)
            if other is not spec and not issubclass(spec.message, Event):
                raise DuplicateHandlerError(spec.message.__name__, other.place, spec.place)
            twin = names.setdefault(spec.name, spec)
            if twin is not spec:
                raise DuplicateNameError("handlers", spec.name, twin.place, spec.place)
            plan_call(spec, self.resolver(spec, _nothing))
            for cls in spec.emits():
                self.emits.setdefault(cls, []).append(spec.name)

    def _check_processes(self) -> None:
        named: dict[str, str] = {}
        for component in self.components:
            for process in component.processes:
                place = "{}:{}".format(*process.place)
                for name in (process.name, *process.cls.__formerly__):
                    if name in named:  # their streams would be the same
                        raise DuplicateNameError("processes", name, named[name], place)
                    named[name] = place
                self.processes[f"{component.name}.{process.name}"] = process
                self.types.of(process.step).step_of = process.name


def _nothing(_annotation: Any, _detail: Any) -> None:
    """Stand in for every value while signatures are only checked."""


def _hashable(annotation: Any) -> bool:
    try:
        hash(annotation)
    except TypeError:
        return False
    return True
