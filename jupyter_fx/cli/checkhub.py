"""Whether an fx hub can be reached from here, by the way that an agent would take; if not, where that ends."""

from __future__ import annotations

import email.utils
import http.client
import json
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["Finding", "hub"]

Finding = tuple[str, str, str]
"""("ok", "warn" or "bad"; what was found; the cure)."""
WITHIN: Final = 6.0
SKEW: Final = 60.0
"""Seconds by which two clocks may differ before it is told."""
LINK: Final = "/api/v1/link"


def hub(address: str) -> Iterator[Finding]:
    """Check the way to the hub at `address`."""
    if address.startswith("unix:"):
        yield _socket(address.removeprefix("unix:").removeprefix("//"))
        return
    parts = urlsplit(address)
    host, tls = parts.hostname or "", parts.scheme in {"https", "wss"}
    port = parts.port or (443 if tls else 80)
    prefix = parts.path.rstrip("/").removesuffix(LINK)
    proxy = _proxy(host, port, tls=tls)
    try:
        status, headers, body = _get(host, port, f"{prefix}/health", tls=tls, proxy=proxy)
    except (OSError, http.client.HTTPException, ValueError) as error:
        yield "bad", *_why(address, host, port, proxy, error)
        return
    yield _answered(address, proxy, status, body)
    yield from _clock(headers.get("Date", ""))


def _socket(path: str) -> Finding:
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.settimeout(WITHIN)
            opened.connect(path)
    except OSError as error:
        return "bad", f"nobody serves {path} ({error.strerror or error})", "`jupyter fx up` starts an fx hub"
    return "ok", f"the fx hub listens at {path}", ""


def _proxy(host: str, port: int, *, tls: bool) -> str:
    """The proxy that the environment names for this address, as our links choose it; empty: none."""
    from websockets.proxy import get_proxy
    from websockets.uri import parse_uri

    if host in {"localhost", "127.0.0.1", "::1"}:
        return ""
    where = f"[{host}]" if ":" in host else host
    return get_proxy(parse_uri(f"{'wss' if tls else 'ws'}://{where}:{port}/")) or ""


def _get(host: str, port: int, path: str, *, tls: bool, proxy: str) -> tuple[int, Any, bytes]:
    """(status, headers, body) of GET; through a tunnel of the proxy if there is one."""
    context = ssl.create_default_context() if tls else None
    first = urlsplit(proxy) if proxy else None
    at, door = (first.hostname or "", first.port or 80) if first is not None else (host, port)
    if context is not None:
        made: http.client.HTTPConnection = http.client.HTTPSConnection(at, door, timeout=WITHIN, context=context)
    else:
        made = http.client.HTTPConnection(at, door, timeout=WITHIN)
    if first is not None:
        headers = {}
        if first.username:
            import base64

            word = base64.b64encode(f"{first.username}:{first.password or ''}".encode()).decode()
            headers["Proxy-Authorization"] = f"Basic {word}"
        made.set_tunnel(host, port, headers)
    try:
        made.request("GET", path)
        answer = made.getresponse()
        return answer.status, answer.headers, answer.read(65536)
    finally:
        made.close()


def _named(proxy: str) -> str:
    """A proxy's address without what could be a password."""
    parts = urlsplit(proxy)
    return f"{parts.hostname}:{parts.port or 80}"


def _why(address: str, host: str, port: int, proxy: str, error: Exception) -> tuple[str, str]:
    """(what was found, the cure) for a way that ends somewhere."""
    where = f"the proxy {_named(proxy)}" if proxy else f"{host}, port {port}"
    of = f", on the way to the fx hub at {address}" if proxy else f" (the fx hub at {address})"
    if isinstance(error, socket.gaierror):
        cure = "check the proxy's address in https_proxy" if proxy else "check the address, and this host's DNS"
        return f"the name of {where}{of} is not known here", cure
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {host} is not trusted here ({error.verify_message})",
            "set SSL_CERT_FILE to its authority's certificate",
        )
    if isinstance(error, OSError) and "unnel connection failed" in str(error):
        return (
            f"the proxy {_named(proxy)} does not let us through to {host}:{port} ({str(error).rpartition(': ')[2]})",
            "ask whoever runs it to allow CONNECT to that port; a user name and password go into https_proxy",
        )
    if isinstance(error, TimeoutError):
        cure = (
            "check the address in https_proxy; put the hub into no_proxy if it is reached without"
            if proxy
            else "a firewall drops it: set https_proxy if this network has a proxy, or have the port opened"
        )
        return f"{where} does not answer within {WITHIN:g} s{of}", cure
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens at {where}{of}", "check the address and the port, and that it runs"
    return (
        f"{where} cannot be reached{of}: {str(error) or type(error).__name__}",
        "check the address, the network, the proxy",
    )


def _answered(address: str, proxy: str, status: int, body: bytes) -> Finding:
    through = f" through the proxy {_named(proxy)}" if proxy else ""
    try:
        told = json.loads(body)
        ready, why = bool(told["ready"]), str(told["why"])
    except (ValueError, KeyError, TypeError):
        return (
            "bad",
            f"what answers at {address}{through} is no fx hub (HTTP {status})",
            "check the address, its path too; a login page of a proxy may be in between",
        )
    if not ready:
        return "bad", f"the fx hub at {address} takes no work: {why}", "ask whoever runs it"
    return "ok", f"the fx hub at {address} answers{through}", ""


def _clock(date: str) -> Iterator[Finding]:
    try:
        parsed = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return  # of something between, or none: the clocks are not compared
    ahead = time.time() - parsed.timestamp()
    if abs(ahead) > SKEW:
        words = f"{abs(ahead) / 3600:.1f} h" if abs(ahead) > 5400 else f"{abs(ahead) / 60:.0f} min"
        yield (
            "warn",
            f"the clock of this host is {words} {'ahead of' if ahead > 0 else 'behind'} the fx hub's",
            "set it (chrony, ntpd): tasks are safe, but certificates fail and times in logs and cards do not agree",
        )
