"""The Slack sink with a bot token.

Guarantee: at least once. Each part is recorded when Slack has accepted it, and not sent again. A job has one
message in the channel, its card, which is updated. Events that people must not miss are complete in the
card's thread (``reply_policy``, ``attempt``). After a lost response a part is looked for first; if that is
not possible it is sent again, marked as a possible repeat (``part_sender``).
"""

from collections.abc import Sequence

from cmc_notify.core.outcome import SendOutcome, Sent
from cmc_notify.ports import Message, PartRecorder, PreviewDocument, Renderer
from cmc_notify.sinks.slack.attempt import Attempt
from cmc_notify.sinks.slack.buttons import buttons
from cmc_notify.sinks.slack.client import SlackClient
from cmc_notify.sinks.slack.composer import Composer
from cmc_notify.sinks.slack.error_codes import SlackCallFailed
from cmc_notify.sinks.slack.probe import is_channel_id, probe
from cmc_notify.sinks.slack.reply_policy import ThreadReply, thread_reply
from cmc_notify.sinks.slack.settings import SlackSettings


class BotSink:
    """One channel, reached with a bot token."""

    def __init__(self, name: str, settings: SlackSettings, renderer: Renderer) -> None:
        assert settings.channel is not None, "settings check it"
        self._name = name
        self._settings = settings
        self._channel = settings.channel
        self._id = settings.channel if is_channel_id(settings.channel) else None
        self._client = SlackClient(settings)
        self._renderer = renderer

    @property
    def name(self) -> str:
        """The sink's name in the config."""
        return self._name

    async def send(self, message: Message, record: PartRecorder) -> SendOutcome:
        """Send what is not yet recorded in ``message.parts``; the receipt is ``channel id:ts``."""
        attempt = Attempt(self._client, self._channel, self._id, message, record)
        try:
            receipt = await attempt.run(self._composer(message))
        except SlackCallFailed as error:
            return error.outcome
        if receipt is not None:
            self._id = receipt.partition(":")[0]
        return Sent(receipt)

    def preview(self, message: Message) -> Sequence[PreviewDocument]:
        """Return the message in the channel, and the replies and files of its thread."""
        composer = self._composer(message)
        if message.event.job is None:
            return [*composer.preview("message", files=True)]
        replies = (
            composer.preview("thread", files=True) if thread_reply(message) is not ThreadReply.NONE else ()
        )
        return [composer.preview_card(), *replies]

    async def probe(self) -> SendOutcome:
        """Sign in, compare the token's scopes with the needed ones, read the channel if allowed."""
        try:
            return await probe(self._client, self._channel)
        except SlackCallFailed as error:
            return error.outcome

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()

    def _composer(self, message: Message) -> Composer:
        return Composer(self._renderer, message, buttons(message, self._settings))
