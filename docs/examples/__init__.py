"""Clients that lose nothing in a rolling update. docs/clients.md has the rules that they follow."""
