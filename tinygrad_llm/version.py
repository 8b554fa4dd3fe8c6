"""The version: of the package, and of the run folders it writes."""

__version__ = "0.1.0"
