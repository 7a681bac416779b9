"""Cost of the service, compared with other servers and applications. `make bench`."""
