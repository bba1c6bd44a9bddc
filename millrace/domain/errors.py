"""Every error the platform raises on purpose, as one tree.

MillraceError
├── Retryable                 heals by itself: try the same call again
│   ├── ServiceUnavailable    a server did not answer, or answered 5xx
│   ├── LandingIncomplete     fewer rows in the lake than Airbyte reports, as yet
│   ├── WarehouseBusy         another process holds the warehouse's writer lock
│   ├── StreamBusy            another process merges the stream
│   ├── StagingLost           staging files or reports are gone; stage the batch again
│   └── HeadMoved             another committer won; look again at what is pending
├── Fatal                     a person must act: trying again changes nothing
│   ├── SettingsError         a setting is missing or malformed
│   ├── ContractError         a file in sources/ is wrong
│   │   └── UnknownStream     no such source or stream
│   ├── SecretError           a secret is missing, disabled or empty
│   ├── SyncFailed            Airbyte ended the sync without success
│   ├── SyncTimeout           the sync ran past its deadline
│   ├── ManifestConflict      two different manifests claim one sync
│   ├── EventRefused          a message or an event's parameters make no sense
│   ├── DataflowFailed        Dataflow refused a job, or it ended without success
│   ├── AlertFailed           Slack refused a message
│   ├── MartsMoved            other marts were published while this candidate was built
│   ├── BudgetExceeded        a batch would cost more than is allowed; it stays pending
│   ├── WarehouseRefused      the warehouse refused a statement: rights, a missing table, its syntax
│   ├── ReconcileIncomplete   reconcile could not look at, or start, everything
│   └── BalanceError          a merge does not balance: rows were lost or doubled
└── DataQuality               the data is wrong, the platform works
    ├── FileRejected          a file can't be read, or contradicts its contract
    │   └── FileVanished      a file that a manifest names is gone
    └── QualityFailed         candidates did not pass the gate; marts stay as they were
"""


class MillraceError(Exception):
    """Any error the platform raises on purpose."""


class Retryable(MillraceError):
    """Heals by itself: try the same call again."""


class ServiceUnavailable(Retryable):
    """A server did not answer, or answered that it can't now."""


class LandingIncomplete(Retryable):
    """Fewer rows in the lake than Airbyte reports, as yet."""


class WarehouseBusy(Retryable):
    """Another process holds the warehouse; the message names it."""


class StreamBusy(Retryable):
    """Another process merges the stream; the message names it and says until when its lease runs."""


class StagingLost(Retryable):
    """Staging files or reports of a batch are gone, as another merge closed it; stage the batch again."""


class HeadMoved(Retryable):
    """Another committer won the stream's head; look again at what is pending."""


class Fatal(MillraceError):
    """A person must act: trying again changes nothing."""


class SettingsError(Fatal):
    """A setting is missing or malformed."""


class ContractError(Fatal):
    """A file in sources/ is wrong; the message names file, stream and field."""


class UnknownStream(ContractError):
    """No such source or stream; the message lists those there are."""


class SecretError(Fatal):
    """A secret is missing, disabled or empty."""


class SyncFailed(Fatal):
    """Airbyte ended the sync without success."""


class SyncTimeout(Fatal):
    """The sync ran past its deadline and was cancelled."""


class ManifestConflict(Fatal):
    """Two different manifests claim one sync."""


class EventRefused(Fatal):
    """A message, or an event's parameters, make no sense."""


class DataflowFailed(Fatal):
    """Dataflow refused a job, or it ended without success; the message has its errors and the console's link."""


class AlertFailed(Fatal):
    """Slack refused a message."""


class MartsMoved(Fatal):
    """Other marts were published while this candidate was built; it would take back what is in there."""


class BudgetExceeded(Fatal):
    """A batch would read more bytes, or change a table more often, than is allowed; it stays pending."""


class WarehouseRefused(Fatal):
    """The warehouse refused a statement: rights, a missing table, its syntax; the message has its own words."""


class ReconcileIncomplete(Fatal):
    """Reconcile could not look at, or start, everything; the message has every reason."""


class BalanceError(Fatal):
    """A merge does not balance: rows were lost or doubled."""


class DataQuality(MillraceError):
    """The data is wrong, the platform works."""


class FileRejected(DataQuality):
    """A file can't be read, or contradicts its contract."""


class FileVanished(FileRejected):
    """A file that a manifest names is gone."""


class QualityFailed(DataQuality):
    """Candidates did not pass the gate; the marts stay as they were."""
