"""Every error Lastgood raises on purpose, as one tree.

    LastgoodError
    ├── InvalidInput                 400  what was sent cannot be read or makes no sense
    │   ├── InvalidDocument               a workflow document that is not accepted
    │   │   ├── NotYaml
    │   │   ├── NotJson
    │   │   ├── UnsafeYaml
    │   │   ├── InvalidValue
    │   │   ├── DuplicateKey
    │   │   ├── DocumentTooLarge     413
    │   │   ├── NotADocument
    │   │   └── BrokenGraph
    │   ├── InvalidId
    │   ├── InvalidSetting
    │   ├── InvalidRequest
    │   ├── TokenInAddress
    │   ├── RequestTooLarge          413
    │   ├── BodyTooLarge             413
    │   ├── RequestTimeout           408
    │   ├── InvalidExpectation
    │   ├── InvalidPlan
    │   ├── InvalidMapping
    │   ├── InvalidOverlay
    │   ├── InvalidCheckpoint             a signed head of the audit log that cannot be trusted
    │   ├── InvalidExport                 an export of the audit log that is none
    │   └── NoGraph                       an app mode that is kept but cannot be run
    ├── Unauthenticated              401
    │   ├── TokenExpired
    │   ├── SessionOver
    │   ├── SignInRefused
    │   └── ProviderRefused               what an identity provider answered is not accepted
    ├── Denied                       403
    ├── ForeignRequest               403  a page of somebody else's may have sent it
    ├── NotThroughProxy              403
    ├── NotFound                     404
    │   ├── UnknownWorkflow
    │   ├── UnknownVersion
    │   ├── UnknownSnapshot
    │   ├── UnknownChannel
    │   ├── UnknownKey
    │   ├── UnknownSmoke
    │   ├── UnknownRun
    │   ├── UnknownListener
    │   ├── UnknownOperation
    │   ├── UnknownWebhook
    │   ├── UnknownServer
    │   ├── UnknownApp
    │   ├── UnknownDraft
    │   ├── UnknownTile
    │   ├── UnknownPerson
    │   ├── UnknownRole
    │   ├── UnknownGrant
    │   ├── UnknownToken
    │   ├── NoProvider
    │   └── NothingKept
    ├── Conflict                     409  the request is fine, the state of things is not
    │   ├── AdminExists
    │   ├── BuiltInRole
    │   ├── RoleHeld
    │   ├── LastAdmin
    │   ├── IdTaken
    │   ├── NameTaken
    │   ├── AppTaken
    │   ├── ForeignVersion
    │   ├── AlreadyActive
    │   ├── FailedVersion
    │   ├── NothingGood
    │   ├── NothingLive
    │   ├── NotRunnable
    │   ├── NumberTooLow
    │   ├── DoesNotFit
    │   ├── PlanRefused
    │   ├── PlanVoid
    │   ├── NotPromotable
    │   ├── OperationTaken
    │   ├── OperationOver
    │   ├── StillCapturing
    │   ├── StillApplying
    │   ├── SecretsUnknown                secrets of a version that neither Lastgood nor Dify's draft has
    │   ├── SecretsUnread                 secrets of a draft that a write would lose
    │   ├── DatasetsEncrypted
    │   ├── DraftTaken                    somebody edits the draft
    │   ├── LogInconsistent               the audit log's tree does not extend what was signed
    │   ├── PublishedMeanwhile            somebody published in Dify
    │   ├── NotAsMeant                    Dify serves something else than was published
    │   └── NothingToHeal
    ├── ChannelMoved                 412  another move came first
    ├── GenerationRequired           428
    ├── TooManySignIns               429
    ├── ServerRefused                     what a server said to the command line
    ├── DifyError                    502  what came of asking a Dify server
    │   ├── DifyUnreachable               no answer at all
    │   │   └── DifyTimeout          504
    │   ├── DifyElsewhere                 a redirection
    │   ├── DifyUnreadable                an answer that is not Dify's
    │   ├── DifyFailed                    an answer of 500 and above
    │   ├── DifyBusy             503
    │   ├── DifySignInRefused
    │   ├── DifyDenied                    signed in, and not allowed
    │   ├── DifyMissing          404
    │   ├── DifyDraftChanged     409
    │   ├── DifyRefused                   every other answer of 400 and above
    │   ├── DifyLacks            409      the server has no such route
    │   └── MaskNotStored        409      a mask that would have become the secret
    └── Unavailable                  503
        ├── CheckpointNotSent             a place for checkpoints that took none
        ├── StoreFull                507
        ├── StoreUnreachable
        ├── StoreNewer
        ├── EngineMissing
        ├── ServerUnreachable
        ├── UpstreamUnreachable      502
        │   └── UpstreamTimeout      504
        ├── ProviderUnreachable      502
        ├── LiveVersionUnknown
        ├── ShuttingDown
        ├── DataDirectoryTaken
        ├── KeyRingDamaged
        ├── Unsealable
        └── DamagedContent           500

The docstring of a class is its message to the user: one sentence or two that say what was wrong, where,
and what to do. Names in braces are filled from the keyword arguments, which stay readable on the error as
``data`` (JSON-safe values) for the problem document of the HTTP API (RFC 9457).
"""

