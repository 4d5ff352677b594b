from microlith_cli.places import class_line, module_file, shown


def test_module_is_found_beside_pyproject_or_in_src(tmp_path):
    for name in ("shop/__init__.py", "shop/app.py", "src/bank/app.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    found = [module_file(tmp_path, module) for module in ("shop", "shop.app", "bank.app", "json", "../shop", "")]

    assert [file and shown(file, tmp_path) for file in found] == [
        "shop/__init__.py",
        "shop/app.py",
        "src/bank/app.py",
        None,
        None,
        None,
    ]


def test_line_of_a_class_is_the_one_it_begins_on(tmp_path):
    file = tmp_path / "a.py"
    file.write_text("class PayNow:\n    pass\n\n\nif True:\n    class Pay(X):\n        pass\n", "utf-8")

    assert [class_line(file, name) for name in ("PayNow", "Pay", "Paid")] == [1, 6, 0]
    assert class_line(tmp_path / "missing.py", "Pay") == 0
