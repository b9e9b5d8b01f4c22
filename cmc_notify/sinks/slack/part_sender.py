"""Parts of one message on their way to Slack.

Guarantee: a part that was accepted is not sent again. It is recorded as soon as Slack has answered; after a
lost response it is looked for first, and where that is not possible it is sent again, marked as a possible
repeat.
"""

from collections.abc import Awaitable, Callable

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, Unclear
from cmc_notify.ports import Message, PartRecorder, Posting
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.composer import File
from cmc_notify.sinks.slack.error_codes import SlackCallFailed
from cmc_notify.sinks.slack.layout import remark
from cmc_notify.sinks.slack.limits import Payload, violations
from cmc_notify.sinks.slack.lookup import Lookup, NotFound, channel_id, metadata

MESSAGE = "message"
"""The part that stands in the channel; the others are in its thread: ``thread``, ``file:1``, ``reply:1``."""
REPEAT = (
    "This may be a repeat: the response to an earlier attempt was lost, and looking for it was not possible."
)


class PartSender:
    """One attempt at the parts of one message, in their order. Every method raises SlackCallFailed."""

    def __init__(
        self,
        client: SlackClient,
        channel: str,
        known_id: str | None,
        message: Message,
        record: PartRecorder,
    ) -> None:
        """``channel`` is what the config calls it, ``known_id`` its id as far as it is known."""
        self._client = client
        self._channel = channel
        self._known_id = known_id
        self._message = message
        self._record = record
        self._lookup = Lookup(client, message.key, message.event.time)
        self.in_doubt = message.unclear
        """Whether the next part may have arrived. Parts go out one after the other, so that only the first
        one missing can be the unclear one.
        """

    async def post(self, payload: Payload, posting: Callable[[str], Posting] | None = None) -> str:
        """A message in the channel; ``posting`` makes of its receipt what is to be remembered."""
        return await self._part(
            MESSAGE,
            self._find_message,
            lambda repeat: self._post(payload, MESSAGE, self._channel, None, repeat=repeat),
            posting,
        )

    async def update(self, receipt: str, payload: Payload) -> None:
        """Make the message of that receipt this one. To do it twice changes nothing, so a doubt ends here.

        What it was posted with to be found by stays, since no other metadata are given.
        """
        channel, _, ts = receipt.partition(":")
        await self._client.call(
            "chat.update", changes=True, channel=channel, ts=ts, parse="none", **_within_limits(payload)
        )
        self.in_doubt = False
        await self._record(MESSAGE, receipt)

    async def reply(self, part: str, payload: Payload, parent: str, *, broadcast: bool = False) -> None:
        """A reply in the thread of the receipt ``parent``; ``broadcast`` shows it in the channel, too."""
        channel, _, thread = parent.partition(":")
        await self._part(
            part,
            lambda: self._lookup.reply(channel, thread, part),
            lambda repeat: self._post(payload, part, channel, thread, repeat=repeat, broadcast=broadcast),
        )

    async def file(self, part: str, file: File, parent: str) -> None:
        """A file in the thread of the receipt ``parent``."""
        channel, _, thread = parent.partition(":")
        await self._part(
            part,
            lambda: self._lookup.file(channel, thread, file.mark),
            lambda repeat: self._share(file, channel, thread, repeat=repeat),
        )

    async def _part(
        self,
        name: str,
        find: Callable[[], Awaitable[str | NotFound]],
        send: Callable[[bool], Awaitable[str]],
        posting: Callable[[str], Posting] | None = None,
    ) -> str:
        """The part's receipt: found now, or sent now. Callers leave out what was recorded before."""
        found: str | NotFound = await find() if self.in_doubt else NotFound.ABSENT
        if found is not NotFound.UNKNOWN:
            self.in_doubt = False
        receipt = found if isinstance(found, str) else await send(found is NotFound.UNKNOWN)
        self.in_doubt = False
        await self._record(name, receipt, posting=posting(receipt) if posting else None)
        return receipt

    async def _find_message(self) -> str | NotFound:
        channel = self._known_id or await channel_id(self._client, self._channel)
        return await self._lookup.message(channel, MESSAGE)

    async def _post(
        self,
        payload: Payload,
        part: str,
        channel: str,
        thread: str | None,
        *,
        repeat: bool,
        broadcast: bool = False,
    ) -> str:
        response = await self._client.call(
            "chat.postMessage",
            changes=True,
            channel=channel,
            thread_ts=thread,
            reply_broadcast=broadcast or None,
            metadata=metadata(self._message.key, part),
            unfurl_links=False,
            unfurl_media=False,
            **_within_limits(payload, REPEAT if repeat else None),
        )
        where, ts = response.data.get("channel"), response.data.get("ts")
        if not isinstance(where, str) or not isinstance(ts, str):
            raise SlackCallFailed(Unclear("chat.postMessage: the response names no channel and ts"))
        return f"{where}:{ts}"

    async def _share(self, file: File, channel: str, thread: str, *, repeat: bool) -> str:
        """Upload and show in the thread; until the last call nobody sees anything."""
        ticket = await self._client.call(
            "files.getUploadURLExternal", filename=file.name, length=len(file.content)
        )
        url, file_id = ticket.data.get("upload_url"), ticket.data.get("file_id")
        if not isinstance(url, str) or not isinstance(file_id, str):
            raise SlackCallFailed(RetryLater("files.getUploadURLExternal: the response names no address"))
        # The list never goes in clear where all else goes by TLS, whatever Slack says.
        allowed = (
            ("https://",) if self._client.settings.api_url.startswith("https://") else ("https://", "http://")
        )
        if not url.startswith(allowed):
            wanted = allowed[0].removesuffix("://")
            raise SlackCallFailed(
                Blocked(f"files.getUploadURLExternal: the response's address is not {wanted}")
            )
        await self._client.upload(url, file.content)
        title = f"(possible repeat) {file.title}" if repeat else file.title
        await self._client.call(
            "files.completeUploadExternal",
            changes=True,
            files=[{"id": file_id, "title": title}],
            channel_id=channel,
            thread_ts=thread,
        )
        return file_id


def _within_limits(payload: Payload, notice: str | None = None) -> Payload:
    """Text and blocks, always both: an update with a text alone would take the blocks away."""
    blocks = [*payload["blocks"], remark(notice)] if notice else payload["blocks"]
    body = {"text": payload["text"], "blocks": blocks}
    if problems := violations(body):
        raise SlackCallFailed(Rejected(f"the message breaks Slack's limits: {'; '.join(problems)}"))
    return body
