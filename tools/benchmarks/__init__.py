"""Costs of the service, compared with other servers. `make bench`."""
