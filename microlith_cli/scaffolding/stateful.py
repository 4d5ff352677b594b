"""What `microlith new aggregate` and `microlith new process` ask for: parts that have a state of their own.

Reads the project where a new file depends on one that is there; writes nothing.
"""

from collections.abc import Sequence
from typing import Any

from microlith_cli.scaffolding import naming
from microlith_cli.scaffolding.errors import DefinedElsewhereError, InvalidFieldError, InvalidNameError
from microlith_cli.scaffolding.fields import LONGEST, Field, parse_fields
from microlith_cli.scaffolding.kinds import step_name
from microlith_cli.scaffolding.parts import (
    home_of,
    imports_of,
    package_of,
    sample_imports,
    samples,
    wanted_of,
)
from microlith_cli.scaffolding.planning import Wanted
from microlith_cli.scaffolding.rendering import render
from microlith_cli.scaffolding.sources import FieldFound, MessageFound, Sources


def aggregate(sources: Sources, target: str, fields: Sequence[str]) -> Wanted:
    """An aggregate with its first command and event, and a test.

    Args:
        sources: The project.
        target: COMPONENT.NAME.
        fields: The fields of its state, each FIELD:TYPE or FIELD:TYPE=DEFAULT.

    Raises:
        InvalidNameError, InvalidFieldError, UnknownComponentError: What cannot be meant.
        DefinedElsewhereError: Another module has the command or the event.
    """
    owner, typed = naming.split_target("an aggregate", target)
    names = naming.stateful_name("aggregate", typed)
    key = f"{names.module}_id"
    if len(key) > LONGEST:
        problem = f"its key {key} would be longer than {LONGEST} characters"
        raise InvalidNameError("an aggregate", typed, problem, hint="Shorten it.")
    carried = parse_fields([f"{key}:str", *fields])
    state = parse_fields(list(map(_with_default, fields)))
    _refuse_fields(state, ("created", "create", f"on_{names.module}_created"))
    sources.require_component(owner)
    command = naming.message_name("command", f"create_{names.module}")
    event = naming.message_name("event", f"{names.module}_created")
    values = {**_values(sources, owner, names, state), "key": key}
    files: dict[str, str] = {}
    modules = {}
    for kind, folder, message in (("command", "commands", command), ("event", "events", event)):
        modules[kind] = _not_elsewhere(sources, owner, f"{folder}/{message.module}", message.class_name)
        files |= package_of(sources, owner, folder) | _message(sources, values, kind, message, carried)
    own = {(modules["command"], command.class_name), (modules["event"], event.class_name)}
    values |= {
        "command": command.class_name,
        "event": event.class_name,
        "taken": [f"{field.name}=command.{field.name}" for field in carried],
        "samples": _required(carried),
        "imports": imports_of(
            sources,
            {("microlith", name) for name in ("Aggregate", "decides", "evolves")},
            {(f"{sources.package}.{owner}", owner), *own},
            *(field.imports for field in state),
        ),
        "test_imports": imports_of(
            sources,
            {("microlith.testing", "given")},
            {(f"{sources.package}.{owner}.aggregates.{names.module}", names.class_name)},
            own,
            *(field.type.value_imports for field in carried if not field.default),
        ),
    }
    files |= package_of(sources, owner, "aggregates") | render("aggregate", values)
    following = (f"microlith dispatch {command.class_name} --help",)
    return wanted_of(step_name("aggregate", target), files, (home_of(sources, owner),), following=following)


