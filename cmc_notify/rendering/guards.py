"""Limits filters, methods and operators: the size of each result is checked before it is made.

Guarantee: after a check here, the filter, method or operator takes no more memory than the budget has room
for, and no more time than some milliseconds for each megabyte. Raises Overspent for what is too much and
SecurityError for what no template needs.
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import Undefined
from jinja2.exceptions import SecurityError

from cmc_notify.rendering.budget import Budget, Overspent

WIDEST = 100_000
"""Characters or items, wherever a template says a width or a count."""
_SLOW_TEXT = 65536
"""Characters, for filters whose time grows with their square."""
_LONGEST_FORMAT = 10_000
_BITS = 16_384
_SPREAD = 40
"""Bytes for each character of a text that is taken to pieces."""


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_WIDE = _names("batch center indent round slice truncate wordwrap")
_SLOW = frozenset(("striptags", "wordwrap"))
_HANDING_ON = _names(
    """
    appliances attr batch count d default features first items last length list map random reject
    rejectattr reverse select selectattr slice sum by_error
    """
)
"""They hand on items of a list, or look at the list alone."""
_PLAIN = _names(
    """
    capitalize center count d default e escape first float forceescape format indent int json last
    length lower oneline plural replace round shorten string tojson trim truncate upper
    """
)
"""They make one text of a text, not many pieces."""
_METHODS = _names(
    """
    capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit
    isidentifier islower isnumeric isprintable isspace istitle isupper lower lstrip partition removeprefix
    removesuffix rfind rindex rpartition rstrip startswith strip swapcase title unescape upper
    """
)
_SPEC = re.compile(r"%(?:\([^()]*\))?[-#0 +]*(\*|\d*)(?:\.(\*|\d*))?")
_MANY_DIGITS = re.compile(r"\d{5}")


def filtering(budget: Budget, name: str, value: Any, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Before ``value | name(*args, **named)``."""
    given = (*args, *named.values())
    budget.step(1 + (len(value) // 64 if isinstance(value, str | list | tuple | dict | range) else 0))
    if name in _WIDE:
        _narrow(name, given)
    if name == "round" and any(isinstance(each, int) and abs(each) > 300 for each in given):  # noqa: PLR2004  as floats have
        raise Overspent("round takes at most 300 digits")
    if name == "sum" and any(not isinstance(each, int | float | str) for each in given):
        raise SecurityError("sum adds numbers only; print texts, and join lists with +")
    if name in _SLOW and isinstance(value, str) and len(value) > _SLOW_TEXT:
        raise Overspent(f"{name} takes at most {_SLOW_TEXT:,} characters; shorten the text before it")
    if isinstance(value, str):
        if name not in _PLAIN:
            budget.take(len(value) * _SPREAD)
        _of_text(budget, name, value, args, named)
    if name not in _HANDING_ON:
        for each in (value, *given):
            if not isinstance(each, str | int | float | Undefined | None):
                budget.take(2 * budget.weigh(each))


def _of_text(budget: Budget, name: str, value: str, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    match name:
        case "replace":
            replacing(budget, value, *_texts((*args, *named.values())))
        case "format":
            formatting(budget, value, (*args, *named.values()))
        case "indent":
            width = next((each for each in (*args, *named.values()) if isinstance(each, int)), 4)
            budget.take((value.count("\n") + 1) * width)
        case "wordwrap":
            widths = [each for each in (*args, *named.values()) if isinstance(each, int)]
            width = min((each for each in widths if not isinstance(each, bool)), default=79)
            if width < 10:  # noqa: PLR2004  a word
                raise Overspent("wordwrap takes a width of at least 10")
            between = sum(map(len, _texts((*args, *named.values()))))
            budget.take((len(value) / width + value.count("\n") + 1) * between)
        case _:
            pass


def _texts(values: Sequence[Any]) -> list[str]:
    return [each for each in values if isinstance(each, str)]


def replacing(budget: Budget, text: str, old: str = "", new: str = "", *_: Any) -> None:
    """Before each ``old`` in ``text`` becomes ``new``, escaped perhaps."""
    budget.take(5 * (len(text) + text.count(old) * len(new)))


def formatting(budget: Budget, template: str, values: Sequence[Any]) -> None:
    """Before ``template % values``."""
    _short(template)
    specs = wide = 0
    for found in _SPEC.finditer(template):
        specs += 1
        if any(size and (size == "*" or len(size) > 4) for size in found.groups()):  # noqa: PLR2004  digits
            raise Overspent("a format takes widths of at most 4 digits, and no *")
        wide += sum(int(size) for size in found.groups() if size)
    budget.take(len(template) + wide + specs * (2 * _heaviest(budget, values) + 20))


def spelling(budget: Budget, template: str, values: Sequence[Any]) -> None:
    """Before ``template.format(*values)``."""
    _short(template)
    fields = 0
    for _, field, spec, _ in string.Formatter().parse(template):
        if field is None:
            continue
        fields += 1
        if spec and ("{" in spec or _MANY_DIGITS.search(spec)):
            raise Overspent("a format takes widths of at most 4 digits, and none from a value")
    budget.take(len(template) + fields * (2 * _heaviest(budget, values) + 100))


def _short(template: str) -> None:
    if len(template) > _LONGEST_FORMAT:
        raise Overspent(f"a format takes at most {_LONGEST_FORMAT:,} characters; print the text instead")


def _heaviest(budget: Budget, values: Sequence[Any]) -> int:
    return max((budget.weigh(each) for each in values if not isinstance(each, Undefined)), default=0)


def _narrow(name: str, values: Sequence[Any]) -> None:
    if any(isinstance(each, int) and abs(each) > WIDEST for each in values):
        raise Overspent(f"{name} takes numbers up to {WIDEST:,}")


def calling(budget: Budget, called: Any, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Before ``called(*args, **named)``; only methods of texts and numbers have to be looked at."""
    owner = getattr(called, "__self__", None)
    if owner is None or not isinstance(owner, str | bytes | int | float | type):
        return
    name = getattr(called, "__name__", "")
    if isinstance(owner, str) and name in _METHODS:
        budget.take(len(owner) * (_SPREAD if name == "title" else 4))
        return
    check = _BOUNDED.get(name)
    if check is None or not isinstance(owner, str):
        raise SecurityError(f"{name}() is not for templates; docs/reference/templates.md lists the filters")
    check(budget, owner, (*args, *named.values()))


def _padding(_budget: Budget, _text: str, args: Sequence[Any]) -> None:
    _narrow("a method", args)


def _expanding(budget: Budget, text: str, args: Sequence[Any]) -> None:
    _narrow("expandtabs", args)
    budget.take(text.count("\t") * max((each for each in args if isinstance(each, int)), default=8))


def _joining(budget: Budget, text: str, args: Sequence[Any]) -> None:
    for each in args:
        budget.take(
            5 * (budget.weigh(each) + len(text) * (len(each) if isinstance(each, list | tuple) else 1))
        )
        if not isinstance(each, list | tuple | dict):
            raise SecurityError("join() takes a list; use the filter join")


def _splitting(budget: Budget, text: str, args: Sequence[Any]) -> None:
    separator = next((each for each in args if isinstance(each, str) and each), None)
    budget.take(60 * (text.count(separator) + 1 if separator else len(text) // 2))


def _lines(budget: Budget, text: str, _args: Sequence[Any]) -> None:
    budget.take(60 * (len(text) if not text.isascii() else sum(map(text.count, "\n\r\v\f\x1c\x1d\x1e"))))


def _stripping(_budget: Budget, text: str, _args: Sequence[Any]) -> None:
    if len(text) > _SLOW_TEXT:
        raise Overspent(f"striptags takes at most {_SLOW_TEXT:,} characters")


_BOUNDED: Mapping[str, Callable[[Budget, str, Sequence[Any]], None]] = {
    **dict.fromkeys(("center", "ljust", "rjust", "zfill"), _padding),
    "expandtabs": _expanding,
    "join": _joining,
    "replace": lambda budget, text, args: replacing(budget, text, *_texts(args)),
    **dict.fromkeys(("split", "rsplit"), _splitting),
    "splitlines": _lines,
    "striptags": _stripping,
}


def operating(budget: Budget, operator: str, left: Any, right: Any) -> None:
    """Before ``left operator right``."""
    match operator:
        case "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, int) and isinstance(other, str | list | tuple):
                    if isinstance(other, str):
                        budget.take(4 * len(other) * max(one, 0))
                    else:
                        budget.take(8 * len(other) * max(one, 0))
                    return
            if isinstance(left, int) and isinstance(right, int):
                _few_bits(left.bit_length() + right.bit_length())
        case "**":
            if isinstance(left, int) and isinstance(right, int):
                _few_bits(left.bit_length() * abs(right))
        case "%":
            if isinstance(left, str):
                formatting(budget, left, right if isinstance(right, tuple) else (right,))
        case _:
            pass


def _few_bits(number: int) -> None:
    if number > _BITS:
        raise Overspent("a number has more than some thousand digits")
