"""Finds template blocks that are never used: a child template can only replace blocks of a parent.

Guarantee: a block is reported only if the source proves it. Nothing is reported for a template that chooses
its parent while rendering.
"""

import difflib
from collections.abc import Iterator

from jinja2 import TemplateError as JinjaError
from jinja2 import nodes

from cmc_notify.errors import TemplateError
from cmc_notify.rendering.environment import FormatEnvironment


def unused_blocks(environment: FormatEnvironment, template: str) -> Iterator[TemplateError]:
    """Yield an error for each block of ``template`` that no parent template defines, with its line.

    A block inside another one is part of it. An unreadable template yields nothing: rendering reports it.
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
            remedy = f"did you mean {close[0]}?" if close else f"write one of {', '.join(sorted(known))}"
            message = f"there is no block {block.name!r} in {parent}, so it is never used; {remedy}"
            yield TemplateError(template, block.lineno, message)


def _known(environment: FormatEnvironment, template: str, depth: int = 0) -> set[str] | None:
    """Return the names of all blocks of a template and its parents; None if not known."""
    if depth > _DEEPEST:
        return None
    tree = _tree(environment, template)
    if tree.find(nodes.Extends) is None:
        return {block.name for block in tree.find_all(nodes.Block)}
    parent = _parent(tree)
    above = _known(environment, parent, depth + 1) if parent else None
    return None if above is None else above | _nested(tree, above)


_DEEPEST = 50
"""A limit of parents: a template that extends itself would have no last one."""


def _nested(tree: nodes.Template, above: set[str]) -> set[str]:
    """Return the blocks inside used blocks: they are used too, although no parent has them."""
    outer = [block for block in _outermost(tree) if block.name in above]
    return {inner.name for block in outer for inner in block.find_all(nodes.Block)}


def _outermost(tree: nodes.Template) -> Iterator[nodes.Block]:
    """Return the blocks that are inside no other block."""
    inside = {id(inner) for block in tree.find_all(nodes.Block) for inner in block.find_all(nodes.Block)}
    return (block for block in tree.find_all(nodes.Block) if id(block) not in inside)


def _tree(environment: FormatEnvironment, template: str) -> nodes.Template:
    assert environment.loader is not None
    source, _, _ = environment.loader.get_source(environment, template)
    return environment.parse(source, template)


def _parent(tree: nodes.Template) -> str | None:
    """Return the only template that it always extends; None for none, several, or one chosen by code."""
    found = list(tree.find_all(nodes.Extends))
    if len(found) != 1 or found[0] not in tree.body:
        return None
    name = found[0].template
    return name.value if isinstance(name, nodes.Const) and isinstance(name.value, str) else None
