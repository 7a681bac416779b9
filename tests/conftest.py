"""What all tests need."""

import signal

# A shell without job control has what it runs in the background ignore SIGINT and SIGQUIT, and whatever
# that starts. The tests send both to programs of theirs; with these here, those start with the default.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
