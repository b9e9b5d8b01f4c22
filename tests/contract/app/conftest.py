"""Fixtures for tests of the application."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cmc_notify.settings import Settings, load
from cmc_notify.simulator import OPEN, Simulator
from support.third_party_pager import Company, Configure, fail_a_job


@pytest.fixture
def company(tmp_path: Path) -> Company:
    """A plugin with one template, and a file that tries to replace one of ours."""
    for name, text in {
        "pager/job.failed.txt.j2": "pager says {{ job.id }}",
        "console/default.txt.j2": "not yours",
    }.items():
        path = tmp_path / "brought" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return Company(tmp_path / "brought")


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    """A controller with one failed job."""
    async with Simulator(auth=OPEN) as started:
        fail_a_job(started)
        yield started


@pytest.fixture
def configure(tmp_path: Path, company: Company, sim: Simulator) -> Configure:
    """Settings of one controller and one pager; keywords replace whole sections."""

    def make(**sections: Any) -> Settings:
        document = {
            "controllers": {
                "emea": {
                    "url": sim.url,
                    "first_run": "all",
                    "poll": {"interval": "50ms", "idle_interval": "50ms"},
                }
            },
            "sinks": {"duty": {"type": "pager"}},
            "routes": [{"sinks": ["duty"]}],
            "store": {"url": f"sqlite:///{tmp_path}/store.db"},
            "http": {"listen": "127.0.0.1:0"},
            "shutdown_grace": "2s",
        } | sections
        path = tmp_path / "cmc-notify.yaml"
        path.write_text(yaml.safe_dump(document))
        types = {name: plugin.settings for name, plugin in company.plugins.items()}
        return load(path, environ={}, sink_types=types)

    return make
