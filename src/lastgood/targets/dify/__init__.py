"""A Dify server, self-hosted or cloud, as Lastgood uses it.

`connect` gives a `Client`; `learn` asks what its server can do (`Capabilities`). `console`, `service` and `openapi`
are Dify's three APIs, `forms` what they answer, `signin` the ways in, `wire` the limits. Calls raise `DifyError`."""

from lastgood.targets.dify.capabilities import Capabilities, Learnt, hash_covers, learn
from lastgood.targets.dify.client import Client, connect
from lastgood.targets.dify.forms import DRAFT, KEEP, MASK, content_hash
from lastgood.targets.dify.signin import AdminKey, Bearer, Password, Way
from lastgood.targets.dify.wire import Clock, Limits

NAME = "dify"

__all__ = [
    "DRAFT",
    "KEEP",
    "MASK",
    "NAME",
    "AdminKey",
    "Bearer",
    "Capabilities",
    "Client",
    "Clock",
    "Learnt",
    "Limits",
    "Password",
    "Way",
    "connect",
    "content_hash",
    "hash_covers",
    "learn",
]
