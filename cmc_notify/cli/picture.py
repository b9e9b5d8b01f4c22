"""How a Slack message looks, as HTML and as plain text: nothing of it is fetched or executed.

Guarantee: every text is escaped; no script, link target or image comes from a message but ``http(s)`` links.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_STYLE = """
body{margin:0;padding:16px;background:#fff;color:#1d1c1d;font:15px/1.47 Lato,"Segoe UI",Arial,sans-serif}
.message{max-width:720px;margin:0 0 24px;padding:12px 16px;border:1px solid #ddd;border-radius:8px}
.who{font-weight:900}.app{font-size:10px;background:#ddd;border-radius:2px;padding:1px 3px;margin-left:4px}
h2{font-size:18px;margin:8px 0}.section,.context{margin:8px 0;overflow-wrap:anywhere;white-space:pre-wrap}
.context{font-size:13px;color:#616061}hr{border:0;border-top:1px solid #ddd}
pre{background:#f8f8f8;border:1px solid #ddd;border-radius:4px;padding:8px;white-space:pre-wrap;margin:4px 0}
code{background:#f8f8f8;border:1px solid #ddd;border-radius:3px;padding:0 3px;color:#e01e5a}
.fields{display:grid;grid-template-columns:1fr 1fr;gap:8px}.button{display:inline-block;border:1px solid #bbb;
border-radius:4px;padding:4px 12px;margin:4px 8px 4px 0;font-weight:700}.danger{background:#e01e5a;color:#fff}
.primary{background:#007a5a;color:#fff}.unknown{color:#616061;font-style:italic}
@media(prefers-color-scheme:dark){body{background:#1a1d21;color:#d1d2d3}pre,code{background:#222529}}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LINK = re.compile(r"&lt;(https?://[^|\s]*?)(?:\|(.*?))?&gt;")
_MARKS = (
    (re.compile(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])"), r"<strong>\1</strong>"),
    (re.compile(r"(?<![\w_])_([^_\n]+)_(?![\w_])"), r"<em>\1</em>"),
    (re.compile(r"(?<![\w~])~([^~\n]+)~(?![\w~])"), r"<s>\1</s>"),
)


def is_slack_message(document: str) -> bool:
    """Whether this is the JSON of a message with blocks."""
    try:
        found = json.loads(document)
    except ValueError:
        return False
    return isinstance(found, dict) and isinstance(found.get("blocks"), list)


def slack_page(document: str) -> str:
    """A whole page that shows the message. ``document`` is what ``is_slack_message`` takes."""
    blocks = "".join(_block(block) for block in json.loads(document)["blocks"])
    return (
        '<!doctype html><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width"><title>Slack</title>'
        f"<style>{_STYLE}</style>"
        '<div class="message"><span class="who">cmc-notify</span><span class="app">APP</span>'
        f"{blocks}</div>\n"
    )


def _block(block: Mapping[str, Any]) -> str:
    match block.get("type"):
        case "header":
            return f"<h2>{_plain(block.get('text'))}</h2>"
        case "divider":
            return "<hr>"
        case "section":
            fields = "".join(f"<div>{_text(each)}</div>" for each in block.get("fields", ()))
            body = f'<div class="section">{_text(block.get("text"))}</div>' if block.get("text") else ""
            return body + (f'<div class="fields">{fields}</div>' if fields else "")
        case "context":
            inside = " ".join(_text(each) for each in block.get("elements", ()))
            return f'<div class="context">{inside}</div>'
        case "actions":
            return f"<div>{''.join(_buttons(block))}</div>"
        case kind:
            return f'<div class="unknown">({html.escape(str(kind))})</div>'


def _buttons(block: Mapping[str, Any]) -> Iterator[str]:
    for each in block.get("elements", ()):
        style = each.get("style") if each.get("style") in ("primary", "danger") else ""
        yield f'<span class="button {style}">{_plain(each.get("text") or each.get("placeholder"))}</span>'


def _plain(text: Any) -> str:
    return html.escape(_inner(text))


def _inner(text: Any) -> str:
    return str(text.get("text", "")) if isinstance(text, dict) else ""


def _text(text: Any) -> str:
    if not isinstance(text, dict) or text.get("type") != "mrkdwn":
        return _plain(text)
    pieces = _inner(text).split("```")
    return "".join(
        f"<pre>{_escaped(piece).strip(chr(10))}</pre>" if place % 2 else _marked(piece.strip("\n"))
        for place, piece in enumerate(pieces)
    )


def _escaped(piece: str) -> str:
    """Slack's own escapes are undone first, so that each sign shows once."""
    return html.escape(html.unescape(piece))


def _marked(piece: str) -> str:
    found = html.escape(piece, quote=True).replace("&amp;lt;", "\ue000").replace("&amp;gt;", "\ue001")
    found = found.replace("&amp;amp;", "&amp;")
    found = _LINK.sub(lambda link: f'<a href="{link[1]}" rel="noreferrer">{link[2] or link[1]}</a>', found)
    parts = re.split(r"(<a [^>]*>|</a>)", found)
    for expression, put in _MARKS:
        parts = [part if part.startswith(("<a ", "</a")) else expression.sub(put, part) for part in parts]
    return "".join(parts).replace("\ue000", "&lt;").replace("\ue001", "&gt;")


def slack_text(document: str) -> str:
    """The message for a terminal: header, sections, code, remarks and buttons as text."""
    return "\n".join(line for block in json.loads(document)["blocks"] for line in _lines(block))


def _lines(block: Mapping[str, Any]) -> Iterator[str]:
    match block.get("type"):
        case "header":
            title = _inner(block.get("text"))
            yield from (title, "═" * min(len(title), 72))
        case "divider":
            yield "─" * 40
        case "section":
            for each in (block.get("text"), *block.get("fields", ())):
                yield from _shown(_inner(each))
        case "context":
            yield from (f"  · {html.unescape(_inner(each))}" for each in block.get("elements", ()))
        case "actions":
            texts = (
                _inner(each.get("text") or each.get("placeholder")) for each in block.get("elements", ())
            )
            yield " ".join(f"[ {text} ]" for text in texts)
        case kind:
            yield f"({kind})"


def _shown(text: str) -> Iterator[str]:
    for place, piece in enumerate(text.split("```")):
        for line in html.unescape(piece).strip("\n").split("\n"):
            if line or place % 2:
                yield f"  │ {line}" if place % 2 else line
