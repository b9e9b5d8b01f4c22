"""The bridge's own page in the middle of the demo's night, as the demo shows it."""

import re
import subprocess
import sys

FAR_ENOUGH = re.compile(r"push job 4104 failed")
"""Printed once the night's largest job has failed."""


class Night:
    """``with Night() as address``: the demo runs, and its page shows a night with failures."""

    def __init__(self) -> None:
        self._demo: subprocess.Popen[str] | None = None

    def __enter__(self) -> str:
        command = [sys.executable, "-m", "cmc_notify", "demo"]
        self._demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._demo.stdout
        address = ""
        for line in self._demo.stdout:
            if line.startswith("Dashboard"):
                address = line.split()[1]
            if FAR_ENOUGH.search(line):
                return address
        raise SystemExit("the demo ended before its largest job failed; try make demo")

    def __exit__(self, *_error: object) -> None:
        assert self._demo
        self._demo.terminate()
        self._demo.wait()
        assert self._demo.stdout
        self._demo.stdout.close()
