"""Fixtures for tests of the settings."""

from pathlib import Path

import pytest

from cmc_notify.settings import Settings, load
from support.settings_types import SINK_TYPES, Load


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    """``loaded(text, **environ)``: the settings of a config file with that text."""

    def read(text: str, **environ: str) -> Settings:
        file = tmp_path / "cmc-notify.yaml"
        file.write_text(text)
        return load(file, environ=environ, sink_types=SINK_TYPES)

    return read
