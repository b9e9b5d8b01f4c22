"""Error texts: realistic ones of appliances, and hostile ones that break careless readers."""

PRE_PUSH = (
    "Pre-push validation failed: configuration backup could not be taken.\n"
    "  disk /config is 98% full (needs 512 MB, has 61 MB)\n"
    "No appliance was changed."
)

SHARED = (
    "Appliance is not reachable: connection to port 22 timed out after 60 seconds",
    "Could not acquire the configuration lock: held by user 'admin' since 02:14",
    "License check failed: feature requires LIC-EXPATH, which expired on 2026-11-20",
    "Push rejected: running software 9.12.1 does not support this setting (needs 9.14.0 or later)",
)

MULTI_LINE = (
    (
        "Applying configuration failed at step 4 of 9\n"
        "  command: qos profile 'Branch-Gold' class 'Realtime' min-bw 30\n"
        "  answer:  % Sum of minimum bandwidths (112%) exceeds 100%\n"
        "Configuration was rolled back."
    ),
    (
        "Verification after push failed:\n"
        "  expected path 'MPLS-primary' up, found down\n"
        "  expected path 'INET-backup' up, found up\n"
        "Last probe: 3 of 3 lost"
    ),
)

UNIQUE = (
    "Interface wan0_0: address {address} is already in use by {mac}",
    "Peer certificate of {address} expires in {days} days; minimum is 30",
    "Process pid {pid} (cli) ended with signal 11 while committing",
    "Rule {days} refers to host label 'dc-{pid}', which does not exist on this appliance",
)

HOSTILE = {
    "quotes": 'He said "no" and \'never\', and `why`? \\ \\\\ \\" \\n',
    "newlines": "first\nsecond\r\nthird\rfourth\n\n\n  indented\ttabbed\u2028line\u2029paragraph",
    "control": "bell \x07 back \x08 escape \x1b[31mred\x1b[0m tab \x0b form \x0c del \x7f c1 \x85\x9b",
    "mention": "<!channel> <!here> <!everyone> <@U123> <#C123|general> <!subteam^S1> @everyone @channel",
    "link": "<https://evil.example/?a=1&b=2|click here> https://evil.example [x](javascript:alert(1))",
    "markdown": "*bold* _italic_ ~strike~ > quote\n> quote\n- list # head | table | **more** __x__",
    "jinja": "{{ 7*7 }} {{ config }} {% raw %} {% endraw %} {% include '/etc/passwd' %} {# gone #} ${7*7}",
    "html": "</script><script>alert(1)</script><img src=x onerror=alert(2)> &amp; ]]> <!-- <b>bold</b> -->",
    "rich": "[red]not red[/red] [link=https://evil.example]x[/link] [/] :boom: \\[b]",
    "rtl": "\u202eesrever\u202c \u05e9\u05dc\u05d5\u05dd \u200fmark\u200e \u2066isolate\u2069 \ufeffbom",
    "nul": "before\x00after \x00\x00",
    "surrogate": "lone \ud800 high, lone \udc00 low, \udc00\ud800 swapped",
    "fence": "```\nrm -rf /\n``` and ```again``` `tick",
    "smtp": "line\r\n.\r\nMAIL FROM:<x@example.net>\r\nBcc: victim@example.net\r\n\r\nbody",
    "emoji": "\U0001f9e8 \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 \ufdfd Z\u0351\u036ba\u0332",
    "spaces": "   leading and trailing   ",
    "empty": "",
    "long_word": "x" * 3000,
    "json": '{"error_text": "nested", "list": [1, 2, {"a": null}]}',
    "percent": "%s %d %(name)s {0} {name} %00 %0d%0a &#0; \\u0000 \\x00",
}
"""By name. Any sink must deliver ``quotes`` to ``fence`` complete and harmless."""


def filler(length: int, seed: int) -> str:
    """Return a text of exactly ``length`` characters that differs for each seed."""
    head = f"error {seed:05d}: "
    line = f"step {seed % 97} of the push answered <code {seed * 7919 % 9973}> & stopped; "
    return (head + line * (length // len(line) + 1))[: length - 1] + "."