from typing import Any, ClassVar


class LastgoodError(Exception):
    """Something went wrong that Lastgood has no better sentence for: {detail}"""

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, **data: Any) -> None:
        self.data = data
        super().__init__(_flow(self.__doc__ or "").format_map(data))

    @property
    def code(self) -> str:
        """The stable name of this kind of error, ``unknown-workflow`` for ``UnknownWorkflow``."""
        name = type(self).__name__
        return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")

    def problem(self) -> dict[str, Any]:
        """This error as an RFC 9457 problem document (a JSON-safe dict)."""
        return {
            "type": f"urn:lastgood:problem:{self.code}",
            "title": self.code.replace("-", " ").capitalize(),
            "status": self.status,
            "detail": str(self),
            **{k: v for k, v in self.data.items() if k not in {"type", "title", "status", "detail"}},
        }


def _flow(text: str) -> str:
    return " ".join(text.split())


class InvalidInput(LastgoodError):
    """{detail}"""

    status = 400


class InvalidDocument(InvalidInput):
    """{source}: {detail}"""


class NotYaml(InvalidDocument):
    """{source}, line {line}, column {column}: this is not YAML ({reason}). Export the app from Dify again, or
    mend that line."""


class NotJson(InvalidDocument):
    """{source}, line {line}, column {column}: this is not JSON ({reason}). Fetch it again, or mend that line."""


class UnsafeYaml(InvalidDocument):
    """{source}, line {line}: {reason}. A workflow document holds plain values only; take that construct out."""


class InvalidValue(InvalidDocument):
    """{source}, line {line}: {reason}. A workflow document holds what JSON can hold; put the value in quotes if it
    is meant as text, else mend it."""


class DuplicateKey(InvalidDocument):
    """{source}, line {line}: the key {key!r} stands twice in one mapping (first on line {first_line}), and only
    one of them would count. Remove one."""


class DocumentTooLarge(InvalidDocument):
    """{source}: {what} is {found}, and at most {limit} is accepted. Split the workflow into smaller ones."""

    status = 413


class NotADocument(InvalidDocument):
    """{source}: {reason}. Send a Dify app export (a mapping with `app` and `workflow`), or the answer of Dify's
    or Lastgood's API."""


class BrokenGraph(InvalidDocument):
    """{source}: {summary}. Mend the graph in Dify's editor, export it again and push that; nothing was saved."""


class InvalidId(InvalidInput):
    """{value!r} is not a {kind} id; one looks like {example}."""


class InvalidSetting(InvalidInput):
    """The setting {name} cannot be {value!r}: {reason}."""

    exit_code = 2


class InvalidRequest(InvalidInput):
    """The request is not valid: {where}: {reason}."""


class RequestTooLarge(InvalidInput):
    """The body of this request is larger than {limit} bytes. Send files through /v1/files/upload and name them in
    the inputs, or raise LASTGOOD_MAX_BODY_BYTES."""

    status = 413


class BodyTooLarge(InvalidInput):
    """The body is larger than {megabytes} MB, which is the most that is accepted."""

    status = 413


