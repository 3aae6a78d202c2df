"""A persistent parent with a password, and keys below it, made by tpm2-pytss."""

from __future__ import annotations

from tpm2_pytss import ESAPI, ESYS_TR, TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE
from tpm2_pytss.tsskey import TSSPrivKey, _ecc_template

from tpmconsole.tpm.model import Connection

PASSWORD = b"parent"


def make_parent(connection: Connection, handle: int) -> None:
    """A parent at a handle; wrong attempts at its password count."""
    with ESAPI(connection.tcti) as esapi:
        sensitive = TPM2B_SENSITIVE_CREATE()
        sensitive.sensitive.userAuth = PASSWORD
        attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"
        template = TPM2B_PUBLIC.parse(alg="ecc", objectAttributes=attributes)
        made = esapi.create_primary(sensitive, template)[0]
        esapi.evict_control(ESYS_TR.OWNER, made, handle)
        esapi.flush_context(made)


def key_below(connection: Connection, handle: int) -> bytes:
    """A key file whose parent is at a handle."""
    template = TPM2B_PUBLIC.unmarshal(TPM2B_PUBLIC(publicArea=_ecc_template).marshal())[0]
    template.publicArea.parameters.eccDetail.curveID = 3
    with ESAPI(connection.tcti) as esapi:
        above = esapi.tr_from_tpmpublic(handle)
        esapi.tr_set_auth(above, PASSWORD)
        private, public, *_ = esapi.create(above, TPM2B_SENSITIVE_CREATE(), template)
        pem: bytes = TSSPrivKey(private, public, parent=handle).to_pem()
        return pem
