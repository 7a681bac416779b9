"""Scripts of shells: which process is PID 1 once one has started its program, and which exec is missing."""
