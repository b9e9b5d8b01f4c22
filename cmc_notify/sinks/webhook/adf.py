"""Plain text as an Atlassian Document Format document: paragraphs, line breaks, and one link of ours.

Nothing in the text is markup there: no mention, link or macro comes from it.
https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/
"""

from typing import Any

import msgspec

from cmc_notify.sinks.shortening import utf16

_LONGEST_LINK = 1000


def document(text: str, link: str | None = None) -> dict[str, Any]:
    """The document; ``link`` stands in a paragraph of its own at its end."""
    paragraphs = [_paragraph(part) for part in text.strip("\n").split("\n\n")]
    if link and len(link) <= _LONGEST_LINK:
        mark = {"type": "link", "attrs": {"href": link}}
        paragraphs.append(
            {"type": "paragraph", "content": [{"type": "text", "text": "All details", "marks": [mark]}]}
        )
    return {"type": "doc", "version": 1, "content": paragraphs}


def size(text: str) -> int:
    """UTF-16 units of the whole document without a link: the strictest reading of Jira's limit."""
    return utf16(msgspec.json.encode(document(text)).decode())


def _paragraph(text: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    for line in text.split("\n"):
        if content:
            content.append({"type": "hardBreak"})
        if line:  # a text node must not be empty
            content.append({"type": "text", "text": line})
    while content and content[0]["type"] == "hardBreak":
        del content[0]
    return {"type": "paragraph", "content": content}
