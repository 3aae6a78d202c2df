"""The Linux system that the program runs on; nothing here knows about a TPM.

What other users can write is opened without following links, bounded, and never trusted.
"""
