"""Jira Cloud, REST API v3: one issue for each label of the bridge, commented and moved.

Jira can't keep a key unique: the recorded issue is read first, else issues with the label are searched. The
search may lag, so after a lost response it is repeated before another issue is created. The property
``cmc-notify`` of an issue or a comment names the message that wrote it.
https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/
"""

from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

import msgspec
from pydantic import Field

from cmc_notify.core.outcome import Blocked, Rejected, SendOutcome, Sent
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.settings.base import Part
from cmc_notify.sinks.webhook import adf
from cmc_notify.sinks.webhook.preset import Limits, MessageContent, Preset
from cmc_notify.sinks.webhook.settings import PresetSettings
from cmc_notify.sinks.webhook.ticket import TicketSettings, probe_outcome
from cmc_notify.sinks.webhook.ticket_key import ticket_key
from cmc_notify.sinks.webhook.ticket_lookup import (
    EndSend,
    ExistingTicket,
    LookupTicketSink,
    nested,
    objects,
    read_json,
    search_json,
    unreadable_response,
    write_json,
)
from cmc_notify.sinks.webhook.webhook_client import WebhookClient

API = "/rest/api/3"
_LABEL = 255
_PROPERTY = "cmc-notify"
_COMMENT = "comment"
"""The part for the comment of a closing message; the transition is still missing."""
_RIGHTS = ("BROWSE_PROJECTS", "CREATE_ISSUES", "ADD_COMMENTS", "TRANSITION_ISSUES")
_RECENT = 5
"""Comments that are searched for one that may have arrived."""

Label = Annotated[str, Field(pattern=r"^[^\s\"\\]{1,100}$")]


class JiraOptions(Part):
    """The options of ``preset: jira``."""

    project: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]+$")]
    """The project's key, such as ``NET``."""
    issue_type: Annotated[str, Field(min_length=1)] = "Task"
    priority: str | None = None
    labels: tuple[Label, ...] = ()
    label_prefix: Label = "cmc-notify"
    """The prefix of the label that finds an issue again. Bridges that share a project need different ones."""
    fields: dict[str, Any] = Field(default={})
    """More fields of the issue, in the API's format."""
    close_transition: str | None = None
    """The transition's name; without one, the first that leads to a status of the category "done"."""
    reopen_transition: str | None = None
    """The transition's name; without one, the first that leads to a status of another category."""
    resolution: str | None = None
    """Set with the closing transition, if its screen asks for one."""


class JiraSettings(TicketSettings):
    """``preset: jira``."""

    preset: Literal["jira"] = "jira"
    options: JiraOptions = Field()