class RequestTimeout(InvalidInput):
    """The body of this request did not arrive within {seconds} s. Send it again, faster."""

    status = 408


class TokenInAddress(InvalidInput):
    """A token stood in the address of this request ({name}), where proxies and histories keep it, so nothing was
    done. Send `Authorization: Bearer lg_…`, and make a new token in place of this one."""


class InvalidExpectation(InvalidInput):
    """{expression!r} is not a JMESPath expression ({reason}); write for example outputs.total == `42`."""


class InvalidPlan(InvalidInput):
    """{source}, {where}: {reason}. Mend that, or make the plan anew with `lastgood plan`; nothing was changed."""


class InvalidMapping(InvalidInput):
    """The mapping file {source}, {where}: {reason}. `lastgood promote … --write-mapping FILE` writes a draft of one;
    nothing was changed."""


class InvalidOverlay(InvalidInput):
    """The overlay file {source}, {where}: {reason}. Nothing was changed."""


class InvalidCheckpoint(InvalidInput):
    """This is no checkpoint of the audit log that can be trusted: {reason}. Get it again from where it was exported
    to, with the public key that was kept then."""


class InvalidExport(InvalidInput):
    """{path} is not an export of the audit log that can be read: {reason}. `lastgood audit export DIR` makes one."""


class NoGraph(InvalidInput):
    """{version} is a {mode} app, which has no graph: Lastgood keeps its versions but cannot run them."""


class Unauthenticated(LastgoodError):
    """No valid token came with the request. Send `Authorization: Bearer lg_…`; the first start of the server
    showed the admin token once, and `lastgood token reset` on the server's machine makes a new one."""

    status = 401


class TokenExpired(Unauthenticated):
    """The token {name} ended at {expires_at}. Make another with `lastgood token create {name}`."""


class SessionOver(Unauthenticated):
    """The session is over, or was ended. Sign in again (`POST /v1/session`)."""


class SignInRefused(Unauthenticated):
    """The name or the password is wrong. An admin sets a new password with `lastgood person password NAME`."""


class ProviderRefused(Unauthenticated):
    """The sign-in with the identity provider failed: {reason}. Begin again at `/v1/session/oidc`."""


class Denied(LastgoodError):
    """{actor} may not {action} on {resource}: {reason}."""

    status = 403


class ForeignRequest(LastgoodError):
    """This request changes something and may come from a page of somebody else's: {reason}. Nothing was changed."""

    status = 403


class NotThroughProxy(LastgoodError):
    """This server is reached through its proxy, and {address} is none of LASTGOOD_TRUSTED_PROXIES."""

    status = 403


class NotFound(LastgoodError):
    """{detail}"""

    status = 404


class UnknownWorkflow(NotFound):
    """There is no workflow {workflow!r}. `lastgood workflows` lists them; `lastgood push FILE --workflow
    {workflow}` makes it."""


class UnknownVersion(NotFound):
    """There is no version {version!r}{where}. `lastgood versions WORKFLOW` lists them."""


class UnknownSnapshot(NotFound):
    """There is no snapshot {snapshot!r}. `lastgood snapshots WORKFLOW` lists them."""


class UnknownChannel(NotFound):
    """Workflow {workflow} has no channel {channel!r}. `lastgood status` shows the channels; publishing to a new
    name makes one."""


class UnknownKey(NotFound):
    """Workflow {workflow} has no app key {key!r}. `lastgood key list {workflow}` lists them."""


class UnknownSmoke(NotFound):
    """Workflow {workflow} has no smoke request {smoke!r}. `lastgood smoke list {workflow}` lists them."""


class UnknownOperation(NotFound):
    """There is no operation {operation!r}. `lastgood operations` lists them."""


class UnknownWebhook(NotFound):
    """No webhook answers at this address: {reason}. `lastgood triggers WORKFLOW` shows those that do."""


class UnknownServer(NotFound):
    """There is no Dify server {server}. `lastgood servers` lists them, `lastgood connect` adds one."""


class UnknownApp(NotFound):
    """The channel {channel} of {workflow} runs on no Dify app. `lastgood bind` gives it one."""


