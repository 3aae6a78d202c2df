"""OpenSSL: contexts, engines, and its errors in plain English."""
