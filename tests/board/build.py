"""Builds the board's disk from Debian's packages and this project's wheel.

``python -m board.build RELEASE`` as root. What is there already is used again: the base as long as
the lists of packages stay the same, the image as long as the project and ``rootfs/`` do.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
RELEASES = ("trixie", "bookworm")
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
IMAGE_MB = 1536
CONSOLE = Path("opt/tpmconsole")
_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")


class Disk:
    """The files that a board of one release boots from.

    Args:
        release: ``trixie`` or ``bookworm``.
        folder: where boards are kept; ``.board`` in the project by default.
    """

    def __init__(self, release: str, folder: Path = PROJECT / ".board") -> None:
        if release not in RELEASES:
            raise SystemExit(f"make board: RELEASE is one of {', '.join(RELEASES)}, not {release}")
        self.release = release
        self.folder = folder / release
        self.cache = folder / "packages"
        self.root = self.folder / "root"
        self.image = self.folder / "root.img"
        self.kernel = self.folder / "vmlinuz"
        self.initrd = self.folder / "initrd.img"
        self._base_stamp = self.folder / "base.sha256"
        self._image_stamp = self.folder / "image.sha256"

    def ready(self) -> bool:
        """Whether the image is that of the lists, the project and ``rootfs/`` as they are now."""
        return self._base_ready() and _read(self._image_stamp) == self._image_digest()

    def build(self) -> None:
        """Make what is missing or old.

        Raises:
            subprocess.CalledProcessError: a tool failed; it has said why.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._base_ready():
            self._build_base()
        if not self.ready():
            self._build_image()
        # Built through sudo: what the board keeps beside its disk is its user's.
        if "SUDO_UID" in os.environ:
            os.chown(self.folder, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))

    def packages(self) -> list[str]:
        """The Debian packages of the board."""
        return _names(HERE / f"packages.{self.release}")

    def _base_ready(self) -> bool:
        return _read(self._base_stamp) == self._base_digest()

    def _base_digest(self) -> str:
        words = [*self.packages(), *_names(HERE / "packages.build"), *_dependencies()]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()

    def _image_digest(self) -> str:
        digest = hashlib.sha256(self._base_digest().encode())
        files = [PROJECT / "pyproject.toml", HERE / "build.py", *_files(HERE / "rootfs")]
        for path in [*files, *_files(PROJECT / "tpmconsole")]:
            digest.update(f"{path.relative_to(PROJECT)} {path.stat().st_mode}\n".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _build_base(self) -> None:
        """Debian, and the project's dependencies in a virtual environment."""
        _say(f"building Debian {self.release} in {self.root} (some minutes, once)")
        self._base_stamp.unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)
        self.cache.mkdir(parents=True, exist_ok=True)
        include = ",".join(["ca-certificates", *self.packages()])
        _run(
            *("debootstrap", "--variant=minbase", f"--cache-dir={self.cache}"),
            *(f"--include={include}", self.release, str(self.root), MIRROR),
        )
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        if CERTIFICATES.exists():
            shutil.copy(CERTIFICATES, self.root / CERTIFICATES.relative_to("/"))
        compiler = _names(HERE / "packages.build")
        self._inside("apt-get", "install", "-qq", "-y", "--no-install-recommends", *compiler)
        self._inside("python3", "-m", "venv", f"/{CONSOLE}")
        self._inside(f"/{CONSOLE}/bin/pip", "install", "-q", "--no-cache-dir", *_dependencies())
        self._inside("apt-get", "purge", "-qq", "-y", "--auto-remove", *compiler)
        self._inside("apt-get", "clean")
        self._inside(f"/{CONSOLE}/bin/python", "-c", "import tpm2_pytss, textual, cryptography")
        for user in ("technician", "visitor"):
            self._inside("useradd", "-M", "-s", "/bin/bash", user)
        self._inside("usermod", "-aG", "tss", "technician")
        self._base_stamp.write_text(self._base_digest())

    def _build_image(self) -> None:
        """The project's wheel into the folder, and the folder into a disk image."""
        _say("installing the project, making the disk")
        self._image_stamp.unlink(missing_ok=True)
        digest = self._image_digest()
        shutil.copytree(HERE / "rootfs", self.root, dirs_exist_ok=True)
        self._inside("systemctl", "--quiet", "enable", "board-hands")
        wheel = self._wheel()
        pip = f"/{CONSOLE}/bin/pip"
        self._inside(pip, "install", "-q", "--no-deps", "--force-reinstall", wheel)
        link = self.root / "usr/local/bin/tpmconsole"
        link.unlink(missing_ok=True)
        link.symlink_to(f"/{CONSOLE}/bin/tpmconsole")
        self._inside("update-initramfs", "-u")
        (kernel,) = (self.root / "boot").glob("vmlinuz-*")
        (initrd,) = (self.root / "boot").glob("initrd.img-*")
        shutil.copy(kernel, self.kernel)
        shutil.copy(initrd, self.initrd)
        self.image.unlink(missing_ok=True)
        make_disk(self.image, IMAGE_MB, self.root)
        for path in (self.image, self.kernel, self.initrd):
            path.chmod(0o644)
        self._image_stamp.write_text(digest)

    def _wheel(self) -> str:
        """Build the project's wheel, from a copy: a build folder in the project may be old.

        Returns:
            The wheel's path on the board.
        """
        wheels = self.root / "root/wheels"
        shutil.rmtree(wheels, ignore_errors=True)
        with tempfile.TemporaryDirectory() as copy:
            for name in ("pyproject.toml", "README.md"):
                shutil.copy(PROJECT / name, copy)
            shutil.copytree(PROJECT / "tpmconsole", Path(copy) / "tpmconsole")
            _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, copy)
        (wheel,) = wheels.iterdir()
        return f"/root/wheels/{wheel.name}"

    def _inside(self, *command: str) -> None:
        """Run a command in the folder as its root, with none of our environment but the proxies."""
        environment = {
            "HOME": "/root",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "PIP_CERT": str(CERTIFICATES),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }
        environment |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        _run("chroot", str(self.root), *command, environment=environment)


def make_disk(path: Path, megabytes: int, content: Path | None = None) -> None:
    """Make an ext4 disk image, with a folder's files where one is given.

    Raises:
        subprocess.CalledProcessError: mkfs failed; it has said why.
    """
    with path.open("wb") as file:
        file.truncate(megabytes << 20)
    inside = ["-d", str(content)] if content else []
    _run("/sbin/mkfs.ext4", "-q", "-F", *inside, str(path))


def _run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    try:
        subprocess.run(
            [str(word) for word in command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.stdout.decode(errors="replace")[-4000:])
        raise


def _say(text: str) -> None:
    print(f"board: {text}", flush=True)


def _names(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [name for line in lines if not line.startswith("#") for name in line.split()]


def _dependencies() -> list[str]:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        found: list[str] = tomllib.load(file)["project"]["dependencies"]
    return found


def _files(folder: Path) -> Iterable[Path]:
    everything = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return (path for path in everything if "__pycache__" not in path.parts)


def _read(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text()
    return ""


if __name__ == "__main__":
    Disk(sys.argv[1]).build()
