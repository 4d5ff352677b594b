"""Messages on the wrong bus, built wrongly, or handed to a function that takes others."""

from microlith import Command, correlated
from microlith.middlewares import Authorisation, Timeout
from tests.typing.right import CountRequest, CountResponse, OpenAccount, Opened, app


def takes_a_command(command: OpenAccount) -> None: ...


async def decide_later(envelope: object, principal: str | None) -> bool:
    return True


def wrong() -> None:
    app.command_bus.dispatch(Opened(owner="ann"))  # expect: error
    app.event_bus.dispatch(OpenAccount(owner="ann"))  # expect: error
    app.event_bus.dispatch(correlated(OpenAccount(owner="ann")))  # expect: error
    app.query_bus.dispatch(CountResponse(count=1))  # expect: error
    app.query_bus.dispatch(Opened(owner="ann"))  # expect: error
    app.command_bus.dispatch("OpenAccount")  # expect: error
    app.command_bus.dispatch(OpenAccount)  # expect: error
    app.command_bus.dispatch(OpenAccount(owner=7))  # expect: error
    app.command_bus.dispatch(OpenAccount())  # expect: error
    app.event_bus.subscribe(Opened, takes_a_command)  # expect: error
    Authorisation(decide_later)  # expect: error
    Timeout({OpenAccount: "2s"})  # expect: error
    Timeout({"OpenAccount": 2.0})  # expect: error
    command: Command = CountRequest()  # expect: error
    print(command)
