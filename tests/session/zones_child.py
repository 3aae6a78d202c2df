"""A server and a client of this package on a link-local address, in a network of their own."""

from __future__ import annotations

import asyncio
import json
import sys
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from support.pki import key_pem, leaf
from support.setting import Setting, serving

from tpmconsole.inputs import parse_address
from tpmconsole.session.events import read_events
from tpmconsole.session.process.client import Client


async def main(folder: Path, host: str, address: str) -> None:
    setting = Setting(folder)
    san = [x509.IPAddress(ip_address(address))]
    ours = leaf(setting.ca, san=san)
    setting.ours.certificate.write_bytes(ours.pem)
    setting.ours.key.write_bytes(key_pem(ours.key))
    async with serving(setting.running("server", host=host)) as live:
        where, port = parse_address(live.facts.address)
        await Client(setting.running("client", port, host=where, count=2, interval_s=0.0)).run()
    clients = [
        one["client"]
        for one in read_events(folder)
        if one["event"] == "handshake" and "client" in one
    ]
    print(json.dumps({"listening": where, "client": clients[0]}))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
