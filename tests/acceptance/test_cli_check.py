"""``check`` finds what is wrong, says where and what to do, and repeats no secret."""

from pathlib import Path
from typing import Any

import pytest

from cmc_notify.simulator import Auth, Simulator
from cmc_notify.simulator.receiver import Receiver
from support.command_line import in_process, real_process, written

FIXTURES = Path(__file__).parents[1] / "fixtures"
CONFIGS = sorted((FIXTURES / "bad_configs").glob("*.yaml"))
TEMPLATES = sorted(path for path in (FIXTURES / "bad_templates").glob("*") if path.is_dir())
SECRET = "s3cr3t"
EVERY_SINK: dict[str, dict[str, Any]] = {
    "chat": {"type": "slack", "token": f"xoxb-{SECRET}", "channel": "#netops"},
    "tickets": {"type": "webhook", "url": f"https://tickets.example.net/{SECRET}"},
    "mail": {"type": "email", "host": "smtp.example.net", "from": "a@example.net", "to": "b@example.net"},
    "screen": {"type": "console"},
}
PAGER: dict[str, Any] = {
    "type": "webhook",
    "preset": "pagerduty",
    "options": {"routing_key": f"{SECRET}{'0' * 26}"},
}


def config(**more: Any) -> dict[str, Any]:
    """A good config with a sink of every type."""
    return {
        "controllers": {"emea": {"url": "https://cmc.example.net"}},
        "sinks": EVERY_SINK,
        "routes": [{"sinks": [*EVERY_SINK]}],
        **more,
    }


def expectations(text: str) -> list[list[str]]:
    """The ``# expect:`` lines: place, what is wrong, remedy."""
    lines = [line.strip("{}# ") for line in text.splitlines()]
    return [line.removeprefix("expect: ").split(" | ", 2) for line in lines if line.startswith("expect: ")]


@pytest.mark.parametrize("fixture", CONFIGS, ids=lambda path: path.stem)
def test_a_bad_config_ends_with_2(fixture: Path) -> None:
    """Every complaint that the fixture expects is a line with file, place, mistake and remedy."""
    code, out, err = in_process("check", "--config", str(fixture))
    assert (code, out) == (2, "")
    assert SECRET not in err
    assert "Traceback" not in err
    assert expectations(fixture.read_text())
    for expected in expectations(fixture.read_text()):
        assert any(
            line.startswith(f"error: {fixture}") and all(part in line for part in expected)
            for line in err.splitlines()
        ), f"{expected} is not in:\n{err}"


@pytest.mark.parametrize("fixture", TEMPLATES, ids=lambda path: path.name)
def test_a_bad_template_ends_with_2(fixture: Path, tmp_path: Path) -> None:
    """A template that could fail at night is refused by day, with its file, line and remedy."""
    (template,) = [path for path in fixture.rglob("*") if path.is_file()]
    known = {**EVERY_SINK, "pager": PAGER}
    kinds = {name: sink.get("preset", sink["type"]) for name, sink in known.items()}
    concerned = {name: sink for name, sink in known.items() if kinds[name] == template.parent.name}
    sinks = concerned or {"screen": EVERY_SINK["screen"]}
    file = written(tmp_path, config(sinks=sinks, routes=[{"sinks": [*sinks]}], templates_dir=str(fixture)))
    code, out, err = in_process("check", "--config", str(file))
    assert (code, out) == (2, "")
    assert SECRET not in err
    (expected,) = expectations(template.read_text(errors="replace"))
    place, *rest = expected
    assert any(
        line.startswith(f"error: {fixture / place}") and all(part in line for part in rest)
        for line in err.splitlines()
    ), f"{expected} is not in:\n{err}"


def test_there_are_many_fixtures() -> None:
    """The folders are really read."""
    assert len(CONFIGS) >= 30
    assert len(TEMPLATES) >= 8


@pytest.mark.parametrize("name", ["typo_sink_key", "many_at_once"])
def test_the_real_process_says_the_same(name: str) -> None:
    """What a user runs ends as the tests' shorter way does."""
    fixture = str(FIXTURES / "bad_configs" / f"{name}.yaml")
    assert real_process("check", "--config", fixture) == in_process("check", "--config", fixture)


def test_the_example_config_is_fine() -> None:
    """The config that ships passes as it is, without a warning."""
    example = Path(__file__).parents[2] / "config" / "cmc-notify.yaml"
    code, out, err = in_process("check", "--config", str(example))
    assert (code, err) == (0, "")
    assert out.startswith("ok: controller lab; sink screen")


def test_danger_is_warned_about(tmp_path: Path) -> None:
    """What is valid but dangerous, or useless, is a warning, each key once."""
    controllers = {"emea": {"url": "https://cmc.example.net", "tls": {"verify": False}}}
    file = written(tmp_path, config(controllers=controllers, routes=[{"sinks": ["chat", "mail", "screen"]}]))
    code, _, err = in_process("check", "--config", str(file))
    assert code == 0
    lines = err.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("warning: controllers.emea.tls.verify")
    assert lines[1].startswith("warning: sinks.tickets: is in no route")


async def test_online_signs_in_everywhere(tmp_path: Path, in_thread: Any) -> None:
    """``--online`` has a line for each controller and sink; one that refuses makes the exit code 1."""
    async with Receiver() as receiver, Simulator("empty", auth=Auth()) as sim:
        good = {
            "url": sim.url,
            "auth": {"method": "access_code", "access_code": sim.sign_in.auth.access_code},
        }
        bad = {"url": sim.url, "auth": {"method": "access_code", "access_code": f"wrong-{SECRET}"}}
        sinks = {"hook": {"type": "webhook", "url": receiver.url}}
        setting = {"controllers": {"good": good}, "sinks": sinks, "routes": [{"sinks": ["hook"]}]}
        file = written(tmp_path, setting)
        code, out, _ = await in_thread("check", "--online", "--config", str(file))
        assert code == 0
        assert [line.split(":")[0] for line in out.splitlines()[1:]] == ["ok", "ok"]
        assert not receiver.requests

        receiver.probe_status = 401
        file = written(tmp_path, {**setting, "controllers": {"good": good, "bad": bad}})
        code, out, err = await in_thread("check", "--online", "--config", str(file))
        assert code == 1
        assert [" ".join(line.split()[:2]) for line in out.splitlines()[1:]] == [
            "ok: controllers.good:",
            "failed: controllers.bad:",
            "failed: sinks.hook:",
        ]
        assert SECRET not in out + err
