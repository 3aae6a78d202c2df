"""A persistent parent with a password, and keys below it."""

from __future__ import annotations

from tpm2_pytss import ESAPI, ESYS_TR, TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE

PARENT, PARENT_PASSWORD = 0x81000005, b"parent"


def make_parent(tcti: str) -> int:
    """Make one whose wrong tries count; its handle."""
    with ESAPI(tcti) as esapi:
        sensitive = TPM2B_SENSITIVE_CREATE()
        sensitive.sensitive.userAuth = PARENT_PASSWORD
        attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt"
        template = TPM2B_PUBLIC.parse(alg="ecc", objectAttributes=attributes)
        made = esapi.create_primary(sensitive, template)[0]
        esapi.evict_control(ESYS_TR.OWNER, made, PARENT)
        esapi.flush_context(made)
    return PARENT


def key_below(tcti: str, handle: int) -> bytes:
    """A key file whose parent is at a handle, made by tpm2-pytss."""
    from tpm2_pytss.tsskey import TSSPrivKey, _ecc_template

    template = TPM2B_PUBLIC.unmarshal(TPM2B_PUBLIC(publicArea=_ecc_template).marshal())[0]
    template.publicArea.parameters.eccDetail.curveID = 3
    with ESAPI(tcti) as esapi:
        above = esapi.tr_from_tpmpublic(handle)
        esapi.tr_set_auth(above, PARENT_PASSWORD)
        private, public, *_ = esapi.create(above, TPM2B_SENSITIVE_CREATE(), template)
        return TSSPrivKey(private, public, parent=handle).to_pem()
