"""The decisions of the bridge: plain functions without I/O, clock or randomness of their own."""
