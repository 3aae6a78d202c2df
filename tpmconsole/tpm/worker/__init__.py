"""The process that owns the ESAPI context, and the dispatcher that gives it jobs.

``dispatcher`` runs one job at a time in ``process``, over the pipe that ``protocol`` describes. If
a job misses its deadline, the worker is killed and replaced, and the caller gets an error; a worker
that still reports progress is slow, not hung. After a transport error the context is useless (it
answers 0x70007 forever), so the next job gets a new worker.

A killed worker can leave objects loaded in a TPM without a resource manager. The dispatcher
remembers which ones those could be, and the next worker flushes only those.
"""
