"""Plain text as an Atlassian Document Format document: paragraphs, line breaks, and one link.

Nothing in the text is markup there: no mention, link or macro comes from it.
https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/
"""

from typing import Any

import msgspec

from cmc_notify.sinks.shorter_text import utf16_length

_LONGEST_LINK = 1000


def document(text: str, link: str | None = None) -> dict[str, Any]:
    """Return the document. The last occurrence of ``link``, a URL of the bridge, becomes a link."""
    lines = text.strip("\n").split("\n")
    linked = [place for place, line in enumerate(lines) if link and link in line]
    paragraphs: list[dict[str, Any]] = [_paragraph()]
    blank = 0
    for place, line in enumerate(lines):
        if not line:  # a text node must not be empty
            blank += 1
            continue
        if blank == 1:
            paragraphs.append(_paragraph())
        content = paragraphs[-1]["content"]
        if blank > 1:  # paragraphs would fold them into one
            content += [{"type": "hardBreak"}] * blank
        blank = 0
        if content:
            content.append({"type": "hardBreak"})
        if link and linked[-1:] == [place] and len(link) <= _LONGEST_LINK:
            content += _with_link(line, link)
        else:
            content.append({"type": "text", "text": line})
    return {"type": "doc", "version": 1, "content": paragraphs}


def size(text: str) -> int:
    """Return the document's UTF-16 units without a link, the strictest reading of Jira's limit."""
    return utf16_length(msgspec.json.encode(document(text)).decode())


def _paragraph() -> dict[str, Any]:
    return {"type": "paragraph", "content": []}


def _with_link(line: str, link: str) -> list[dict[str, Any]]:
    before, _, after = line.rpartition(link)
    mark = {"type": "link", "attrs": {"href": link}}
    nodes: list[dict[str, Any]] = [
        {"type": "text", "text": before},
        {"type": "text", "text": link, "marks": [mark]},
        {"type": "text", "text": after},
    ]
    return [node for node in nodes if node["text"]]
