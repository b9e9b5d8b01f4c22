"""Sending of one message's parts to Slack.

Guarantee: an accepted part is not sent again. It is recorded as soon as Slack has responded. After a lost
response it is looked for first; if that is not possible it is sent again, marked as a possible repeat.
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
"""The part in the channel; the others are in its thread: ``thread``, ``file:1``, ``reply:1``."""
REPEAT = (
    "This may be a repeat: the response to an earlier attempt was lost, and looking for it was not possible."
)


class PartSender:
    """One attempt at the parts of one message, in order. Every method raises SlackCallFailed."""

    def __init__(
        self,
        client: SlackClient,
        channel: str,
        known_id: str | None,
        message: Message,
        record: PartRecorder,
    ) -> None:
        """``channel`` is its name in the config, ``known_id`` its id if known."""
        self._client = client
        self._channel = channel
        self._known_id = known_id
        self._message = message
        self._record = record
        self._lookup = Lookup(client, message.key, message.event.time)
        self.in_doubt = message.unclear
        """True if the next part may have arrived.

        Parts are sent one after the other, so only the first missing one can be unclear.
        """

    async def post(self, payload: Payload, posting: Callable[[str], Posting] | None = None) -> str:
        """Post a message in the channel; ``posting`` makes the record from its receipt."""
        return await self._part(
            MESSAGE,
            self._find_message,
            lambda repeat: self._post(payload, MESSAGE, self._channel, None, repeat=repeat),
            posting,
        )

    async def update(self, receipt: str, payload: Payload) -> None:
        """Replace the message of that receipt. Repeating this changes nothing, so a doubt ends here.

        The message keeps the metadata that it was posted with, since none are given.
        """
        channel, _, ts = receipt.partition(":")
        await self._client.call(
            "chat.update", changes=True, channel=channel, ts=ts, parse="none", **_within_limits(payload)
        )
        self.in_doubt = False
        await self._record(MESSAGE, receipt)

    async def reply(self, part: str, payload: Payload, parent: str, *, broadcast: bool = False) -> None:
        """Reply in the thread of the receipt ``parent``; ``broadcast`` also shows it in the channel."""
        channel, _, thread = parent.partition(":")
        await self._part(
            part,
            lambda: self._lookup.reply(channel, thread, part),
            lambda repeat: self._post(payload, part, channel, thread, repeat=repeat, broadcast=broadcast),
        )

    async def file(self, part: str, file: File, parent: str) -> None:
        """Share a file in the thread of the receipt ``parent``."""
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
        """Return the part's receipt: found now, or sent now. Callers leave out the recorded parts."""
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
        """Upload a file and show it in the thread; nothing is visible before the last call."""
        ticket = await self._client.call(
            "files.getUploadURLExternal", filename=file.name, length=len(file.content)
        )
        url, file_id = ticket.data.get("upload_url"), ticket.data.get("file_id")
        if not isinstance(url, str) or not isinstance(file_id, str):
            raise SlackCallFailed(RetryLater("files.getUploadURLExternal: the response names no address"))
        # The list is never sent unencrypted if everything else uses TLS, whatever Slack says.
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
    """Return text and blocks, always both: an update with a text alone removes the blocks."""
    blocks = [*payload["blocks"], remark(notice)] if notice else payload["blocks"]
    body = {"text": payload["text"], "blocks": blocks}
    if problems := violations(body):
        raise SlackCallFailed(Rejected(f"the message breaks Slack's limits: {'; '.join(problems)}"))
    return body
