"""Waits and answers taken for what they are not."""

from tests.typing.right import CountRequest, CountResponse, Greeted, OpenAccount, Opened, OpenRefused, app


async def wrong() -> None:
    correlation = "id"
    (await app.query_bus.ask(CountRequest())).total  # expect: error
    opened: Opened = await app.query_bus.ask(CountRequest())  # expect: error
    await app.query_bus.ask(OpenAccount(owner="ann"))  # expect: error
    await app.query_bus.ask(CountResponse(count=1))  # expect: error
    await app.event_bus.wait_for(correlation, int)  # expect: error
    await app.event_bus.wait_for(correlation, Opened(owner="ann"))  # expect: error
    await app.event_bus.wait_for(7, Opened)  # expect: error
    first: Opened = await app.event_bus.wait_for(correlation, (Opened, OpenRefused))  # expect: error
    (await app.event_bus.wait_for(correlation, (Opened, OpenRefused))).owner  # expect: error
    both: tuple[Greeted, Opened] = await app.event_bus.wait_all(correlation, (Opened, Greeted))  # expect: error
    by_name: Opened = await app.event_bus.wait_for(correlation, "Opened")  # expect: error
    done: Greeted = await app.command_bus.execute(OpenAccount(owner="ann"), until=Opened)  # expect: error
    await app.command_bus.execute(OpenAccount(owner="ann"), until=Opened, timeout="5s")  # expect: error
    await app.command_bus.execute(Opened(owner="ann"), until=Opened)  # expect: error
    print(opened, first, both, by_name, done)
