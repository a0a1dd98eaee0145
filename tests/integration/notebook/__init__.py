"""A package, so that its hub ends with its last test: without this file pytest keeps it to the end of the run."""
