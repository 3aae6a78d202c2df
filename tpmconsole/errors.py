"""What went wrong, as users read it: a title, its cause and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any


class ExitCode(IntEnum):
    """Exit codes of every command; scripts rely on them."""

    YES = 0
    NO = 1
    USAGE = 2
    NO_TPM = 3
    REFUSED = 4
    UNEXPECTED = 5


class Action(StrEnum):
    """What a user can do next. Each front end words it differently: as a command, or as a key.

    Most have a subject, such as an identity; the comment beside each names it.
    """

    ADD_TRUST = "add a trust anchor"  # an identity
    ADOPT = "adopt the key"
    ALLOW_TLS = "allow an older TLS"  # a version
    ATTEST = "make an attested request"  # an identity
    ASK_FOR_NAMES = "ask for alternative names"
    CHECK_CERTIFICATE = "check the certificate"  # an identity
    CHECK_KEY = "check the key"
    CREATE = "make a key"  # the new identity
    DRY_RUN = "show what would be written"
    EVICT = "evict a persistent key"
    FORGET = "forget the identity"  # an identity
    GIVE_KEY_PASSWORD = "give the key's password"  # noqa: S105
    GIVE_LAST_ATTEMPT = "send the last attempt"
    GIVE_NO_PASSWORD = "say that the key has no password"  # noqa: S105
    GIVE_SERVER = "name a server"
    GIVE_STATE = "name another state directory"
    GIVE_TCTI = "name the TPM's TCTI"
    GIVE_TRUST = "give a trust anchor along with the certificate"
    HAND_OVER = "hand the request over"  # an identity
    IMPORT = "import the certificate"  # an identity
    IMPORT_KEY = "import a key made elsewhere"
    INSTALL_SERVICE = "make the session a service"  # a session
    LIST_ALGORITHMS = "list the algorithms"
    LIST_KEYS = "list the keys"
    LIST_TRUST = "list the trust anchors"  # an identity
    RELOAD = "reload the session"  # a session
    REMOVE_TRUST = "remove the trust anchor"
    RENEW = "renew the certificate"  # an identity
    REPAIR_MODES = "repair the modes"
    REQUEST = "make a request"  # an identity
    RESET_LOCKOUT = "reset the lock-out"
    RESTART = "restart the session"  # a session
    SELF_TEST = "test the TPM"
    SHOW_SESSION = "show the session"  # a session
    SHOW_STATUS = "show the TPM's status"
    START = "start a session"
    STOP = "stop the session"  # a session
    USE_ENGINE = "choose the engine"  # an engine
    USE_PROTOCOL = "choose the protocol"  # a protocol
    USE_ROLE = "choose the role"  # a role
    USE_SIMULATOR = "use the simulated TPM"
    WRITE_OUT = "print it"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What the user can do, for a front end to put into its own words.

    Attributes:
        action: what to do.
        subject: an identity, a session or another object of the action; empty if not known.
        text: the sentence; ``{}`` stands for the front end's words.
    """

    action: Action
    subject: str = ""
    text: str = "{}"

    def __str__(self) -> str:
        """The sentence without any front end's words, for logs and reports."""
        if " ({})" in self.text:  # the sentence says it already
            return self.text.replace(" ({})", "", 1)
        subject = f" '{self.subject}'" if self.subject else ""
        return self.worded(f"{self.action.value}{subject}")

    def worded(self, words: str) -> str:
        """The sentence in a front end's words.

        Args:
            words: the action's.
        """
        return self.text.replace("{}", words, 1)

    def fill(self, words: str) -> str:
        """An action's words with its subject in them.

        Args:
            words: the part in square brackets is used if no subject is known.
        """
        before, bracket, rest = words.partition("[")
        if not bracket:
            return before
        default, _, after = rest.partition("]")
        return f"{before}{self.subject or default}{after}"

    def __add__(self, more: str) -> NextStep:
        """The same step with more text after it."""
        return replace(self, text=self.text + more)

    def __radd__(self, before: str) -> NextStep:
        """The same step with more text before it."""
        return replace(self, text=before + self.text)


Remedy = str | NextStep


def remedy_to_json(remedy: Remedy) -> dict[str, Any]:
    """A remedy's JSON fields: a sentence and, for our own programs, the next step."""
    if isinstance(remedy, str):
        return {"remedy": remedy}
    return {"remedy": str(remedy), "next": asdict(remedy)}


def remedy_from_json(data: Mapping[str, Any]) -> Remedy:
    """The remedy that ``remedy_to_json`` made, from another process; at least its sentence."""
    try:
        step = data["next"]
        return NextStep(Action(step["action"]), str(step["subject"]), str(step["text"]))
    except (LookupError, TypeError, ValueError):
        return str(data.get("remedy", ""))


class ConsoleError(Exception):
    """A failure that the user reads about.

    Args:
        title: what failed, a few words without a full stop ("Certificate refused").
        cause: why, one sentence.
        remedy: what the user can do: one sentence that starts with a verb, or a ``NextStep`` if
            the front ends name it differently.
        exit_code: the exit code of a command that fails with it.
        response_code: the response code of the TPM or TSS that caused it, if any.
        needs: which password would help: ``key``, ``parent``, ``hierarchy``, ``endorsement`` (that
            hierarchy's), ``lockout`` or ``source`` (a key file's passphrase); ``consent`` if a
            password was not sent because a wrong one would lock the TPM; None if it is not about a
            password.
    """

    def __init__(
        self,
        title: str,
        cause: str,
        remedy: Remedy,
        exit_code: ExitCode = ExitCode.NO,
        *,
        response_code: int | None = None,
        needs: str | None = None,
    ) -> None:
        super().__init__(title, cause, remedy)
        self.title = title
        self.cause = cause
        self.remedy = remedy
        self.exit_code = exit_code
        self.response_code = response_code
        self.needs = needs

    def __str__(self) -> str:
        return f"{self.title}: {self.cause}"

    def to_json(self) -> dict[str, Any]:
        """The error as a command with ``--json`` prints it, and as it travels between processes."""
        answer: dict[str, Any] = {
            "title": self.title,
            "cause": self.cause,
            **remedy_to_json(self.remedy),
            "code": int(self.exit_code),
        }
        if self.response_code is not None:
            answer["response_code"] = self.response_code
        if self.needs is not None:
            answer["needs"] = self.needs
        return answer

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ConsoleError:
        """The error that ``to_json`` made, from another process."""
        return cls(
            data["title"],
            data["cause"],
            remedy_from_json(data),
            ExitCode(data["code"]),
            response_code=data.get("response_code"),
            needs=data.get("needs"),
        )


def usage_error(title: str, cause: str, remedy: Remedy) -> ConsoleError:
    """Input that cannot be right, whatever the state of the board."""
    return ConsoleError(title, cause, remedy, ExitCode.USAGE)


def no_tpm(cause: str, remedy: Remedy, *, response_code: int | None = None) -> ConsoleError:
    """No TPM could be reached."""
    return ConsoleError(
        "No TPM reached", cause, remedy, ExitCode.NO_TPM, response_code=response_code
    )
