"""The certificates that requests to the world are held against."""

import ssl
from functools import cache

import httpx


@cache
def trusted() -> ssl.SSLContext:
    """One context for all clients of this process, by the certificates that come with httpx: to load them takes some
    20 ms, which a client that is made for one request would spend each time, even where it speaks plain HTTP."""
    return httpx.create_ssl_context(trust_env=False)
