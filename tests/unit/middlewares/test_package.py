"""The package of middlewares: what can be taken from it wherever it is installed."""

import subprocess
import sys


def test_everything_can_be_imported_where_no_extra_is_installed():
    script = """
import sys
sys.modules["opentelemetry"] = None
from microlith.middlewares import *
print(Timeout.__name__)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (ended.stdout.strip(), ended.stderr) == ("Timeout", "")
