"""Every page runs, and everything it points to is there."""

from pathlib import Path

import pytest

from tests.docs.pages import anchors, blocks, links, pages, python_blocks, shown
from tests.docs.running import run_page
from tests.meta.tree import ROOT

PAGES = pages()


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=shown)
async def test_python_of_a_page_runs_and_prints_what_it_says(page: Path, importable: Path):
    await run_page(page)


@pytest.mark.parametrize("page", [page for page in PAGES if any(b.file for b in blocks(page))], ids=shown)
def test_files_that_a_page_shows_are_those_of_the_project(page: Path, scaffolded: Path):
    for block in blocks(page):
        if block.file:
            example = ROOT / "examples" / block.file.partition("/")[0]
            file = ((example if example.exists() else scaffolded) / block.file).read_text("utf-8")
            shown_text = block.text.partition("\n")[2].strip()

            assert shown_text in file, f"{shown(page)}:{block.line}: {block.file} reads otherwise"


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_of_a_page_lead_somewhere(page: Path):
    lost = [target for target in links(page) if not leads_somewhere(page, target)]

    assert not lost


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent != ROOT], ids=shown)
def test_page_is_reached_from_the_index(page: Path):
    index = ROOT / "docs" / "index.md"
    reached = {index} | {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}

    assert page in reached


def leads_somewhere(page: Path, target: str) -> bool:
    if "://" in target:
        return True
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    return file.exists() and (not anchor or anchor in anchors(file))
