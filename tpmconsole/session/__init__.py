"""Mutual TLS with a key that stays in the TPM."""
