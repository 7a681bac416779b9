"""A faster worker class for Gunicorn: `worker_class = "leader.worker.LeaderWorker"`."""
