"""Sinks, the ways out. A sink is one module or package with a ``PLUGIN``, and a template folder."""
