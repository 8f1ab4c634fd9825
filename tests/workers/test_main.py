import subprocess
import sys

import pytest

SCRIPT = """
import sys
from workers.__main__ import main
sys.argv[1:] = ["--help"]
try:
    main()
finally:
    print("imported:", "structlog" in sys.modules, "rich" in sys.modules)
    import rich
    print("can be imported:", rich.__name__)
"""


@pytest.mark.process
def test_a_worker_does_not_import_rich_but_a_provider_can() -> None:
    worker = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert worker.returncode == 0, worker.stderr
    assert worker.stdout.endswith("imported: True False\ncan be imported: rich\n")
