"""The command line: parse, ask, run, print."""
