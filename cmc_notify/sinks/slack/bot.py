"""The Slack sink with a bot token.

Guarantee: at least once, each part recorded when Slack has accepted it and not sent again. After a lost
answer the part is looked for first; where that is not possible it is sent again, marked as a possible repeat.
What one message can't hold follows complete as files in its thread, or, where files are refused, as a bounded
number of replies whose last says how much is missing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from cmc_notify.core.outcome import Blocked, Rejected, RetryLater, SendOutcome, Sent, Unclear
from cmc_notify.ports import Message, PartRecorder, PreviewDocument, Renderer
from cmc_notify.sinks.slack.answers import CREDENTIALS, NotTaken
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.composing import Composer, File
from cmc_notify.sinks.slack.layout import remark
from cmc_notify.sinks.slack.limits import Payload, violations
from cmc_notify.sinks.slack.lookup import Lookup, NotFound, channel_id, metadata
from cmc_notify.sinks.slack.probing import probe, seems_id
from cmc_notify.sinks.slack.settings import SlackSettings

MESSAGE = "message"
"""The part that stands in the channel; the others are ``file:1``, … or ``reply:1``, …"""
REPEAT = (
    "This may be a repeat: the answer to an earlier attempt was lost, and looking for it was not possible."
)


class BotSink:
    """One channel, reached with a bot token."""

    def __init__(self, name: str, settings: SlackSettings, renderer: Renderer) -> None:
        assert settings.channel is not None, "settings check it"
        self._name = name
        self._channel = settings.channel
        self._id = settings.channel if seems_id(settings.channel) else None
        self._client = SlackClient(settings)
        self._renderer = renderer

    @property
    def name(self) -> str:
        """Its name in the config."""
        return self._name

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """Post what is not yet recorded in ``message.parts``; the receipt is ``channel id:ts``."""
        attempt = _Attempt(self._client, self._channel, self._id, message, record)
        try:
            receipt = await attempt.run(Composer(self._renderer, message))
        except NotTaken as error:
            return error.outcome
        self._id = receipt.partition(":")[0]
        return Sent(receipt)

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """The messages and the files of the thread, as they would be posted."""
        return [*Composer(self._renderer, message).preview(files=True)]

    async def probe(self) -> SendOutcome:
        """Sign in, compare the token's scopes with what is needed, look at the channel if allowed."""
        try:
            return await probe(self._client, self._channel)
        except NotTaken as error:
            return error.outcome

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()


class _Attempt:
    """One attempt at one message, part by part."""

    def __init__(
        self,
        client: SlackClient,
        channel: str,
        known_id: str | None,
        message: Message,
        record: PartRecorder,
    ) -> None:
        self._client = client
        self._channel = channel
        self._known_id = known_id
        self._message = message
        self._record = record
        self._lookup = Lookup(client, message.key, message.event.time)
        # Parts go out one after the other, so that only the first one missing can be the unclear one.
        self._in_doubt = message.unclear

    async def run(self, composer: Composer) -> str:
        """The receipt of the message in the channel, once everything is accepted. Raises NotTaken."""
        whole = await asyncio.to_thread(composer.whole)
        payload = await asyncio.to_thread(composer.brief) if whole is None else whole
        receipt = await self._part(
            MESSAGE,
            self._find_message,
            lambda repeat: self._post(payload, MESSAGE, self._channel, None, repeat=repeat),
        )
        if whole is None:
            channel, _, thread = receipt.partition(":")
            await self._complete_list(composer, channel, thread)
        return receipt

    async def _complete_list(self, composer: Composer, channel: str, thread: str) -> None:
        in_doubt = self._in_doubt
        if not any(part.startswith("reply:") for part in self._message.parts):
            try:
                for number, file in enumerate(await asyncio.to_thread(composer.files), start=1):
                    await self._file(f"file:{number}", file, channel, thread)
            except NotTaken as error:
                if error.code is None or error.passing or error.code in CREDENTIALS:
                    raise
                # Files are refused for good (a scope, a full disk, a policy): the texts go as replies, and
                # where there is a doubt it may concern the first of them, left over from an earlier attempt.
                self._in_doubt = in_doubt
            else:
                return
        for number, payload in enumerate(await asyncio.to_thread(composer.continued), start=1):
            await self._reply(f"reply:{number}", payload, channel, thread)

    async def _file(self, part: str, file: File, channel: str, thread: str) -> None:
        await self._part(
            part,
            lambda: self._lookup.file(channel, thread, file.mark),
            lambda repeat: self._share(file, channel, thread, repeat=repeat),
        )

    async def _reply(self, part: str, payload: Payload, channel: str, thread: str) -> None:
        await self._part(
            part,
            lambda: self._lookup.reply(channel, thread, part),
            lambda repeat: self._post(payload, part, channel, thread, repeat=repeat),
        )

    async def _part(
        self,
        name: str,
        find: Callable[[], Awaitable[str | NotFound]],
        send: Callable[[bool], Awaitable[str]],
    ) -> str:
        """The part's receipt: recorded before, found now, or sent now."""
        if receipt := self._message.parts.get(name):
            return receipt
        found: str | NotFound = await find() if self._in_doubt else NotFound.ABSENT
        if found is not NotFound.CANT_TELL:
            self._in_doubt = False
        receipt = found if isinstance(found, str) else await send(found is NotFound.CANT_TELL)
        self._in_doubt = False
        await self._record(name, receipt)
        return receipt

    async def _find_message(self) -> str | NotFound:
        channel = self._known_id or await channel_id(self._client, self._channel)
        return await self._lookup.message(channel, MESSAGE)

    async def _post(
        self, payload: Payload, part: str, channel: str, thread: str | None, *, repeat: bool
    ) -> str:
        blocks = [*payload["blocks"], remark(REPEAT)] if repeat else payload["blocks"]
        body = {"text": payload["text"], "blocks": blocks}
        if problems := violations(body):
            raise NotTaken(Rejected(f"the message breaks Slack's limits: {'; '.join(problems)}"))
        answer = await self._client.call(
            "chat.postMessage",
            changes=True,
            channel=channel,
            thread_ts=thread,
            metadata=metadata(self._message.key, part),
            unfurl_links=False,
            unfurl_media=False,
            **body,
        )
        where, ts = answer.data.get("channel"), answer.data.get("ts")
        if not isinstance(where, str) or not isinstance(ts, str):
            raise NotTaken(Unclear("chat.postMessage: the answer names no channel and ts"))
        return f"{where}:{ts}"

    async def _share(self, file: File, channel: str, thread: str, *, repeat: bool) -> str:
        """Upload and show in the thread; until the last call nobody sees anything."""
        ticket = await self._client.call(
            "files.getUploadURLExternal", filename=file.name, length=len(file.content)
        )
        url, file_id = ticket.data.get("upload_url"), ticket.data.get("file_id")
        if not isinstance(url, str) or not isinstance(file_id, str):
            raise NotTaken(RetryLater("files.getUploadURLExternal: the answer names no address"))
        if not url.startswith(("https://", "http://")):
            raise NotTaken(Blocked("files.getUploadURLExternal: the answer's address is not http"))
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
