"""Kitsune: live updates for C programs, as a build-system plugin."""

__version__ = "0.1.0"
