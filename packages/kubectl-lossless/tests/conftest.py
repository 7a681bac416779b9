"""Fixtures of all tests here."""

from servers import serve

__all__ = ["serve"]
