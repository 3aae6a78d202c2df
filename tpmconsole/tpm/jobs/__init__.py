"""What the worker process can do with the TPM; each job takes an open ESAPI context."""
