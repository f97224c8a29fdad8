"""One request over HTTP, with a limit on its time and no secrets in its errors."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from kuramori.errors import N_, NotifierError

_MOST_ANSWER = 64 * 1024


def send(name: str, address: str, body: bytes | None, content_type: str, timeout: float) -> None:
    """Send ``body`` by POST, or GET if it is None.

    Args:
        name: of the notifier, for errors. The address holds a secret, as a rule, and is never shown.
        address: ``http://`` or ``https://``.
        content_type: of the body.
        timeout: seconds for each of connecting and answering.

    Raises:
        NotifierError: nobody took it.
    """
    if not address.lower().startswith(("http://", "https://")):  # urllib would also open files
        raise NotifierError(notifier=name, detail=N_("the address must begin with http:// or https://"))
    try:
        headers = {"User-Agent": "kuramori"} | ({"Content-Type": content_type} if body is not None else {})
        request = urllib.request.Request(address, data=body, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            answer.read(_MOST_ANSWER)
    except urllib.error.HTTPError as error:
        error.close()
        raise NotifierError(notifier=name, detail=f"HTTP {error.code}") from None
    except urllib.error.URLError as error:
        raise NotifierError(notifier=name, detail=_reason(error.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotifierError(notifier=name, detail=_reason(error)) from None


def _reason(error: object) -> str:
    """Return what the system said. Texts of other errors may quote the address."""
    if isinstance(error, TimeoutError):
        return N_("no answer in time")
    if isinstance(error, OSError) and error.strerror:
        return str(error.strerror)
    return type(error).__name__
