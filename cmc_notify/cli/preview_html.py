"""Slack messages as HTML and as plain text, for the preview: nothing in them is fetched or executed.

Guarantee: every text is escaped; a message adds no script, image or link, except ``http(s)`` links.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cmc_notify.ports import PreviewDocument

_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1d1c1d;--dim:#616061;--line:#ddd;--code:#f8f8f8;--red:#e01e5a;
--link:#1264a3;--badge:#e8e8e8;--green:#007a5a}
@media(prefers-color-scheme:dark){:root{--page:#1a1d21;--ink:#d1d2d3;--dim:#ababad;--line:#414347;--code:#222529;
--red:#e8912d;--link:#1d9bd1;--badge:#35373b;--green:#148567}}
body{margin:0;padding:16px;background:var(--page);color:var(--ink);font:15px/22px Lato,"Segoe UI",Arial,sans-serif}
.message,.file{max-width:680px;overflow-wrap:anywhere}.message{display:grid;grid-template-columns:36px 1fr;gap:0 8px;margin:0 0 16px}
.face{width:36px;height:36px;border-radius:6px;background:#4a154b;color:#fff;font-weight:900;text-align:center;line-height:36px}
.who{font-weight:900}.app{font-size:10px;background:var(--badge);color:var(--dim);border-radius:2px;padding:1px 3px;margin-left:4px}
.thread{max-width:624px;margin:0 0 16px 44px;padding-left:12px;border-left:2px solid var(--line)}.replies{color:var(--link);font-size:13px;font-weight:700;margin:0 0 8px}
h2{font-size:18px;line-height:24px;margin:4px 0}.section,.context{margin:4px 0;white-space:pre-wrap}
.context{font-size:13px;line-height:18px;color:var(--dim)}hr{border:0;border-top:1px solid var(--line);margin:8px 0}
pre{background:var(--code);border:1px solid var(--line);border-radius:4px;padding:8px;white-space:pre-wrap;margin:4px 0;font:12px/18px Monaco,Menlo,Consolas,monospace}
code{background:var(--code);border:1px solid var(--line);border-radius:3px;padding:0 3px;color:var(--red);font:12px/18px Monaco,Menlo,Consolas,monospace}
a,.mention{color:var(--link);text-decoration:none}.mention{background:color-mix(in srgb,var(--link) 12%,transparent);border-radius:3px;padding:0 2px}
.quote{display:block;border-left:4px solid var(--line);padding-left:8px}
.split{display:flex;gap:12px;justify-content:space-between;align-items:flex-start}
.fields{display:grid;grid-template-columns:1fr 1fr;gap:4px 8px}
.button,.select{display:inline-block;border:1px solid var(--line);border-radius:4px;padding:3px 12px;margin:4px 8px 4px 0;font-size:13px;font-weight:700;white-space:nowrap}
.select::after{content:" ▾"}.danger{color:#fff;background:#e01e5a;border-color:#e01e5a}.primary{color:#fff;background:var(--green);border-color:var(--green)}
.file{border:1px solid var(--line);border-radius:8px;padding:8px 12px;margin:0 0 8px}.file pre{max-height:220px;overflow:auto}
.file small,.unknown{color:var(--dim)}.unknown{font-style:italic}
"""  # noqa: E501  one rule is one line
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_LINK = re.compile(r"&lt;(https?://[^|\s]*?)(?:\|(.*?))?&gt;")
_MENTION = re.compile(r"&lt;([!@#][^|&\s][^|]*?)(?:\|(.*?))?&gt;")
_QUOTE = re.compile(r"^&gt; ?(.*)$\n?", re.MULTILINE)
_CODE = re.compile(r"(?<![\w`])`([^`\n]+)`(?![\w`])")
_KEPT = re.compile(r"(<a [^>]*>|</a>|<code>.*?</code>|<span [^>]*>|</span>)")
_MARKS = (
    (re.compile(r"(?<![\w*])\*([^*\n]+)\*(?![\w*])"), r"<strong>\1</strong>"),
    (re.compile(r"(?<![\w_])_([^_\n]+)_(?![\w_])"), r"<em>\1</em>"),
    (re.compile(r"(?<![\w~])~([^~\n]+)~(?![\w~])"), r"<s>\1</s>"),
)
_FIRST_OF_FILE = 4000
"""Characters of a file that Slack shows before it is opened (approximately)."""


def is_slack_message(document: str) -> bool:
    """Return True if this is the JSON of a message with blocks."""
    try:
        found = json.loads(document)
    except ValueError:
        return False
    return isinstance(found, dict) and isinstance(found.get("blocks"), list)


def slack_page(*documents: PreviewDocument) -> str:
    """Return a page with the message, the messages that continue it, and its thread with replies and files.

    Documents that Slack would not show are left out.
    """
    above: list[str] = []
    thread: list[str] = []
    for document in documents:
        if is_slack_message(document.text):
            blocks = json.loads(document.text)["blocks"]
            (thread if _in_thread(document.name) else above).append(_message(blocks))
        elif document.name.endswith((".txt", ".csv")):
            thread.append(_file(document))
    replies = f"{len(thread)} {'reply' if len(thread) == 1 else 'replies'}"
    below = f'<div class="thread"><div class="replies">{replies}</div>{"".join(thread)}</div>'
    return (
        '<!doctype html><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width"><title>Slack</title>'
        f"<style>{_STYLE}</style>{''.join(above)}{below if thread else ''}\n"
    )


