"""Every error that the platform raises on purpose, as one tree.

MillraceError
├── Retryable                   a temporary fault: try the same call again
│   ├── ServiceUnavailable      a server did not answer, or answered 5xx
│   ├── LandingIncomplete       the lake has fewer rows than Airbyte reports, so far
│   ├── WarehouseBusy           another process holds the warehouse's writer lock
│   ├── StreamBusy              another process merges the stream
│   ├── StagingLost             staging files or reports are gone; stage the batch again
│   ├── StreamUnprepared        a stream's table lacks columns of its contract; a merge or reconcile adds them
│   └── HeadMoved               another committer won; look again at the pending manifests
├── Fatal                       a person must act: trying again changes nothing
│   ├── SettingsError           a setting is missing or malformed
│   ├── ContractError           a file in sources/ is wrong
│   │   └── UnknownStream       the contracts have no such source or stream
│   ├── SecretError             a secret is missing, disabled or empty
│   ├── AccessDenied            an identity lacks a permission at Google Cloud
│   ├── AirbyteRefused          Airbyte rejected a request
│   │   └── SyncRunning         a job of the connection is running already
│   ├── SyncFailed              Airbyte ended the sync without success
│   ├── SyncTimeout             the sync ran past its deadline
│   ├── ConnectorFailed         a connector can't do what was asked
│   ├── ObjectMissing           an object, or the requested generation of it, does not exist
│   ├── ObjectExists            an object exists already, or its generation has changed
│   ├── ManifestConflict        two different manifests claim one sync
│   ├── EventRefused            a message or an event's parameters are invalid
│   ├── DataflowFailed          Dataflow rejected a job, or the job ended without success
│   ├── AlertFailed             Slack rejected a message
│   ├── CandidateMissing        a candidate does not exist, and its marts are not the published ones
│   ├── MartsMissing            a candidate has no marts
│   ├── MartsMoved              other marts were published while this candidate was built
│   ├── DatabaseUnreadable      a database of the warehouse can't be opened, or lacks the mark of its candidate
│   ├── BudgetExceeded          a batch would cost more than is allowed; it stays pending
│   ├── WarehouseRefused        the warehouse rejected a statement: a missing table, its syntax, a quota
│   ├── ReconcileIncomplete     reconcile could not check, or start, everything
│   ├── ShowIncomplete          show could not publish every page and file of the marts
│   ├── BalanceError            a merge does not balance: rows were lost or doubled
│   └── StackDown               the local stack of this machine is down (cli/errors.py)
└── DataQuality                 the data is wrong, the platform works
    ├── FileRejected            a file can't be read, or contradicts its contract
    │   └── FileVanished        a file that a manifest names is gone
    ├── QualityFailed           candidates did not pass the gate; their marts stay as they were
    └── BuildFailed             dbt could not build some marts, which stay as they were; the others are published
"""


class MillraceError(Exception):
    """Any error that the platform raises on purpose."""


class Retryable(MillraceError):
    """A temporary fault: try the same call again."""


class ServiceUnavailable(Retryable):
    """A server did not answer, or answered 5xx."""


class LandingIncomplete(Retryable):
    """The lake has fewer rows than Airbyte reports, so far."""


class WarehouseBusy(Retryable):
    """Another process holds the warehouse's writer lock; the message names the process."""


class StreamBusy(Retryable):
    """Another process merges the stream; the message names the process and the end of its lease."""


class StagingLost(Retryable):
    """Staging files or reports of a batch are gone, as another merge closed it; stage the batch again."""


class StreamUnprepared(Retryable):
    """A stream's table lacks columns of its contract; the next merge of the stream, or reconcile, adds them."""


class HeadMoved(Retryable):
    """Another committer won the stream's head; look again at the pending manifests."""


class Fatal(MillraceError):
    """A person must act: trying again changes nothing."""


class SettingsError(Fatal):
    """A setting is missing or malformed."""


class ContractError(Fatal):
    """A file in sources/ is wrong; the message names the file, the stream and the field."""


class UnknownStream(ContractError):
    """The contracts have no such source or stream; the message lists the existing ones."""


class SecretError(Fatal):
    """A secret is missing, disabled or empty."""


class AccessDenied(Fatal):
    """An identity lacks a permission; the message names both, the resource and the command that grants it."""


class AirbyteRefused(Fatal):
    """Airbyte rejected a request; the message holds Airbyte's answer."""


class SyncRunning(AirbyteRefused):
    """A job of the connection is running already."""


class SyncFailed(Fatal):
    """Airbyte ended the sync without success."""


class SyncTimeout(Fatal):
    """The sync ran past its deadline and was cancelled."""


class ObjectMissing(Fatal):
    """An object, or the requested generation of it, does not exist."""


class ObjectExists(Fatal):
    """A create-once object exists already, or an object's generation has changed."""


class ManifestConflict(Fatal):
    """Two different manifests claim one sync."""


class EventRefused(Fatal):
    """A message or an event's parameters are invalid."""


class DataflowFailed(Fatal):
    """Dataflow rejected a job, or the job ended without success; the message has its errors and the console's link."""


class AlertFailed(Fatal):
    """Slack rejected a message."""


class CandidateMissing(Fatal):
    """A candidate does not exist, and its marts are not the published ones."""


class MartsMissing(Fatal):
    """A candidate has no marts."""


class MartsMoved(Fatal):
    """Other marts were published while this candidate was built; to publish it would remove their rows."""


class DatabaseUnreadable(Fatal):
    """A database of the warehouse can't be opened, or lacks the mark of its candidate."""


class BudgetExceeded(Fatal):
    """A batch would read more bytes, or change a table more often, than is allowed; it stays pending."""


class WarehouseRefused(Fatal):
    """The warehouse rejected a statement: a missing table, its syntax, a quota; the message has its answer."""


class ReconcileIncomplete(Fatal):
    """Reconcile could not check, or start, everything; the message has every reason."""


class ShowIncomplete(Fatal):
    """Show could not publish every page and file of the marts; the message has every reason."""


class BalanceError(Fatal):
    """A merge does not balance: rows were lost or doubled."""


class DataQuality(MillraceError):
    """The data is wrong, the platform works."""


class FileRejected(DataQuality):
    """A file can't be read, or contradicts its contract."""


class FileVanished(FileRejected):
    """A file that a manifest names is gone."""


class QualityFailed(DataQuality):
    """Candidates did not pass the gate; their marts stay as they were, and others may have been published."""


class BuildFailed(DataQuality):
    """dbt could not build some marts, which stay as they were; the others are published."""
