"""The request path: app key → workflow → channel → version → target, streamed.

A request is decided once, when its head has arrived, and finishes on the version it began with."""