def _in_thread(name: str) -> bool:
    return name.startswith(("thread", "reply"))


def _message(blocks: Iterable[Mapping[str, Any]]) -> str:
    return (
        '<div class="message"><div class="face">C</div><div>'
        '<span class="who">cmc-notify</span><span class="app">APP</span>'
        f"{''.join(map(_block, blocks))}</div></div>"
    )


def _file(document: PreviewDocument) -> str:
    shown = html.escape(document.text[:_FIRST_OF_FILE])
    size = f"{len(document.text.encode('utf-8', 'replace')) / 1000:,.1f} KB"
    return f'<div class="file">{html.escape(document.name)} <small>{size}</small><pre>{shown}</pre></div>'


def _block(block: Mapping[str, Any]) -> str:
    match block.get("type"):
        case "header":
            return f"<h2>{_plain(block.get('text'))}</h2>"
        case "divider":
            return "<hr>"
        case "section":
            return _section(block)
        case "context":
            inside = " ".join(_text(each) for each in block.get("elements", ()))
            return f'<div class="context">{inside}</div>'
        case "actions":
            return f"<div>{''.join(map(_element, block.get('elements', ())))}</div>"
        case kind:
            return f'<div class="unknown">({html.escape(str(kind))})</div>'


def _section(block: Mapping[str, Any]) -> str:
    fields = "".join(f"<div>{_text(each)}</div>" for each in block.get("fields", ()))
    body = f'<div class="section">{_text(block.get("text"))}</div>' if block.get("text") else ""
    whole = body + (f'<div class="fields">{fields}</div>' if fields else "")
    beside = block.get("accessory")
    return f'<div class="split"><div>{whole}</div>{_element(beside)}</div>' if beside else whole


def _element(element: Mapping[str, Any]) -> str:
    """Return a button, or a menu with its options."""
    style = element.get("style") if element.get("style") in ("primary", "danger") else ""
    options = [each for each in element.get("options", ()) if isinstance(each, dict)]
    offered = html.escape(", ".join(_inner(each.get("text")) for each in options))
    kind = "select" if options else "button"
    label = _plain(element.get("text") or element.get("placeholder")) or "⋯"
    return f'<span class="{kind} {style}" title="{offered}">{label}</span>'


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
    """Return the text escaped for HTML; Slack's own escapes are removed first."""
    return html.escape(html.unescape(piece))


def _marked(piece: str) -> str:
    found = html.escape(piece, quote=True).replace("&amp;lt;", "\ue000").replace("&amp;gt;", "\ue001")
    found = found.replace("&amp;amp;", "&amp;")
    found = _LINK.sub(lambda link: f'<a href="{link[1]}" rel="noreferrer">{link[2] or link[1]}</a>', found)
    found = _MENTION.sub(lambda whom: f'<span class="mention">{whom[2] or whom[1]}</span>', found)
    found = _CODE.sub(r"<code>\1</code>", found)
    found = _QUOTE.sub(r'<span class="quote">\1</span>', found)
    parts = _KEPT.split(found)
    for expression, put in _MARKS:
        parts = [
            part if part.startswith(("<a ", "</", "<code", "<span")) else expression.sub(put, part)
            for part in parts
        ]
    return "".join(parts).replace("\ue000", "&lt;").replace("\ue001", "&gt;")


def slack_text(document: str) -> str:
    """Return the message for a terminal: header, sections, code, notes and buttons as text."""
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
            if block.get("accessory"):
                yield _labels([block["accessory"]])
        case "context":
            yield from (f"  · {_read(_inner(each))}" for each in block.get("elements", ()))
        case "actions":
            yield _labels(block.get("elements", ()))
        case kind:
            yield f"({kind})"


def _labels(elements: Iterable[Mapping[str, Any]]) -> str:
    """Return buttons as ``[ Acknowledge ]``, and menus with their options."""
    shown = []
    for each in elements:
        label = _inner(each.get("text") or each.get("placeholder")) or "⋯"
        options = [_inner(option.get("text")) for option in each.get("options", ())]
        shown.append(f"[ {label} ▾ {' | '.join(options)} ]" if options else f"[ {label} ]")
    return " ".join(shown)


def _read(text: str) -> str:
    """Return plain text: links as label and address, mentions as label, without markup and escapes."""
    text = re.sub(r"<(https?://[^|>\s]*)\|([^>]*)>", r"\2  \1", text)
    text = re.sub(r"<(https?://[^|>\s]*)>", r"\1", text)
    text = re.sub(r"<[!@#][^|>]*\|([^>]*)>", r"\1", text)
    for expression, _ in _MARKS:
        text = expression.sub(r"\1", text)
    return html.unescape(text)


def _shown(text: str) -> Iterator[str]:
    for place, piece in enumerate(text.split("```")):
        shown = html.unescape(piece) if place % 2 else _read(piece)
        for line in shown.strip("\n").split("\n"):
            if line or place % 2:
                yield f"  │ {line}" if place % 2 else line