class UnknownDraft(NotFound):
    """There is no draft state {draft}. `lastgood drafts WORKFLOW` lists them."""


class UnknownPerson(NotFound):
    """There is no person {person!r}. `lastgood person list` lists them, `lastgood person add` adds one."""


class UnknownToken(NotFound):
    """There is no token {token!r}. `lastgood token list` lists them."""


class NoProvider(NotFound):
    """No identity provider is set up here. Declare it in lastgood.toml: [oidc] with issuer, client_id,
    client_secret and redirect_url."""


class UnknownRole(NotFound):
    """There is no role {role!r}. `lastgood role list` lists them; `lastgood role create` makes one."""


class UnknownGrant(NotFound):
    """{subject} was not granted the role {role} on {on} here; it holds {held}. A grant that came from a source is
    revoked there."""


class UnknownListener(NotFound):
    """There is no listener {listener!r}; lastgood.toml declares: {known}. Declare [listeners.{listener}] there, or
    take the name out of the plan."""


class UnknownRun(NotFound):
    """Workflow {workflow} has no run {run!r} on record. The answer to a request names its run, as workflow_run_id;
    the newest 10,000 are kept."""


class UnknownTile(NotFound):
    """The audit log has no tile {tile} of that width. `GET /v1/audit/checkpoint` says how many rows it has."""


class NothingKept(NotFound):
    """Workflow {workflow} has no version yet. Push one with `lastgood push FILE --workflow {workflow}`."""


class Conflict(LastgoodError):
    """{detail}"""

    status = 409


class AdminExists(Conflict):
    """{home} has an admin already, so nothing was made. Where the way in is lost, `lastgood token reset` makes a new
    admin token in place of the old one."""


class NameTaken(Conflict):
    """The name {name!r} belongs to another {kind}. Choose another, or take that one away first."""


class BuiltInRole(Conflict):
    """The role {role} is built in and stays as it is. Make one of your own with `lastgood role create`."""


class RoleHeld(Conflict):
    """The role {role} is held by {count} {grants}, so it is not taken away. `lastgood grants --role {role}` lists
    them; revoke them first."""


class LastAdmin(Conflict):
    """{subject} is the last that has the role admin on everything, and this would leave nobody. Grant it to somebody
    else first, or revoke it on the server's own machine."""


class IdTaken(Conflict):
    """The {kind} id {value} is already taken{by}. Leave it out to get a new one, or choose another."""


class AppTaken(Conflict):
    """The app {app} on {server} is bound to {channel} of {workflow} already. A channel has one app, and an app one
    channel: `lastgood bind NAME --on {server} --app {app} --channel CHANNEL --move` gives it, with its history, to a
    channel that has none."""


class ForeignVersion(Conflict):
    """{version} is a version of {owner}, not of {workflow}. `lastgood versions {workflow}` lists the right ones."""


class AlreadyActive(Conflict):
    """Channel {channel} of {workflow} already points to {version} (generation {generation}); nothing was
    changed."""


class FailedVersion(Conflict):
    """{version} of {workflow} is marked failed ({why}), so it is never a target. Choose another with --to, or
    force it with --force and a --reason."""


class NothingGood(Conflict):
    """Workflow {workflow} has no stable version to go back to besides the live one; nothing was changed. Name
    one with `--to VERSION`, or prove one with `lastgood mark VERSION stable --reason …`."""


class NothingLive(Conflict):
    """Channel {channel} of {workflow} points to no version yet. Publish one with `lastgood publish {workflow}
    VERSION`."""


class NotRunnable(Conflict):
    """{version} cannot run on the embedded engine: {reasons}. It can still be kept, compared and exported."""


class NumberTooLow(Conflict):
    """{wanted} is lower than {computed}, which the changes call for ({because}). Leave --semver out, raise it, or
    force it with --force and a --reason."""


class DoesNotFit(Conflict):
    """The difference does not fit this document: {where} is not what was compared. Compare again with the document
    as it is now."""


class PlanRefused(Conflict):
    """This {kind} is refused: {reasons}. Mend that, choose another version with --to, or force it with --force and a
    --reason; nothing was changed."""


