"""Certificates and requests. This package does not know the store, the TPM or the user.

``judge`` gives a verdict for each check that a certificate must pass before it is installed. It
agrees with OpenSSL, which will verify the certificate in use: ``make limbo`` compares the two.
"""
