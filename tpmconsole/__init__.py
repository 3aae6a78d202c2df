"""Console of a board with a TPM 2.0: status, keys, certificates and mutual TLS."""

__version__ = "0.1.0"
# The day of the release, changed with the version: no right clock tells an earlier one. No file's
# time says it, which is that of whoever unpacked the file.
__released__ = "2026-11-01"
