"""``python -m tools.fuzz SECONDS``: random bytes for the readers of what others have written.

Atheris (libFuzzer) follows which lines of ours an input reaches, and looks for more. Whatever the
bytes, no exception leaves a reader, and all that comes out can be shown and is bounded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["tpmconsole"]):
    from tpmconsole.board.lines import event_line, session_lines
    from tpmconsole.cli.next_steps import say
    from tpmconsole.cli.sessions import session_facts_lines
    from tpmconsole.errors import ConsoleError
    from tpmconsole.session.event_files import EventFileReader
    from tpmconsole.session.events import EventLog, read_events
    from tpmconsole.session.said import MOST_FIELDS, event_of, object_of
    from tpmconsole.session.status import CrlInfo, LastError, PeerInfo, SessionStatus, State
    from tpmconsole.system.rates import thinned
    from tpmconsole.system.untrusted import read, read_end

TOLD = SessionStatus("client-1", "client", "gateway", "h:1", state=State.RUNNING)
TOLD_TO_BE = (TOLD.id, TOLD.role, TOLD.identity, TOLD.unit)
NAMES = sorted(
    {*TOLD.to_json(), *("time", "event", "error", "title", "cause", "remedy", "next", "action")}
    | {*("subject", "issuer", "not_after", "fingerprint", "this_update", "next_update", "code")}
    | {*("last", "median", "p95", "recent", "final", "reload", "ms", "text", "answer", "boot")}
)
MOST_DEPTH = 3
LONGEST_INPUT = 8192
LONGEST_LINE = 20_000


def fuzz_event(data: bytes) -> None:
    """A line of events."""
    event = event_of(data)
    if event is None:
        return
    assert len(event) <= MOST_FIELDS + 8
    json.dumps(event, allow_nan=False)
    _check_line(event_line(event, say))
    if event["event"] == "error":
        str(ConsoleError.from_json(event))


def fuzz_status(data: bytes) -> None:
    """A status file."""
    try:
        facts = TOLD.as_said(object_of(data))
    except ValueError:
        return
    assert (facts.id, facts.role, facts.identity, facts.unit) == TOLD_TO_BE
    json.dumps(facts.to_json(), allow_nan=False)
    for line in (*session_lines([facts]), *session_facts_lines(facts)):
        _check_line(line)


def fuzz_files(folder: Path, data: bytes) -> None:
    """The same bytes as a file of events, half of it before a rotation, and as a log."""
    file, half = folder / "events.jsonl", len(data) // 2
    file.write_bytes(data[:half])
    reader = EventFileReader(file, LONGEST_INPUT)
    for event in reader.read():
        _check_line(event_line(event, say))
    file.replace(folder / "events.jsonl.1")
    file.write_bytes(data[half:])
    for event in reader.read():
        _check_line(event_line(event, say))
    reader.close()
    EventLog(folder).write("stopped")
    assert [event["event"] for event in read_events(folder)][-1] == "stopped"
    assert len(read(file, 100)) <= 100
    assert len(read_end(file, 100)) <= 100
    assert len(thinned(data.splitlines(keepends=True), 500, lambda line: line[:8].hex())) <= 500


def _check_line(line: str) -> None:
    assert line.isprintable(), ascii(line)
    assert len(line) <= LONGEST_LINE


def _seeds() -> list[bytes]:
    """What a session really writes: from there libFuzzer goes on."""
    peer = PeerInfo("CN=peer", "CN=root", "2027-01-01T00:00:00+00:00", "00" * 32)
    error = LastError.of(ConsoleError("Title", "cause", "remedy"), "2027-01-01T00:00:00+00:00")
    crl = CrlInfo("CN=root", "2027-01-01T00:00:00+00:00", "2027-02-01T00:00:00+00:00")
    full = SessionStatus(
        *("client-1", "client", "gateway", "h:1"), peer=peer, last_error=error, crl=crl, pid=1
    )
    events = [
        {"time": "2027", "event": "handshake", "peer": {"subject": "CN=x"}, "ms": 1.5},
        {"time": "2027", "event": "message", "text": "PING 1", "answer": "PONG 1", "ms": 1},
        {"time": "2027", "event": "error", "final": True, "code": 4}
        | ConsoleError("Title", "cause", "remedy").to_json(),
    ]
    return [json.dumps(one).encode() + b"\n" for one in (full.to_json(), *events)]


def _words() -> str:
    """libFuzzer's dictionary: the names of fields, and what JSON is made of."""
    odd = ['\\"', ":", "{", "}", "[", "]", "null", "true", "1e999", "NaN", "\\\\u0000", "\\\\ud800"]
    return "".join(f'"{word}"\n' for word in (*NAMES, *odd))


def _made(source: atheris.FuzzedDataProvider, depth: int = 0) -> Any:
    """A value of JSON whose names are mostly those of real fields."""
    kind = source.ConsumeIntInRange(0, 8 if depth < MOST_DEPTH else 5)
    simple = (None, True, source.ConsumeInt(9), source.ConsumeFloat(), source.ConsumeUnicode(20))
    if kind < len(simple):
        return simple[kind]
    if kind == len(simple):
        return source.PickValueInList(["running", "failed", "error", "handshake", "1970-01-01"])
    count = source.ConsumeIntInRange(0, 12)
    if kind == len(simple) + 1:
        return [_made(source, depth + 1) for _ in range(count)]
    return {source.PickValueInList(NAMES): _made(source, depth + 1) for _ in range(count)}


def _run(folder: Path, options: list[str]) -> None:
    def one(data: bytes) -> None:
        kind, rest = data[:1], data[1:]
        if kind in b"jk":
            made = _made(atheris.FuzzedDataProvider(rest))
            rest = json.dumps(made if isinstance(made, dict) else {"peer": made}).encode()
        if kind in b"ej":
            fuzz_event(rest)
        elif kind in b"sk":
            fuzz_status(rest)
        else:
            fuzz_files(folder, rest)

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz in a process of its own, and say how much was tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=int)
    parser.add_argument("--inside", nargs="*", help=argparse.SUPPRESS)
    arguments, options = parser.parse_known_args()
    if arguments.inside:
        _run(Path(arguments.inside[0]), options)
        return 0
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        folder = Path(name)
        corpus, files = folder / "corpus", folder / "files"
        for one in (corpus, files):
            one.mkdir(mode=0o700)
        for number, seed in enumerate(_seeds()):
            for kind in (b"e", b"s", b"f", b"j", b"k"):
                (corpus / f"{number}{kind.hex()}").write_bytes(kind + seed)
        (folder / "words").write_text(_words())
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tools.fuzz", str(arguments.seconds)),
                *("--inside", str(files), "--"),
                *(f"-max_total_time={arguments.seconds}", f"-max_len={LONGEST_INPUT}"),
                *(f"-dict={folder / 'words'}", "-timeout=10", "-rss_limit_mb=1024"),
                *("-artifact_prefix=fuzz-", "-print_final_stats=1", str(corpus)),
            ],
            check=False,
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
