"""Tools for this repository alone: nothing here is installed or part of an image."""
