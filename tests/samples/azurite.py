"""Azurite for tests: Azure's own emulator of its Blob Storage, on loopback, ended with the tests."""

from __future__ import annotations

import base64
import email.utils
import hmac
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from samples.server_process import free_port

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The emulator's, which everybody knows."""
CONTAINER = "kuramori-tests"
_PROGRAM = Path(__file__).resolve().parents[2] / ".tools" / "azurite" / "node_modules" / ".bin" / "azurite-blob"
_PATIENCE = 60.0
_VERSION = "2021-08-06"


def azurite_program() -> str | None:
    """Return the path of ``azurite-blob``, None without it."""
    return str(_PROGRAM) if _PROGRAM.exists() and shutil.which("node") else shutil.which("azurite-blob")


class Azurite:
    """A running emulator with one container."""

    def __init__(self, program: str) -> None:
        """Start it; return when it answers."""
        self.folder = Path(tempfile.mkdtemp(prefix="kuramori-azurite-"))
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        guard = ["setpriv", "--pdeathsig=KILL"] if shutil.which("setpriv") else []
        self._log = self.folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*guard, program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence",
                 "--skipApiVersionCheck", "--disableTelemetry"],
                cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._make_container_when_it_answers()
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """End it and remove what it has."""
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_container_when_it_answers(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._log.read_text(errors="replace")[-3000:]
            if self._make_container() == 201:
                return
            time.sleep(0.1)
        raise AssertionError(self._log.read_text(errors="replace")[-3000:])

    def _make_container(self) -> int:
        now = email.utils.formatdate(usegmt=True)
        to_sign = (f"PUT\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:{now}\nx-ms-version:{_VERSION}\n"
                   f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container")
        signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), to_sign.encode(), "sha256")).decode()
        request = urllib.request.Request(
            f"{self.endpoint}/{CONTAINER}?restype=container", method="PUT",
            headers={"x-ms-date": now, "x-ms-version": _VERSION, "Authorization": f"SharedKey {ACCOUNT}:{signature}"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0
