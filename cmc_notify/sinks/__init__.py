"""Where people are told: a sink is one module or package with a ``PLUGIN``, plus a template folder."""
