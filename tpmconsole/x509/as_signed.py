"""Certificates that cryptography reads only after their names have been sorted.

Such a certificate is read from a sorted copy; its signature is over the bytes that its maker wrote,
which are remembered here. (Nuvoton signs its roots and endorsement certificates so.)
"""

from __future__ import annotations

from collections import OrderedDict

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tpmconsole.system.der_order import with_sorted_sets

_MOST = 1000
_written: OrderedDict[x509.Certificate, bytes] = OrderedDict()


def read_certificate(der: bytes) -> x509.Certificate:
    """A certificate, also one whose names are not sorted.

    Raises:
        ValueError: it is not one.
    """
    try:
        try:
            return x509.load_der_x509_certificate(der)
        except ValueError:
            read = x509.load_der_x509_certificate(with_sorted_sets(der))
    except x509.InvalidVersion as error:
        raise ValueError("of an unknown version") from error
    _written[read] = der
    while len(_written) > _MOST:
        _written.popitem(last=False)
    return read


def written(certificate: x509.Certificate) -> bytes:
    """A certificate as its maker wrote it, DER."""
    return _written.get(certificate) or certificate.public_bytes(Encoding.DER)


def signed_bytes(certificate: x509.Certificate) -> bytes:
    """What its signature is over: as long as what was read, and at the same place."""
    read = certificate.tbs_certificate_bytes
    der = _written.get(certificate)
    if der is None:
        return read
    begin = certificate.public_bytes(Encoding.DER).index(read)
    return der[begin : begin + len(read)]
