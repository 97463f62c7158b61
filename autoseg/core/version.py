"""The version of autoseg, which every document it writes carries."""

__version__ = "0.1.0"
