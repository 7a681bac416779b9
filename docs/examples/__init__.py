"""Clients that come through a rolling update unharmed. docs/clients.md has the rules they keep to."""
