"""Templates of the pages for people: outside text is escaped, and hidden characters are shown.

Both are applied to every ``{{ … }}`` automatically, so that no template can forget it. The policy allows one
style, by its digest; scripts, images, frames and requests to other hosts are all refused.
"""

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, tzinfo
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from cmc_notify.core.events import rfc3339
from cmc_notify.core.text import visible
from cmc_notify.rendering.filters import address, duration
from cmc_notify.web.documents import no_sink_reason

_PIECES_PER_CHUNK = 512
"""Template pieces per chunk: some tens of kilobytes, a millisecond or two of work."""

_AGES = ((86400, "day", "days"), (3600, "hour", "hours"), (60, "minute", "minutes"))


class Templates:
    """The pages of ``cmc_notify/web/pages``; ``timezone`` is called for each time that is shown."""

    def __init__(self, timezone: Callable[[], tzinfo]) -> None:
        self._timezone = timezone
        style = (files("cmc_notify.web") / "pages" / "style.css").read_text(encoding="utf-8")
        digest = b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.policy = (
            f"default-src 'none'; style-src 'sha256-{digest}';"
            " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        )
        """The Content-Security-Policy of every page."""
        self._environment = Environment(
            loader=PackageLoader("cmc_notify.web", "pages"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_visible_text,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["style"] = Markup(style)  # noqa: S704  our own file
        self._environment.filters.update(
            moment=self._moment,
            ago=ago,
            brief=brief,
            address=address,
            duration=duration,
            no_sink_reason=no_sink_reason,
        )

    def render(self, name: str, **context: object) -> Iterator[bytes]:
        """Yield the page in chunks of UTF-8, each made when it is needed."""
        stream = self._environment.get_template(name).stream(**context)
        stream.enable_buffering(_PIECES_PER_CHUNK)
        for chunk in stream:
            yield chunk.encode("utf-8", "replace")

    def _moment(self, value: float | str | None, unknown: str = "unknown") -> Markup:
        """Return a time (Unix seconds or RFC 3339) in the configured timezone; ``unknown`` for None."""
        exact = rfc3339(value) if isinstance(value, int | float) else value
        try:
            when = datetime.fromisoformat(exact or "")
        except ValueError:
            return escape(_visible_text(exact or unknown))
        local = when.replace(tzinfo=when.tzinfo or UTC).astimezone(self._timezone())
        return Markup('<time datetime="{}">{}</time>').format(exact, f"{local:%Y-%m-%d %H:%M:%S %Z}")


def _visible_text(value: object) -> object:
    """Return markup unchanged, text with its hidden characters shown, and nothing for None."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def ago(seconds: float) -> str:
    """Return how long ago it was, in the largest unit; a future time is ``just now`` (clocks differ)."""
    for size, one, many in _AGES:
        if (number := int(seconds // size)) >= 1:
            return f"{number} {one if number == 1 else many} ago"
    return f"{int(seconds)} s ago" if seconds >= 1 else "just now"


def brief(text: str, most: int = 160) -> str:
    """Return the beginning of a text on one line; an ellipsis marks a cut."""
    line = " ".join(text[: most * 4].split())
    return line if len(line) <= most and len(text) <= most * 4 else f"{line[:most].rstrip()}…"
