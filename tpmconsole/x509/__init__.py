"""Certificates and requests; knows no store, no TPM and no user.

``judge`` gives a verdict for each check that a certificate must pass before it is installed. It
agrees with OpenSSL, which will verify the certificate in use: ``make limbo`` compares the two.
"""
