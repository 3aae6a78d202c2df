"""The command line: parse, ask, run, print.

Each file has a subject's options, its functions and their printed lines; the work is in ``board``.
"""