class NotPromotable(Conflict):
    """{version} is not promoted from {origin} to {target}: {reasons} Nothing was changed."""


class PlanVoid(Conflict):
    """The plan no longer holds: {reasons}. Nothing was changed; make it anew with `lastgood plan` and look at it
    again."""


class StillCapturing(Conflict):
    """{server} is being captured already. Wait for that; its progress is at `GET /v1/servers/{server}/capture`."""


class OperationTaken(Conflict):
    """{operation} is being worked on by {owner}. Watch it with `lastgood operation {operation} --watch`; should that
    process be dead, another takes it over within {seconds} s."""


class OperationOver(Conflict):
    """{operation} is over ({state}: {summary}), and nothing is left of it to be done or undone so."""


class StillApplying(Conflict):
    """Channel {channel} of {workflow} is being moved by {operation}; wait for it, then look at `lastgood log
    {workflow}`."""


class SecretsUnknown(Conflict):
    """{what} has the secret {names}, whose value is not kept here, and the draft on {server} has none of that name.
    Add it to the draft in Dify, or push the version with its value; nothing was written."""


class SecretsUnread(Conflict):
    """The draft of {app} on {server} has secrets that this account may not read ({reason}), so they could not be put
    back after a write. Connect with an account that may export secrets (the role of editor); nothing was written."""


class DatasetsEncrypted(Conflict):
    """{what} names the knowledge bases of {nodes} as an export does, encrypted, which a draft on {server} cannot
    take. Capture it from Dify, or promote it, which maps them; nothing was written."""


class DraftTaken(Conflict):
    """The draft of {app} on {server} was changed by {who} at {at} while {operation} was under way: {what}. It was not
    overwritten. Agree with them, then begin again."""


class LogInconsistent(Conflict):
    """The audit log's tree does not extend the checkpoint that was signed at {size} rows ({reason}), so no new one is
    signed. Somebody changed the store: `lastgood audit verify` says where."""


class PublishedMeanwhile(Conflict):
    """{who} published {label} of {app} on {server} while {operation} was under way. It was left as it is; look at
    `lastgood drift {workflow}` and decide."""


class NotAsMeant(Conflict):
    """What {server} serves of {app} after the publish is not {version}: {what}. Look at `lastgood drift {workflow}`;
    `lastgood heal {workflow}` puts ours back."""


class NothingToHeal(Conflict):
    """{server} serves what {channel} of {workflow} says ({version}); there is nothing to {what}."""


class ChannelMoved(LastgoodError):
    """Channel {channel} of {workflow} is at generation {generation}, not {expected}: {actor} moved it to {version}
    at {at} ({reason}). Nothing was changed by this request; look at `lastgood log {workflow}` and decide again."""

    status = 412


class GenerationRequired(LastgoodError):
    """A move needs the generation that you expect: read the channel and send its ETag as `If-Match`."""

    status = 428


class TooManySignIns(LastgoodError):
    """Too many sign-ins failed for this name or from this address; the next is looked at in {seconds} s. A right
    password is refused until then too."""

    status = 429


class ServerRefused(LastgoodError):
    """{detail}"""


class DifyError(LastgoodError):
    """{detail}"""

    status = 502


class DifyUnreachable(DifyError):
    """Dify at {server} does not answer ({reason}) when asked to {what}. {outcome} Look at the address, the network
    and the server's own logs."""


class DifyTimeout(DifyUnreachable):
    """Dify at {server} gave no whole answer within {seconds:g} s when asked to {what}. {outcome} Look whether it is
    overloaded: calls that hang keep a small Dify busy for minutes."""

    status = 504


class DifyElsewhere(DifyError):
    """Dify at {server} sends to {location} when asked to {what}. Credentials do not follow to another address:
    connect to that one if it is yours."""


class DifyUnreadable(DifyError):
    """What came from {server} when asked to {what} is not an answer of Dify's API ({reason}). {outcome} Look whether
    the address is that of Dify itself and what a proxy before it says."""


class DifyFailed(DifyError):
    """Dify at {server} failed ({said}) when asked to {what}. {outcome} Dify also fails so for an id that it cannot
    read; look at its logs."""