def process(
    sources: Sources, target: str, fields: Sequence[str], on: Sequence[str] = (), key: str | None = None
) -> Wanted:
    """A process manager and a test of its first step; without events, also one that starts it.

    Args:
        sources: The project.
        target: COMPONENT.NAME.
        fields: The fields of its state, each FIELD:TYPE or FIELD:TYPE=DEFAULT.
        on: Events of this or another component: the first starts it, the others continue it.
        key: A field that these events share.

    Raises:
        InvalidNameError, InvalidFieldError, UnknownComponentError, UnknownMessageError: What cannot be meant.
        DefinedElsewhereError: Another module has the event that would start it.
    """
    owner, typed = naming.split_target("a process", target)
    names = naming.stateful_name("process", typed)
    state = parse_fields(list(map(_with_default, fields)))
    sources.require_component(owner)
    events = [sources.find_message(name, owner, kinds=("event",), elsewhere=True) for name in dict.fromkeys(on)]
    values = _values(sources, owner, names, state)
    files: dict[str, str] = {}
    if not events:
        key = key or "key"
        carried = parse_fields([f"{key}:str"])
        started = naming.message_name("event", f"{names.module}_started")
        module = _not_elsewhere(sources, owner, f"events/{started.module}", started.class_name)
        files |= package_of(sources, owner, "events") | _message(sources, values, "event", started, carried)
        found = tuple(FieldFound(one.name, one.type, one.type.annotation, required=True) for one in carried)
        events = [MessageFound(started.class_name, owner, "event", f"{module}.py", module, found)]
    takes = [{"event": event.name, "function": f"on_{event.stem}"} for event in events]
    _check_events(events, typed, names.class_name, key)
    _refuse_fields(state, ("end", *(one["function"] for one in takes)))
    values |= {
        "key": key,
        "takes": takes,
        "imports": imports_of(
            sources,
            {("microlith", name) for name in ("Process", "starts", *(["continues"] if len(takes) > 1 else []))},
            {(f"{sources.package}.{owner}", owner)},
            {(event.module, event.name) for event in events},
            *(field.imports for field in state),
        ),
    }
    files |= package_of(sources, owner, "processes") | render("process", values)
    test = _process_test(sources, values, events[0])
    notes = [] if test else [f"{events[0].name} has fields of types that are not known here: its test is left to you"]
    files |= test
    if key is None:
        notes.append("its key is the correlation id: name a field that its events share with --key")
    uses = (home_of(sources, owner), *(event.path for event in events if event.path not in files and on))
    return wanted_of(step_name("process", target), files, uses, notes=tuple(notes))


def _values(sources: Sources, owner: str, names: naming.StatefulName, state: Sequence[Field]) -> dict[str, Any]:
    return {
        "app": sources.package,
        "component": owner,
        "name": names.class_name,
        "module": names.module,
        "words": names.module.replace("_", " "),
        "state": state,
    }


def _process_test(sources: Sources, values: dict[str, Any], first: MessageFound) -> dict[str, str]:
    """The test of a process's first step, if one can be made."""
    sample = samples(first.fields)
    if sample is None:
        return {}
    tested = {
        ("microlith.testing", "given"),
        (first.module, first.name),
        (f"{sources.package}.{values['component']}.processes.{values['module']}", values["name"]),
    }
    imports = imports_of(sources, tested, sample_imports(first.fields))
    return render("process_test", {**values, "samples": sample, "imports": imports})


def _with_default(text: str) -> str:
    """A state is there before anything has happened: what has no default is None until then."""
    return text if "=" in text or ":" not in text or text.endswith("?") else f"{text}?"


def _refuse_fields(state: Sequence[Field], taken: Sequence[str]) -> None:
    clash = next((field.name for field in state if field.name in taken), None)
    if clash is not None:
        raise InvalidFieldError(clash, "a method is called so", hint=f"Try {clash}_value.")


def _check_events(events: Sequence[MessageFound], typed: str, class_name: str, key: str | None) -> None:
    functions = [event.stem for event in events]
    if len(set(functions)) < len(functions) or class_name in {event.name for event in events}:
        raise InvalidNameError("a process", typed, "two things in it would be called the same", hint="Rename it.")
    for event in events if key else ():
        field = next((field for field in event.fields if field.name == key and field.required), None)
        if field is None or "None" in field.annotation or "Secret" in field.annotation:
            raise InvalidFieldError(
                key or "",
                f"{event.name} has no such field that is always there and may be seen",
                hint="Name one that all its events have, or leave --key out.",
            )


def _required(fields: Sequence[Field]) -> list[str]:
    return [f"{field.name}={field.type.sample}" for field in fields if not field.default]


def _not_elsewhere(sources: Sources, owner: str, part: str, class_name: str) -> str:
    """The module that a message will be in; no other one of the component may have it."""
    path = f"{sources.package}/{owner}/{part}.py"
    place = sources.defined_in(class_name, owner)
    if place is not None and place.rpartition(":")[0] != path:
        raise DefinedElsewhereError(class_name, place)
    return path.removesuffix(".py").replace("/", ".")


def _message(
    sources: Sources, values: dict[str, Any], kind: str, message: naming.MessageName, fields: Sequence[Field]
) -> dict[str, str]:
    own = {
        "class_name": message.class_name,
        "module": message.module,
        "words": message.module.replace("_", " "),
        "fields": fields,
        "imports": imports_of(sources, {("microlith", kind.capitalize())}, *(field.imports for field in fields)),
    }
    return render(kind, {**values, **own})
