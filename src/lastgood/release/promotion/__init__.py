"""Promotion: what one channel serves is carried to another, which may run in another workspace or on another server.

`mapping` and `overlay` read what people say of it; `carrying` is the rule, without I/O; `promoting` gathers what it
needs and keeps the version; `record` is the proof kept with it."""