class DifyBusy(DifyError):
    """Dify at {server} asks to wait {wait} when asked to {what} ({said}). Nothing was changed there; try again
    later, or let fewer others ask it."""

    status = 503


class DifySignInRefused(DifyError):
    """Dify at {server} does not take the {way}: {said}. It is not tried again, because Dify locks an account for a
    day after six wrong passwords; connect again with the right one."""


class DifyDenied(DifyError):
    """Dify at {server} does not let this account {what} ({said}). Editing, publishing and exporting ask for the
    role of editor or above."""


class DifyMissing(DifyError):
    """Dify at {server} has nothing there when asked to {what} ({said}). It may have been deleted, or belong to
    another workspace."""

    status = 404


class DifyDraftChanged(DifyError):
    """Somebody changed the draft on {server} since it was read, so it was not overwritten when asked to {what}. Read
    it again, look at what changed, and decide anew."""

    status = 409


class DifyRefused(DifyError):
    """Dify at {server} refused to {what}: {said}. Nothing was changed there by this request."""


class DifyLacks(DifyError):
    """Dify at {server} cannot {what}: it has no such route. `lastgood connect` tells what this server can do."""

    status = 409


class MaskNotStored(DifyError):
    """The secret variable {name!r} was to be written to {server} as a row of asterisks, which some versions of Dify
    would store as its value. Nothing was sent; give the value, or ask to keep the stored one."""

    status = 409


class Unavailable(LastgoodError):
    """{detail}"""

    status = 503


class CheckpointNotSent(Unavailable):
    """The checkpoint did not reach {destination}: {reason}. It is tried again; look at the setting, the place and the
    network between."""


class StoreFull(Unavailable):
    """The disk under {path} is full, so nothing was saved. Free some space; a rollback still works on the
    reserve that is kept for it."""

    status = 507


class StoreUnreachable(Unavailable):
    """The store {url} cannot be reached: {reason}. Nothing was changed."""


class StoreNewer(Unavailable):
    """The store {url} was written by a newer Lastgood (schema {found}, this one knows {known}). Upgrade this
    installation."""


class EngineMissing(Unavailable):
    """The embedded engine is not installed, so nothing can run here. Install it with `pip install
    'lastgood[engine]'`."""


class ServerUnreachable(Unavailable):
    """The Lastgood server at {url} does not answer ({reason}). Start it with `lastgood serve`, or unset
    LASTGOOD_SERVER to work on the local data directory."""


class UpstreamUnreachable(Unavailable):
    """The upstream {upstream} does not answer ({reason}). The version was not at fault; look at `lastgood
    doctor`."""

    status = 502


class UpstreamTimeout(UpstreamUnreachable):
    """The upstream {upstream} gave no answer in time ({reason}). The run may still go on there; look at `lastgood
    doctor`."""

    status = 504


class ProviderUnreachable(Unavailable):
    """The identity provider {issuer} does not answer as it should ({reason}). Sign in with a password, or try again
    later."""

    status = 502


class LiveVersionUnknown(Unavailable):
    """This gateway worker cannot learn which version is live ({reason}), so it answers nothing rather than a wrong
    version. Send the request again; LASTGOOD_ON_STORE_LOSS=serve makes workers go on with what they knew."""


class ShuttingDown(Unavailable):
    """This gateway worker is shutting down and ended the request after {seconds} s of grace. Send it again."""


class DataDirectoryTaken(Unavailable):
    """Another Lastgood server (process {pid}, {address}) already uses {path}. Stop it, or choose another
    directory with LASTGOOD_HOME."""


class KeyRingDamaged(Unavailable):
    """The key ring {path} cannot be read ({reason}), so no secret can be opened. Put it back from your backup."""


class Unsealable(Unavailable):
    """The secret {name} cannot be opened: the key {key_id} is not in the key ring {path}, or the stored bytes
    were changed. Put the key ring back from your backup."""


class DamagedContent(Unavailable):
    """The stored content of {snapshot} is damaged: its digest is {found}, not {expected}. Restore it from a
    backup, or push the document again."""

    status = 500
