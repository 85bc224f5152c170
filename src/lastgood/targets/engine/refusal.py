"""A request that is refused, in Dify's shape: ``{code, message, status}``."""


class Refusal(Exception):
    """Answer `status` with Dify's `code` and a sentence."""

    def __init__(self, status: int, code: str, message: str, *, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers
        super().__init__(message)

    @property
    def body(self) -> dict[str, object]:
        """The JSON that the client gets."""
        return {"code": self.code, "message": self.message, "status": self.status}


class Unpublished(Refusal):
    """The workflow has no version in service."""

    def __init__(self) -> None:
        super().__init__(400, "invalid_param", "Workflow not published")


def invalid(message: str) -> Refusal:
    """400 for what the request asks."""
    return Refusal(400, "invalid_param", message)


def bad_request(message: str) -> Refusal:
    """400 for how the request is written."""
    return Refusal(400, "bad_request", message)


def not_found(message: str) -> Refusal:
    """404."""
    return Refusal(404, "not_found", message)
