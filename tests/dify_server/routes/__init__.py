"""The routes of the stand-in; importing them fills the table in `dify_server.calls`."""

from dify_server.routes import apps, beside, chat, logs, service, signin, tools, webapp, workflows

__all__ = ["apps", "beside", "chat", "logs", "service", "signin", "tools", "webapp", "workflows"]
