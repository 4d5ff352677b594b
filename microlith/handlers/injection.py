"""Injection: fills a handler's parameters by their annotations.

The plan is made once, at start; calling a handler that asks for the message alone costs nothing
more than the call.

Knows no bus: what a type stands for is asked of a resolver.
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from microlith.envelope import Envelope
from microlith.errors import InjectionError
from microlith.handlers.declared import HandlerSpec
from microlith.messages import Message

Call = Callable[[Envelope[Any]], Any]
Resolver = Callable[[Any], tuple[bool, Any]]
"""Takes an annotation; returns whether it is known and what fills it."""


def plan_call(spec: HandlerSpec, resolve: Resolver) -> Call:
    """Make the function that calls a handler with an envelope.

    Raises:
        InjectionError: A parameter cannot be filled; names it and what could be asked for.
    """
    hints = spec.hints()
    parameters = inspect.signature(spec.function).parameters
    constants: dict[str, Any] = {}
    message_names: list[str] = []
    envelope_names: list[str] = []
    for name, parameter in parameters.items():
        annotation = hints.get(name, parameter.empty)
        if _is_message_parameter(spec, annotation, is_first=name == next(iter(parameters))):
            message_names.append(name)
        elif annotation is Envelope or getattr(annotation, "__origin__", None) is Envelope:
            envelope_names.append(name)
        else:
            _add_constant(spec, parameter, annotation, resolve, constants)
    return _build(spec, parameters, constants, message_names, envelope_names)


def _is_message_parameter(spec: HandlerSpec, annotation: Any, *, is_first: bool) -> bool:
    if annotation is inspect.Parameter.empty:
        return is_first
    return isinstance(annotation, type) and issubclass(annotation, Message) and issubclass(spec.message, annotation)


def _add_constant(
    spec: HandlerSpec, parameter: inspect.Parameter, annotation: Any, resolve: Resolver, constants: dict[str, Any]
) -> None:
    known, value = resolve(annotation)
    if known:
        constants[parameter.name] = value
    elif parameter.default is parameter.empty and parameter.kind not in (
        parameter.VAR_POSITIONAL,
        parameter.VAR_KEYWORD,
    ):
        shown = "no annotation" if annotation is parameter.empty else inspect.formatannotation(annotation)
        if isinstance(annotation, type) and issubclass(annotation, Message):
            hint = f"It handles {spec.message.__name__}: annotate the parameter with that, in {spec.place}."
        else:
            hint = (
                f"Ask for the message, Envelope, a bus, View[Row], or what the component provides with "
                f"`{spec.component}.provides(Type, factory)`; in {spec.place}."
            )
        raise InjectionError(spec.name, parameter.name, shown, hint=hint)


def _build(
    spec: HandlerSpec,
    parameters: Any,
    constants: dict[str, Any],
    message_names: list[str],
    envelope_names: list[str],
) -> Call:
    function = spec.function
    positional_first = bool(parameters) and next(iter(parameters.values())).kind is not inspect.Parameter.KEYWORD_ONLY
    if not envelope_names and message_names == list(parameters)[:1] and positional_first:
        bound = partial(function, **constants) if constants else function
        return lambda envelope: bound(envelope.message)

    def call(envelope: Envelope[Any]) -> Any:
        arguments = dict(constants)
        for name in message_names:
            arguments[name] = envelope.message
        for name in envelope_names:
            arguments[name] = envelope
        return function(**arguments)

    return call
