"""Console of a board with a TPM 2.0: status, keys, certificates and mutual TLS."""

__version__ = "0.1.0"
