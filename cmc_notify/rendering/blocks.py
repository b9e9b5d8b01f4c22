"""Finds blocks that can never take effect: a child template may only replace what a parent has.

Guarantee: only what the source says plainly is judged; where a template chooses its parent while rendering,
nothing is reported of it.
"""

import difflib
from collections.abc import Iterator

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes

from cmc_notify.errors import TemplateError
from cmc_notify.rendering.environment import FormatEnvironment


def unused_blocks(environment: FormatEnvironment, template: str) -> Iterator[TemplateError]:
    """A fault for each block of ``template`` that no template above it defines, with its line.

    A block inside another one counts as part of it. What can't be read at all is rendering's to report.
    """
    try:
        tree = _tree(environment, template)
        parent = _parent(tree)
        known = _known(environment, parent) if parent else None
    except (JinjaError, OSError, UnicodeError, RecursionError):
        return
    if known is None:
        return
    for block in _outermost(tree):
        if block.name not in known:
            close = difflib.get_close_matches(block.name, sorted(known), n=1)
            remedy = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(known))}"
            message = f"there is no block {block.name!r} in {parent}, so it never takes effect; {remedy}"
            yield TemplateError(template, block.lineno, message)


def _known(environment: FormatEnvironment, template: str, depth: int = 0) -> set[str] | None:
    """The names of all blocks of a template and of those above it; None where that is not known."""
    if depth > _DEEPEST:
        return None
    tree = _tree(environment, template)
    if tree.find(nodes.Extends) is None:
        return {block.name for block in tree.find_all(nodes.Block)}
    parent = _parent(tree)
    above = _known(environment, parent, depth + 1) if parent else None
    return None if above is None else above | _nested(tree, above)


_DEEPEST = 50
"""Templates above one another; one that extends itself would go on for ever."""


def _nested(tree: nodes.Template, above: set[str]) -> set[str]:
    """Blocks inside those that take effect exist, too, although no parent has them."""
    outer = [block for block in _outermost(tree) if block.name in above]
    return {inner.name for block in outer for inner in block.find_all(nodes.Block)}


def _outermost(tree: nodes.Template) -> Iterator[nodes.Block]:
    """The blocks that stand in no other block."""
    inside = {id(inner) for block in tree.find_all(nodes.Block) for inner in block.find_all(nodes.Block)}
    return (block for block in tree.find_all(nodes.Block) if id(block) not in inside)


def _tree(environment: FormatEnvironment, template: str) -> nodes.Template:
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, template)
    return environment.parse(source, template)


def _parent(tree: nodes.Template) -> str | None:
    """The one template that it extends, whatever happens; None for none, several, or one chosen by code."""
    found = list(tree.find_all(nodes.Extends))
    if len(found) != 1 or found[0] not in tree.body:
        return None
    name = found[0].template
    return name.value if isinstance(name, nodes.Const) and isinstance(name.value, str) else None