class JiraSink(LookupTicketSink):
    """Creates, comments and moves issues."""

    folder = "jira"
    # 32,767 characters in all: https://jira.atlassian.com/browse/JRACLOUD-68949; the rest is for the link.
    limits = Limits(summary=255, text=30_000, measure=adf.size)
    search_lags = True

    def make_client(self, settings: PresetSettings) -> WebhookClient:
        """Return a client with basic authentication (address and API token) or bearer."""
        assert isinstance(settings, JiraSettings)
        self._options = settings.options
        return WebhookClient(settings, error_text=_error_text)

    def preview_response(self, method: str, url: str) -> Any:  # noqa: ARG002  the URL is enough
        """Return no issue for a search, a closing transition, or the sample issue."""
        if "/search/jql" in url:
            return {"issues": []}
        if url.endswith("/transitions"):
            done = {"id": "31", "name": "Done", "to": {"statusCategory": {"key": "done"}}}
            return {"transitions": [done]}
        working = {"statusCategory": {"key": "indeterminate"}}
        return {"id": "10042", "key": f"{self._options.project}-42", "fields": {"status": working}}

    async def read_recorded(self, posting: Posting, client: WebhookClient) -> ExistingTicket | None:
        """Read the issue by its id, which a moved issue keeps."""
        return self._ticket(await read_json(client, f"{self._issue(posting.reference)}?{_READ}"))

    async def find_by_key(self, message: Message, client: WebhookClient) -> ExistingTicket | None:
        """Find the issue by its label."""
        key = self._key(message)
        jql = f'project = "{self._options.project}" AND labels = "{key}" ORDER BY created DESC'
        asked = urlencode({"jql": jql, "maxResults": 50})
        response = await search_json(client, f"{self._api}/search/jql?{asked}&{_READ}")
        tickets = [ticket for entry in objects(nested(response, "issues")) if (ticket := self._ticket(entry))]
        return next((ticket for ticket in tickets if ticket.open), tickets[0] if tickets else None)

    async def create(
        self, message: Message, content: MessageContent, client: WebhookClient
    ) -> ExistingTicket:
        """Create an issue with the label."""
        options = self._options
        fields: dict[str, Any] = {
            **options.fields,
            "project": {"key": options.project},
            "issuetype": {"name": options.issue_type},
            "summary": content.summary,
            "description": adf.document(content.text, message.event.url),
            "labels": [*options.labels, self._key(message)],
        }
        if options.priority:
            fields["priority"] = {"name": options.priority}
        issue = {"fields": fields, "properties": _written(message)}
        response = await write_json(
            client, "POST", f"{self._api}/issue", content.body or issue, message_id=message.key
        )
        if not isinstance(response, dict) or not response.get("id") or not response.get("key"):
            raise unreadable_response("an issue was made")
        return self._named(response)

    async def add_note(
        self, ticket: ExistingTicket, message: Message, content: MessageContent, client: WebhookClient
    ) -> None:
        """Add a comment; after a lost response only if it is not there."""
        if message.unclear and await self._has_comment(ticket, message, client):
            return
        comment = {"body": adf.document(content.text, message.event.url), "properties": _written(message)}
        url = f"{self._issue(ticket.reference)}/comment"
        await write_json(client, "POST", url, comment, message_id=f"{message.key}-comment")

    async def reopen(
        self, ticket: ExistingTicket, message: Message, content: MessageContent, client: WebhookClient
    ) -> bool:
        """Reopen by a transition if the workflow has one, then comment why."""
        wanted = await self._transition(ticket, client, self._options.reopen_transition, done=False)
        if wanted is None:
            return False
        await self._move(ticket, message, client, {"transition": {"id": wanted}})
        await self.add_note(ticket, message, content, client)
        return True

    async def close_open_ticket(
        self,
        ticket: ExistingTicket,
        message: Message,
        content: MessageContent,
        client: WebhookClient,
        record: PartRecorder,
    ) -> None:
        """Add the recoveries as a comment, then close by a transition."""
        wanted = await self._transition(ticket, client, self._options.close_transition, done=True)
        if wanted is None:
            raise EndSend(
                Rejected(
                    f"{ticket.label}: no transition leads from its status to one that is done; "
                    f"name one in options.close_transition"
                )
            )
        if _COMMENT not in message.parts:
            await self.add_note(ticket, message, content, client)
            await record(_COMMENT, ticket.label, posting=ticket.posting(open_=True))
        document: dict[str, Any] = {"transition": {"id": wanted}}
        if self._options.resolution:
            document["fields"] = {"resolution": {"name": self._options.resolution}}
        await self._move(ticket, message, client, document)

    async def probe(self) -> SendOutcome:
        """Read the account's rights in the project."""
        asked = urlencode({"projectKey": self._options.project, "permissions": ",".join(_RIGHTS)}, safe=",")
        result = await self.client.request("GET", f"{self._api}/mypermissions?{asked}", read=True)
        if not isinstance(result.outcome, Sent):
            return result.outcome
        response = result.document
        rights = nested(response, "permissions")
        if missing := [name for name in _RIGHTS if not nested(rights, name, "havePermission")]:
            return Blocked(f"the account lacks {', '.join(missing)} in project {self._options.project}")
        return probe_outcome(result)

    @property
    def _api(self) -> str:
        return self.base.removesuffix(API) + API

    def _issue(self, reference: str) -> str:
        return f"{self._api}/issue/{quote(reference, safe='')}"

    def _key(self, message: Message) -> str:
        return ticket_key(message.subject, _LABEL, prefix=f"{self._options.label_prefix}:", unfit='"\\')

    async def _has_comment(self, ticket: ExistingTicket, message: Message, client: WebhookClient) -> bool:
        url = f"{self._issue(ticket.reference)}/comment?orderBy=-created&maxResults={_RECENT}"
        for comment in objects(nested(await read_json(client, url), "comments")):
            number = quote(str(comment.get("id")), safe="")
            held = await read_json(client, f"{self._api}/comment/{number}/properties/{_PROPERTY}")
            if nested(held, "value", "delivery") == message.key:
                return True
        return False

    async def _transition(
        self, ticket: ExistingTicket, client: WebhookClient, name: str | None, *, done: bool
    ) -> str | None:
        """Return the id of the transition of that name, or of the first one in the right direction."""
        response = await read_json(client, f"{self._issue(ticket.reference)}/transitions")
        for each in objects(nested(response, "transitions")):
            leads = nested(each, "to", "statusCategory", "key") == "done"
            if each.get("name") == name if name else leads == done:
                return str(each["id"])
        return None

    async def _move(
        self, ticket: ExistingTicket, message: Message, client: WebhookClient, document: dict[str, Any]
    ) -> None:
        url = f"{self._issue(ticket.reference)}/transitions"
        await write_json(client, "POST", url, document, message_id=f"{message.key}-transition")

    def _ticket(self, entry: Any) -> ExistingTicket | None:
        if not isinstance(entry, dict) or not entry.get("id") or not entry.get("key"):
            return None
        return self._named(entry)

    def _named(self, entry: dict[str, Any]) -> ExistingTicket:
        return ExistingTicket(
            reference=str(entry["id"]),
            label=str(entry["key"]),
            url=f"{self.base.removesuffix(API)}/browse/{entry['key']}",
            open=nested(entry, "fields", "status", "statusCategory", "key") != "done",
            written_by=nested(entry, "properties", _PROPERTY, "delivery"),
        )


_READ = urlencode({"fields": "status", "properties": _PROPERTY})


def _written(message: Message) -> list[dict[str, Any]]:
    return [{"key": _PROPERTY, "value": {"delivery": message.key}}]


def _error_text(text: str) -> str:
    """Return the words of ``{"errorMessages": […], "errors": {field: …}}``."""
    try:
        found = msgspec.json.decode(text)
        fields = [f"{name}: {what}" for name, what in (found.get("errors") or {}).items()]
        return "; ".join([*(found.get("errorMessages") or ()), *fields]) or text
    except (msgspec.DecodeError, TypeError, AttributeError):
        return text


PRESET = Preset(settings=JiraSettings, build=JiraSink)
