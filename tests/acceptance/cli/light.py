"""What one run of the tool imported, of what it should do without."""

import re
import subprocess
import sys

from tests.acceptance.cli.shop import Tool, environment

HEAVY = frozenset({"asyncio", "jinja2", "pydantic", "pydantic_core", "rich", "shop", "sqlite3", "watchfiles"})
IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +([\w.]+)$", re.MULTILINE)


def heavy_imports(tool: Tool, *arguments: str) -> set[str]:
    """The heavy packages, and the project's own code, among what one run imported."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "microlith_cli", *arguments],
        cwd=tool.folder,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=30,
        check=False,
    )
    imported = {name.partition(".")[0] for name in IMPORTED.findall(ended.stderr)}
    assert "microlith_cli" in imported, ended.stderr
    return imported & HEAVY
