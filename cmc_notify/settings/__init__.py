"""The config file: what can be said in it, and how it is read."""
