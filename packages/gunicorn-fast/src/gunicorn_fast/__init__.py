"""Faster workers for Gunicorn, and drop-in replacements of Flask and prometheus-flask-exporter."""

__version__ = "0.2.0"
