"""Plain text as an Atlassian document."""

from cmc_notify.sinks.webhook import adf

LINK = "https://bridge.example.net/events/1"


def test_lines_and_paragraphs() -> None:
    """A blank line parts paragraphs; line breaks stay, also many in a row; no text node is empty."""
    document = adf.document("\n\nfirst\nsecond\n\nthird\n\n\nfourth\n")
    text, end = {"type": "text"}, {"type": "hardBreak"}
    assert document["content"] == [
        {
            "type": "paragraph",
            "content": [text | {"text": "first"}, {"type": "hardBreak"}, text | {"text": "second"}],
        },
        {
            "type": "paragraph",
            "content": [text | {"text": "third"}, end, end, end, text | {"text": "fourth"}],
        },
    ]


def test_only_our_last_link_can_be_followed() -> None:
    """An address in an error text stays text, also where it is ours."""
    document = adf.document(f"see {LINK} or https://evil.example\n\nAll details: {LINK}.", LINK)
    nodes = [node for block in document["content"] for node in block["content"]]
    assert [node["text"] for node in nodes if "marks" in node] == [LINK]
    assert [node["text"] for node in nodes][-3:] == ["All details: ", LINK, "."]
    assert "".join(node["text"] for node in nodes[:1]) == f"see {LINK} or https://evil.example"


def test_nothing_and_a_very_long_link() -> None:
    """An empty text is an empty paragraph; a link that would burst the limit stays text."""
    assert adf.document("")["content"] == [{"type": "paragraph", "content": []}]
    long = LINK + "x" * 1000
    assert "marks" not in adf.document(long, long)["content"][0]["content"][0]
    assert adf.size("\U0001f600") - adf.size("a") == 1
