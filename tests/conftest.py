"""What all tests need."""

import signal

# A shell without job control has what it runs in the background ignore SIGINT, and whatever that starts. The
# tests end programs as Ctrl-C does; with a handler here they start with the default.
signal.signal(signal.SIGINT, signal.default_int_handler)
