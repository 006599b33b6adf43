"""The version, read by the build and by ``--version``; imports nothing."""

__version__ = "0.1.0"
