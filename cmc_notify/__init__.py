"""The bridge between a Riverbed CMC and the places where people are told."""

__version__ = "0.1.0"
