"""``cmc-notify`` as a test types it: in a process of its own, or, where there are many, through ``main``."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import yaml

from cmc_notify.cli import main


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """Without anybody's settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CMC_NOTIFY_")}
    return kept | {"PYTHONUNBUFFERED": "1"}


def in_process(*arguments: str) -> Ended:
    """The whole command path, without the cost of a new interpreter. May be called in a thread."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        mock.patch.object(sys, "argv", ["cmc-notify", *arguments]),
        mock.patch.dict(os.environ, environment(), clear=True),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    assert isinstance(code, int)
    return Ended(code, out.getvalue(), err.getvalue())


def real_process(*arguments: str) -> Ended:
    """``python -m cmc_notify`` to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "cmc_notify", *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def written(folder: Path, config: Mapping[str, Any]) -> Path:
    """The config as a file in ``folder``."""
    path = folder / "cmc-notify.yaml"
    path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
    return path
