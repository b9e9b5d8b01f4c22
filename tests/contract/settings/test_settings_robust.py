"""Whatever a file or a variable holds, loading ends in settings or in a ConfigError."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cmc_notify.errors import ConfigError
from cmc_notify.settings import document, load
from cmc_notify.sinks.plugin import load_plugins

KEYS = st.sampled_from(
    [
        "controllers",
        "emea",
        "url",
        "auth",
        "token",
        "token_file",
        "tls",
        "ca_file",
        "poll",
        "interval",
        "sinks",
        "chat",
        "type",
        "retry",
        "fallback",
        "to",
        "headers",
        "signing_secret",
        "routes",
        "match",
        "event",
        "site_id",
        "continue",
        "http",
        "listen",
        "redact",
        "log",
        "store",
        "templates_dir",
        "_cli_x",
    ]
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["slack", "email", "webhook", "console", "https://x", "http://[", "1:99999", "[", "5m", "chat"]
    ),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=25,
)
SINK_TYPES = {name: plugin.settings for name, plugin in load_plugins().items()}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A config file that each example overwrites."""
    return tmp_path_factory.mktemp("config") / "cmc-notify.yaml"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=st.dictionaries(KEYS, TREES, max_size=6))
def test_any_tree_loads_or_is_refused(file: Path, tree: dict[str, Any]) -> None:
    """Wrong types at any place are problems with a place, never an exception of another kind."""
    file.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8", errors="replace")
    with contextlib.suppress(ConfigError):
        load(file, environ={}, sink_types=SINK_TYPES)


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="abc: -[]{}&*!|>'\"#%@`,?\n\t\\\0é\ud800", max_size=40))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    """No text makes the parser raise."""
    parsed = document.parse(text)
    assert all(problem.message for problem in parsed.problems)


@settings(max_examples=100, deadline=None)
@given(
    paths=st.dictionaries(
        st.lists(KEYS, min_size=1, max_size=4).map("__".join), st.text(max_size=12), max_size=5
    )
)
def test_any_environment_loads_or_is_refused(paths: dict[str, str]) -> None:
    """Variables that make no sense are problems that name a variable, never an exception of another kind."""
    environ = {f"CMC_NOTIFY_{path.upper()}": text for path, text in paths.items()}
    with contextlib.suppress(ConfigError):
        load(Path(__file__).parents[3] / "config" / "cmc-notify.yaml", environ=environ, sink_types=SINK_TYPES)
