"""Packages that only some stores need: named where they lack, and not loaded where they are not used."""

from __future__ import annotations

import subprocess
import sys

import pytest


def _python(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *options, "-c", program], capture_output=True, text=True, timeout=60,
                          check=False)


@pytest.mark.parametrize(("package", "location", "extra"), [
    ("urllib3", "rest:http://host/", "rest"), ("urllib3", "rclone:remote:", "rclone"),
    ("h2", "rclone:remote:", "rclone"),
    ("urllib3", "webdav:http://host/", "webdav"),
])
def test_a_package_that_is_not_installed_is_named_with_what_installs_it(package: str, location: str,
                                                                        extra: str) -> None:
    done = _python(f"import sys; sys.modules[{package!r}] = None\n"
                   "from kuramori import open_backend\n"
                   f"open_backend({location!r})")
    last = done.stderr.splitlines()[-1]
    assert "MissingExtraError" in last
    assert f"the package {package}," in last
    assert f"pip install 'kuramori[{extra}]'" in last


def test_what_speaks_http_is_loaded_only_where_it_is_used() -> None:
    done = _python("from kuramori.cli.entry import main; main()", "-X", "importtime")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "kuramori.cli.main" in loaded
    assert not {"urllib3", "h2", "http.client", "ssl", "kuramori.storage.http_transport"} & loaded
