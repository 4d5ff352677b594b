"""What each kind of `microlith new` asks for: the files, what they need, and what to type next.

Reads the project where a new file depends on one that is there; writes nothing.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from microlith_cli.scaffolding import naming
from microlith_cli.scaffolding.errors import (
    DefinedElsewhereError,
    HandledElsewhereError,
    InvalidFieldError,
    InvalidNameError,
    RowNotCoveredError,
)
from microlith_cli.scaffolding.fields import Field, parse_fields
from microlith_cli.scaffolding.parts import (
    home_of,
    imports_of,
    package_of,
    packages,
    refuse_own_name,
    sample_imports,
    samples,
    wanted_of,
)
from microlith_cli.scaffolding.planning import Wanted
from microlith_cli.scaffolding.rendering import render
from microlith_cli.scaffolding.sources import FieldFound, MessageFound, Sources

_FOLDERS = {"command": "commands", "event": "events", "query": "queries"}
_BASES = {"command": ("Command",), "event": ("Event",), "query": ("Query", "Response")}
_LONGEST_TABLE = 63  # characters; what PostgreSQL takes, and the runtime allows


def step_name(kind: str, target: str) -> str:
    """The name of the step that adds something, however its name was written.

    Raises:
        InvalidNameError: Nothing can be called so.
    """
    match kind:
        case "app":
            return f"app {naming.app_name(target)}"
        case "component":
            return f"component {naming.component_name(target)}"
    owner, typed = naming.split_target(f"{'an' if kind == 'aggregate' else 'a'} {kind}", target)
    match kind:
        case "command" | "event" | "query":
            module = naming.message_name(kind, typed).module
        case "projection":
            module = naming.projection_name(typed)
        case "aggregate" | "process":
            module = naming.stateful_name(kind, typed).module
        case _:
            module = naming.stem_of(naming.snake_case(f"a {kind}", typed))
    return f"{kind} {owner}.{module}"


def app(name: str, *, bare: bool) -> Wanted:
    """A new application, with the example component `auth` unless it is to be bare.

    Raises:
        InvalidNameError: No application can be called so.
    """
    values = {"app": naming.app_name(name), "bare": bare}
    files = render("app", values)
    following = [f"cd {name}", "microlith run"]
    if not bare:
        files |= render("auth", values) | packages(name, "auth")
        if find_spec("argon2") is None:
            following.insert(1, "pip install -e .")
        following += [
            "microlith dispatch RegisterCommand --email a@b.c --wait UserRegisteredEvent",
            "microlith dispatch LoginCommand --email a@b.c --wait UserLoggedInEvent --fail-on LoginErrorRaised",
        ]
    else:
        following.insert(1, "microlith new component billing")
    return Wanted(step_name("app", name), dict(sorted(files.items())), following=tuple(following))


def component(sources: Sources, name: str) -> Wanted:
    """A new component, with a place for each of its parts.

    Raises:
        InvalidNameError: No component can be called so.
    """
    values = {"app": sources.package, "component": naming.component_name(name)}
    files = render("component", values) | packages(sources.package, name)
    following = (f"microlith new command {name}.DoSomething what:str",)
    return Wanted(step_name("component", name), files, uses=("pyproject.toml",), following=following)


def message(
    sources: Sources, kind: naming.MessageKind, target: str, fields: Sequence[str], returns: Sequence[str] = ()
) -> Wanted:
    """A new command, event or query. The first and the last come with their handler and its test.

    Args:
        sources: The project.
        kind: Which.
        target: COMPONENT.NAME.
        fields: Each FIELD:TYPE or FIELD:TYPE=DEFAULT.
        returns: The fields of a query's response, in the same form.

    Raises:
        InvalidNameError, InvalidFieldError: What cannot be meant.
        UnknownComponentError: There is no such component.
        DefinedElsewhereError, HandledElsewhereError: Another module has it.
    """
    owner, typed = naming.split_target(f"a {kind}", target)
    names = naming.message_name(kind, typed)
    refuse_own_name(owner, names.module, typed)
    parsed, answered = parse_fields(fields), parse_fields(returns)
    sources.require_component(owner)
    path = f"{sources.package}/{owner}/{_FOLDERS[kind]}/{names.module}.py"
    for class_name in filter(None, (names.class_name, names.response_name)):
        place = sources.defined_in(class_name, owner)
        if place is not None and place.rpartition(":")[0] != path:
            raise DefinedElsewhereError(class_name, place)
    found = _as_found(kind, owner, names, path, parsed)
    values = {
        "app": sources.package,
        "component": owner,
        "class_name": names.class_name,
        "module": names.module,
        "words": names.module.replace("_", " "),
        "response_name": names.response_name,
        "fields": parsed,
        "response_fields": answered,
        "imports": imports_of(
            sources,
            {("microlith", base) for base in _BASES[kind]},
            *(field.imports for field in (*parsed, *answered)),
        ),
    }
    files = package_of(sources, owner, _FOLDERS[kind]) | render(kind, values)
    following = [f"microlith dispatch {names.class_name} --help"]
    if kind == "event":
        following.insert(0, f"microlith new handler {owner}.{names.class_name}")
    else:
        response = tuple(_field_found(field) for field in answered) if kind == "query" else ()
        files |= _handler_files(sources, owner, found, response)
    return wanted_of(step_name(kind, target), files, (home_of(sources, owner),), following=tuple(following))


def handler(sources: Sources, target: str) -> Wanted:
    """A handler for a message that is there, and its test.

    An event may be another component's.

    Raises:
        InvalidNameError, UnknownComponentError, UnknownMessageError, AmbiguousMessageError: What cannot be meant.
        HandledElsewhereError: The command or query has a handler.
    """
    owner, typed = naming.split_target("a handler", target)
    sources.require_component(owner)
    found = sources.find_message(typed, owner, kinds=("command", "query", "event"), elsewhere=True)
    refuse_own_name(owner, found.stem, typed)
    response: tuple[FieldFound, ...] | None = ()
    if found.kind == "query":
        answer = sources.response(found)
        response = None if answer is None else answer.fields
    files = _handler_files(sources, owner, found, response)
    untested = not any(path.startswith("tests/") for path in files)
    notes = (f"{found.name} has fields of types that are not known here: its test is left to you",) if untested else ()
    return wanted_of(step_name("handler", target), files, (home_of(sources, owner), found.path), notes=notes)


def projection(sources: Sources, target: str, fields: Sequence[str], on: Sequence[str] = ()) -> Wanted:
    """A projection with its row, folding the events that can fill a row.

    Args:
        sources: The project.
        target: COMPONENT.NAME.
        fields: The row's fields; the first is its key.
        on: Events of this or another component.

    Raises:
        InvalidNameError, InvalidFieldError, UnknownComponentError, UnknownMessageError: What cannot be meant.
        RowNotCoveredError: An event lacks a field that the row needs.
    """
    owner, typed = naming.split_target("a projection", target)
    module = naming.projection_name(typed)
    refuse_own_name(owner, module, typed)
    parsed = parse_fields(fields)
    if not parsed:
        raise InvalidFieldError("", "a read model needs a key", hint="Name its fields, the key first, such as id:int.")
    if parsed[0].type.annotation not in {"str", "int"}:
        raise InvalidFieldError(fields[0], "the first field is the key, a str or an int")
    sources.require_component(owner)
    row_name = f"{naming.camel_case(module)}Row"
    if (length := len(f"{owner}_{module}__{module}_row")) > _LONGEST_TABLE:
        problem = f"the name of its table would have {length} characters, {_LONGEST_TABLE} is the limit"
        raise InvalidNameError("a projection", typed, problem, hint="Shorten it.")
    events = [sources.find_message(name, owner, kinds=("event",), elsewhere=True) for name in dict.fromkeys(on)]
    folds = [_fold(row_name, parsed, event) for event in events]
    functions = [module, *(fold["function"] for fold in folds)]
    if len(set(functions)) < len(functions):
        raise InvalidNameError(
            "a projection", typed, "two of its functions would be called the same", hint="Rename it."
        )
    values = {
        "app": sources.package,
        "component": owner,
        "module": module,
        "row_name": row_name,
        "fields": parsed,
        "events": folds,
        "imports": imports_of(
            sources,
            {("microlith", "ReadModel"), (f"{sources.package}.{owner}", owner)},
            {("microlith", "Table")} if events else set(),
            {(event.module, event.name) for event in events},
            *(field.imports for field in parsed),
        ),
    }
    files = package_of(sources, owner, "projections") | render("projection", values)
    uses = (home_of(sources, owner), *(event.path for event in events))
    notes = () if events else ("it takes no event yet: name some with --on, or write the functions by hand",)
    return wanted_of(step_name("projection", target), files, uses, notes=notes)


def _fold(row_name: str, fields: Sequence[Field], event: MessageFound) -> dict[str, Any]:
    offered = {field.name: field.annotation for field in event.fields}
    fitting = [field for field in fields if offered.get(field.name) == field.type.annotation]
    missing = [field.name for field in fields if field not in fitting and not field.default]
    if missing:
        raise RowNotCoveredError(row_name, event.name, missing)
    taken = [f"{field.name}=event.{field.name}" for field in fitting]
    return {"class_name": event.name, "function": f"on_{event.stem}", "taken": taken}


def _handler_files(
    sources: Sources, owner: str, found: MessageFound, response: Sequence[FieldFound] | None
) -> dict[str, str]:
    """The handler of a message, and its test if one can be made."""
    function = f"on_{found.stem}" if found.kind == "event" else found.stem
    path = f"{sources.package}/{owner}/handlers/{function}.py"
    if found.kind != "event" and (place := sources.handled_in(found.name, owner, but=path)):
        raise HandledElsewhereError(found.name, place)
    message_names = {(found.module, found.name)}
    given, answers = samples(found.fields), None if response is None else samples(response)
    if found.kind == "query":
        message_names.add((found.module, found.answer))
    values = {
        "app": sources.package,
        "component": owner,
        "kind": found.kind,
        "class_name": found.name,
        "function": function,
        "response_name": found.answer,
        "samples": given,
        "answers": answers,
    }
    own = {(f"{sources.package}.{owner}", owner)}
    template = "answer" if found.kind == "query" else "handler"
    made = response if found.kind == "query" and response else ()
    imports = imports_of(sources, own, message_names, sample_imports(made))
    files = package_of(sources, owner, "handlers") | render(template, {**values, "imports": imports})
    if given is not None and answers is not None:
        # Under a name of its own: pytest would take an imported `test_this` for a test.
        handles = (f"{sources.package}.{owner}.handlers.{function}", f"{function} as handle")
        tested = {("microlith", "Microlith") if found.kind == "query" else handles}
        imports = imports_of(sources, tested, message_names, sample_imports((*found.fields, *made)))
        files |= render(f"{template}_test", {**values, "imports": imports})
    return files


def _field_found(field: Field) -> FieldFound:
    return FieldFound(field.name, field.type, field.type.annotation, not field.default)


def _as_found(
    kind: naming.MessageKind,
    owner: str,
    names: naming.MessageName,
    path: str,
    fields: Sequence[Field],
) -> MessageFound:
    """The message as it will be found once it is written."""
    module = path.removesuffix(".py").replace("/", ".")
    found = tuple(_field_found(field) for field in fields)
    return MessageFound(names.class_name, owner, kind, path, module, found, names.response_name)
