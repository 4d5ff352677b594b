"""An application in this process, for a shell where nothing else runs. Imports all that an application needs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from microlith_cli.once import LocalSession
from microlith_cli.project import Project
from microlith_cli.session import Mode, Session, only_reply
from microlith_cli.shell.news import News
from microlith_cli.shell.partners import NOTHING


class Here:
    """An application in this process. It runs while a command does, and while somebody may type.

    Args:
        project: Whose.
        news: Gets what is watched.
        say: Takes what the runtime logs, one line each.
    """

    mode: Mode = "once"

    def __init__(self, project: Project, news: News, say: Callable[[str], None]) -> None:
        self._news = news
        self._session = LocalSession(project, say)
        try:
            self._catalog: Mapping[str, Any] = only_reply(self._session, {"verb": "list"})["catalog"]
        except BaseException:
            self._session.close(0.0)
            raise

    def session(self) -> Session:
        """Give the one session, which stays open when the command is done with it."""
        return _Kept(self._session)

    def catalog(self) -> Mapping[str, Any]:
        """Tell what the application consists of."""
        return self._catalog

    def watch(self, asked: str | None) -> None:
        """Make news of what passes a filter; see `Partner`."""

        def take(reply: dict[str, Any]) -> None:
            if "fact" in reply:
                self._news.fact(reply["fact"])

        self._session.follow(NOTHING if asked is None else asked, take)

    def wait(self, descriptors: Sequence[int]) -> None:
        """Let the application run until one of some descriptors can be read."""
        self._session.idle(descriptors)

    def close(self) -> None:
        """Stop the application; handlers get some seconds to finish."""
        self._session.close()


class _Kept:
    """A session that does not end with the command that uses it."""

    def __init__(self, session: LocalSession) -> None:
        self.mode = session.mode
        self._session = session

    def request(self, request: Mapping[str, Any], *, patience: float | None = None) -> Iterator[dict[str, Any]]:
        return self._session.request(request, patience=patience)

    def requests(
        self, requests: Iterable[Mapping[str, Any]], *, at_once: int, patience: float | None = None
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        return self._session.requests(requests, at_once=at_once, patience=patience)

    def close(self) -> None:
        """The shell closes it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass
