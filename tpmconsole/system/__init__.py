"""The Linux board below the program; it knows no TPM.

What other users can write is opened without following links, bounded, and never trusted.
"""
