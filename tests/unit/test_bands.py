"""The bands of the house: who may import whom is written in pyproject.toml, and held here."""

from pathlib import Path

import pytest
from importlinter.application.use_cases import lint_imports
from importlinter.configuration import configure

CONTRACTS = Path(__file__).parents[2] / "pyproject.toml"


def test_every_module_imports_only_from_bands_below(capsys: pytest.CaptureFixture[str]) -> None:
    """Each contract between the modules is kept: bands, a place for every module, no cycles."""
    configure()
    kept = lint_imports(config_filename=str(CONTRACTS), cache_dir=None, no_logo=True)
    report = capsys.readouterr().out
    assert kept, report
    assert "2 kept, 0 broken" in report
