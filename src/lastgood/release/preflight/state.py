"""Whether the version may be gone to at all: where the channel points, what the version is known for, whether it can
be read."""

from collections.abc import Iterator

from lastgood.release.preflight.facts import Answer, Facts, Unknown, known


def state(facts: Facts) -> Iterator[Answer]:
    """The version's state: the one in service and a failed one are refused, a candidate is warned of."""
    to = facts.to
    if to.version == facts.pointed:
        yield Answer(
            "refuse",
            f"{facts.channel} of {facts.workflow} points to {to.version} already. Name another version to go to.",
        )
    elif to.state == "failed" and not facts.force:
        yield Answer(
            "refuse",
            f"{to.version} is failed ({to.why or 'no reason kept'}). Go to a proven version, or force it with a "
            "reason and the permission workflow:rollback:force.",
        )
    elif to.state == "failed":
        yield Answer("warn", f"{to.version} is failed ({to.why or 'no reason kept'}), and gone to by force.")
    elif to.state == "candidate":
        yield Answer("warn", f"{to.version} is not proven; named by you. Watch it, or prove it first.")
    else:
        proof = facts.why or to.why
        yield Answer("pass", f"{to.version} is stable{f' ({proof})' if proof and proof != 'named' else ''}.")


def content(facts: Facts) -> Iterator[Answer]:
    """Whether the stored content of the version can be read."""
    to, now = facts.to, facts.now
    if to.damaged and isinstance(to.content, Unknown):
        yield Answer(
            "refuse",
            f"The content of {to.version} is damaged: {to.content.reason}. Go to another version, and run "
            "`lastgood fsck`.",
        )
        return
    known(to.content)
    if now is not None and isinstance(now.content, Unknown):
        yield Answer(
            "warn",
            f"The content of {now.version}, which is in service, cannot be read: {now.content.reason}. So nothing "
            "can be compared with it.",
            "in service",
        )
    archived = ", and is brought back to hand from the archive" if to.archived else ""
    yield Answer("pass", f"The content of {to.version} can be read{archived}.")
