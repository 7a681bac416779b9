"""What the service costs, measured beside what people would otherwise run. `make bench`."""
