"""Accounts, workspaces and what lets them in: passwords, sessions, codes of devices."""

import base64
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from dify_server.refusals import refuse

EMAIL = "owner@example.com"
PASSWORD = "correct horse 9"
ADMIN_KEY = "admin-key-of-the-fake"
TOKEN = "dfoa_token-of-the-fake"
EDITORS = ("owner", "admin", "editor")
MANAGERS = ("owner", "admin")


@dataclass
class Account:
    """A person. `roles` by workspace."""

    name: str
    email: str
    password: str = PASSWORD
    roles: dict[str, str] = field(default_factory=dict)
    id: str = field(default_factory=lambda: str(uuid4()))
    status: str = "active"
    signed_in_at: int | None = None

    @property
    def short(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "email": self.email}

    @property
    def home(self) -> str:
        """Its first workspace."""
        return next(iter(self.roles), "")


class People:
    """Who there is, and the sessions."""

    def __init__(self) -> None:
        self.workspaces: dict[str, str] = {}  # name by id
        self.accounts: list[Account] = []
        self.access: dict[str, str] = {}  # token -> account id
        self.refresh: dict[str, str] = {}
        self.csrf: dict[str, str] = {}
        self.expired: set[str] = set()
        self.tokens: dict[str, dict[str, Any]] = {}  # of /openapi/v1
        self.devices: list[dict[str, Any]] = []
        self.wrong: dict[str, int] = {}
        self.invitations: dict[str, Account] = {}
        self.plain_passwords = False
        self.number = 0

    def token(self, kind: str) -> str:
        self.number += 1
        return f"{kind}-{self.number}-{uuid4().hex}"

    def add_workspace(self, name: str) -> str:
        made = str(uuid4())
        self.workspaces[made] = name
        return made

    def add(self, name: str, email: str, workspace: str, role: str = "owner") -> Account:
        account = Account(name, email, roles={workspace: role})
        self.accounts.append(account)
        return account

    def by_id(self, account_id: str) -> Account | None:
        return next((one for one in self.accounts if one.id == account_id), None)

    def owner(self, workspace: str) -> Account:
        return next(one for one in self.accounts if one.roles.get(workspace) == "owner")

    def sign_in(self, email: str, sent: str) -> Account:
        """The account, by a password that came base64-encoded."""
        if self.wrong.get(email, 0) >= 6:
            raise refuse(
                429, "email_code_login_limit", "Too many incorrect password attempts. Please try again later."
            )
        if not self.plain_passwords:
            sent = _decoded(sent)
        account = next((one for one in self.accounts if one.email == email), None)
        if account is None or account.password != sent:
            self.wrong[email] = self.wrong.get(email, 0) + 1
            raise refuse(401, "authentication_failed", "Invalid email or password.")
        return account

    def open(self, account: Account) -> tuple[str, str, str]:
        """A new session's tokens: access, refresh, csrf."""
        tokens = self.token("access"), self.token("refresh"), self.token("csrf")
        for kept, token in zip((self.access, self.refresh, self.csrf), tokens, strict=True):
            kept[token] = account.id
        return tokens


def _decoded(sent: str) -> str:
    try:
        return base64.b64decode(sent, validate=True).decode()
    except ValueError:
        raise refuse(401, "authentication_failed", "Invalid encrypted data") from None
