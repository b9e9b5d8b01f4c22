"""Jira Cloud's REST API v3 as documented.

Below https://developer.atlassian.com/cloud/jira/platform/rest/v3/:

- api-group-issues/: create (201), read, transitions (204), and refusals by field (400).
- api-group-issue-search/: ``/search/jql``, which is eventually consistent and returns only requested fields.
- api-group-issue-comments/ and api-group-issue-comment-properties/.
- api-group-permissions/: ``/mypermissions``.

https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/ says what an ADF document is;
https://jira.atlassian.com/browse/JRACLOUD-68949 that a text has 32,767 characters. A summary and a label
have 255, and a label no spaces.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cmc_notify.simulator.tickets.ticket_server import (
    Call,
    Refusal,
    Route,
    ServedTicket,
    ServiceResponse,
    TicketServer,
    units,
)

_SUMMARY, _LABEL, _TEXT = 255, 255, 32_767
_FIELDS = {"project", "issuetype", "summary", "description", "labels", "priority"}
_JQL = re.compile(r'project = "([A-Z0-9_]+)" AND labels = "([^"\\]+)" ORDER BY created DESC')
_BLOCKS = {"paragraph", "codeBlock", "heading", "rule", "bulletList", "panel"}


class JiraServer(TicketServer):
    """A site with one project. A search does not find the newest ``lag`` issues."""

    def __init__(self, *, authorization: str | None = None, project: str = "NET") -> None:
        super().__init__(authorization=authorization)
        self.project = project
        self.lag = 0
        self.can_reopen = True
        self.rights = {"BROWSE_PROJECTS", "CREATE_ISSUES", "ADD_COMMENTS", "TRANSITION_ISSUES"}
        self.comments: dict[str, tuple[str, dict[str, Any]]] = {}
        """By id: the issue's id, and the properties."""

    def routes(self) -> Sequence[Route]:
        """Return the routes that the preset uses."""
        issue = "/rest/api/3/issue"
        return [
            ("GET", "/rest/api/3/search/jql", "get search", self._search),
            ("GET", "/rest/api/3/mypermissions", "get rights", self._rights),
            ("POST", issue, "create", self._create),
            ("GET", issue + "/{id}", "get issue", self._issue),
            ("POST", issue + "/{id}/comment", "comment", self._comment),
            ("GET", issue + "/{id}/comment", "get comments", self._comments),
            ("GET", "/rest/api/3/comment/{id}/properties/{name}", "get property", self._property),
            ("GET", issue + "/{id}/transitions", "get transitions", self._transitions),
            ("POST", issue + "/{id}/transitions", "transition", self._transition),
        ]

    def unauthorized(self) -> Any:
        """Return a site's response to unknown credentials."""
        return {"errorMessages": ["You are not authenticated."], "errors": {}}

    def _search(self, call: Call) -> ServiceResponse:
        wanted = _JQL.fullmatch(call.request.query.get("jql", ""))
        if wanted is None:
            raise Refusal(400, {"errorMessages": ["Error in the JQL Query"], "errors": {}})
        known = self.tickets[: len(self.tickets) - self.lag]
        found = [each for each in known if wanted[1] == self.project and wanted[2] in each.fields["labels"]]
        return ServiceResponse(200, {"issues": [_shown(each, call) for each in found[::-1]], "isLast": True})

    def _rights(self, call: Call) -> ServiceResponse:
        if call.request.query.get("projectKey") != self.project:
            raise Refusal(404, {"errorMessages": ["No project could be found"], "errors": {}})
        asked = call.request.query["permissions"].split(",")
        return ServiceResponse(
            200, {"permissions": {n: {"key": n, "havePermission": n in self.rights} for n in asked}}
        )

    def _create(self, call: Call) -> ServiceResponse:
        document = call.document if isinstance(call.document, dict) else {}
        problems = dict(_issue_problems(document, self.project))
        if problems:
            raise Refusal(400, {"errorMessages": [], "errors": problems})
        fields = document["fields"]
        number = len(self.tickets) + 1
        key = next((each for each in fields["labels"] if ":" in each), "")
        text = f"{fields['summary']}\n{_plain(fields['description'])}"
        made = ServedTicket(str(10_000 + number), key, history=[("open", text)], fields=dict(fields))
        made.fields |= {"key": f"{self.project}-{number}", "properties": _properties(document)}
        self.tickets.append(made)
        return ServiceResponse(
            201, {"id": made.id, "key": made.fields["key"], "self": f"{self.url}/rest/api/3/issue/{made.id}"}
        )

    def _issue(self, call: Call) -> ServiceResponse:
        return ServiceResponse(200, _shown(self._by_id(call), call))

    def _comment(self, call: Call) -> ServiceResponse:
        ticket = self._by_id(call)
        body = call.document.get("body") if isinstance(call.document, dict) else None
        if problems := list(_adf_problems(body)):
            raise Refusal(400, {"errorMessages": [], "errors": {"comment": problems[0]}})
        made = str(len(self.comments) + 1)
        self.comments[made] = (ticket.id, _properties(call.document))
        ticket.history.append(("update", _plain(body)))
        return ServiceResponse(201, {"id": made, "body": body})

    def _comments(self, call: Call) -> ServiceResponse:
        ticket = self._by_id(call)
        held = [{"id": made} for made, (issue, _) in self.comments.items() if issue == ticket.id]
        newest = held[::-1] if call.request.query.get("orderBy") == "-created" else held
        return ServiceResponse(200, {"comments": newest[: int(call.request.query.get("maxResults", "5000"))]})

    def _property(self, call: Call) -> ServiceResponse:
        _, properties = self.comments.get(call.request.match_info["id"], ("", {}))
        name = call.request.match_info["name"]
        if name not in properties:
            raise Refusal(
                404, {"errorMessages": ["Property with the specified key doesn't exist"], "errors": {}}
            )
        return ServiceResponse(200, {"key": name, "value": properties[name]})

    def _transitions(self, call: Call) -> ServiceResponse:
        return ServiceResponse(200, {"transitions": self._ways(self._by_id(call))})

    def _ways(self, ticket: ServedTicket) -> list[dict[str, Any]]:
        names: tuple[tuple[str, str, str], ...]
        if ticket.open:
            names = (("21", "In Progress", "indeterminate"), ("31", "Done", "done"))
        else:
            names = (("41", "Reopen", "new"),) if self.can_reopen else ()
        return [{"id": i, "name": n, "to": {"name": n, "statusCategory": {"key": c}}} for i, n, c in names]

    def _transition(self, call: Call) -> ServiceResponse:
        ticket = self._by_id(call)
        document = call.document if isinstance(call.document, dict) else {}
        wanted = (document.get("transition") or {}).get("id")
        ways = {each["id"]: each for each in self._ways(ticket)}
        if wanted not in ways:
            problem = "It is not on the appropriate screen, or unknown: transition"
            raise Refusal(400, {"errorMessages": [problem], "errors": {}})
        done = ways[wanted]["to"]["statusCategory"]["key"] == "done"
        if done == ticket.open:
            ticket.history.append(("resolve" if done else "reopen", ""))
        ticket.open = not done
        return ServiceResponse(204)

    def _by_id(self, call: Call) -> ServedTicket:
        wanted = call.request.match_info["id"]
        for ticket in self.tickets:
            if wanted in (ticket.id, ticket.fields["key"]):
                return ticket
        problem = "Issue does not exist or you do not have permission to see it."
        raise Refusal(404, {"errorMessages": [problem], "errors": {}})


