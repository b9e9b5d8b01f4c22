"""Where people are told. A sink is one module (or small package) with a ``PLUGIN``, plus a template folder."""
