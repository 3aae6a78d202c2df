"""How a request travels to a CA, and what proves that its key is in a TPM.

Nothing here needs a TPM or the TSS: a CA runs the same code on any PC. Public areas are read by
``tpm.keyfile.public_area``, certificates by ``x509``.
"""
