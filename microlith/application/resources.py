"""Resources: what components provide to their handlers, built at start and closed at stop."""

import inspect
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from typing import Any

from microlith.component import Component
from microlith.errors import WiringError


class Resources:
    """The built resources of one running application, by component and type."""

    def __init__(self) -> None:
        self._built: dict[tuple[str, Any], Any] = {}
        self._stack = AsyncExitStack()

    def get(self, component: Component, resource: Any) -> Any:
        """Return a built resource."""
        return self._built[component.name, resource]

    async def build(self, components: list[Component]) -> None:
        """Build everything that the components provide.

        Raises:
            WiringError: A factory failed; what was built is closed again. The reason is the cause.
        """
        for component in components:
            for resource, factory in component.resources.items():
                try:
                    self._built[component.name, resource] = await self._enter(factory())
                except Exception as error:
                    await self.close()
                    raise WiringError(
                        f"Component {component.name} could not build {getattr(resource, '__name__', resource)}: {error}",
                        hint="Mend its factory, the second argument of `provides`.",
                    ) from error

    async def close(self) -> None:
        """Close everything, last built first."""
        await self._stack.aclose()
        self._built.clear()

    async def _enter(self, made: Any) -> Any:
        if inspect.isawaitable(made):
            made = await made
        self._close_later(made)  # too, where leaving it does not close it, as with a sqlite3.Connection
        if isinstance(made, AbstractAsyncContextManager):
            return await self._stack.enter_async_context(made)
        if isinstance(made, AbstractContextManager):
            return self._stack.enter_context(made)
        return made

    def _close_later(self, made: Any) -> None:
        for name in ("aclose", "close"):
            closer = getattr(made, name, None)
            if inspect.iscoroutinefunction(closer):
                self._stack.push_async_callback(closer)
                break
            if callable(closer):
                self._stack.callback(closer)
                break
