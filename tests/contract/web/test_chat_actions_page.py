"""Test the page of what people did from chat."""

from cmc_notify.core.events import (
    rfc3339,
)
from support.web_fakes import NOW, Client


async def test_what_people_did_from_chat(client: Client) -> None:
    """Every attempt with who it was, by which way, and what came of it."""
    async with client.get("/api/v1/actions?limit=5") as answer:
        assert answer.status == 200
        [action] = (await answer.json())["actions"]
    assert action == {
        "id": "a1",
        "time": rfc3339(NOW),
        "sink": "chat",
        "via": "socket",
        "address": None,
        "action": "cancel",
        "outcome": "refused",
        "who": "U0BERT",
        "name": "<b>Bert",
        "subject": "job:emea:42-1",
        "detail": None,
        "reply": "not allowed",
    }
    async with client.get("/api/v1/actions?who=U0BERT") as answer:
        assert answer.status == 400
