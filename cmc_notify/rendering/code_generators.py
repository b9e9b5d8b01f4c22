"""Compiles templates: ours and plugins' as Jinja does, users' with every step counted.

In a user's template each body (of a file, block, loop, macro, condition) reports itself to the budget, and
everything that can make something large goes through the environment, which checks the size first.
"""

from collections.abc import Iterable

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame


class TrustedGenerator(CodeGenerator):
    """Lets ``~`` escape for the format where it joins escaped and other text."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802  Jinja's name
        """Escape and count the joined parts."""
        self.write("environment.concatenate((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class GuardedGenerator(TrustedGenerator):
    """Counts bodies, and has the environment see to filters, lists and slices. Works out nothing before."""

    def blockvisit(self, nodes: Iterable[nodes.Node], frame: Frame) -> None:
        """Each body begins with a count of what it prints."""
        body = list(nodes)
        self.writeline(f"environment.step({self.filename!r}, {1 + sum(map(_pieces, body))})")
        super().blockvisit(body, frame)

    def visit_Filter(self, node: nodes.Filter, frame: Frame) -> None:  # noqa: N802  Jinja's name
        """Each goes through the environment."""
        if node.name not in self.environment.filters and not frame.soft_frame:
            self.fail(f"No filter named {node.name!r}.", node.lineno)
        self.write(f"environment.filtered(context, {node.name!r}, ")
        if node.node is None:  # the block {% filter … %}
            self.write(f"Markup(concat({frame.buffer}))")
        else:
            self.visit(node.node, frame)
        self.signature(node, frame)
        self.write(")")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802  Jinja's name
        """Counted when it is made."""
        self.write("(" if _constant(node) else "environment.made(")
        super().visit_List(node, frame)
        self.write(")")

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802  Jinja's name
        """Counted when it is made; names that are set are no tuple."""
        if node.ctx != "load":  # {% for a, b in … %}
            super().visit_Tuple(node, frame)
            return
        self.write("(" if _constant(node) else "environment.made(")
        super().visit_Tuple(node, frame)
        self.write(")")

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802  Jinja's name
        """Counted when it is made."""
        self.write("(" if _constant(node) else "environment.made(")
        super().visit_Dict(node, frame)
        self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:  # noqa: N802  Jinja's name
        """A slice makes something new."""
        self.write("environment.made(" if isinstance(node.arg, nodes.Slice) else "(")
        super().visit_Getitem(node, frame)
        self.write(")")


def _constant(node: nodes.Node) -> bool:
    """Return True if a list holds only constants of the template's own text."""
    if isinstance(node, nodes.Pair | nodes.List | nodes.Tuple | nodes.Dict):
        return all(map(_constant, node.iter_child_nodes()))
    return isinstance(node, nodes.Const)


def _pieces(node: nodes.Node) -> int:
    return len(node.nodes) if isinstance(node, nodes.Output) else 0
