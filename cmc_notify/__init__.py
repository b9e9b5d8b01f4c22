"""A bridge that turns the job changes of a Riverbed CMC into notifications."""

__version__ = "0.1.0"