def _shown(ticket: ServedTicket, call: Call) -> dict[str, Any]:
    """Return only the requested fields."""
    shown: dict[str, Any] = {"id": ticket.id, "key": ticket.fields["key"]}
    if "status" in call.request.query.get("fields", "").split(","):
        category = "indeterminate" if ticket.open else "done"
        shown["fields"] = {"status": {"name": "Done", "statusCategory": {"key": category}}}
    if asked := call.request.query.get("properties"):
        held = ticket.fields["properties"]
        shown["properties"] = {name: held[name] for name in asked.split(",") if name in held}
    return shown


def _properties(document: Mapping[str, Any]) -> dict[str, Any]:
    return {each["key"]: each["value"] for each in document.get("properties", ())}


def _issue_problems(document: Mapping[str, Any], project: str) -> Iterator[tuple[str, str]]:
    yield from (
        (name, "is not part of an issue") for name in document.keys() - {"fields", "properties", "update"}
    )
    fields = document.get("fields")
    if not isinstance(fields, dict):
        yield "fields", "is required"
        return
    for name in fields.keys() - _FIELDS:
        if not name.startswith("customfield_"):
            yield name, f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
    if fields.get("project", {}).get("key") != project:
        yield "project", "valid project is required"
    if not fields.get("issuetype", {}).get("name"):
        yield "issuetype", "Specify an issue type"
    for label in fields.get("labels", ()):
        if not isinstance(label, str) or not label or " " in label or units(label) > _LABEL:
            yield "labels", f"The label '{label}' contains spaces or is too long."
    yield from (("summary", problem) for problem in _summary_problems(fields.get("summary")))
    yield from (("description", problem) for problem in _adf_problems(fields.get("description")))


def _summary_problems(summary: Any) -> Iterator[str]:
    if not isinstance(summary, str) or not summary.strip():
        yield "You must specify a summary of the issue."
    elif units(summary) > _SUMMARY:
        yield f"Summary must be less than {_SUMMARY} characters."
    elif "\n" in summary or "\r" in summary:
        yield "The summary is invalid because it contains newline characters."


def _adf_problems(document: Any) -> Iterator[str]:
    if not isinstance(document, dict) or document.get("type") != "doc" or document.get("version") != 1:
        yield "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
        return
    if units(json.dumps(document, ensure_ascii=False, separators=(",", ":"))) > _TEXT:
        yield f"The entered text is too long. It exceeds the allowed limit of {_TEXT:,} characters."
    for block in document.get("content", ()):
        if not isinstance(block, dict) or block.get("type") not in _BLOCKS:
            yield "INVALID_INPUT: unknown block"
            continue
        for node in block.get("content", ()):
            if node.get("type") == "text" and not node.get("text"):
                yield "INVALID_INPUT: a text node must not be empty"
            elif node.get("type") not in ("text", "hardBreak"):
                yield "INVALID_INPUT: unknown inline node"


def _plain(document: Any) -> str:
    blocks = document.get("content", ()) if isinstance(document, dict) else ()
    return "\n\n".join(
        "".join("\n" if node["type"] == "hardBreak" else node["text"] for node in block.get("content", ()))
        for block in blocks
    )
