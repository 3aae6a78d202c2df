"""The command line: parse arguments, ask for confirmation, run a command, print its answer.

Each module has the options, functions and printed lines of one subject; ``board`` does the work.
"""
