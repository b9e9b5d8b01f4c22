"""A mail as a page and as plain text, for the preview: nothing in it is fetched or executed.

Guarantee: every header and text is escaped. The mail's HTML is in a frame that runs nothing, and the page's
policy allows neither of them to fetch anything.
"""

import html
from collections.abc import Iterator
from email import message_from_string, policy
from email.message import EmailMessage

SUFFIX = ".eml"
_SHOWN = ("From", "To", "Cc", "Reply-To", "Date")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:light dark;--page:#fff;--ink:#1f1f1f;--dim:#5f6368;--line:#dadce0;--chip:#f1f3f4}
@media(prefers-color-scheme:dark){:root{--page:#1b1b1f;--ink:#e3e3e3;--dim:#a8adb3;--line:#44474d;--chip:#2a2c31}}
body{margin:0;background:var(--page);color:var(--ink);font:14px/20px -apple-system,"Segoe UI",Roboto,Arial,sans-serif}
header,.files,details{padding:12px 16px;overflow-wrap:anywhere}
h1{font-size:18px;line-height:25px;margin:0 0 8px;font-weight:600}
dl{display:grid;grid-template-columns:max-content 1fr;gap:0 12px;margin:0}dt{color:var(--dim)}dd{margin:0}
iframe{display:block;width:100%;height:85vh;border:0;border-top:1px solid var(--line);border-bottom:1px solid var(--line)}
.file{display:inline-block;background:var(--chip);border:1px solid var(--line);border-radius:8px;padding:4px 12px;margin:0 8px 4px 0}
.file small{color:var(--dim)}pre{white-space:pre-wrap;overflow-wrap:anywhere;font:13px/19px ui-monospace,Menlo,Consolas,monospace}
"""  # noqa: E501  one rule is one line


def mail_page(content: str) -> str:
    """Return a page that shows the mail; ``content`` is the mail as it is sent."""
    mail = message_from_string(content, policy=policy.default)
    facts = "".join(
        f"<dt>{name}</dt><dd>{html.escape(str(mail[name]))}</dd>" for name in _SHOWN if mail[name]
    )
    files = "".join(
        f'<span class="file">{html.escape(name)} <small>{size}</small></span>'
        for name, size in _attachments(mail)
    )
    subject = html.escape(str(mail["Subject"]))
    return (
        '<!doctype html><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{subject}</title><style>{_STYLE}</style>'
        f"<header><h1>{subject}</h1><dl>{facts}</dl></header>"
        f'<iframe sandbox title="mail" srcdoc="{html.escape(_part(mail, "html"))}"></iframe>'
        + (f'<div class="files">{files}</div>' if files else "")
        + "<details><summary>The same as plain text</summary>"
        f"<pre>{html.escape(_part(mail, 'plain'))}</pre></details>\n"
    )


def mail_text(content: str) -> str:
    """Return the mail for a terminal: the headers that readers see, the text, and the attachments."""
    mail = message_from_string(content, policy=policy.default)
    return "\n".join(_lines(mail))


def _lines(mail: EmailMessage) -> Iterator[str]:
    subject = str(mail["Subject"])
    yield from (subject, "═" * min(len(subject), 72))
    for name in _SHOWN:
        if mail[name]:
            yield f"{name + ':':<10}{mail[name]}"
    yield ""
    yield _part(mail, "plain").rstrip("\n")
    files = [f"{name} ({size})" for name, size in _attachments(mail)]
    if files:
        yield from ("", f"Attached: {', '.join(files)}")


def _part(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else ""


def _attachments(mail: EmailMessage) -> Iterator[tuple[str, str]]:
    """Yield name and size of each attachment."""
    for part in mail.iter_attachments():
        content = part.get_payload(decode=True)
        size = len(content) if isinstance(content, bytes) else 0
        yield str(part.get_filename()), f"{max(size, 1000) / 1000:,.0f} KB"
