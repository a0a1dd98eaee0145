"""Run a notebook cell or a function on a supercomputer as if it were local."""
