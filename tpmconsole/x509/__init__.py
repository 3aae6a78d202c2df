"""Certificates and requests; knows no store, no TPM and no user."""
