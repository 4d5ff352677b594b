"""`microlith graph`: who sends what to whom."""

TREE = """\
LoginCommand  command
  → auth.login
    UserLoggedInEvent  event
      → auth.greet
        GreetedEvent  event
    LoginErrorRaised  event
"""


def test_tree_follows_messages_from_outside_to_what_they_cause(either):
    ended = either("graph")

    assert ended.code == 0
    assert TREE in ended.out
    assert "CurrentUserRequest  query\n  → auth.current_user\n    CurrentUserResponse  response\n" in ended.out


def test_arrows_are_told_as_json(either):
    lines = either("graph", "--json").lines

    assert {"item": "arrow", "kind": "handles", "from": "LoginCommand", "to": "auth.login"} in lines
    assert {"item": "arrow", "kind": "sends", "from": "auth.login", "to": "UserLoggedInEvent"} in lines
    assert lines == either("graph", "auth", "--format", "json").lines


def test_component_that_nothing_touches_is_told(tool):
    (tool.folder / "shop" / "billing").mkdir()
    (tool.folder / "shop" / "billing" / "__init__.py").write_text(
        "from microlith import Component\n\nbilling = Component('billing')\n"
    )

    ended = tool("graph", "billing")

    assert (ended.code, ended.out) == (1, "")
    assert "billing" in ended.err


def test_diagram_names_every_node_once_and_links_what_it_names(tool):
    lines = tool("graph", "--format", "mermaid").out.splitlines()

    nodes = [line.split("[")[0].split("(")[0].strip() for line in lines if line.startswith("        ")]
    arrows = [line.split() for line in lines if "-->" in line or "-.->" in line]
    assert lines[0] == "flowchart LR"
    assert len(nodes) == len(set(nodes))
    assert {end for arrow in arrows for end in (arrow[0], arrow[2])} == set(nodes)


def test_circle_of_messages_is_drawn_once(tool):
    handlers = tool.folder / "shop/auth/handlers/all.py"
    handlers.write_text(
        handlers.read_text("utf-8")
        + "\n\n@auth.handles(GreetedEvent)\nasync def again(event: GreetedEvent) -> NeverEvent:\n    return NeverEvent()\n"
        "\n\n@auth.handles(NeverEvent)\nasync def on(event: NeverEvent) -> GreetedEvent:\n    return GreetedEvent(user_id='')\n",
        "utf-8",
    )

    out = tool("graph").out

    assert out.count("GreetedEvent  event  (above)") == 1
    assert out.count("→ auth.again") == 1
