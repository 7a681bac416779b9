"""gunicorn-drain on other versions and worker classes of Gunicorn than the sample's."""
