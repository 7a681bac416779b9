"""A rolling update on one machine, without a cluster: with the drain and without it, side by side."""
