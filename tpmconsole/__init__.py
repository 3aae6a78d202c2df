"""Console of a board with a TPM 2.0: status, keys, certificates and mutual TLS."""

__version__ = "0.1.0"
# The day of the release, changed with the version: no correct clock can be earlier. It cannot be
# read from a file's time, which may be when the file was unpacked.
__released__ = "2026-11-01"
