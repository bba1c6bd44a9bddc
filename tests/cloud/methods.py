"""Every method of Google's APIs that the kit may call: the permission that it needs, and what a call costs.

`READS` look at settings, of any resource. `OWN` change something or read contents: only of the run's own resources.
A method that is in neither is not sent. Prices are list prices in US dollars from memory, rounded up; check them with
https://cloud.google.com/products/calculator.
"""

PER_1000_A, PER_1000_B = 0.01, 0.0005  # Cloud Storage, multi-region: writes and lists; reads
PER_ACCESS, PER_VERSION = 0.03 / 10_000, 0.06 / 30  # Secret Manager: a value read; a version kept for a day
PER_TIB_QUERY = 6.25
PER_MESSAGE = 40 / 1024**4 * 1000  # Pub/Sub: a message is billed as at least 1 kB
DATAFLOW_JOB = 0.02  # a worker of 1 vCPU and 3.75 GB for up to ten minutes, with its disk
LEAST_QUERY_BYTES = 10 * 1024**2  # BigQuery bills at least this for each table that a query names

READS = {
    "cloudresourcemanager.projects.get": "resourcemanager.projects.get",
    "cloudresourcemanager.projects.getIamPolicy": "resourcemanager.projects.getIamPolicy",
    "cloudresourcemanager.projects.testIamPermissions": "",
    "serviceusage.services.batchGet": "serviceusage.services.get",
    "cloudbilling.projects.getBillingInfo": "resourcemanager.projects.get",
    "iam.projects.serviceAccounts.get": "iam.serviceAccounts.get",
    "iam.projects.serviceAccounts.getIamPolicy": "iam.serviceAccounts.getIamPolicy",
    "iam.projects.serviceAccounts.keys.list": "iam.serviceAccountKeys.list",
    "compute.regions.get": "compute.regions.get",
    "storage.buckets.get": "storage.buckets.get",
    "storage.buckets.list": "storage.buckets.list",
    "storage.buckets.getIamPolicy": "storage.buckets.getIamPolicy",
    "storage.notifications.list": "storage.buckets.get",
    "pubsub.Publisher.GetTopic": "pubsub.topics.get",
    "pubsub.Publisher.ListTopics": "pubsub.topics.list",
    "pubsub.Publisher.ListTopicSubscriptions": "pubsub.topics.get",
    "pubsub.Subscriber.GetSubscription": "pubsub.subscriptions.get",
    "pubsub.Subscriber.ListSubscriptions": "pubsub.subscriptions.list",
    "pubsub.Subscriber.ListSnapshots": "pubsub.snapshots.list",
    "pubsub.IAMPolicy.GetIamPolicy": "pubsub.topics.getIamPolicy, pubsub.subscriptions.getIamPolicy",
    "secretmanager.SecretManagerService.GetSecret": "secretmanager.secrets.get",
    "secretmanager.SecretManagerService.ListSecrets": "secretmanager.secrets.list",
    "secretmanager.SecretManagerService.ListSecretVersions": "secretmanager.versions.list",
    "secretmanager.SecretManagerService.GetSecretVersion": "secretmanager.versions.get",
    "secretmanager.SecretManagerService.GetIamPolicy": "secretmanager.secrets.getIamPolicy",
    "bigquery.datasets.get": "bigquery.datasets.get",
    "bigquery.datasets.list": "bigquery.datasets.get",
    "bigquery.jobs.get": "bigquery.jobs.get",
    "bigquery.jobs.list": "bigquery.jobs.listAll",
    "dataflow.projects.locations.jobs.list": "dataflow.jobs.list",
    "dataflow.projects.locations.jobs.get": "dataflow.jobs.get",
    "dataflow.projects.locations.jobs.messages.list": "dataflow.messages.list",
    "dataflow.JobsV1Beta3.ListJobs": "dataflow.jobs.list",
    "dataflow.JobsV1Beta3.GetJob": "dataflow.jobs.get",
    "dataflow.MessagesV1Beta3.ListJobMessages": "dataflow.messages.list",
}

OWN = {
    "storage.batch": "storage.objects.update, storage.objects.delete",
    "storage.buckets.insert": "storage.buckets.create",
    "storage.buckets.patch": "storage.buckets.update",
    "storage.buckets.update": "storage.buckets.update",
    "storage.buckets.setIamPolicy": "storage.buckets.setIamPolicy",
    "storage.buckets.lockRetentionPolicy": "storage.buckets.update",
    "storage.buckets.delete": "storage.buckets.delete",
    "storage.objects.insert": "storage.objects.create, storage.objects.delete",
    "storage.objects.get": "storage.objects.get",
    "storage.objects.list": "storage.objects.list",
    "storage.objects.patch": "storage.objects.update",
    "storage.objects.update": "storage.objects.update",
    "storage.objects.delete": "storage.objects.delete",
    "storage.objects.copy": "storage.objects.get, storage.objects.create",
    "storage.objects.rewrite": "storage.objects.get, storage.objects.create",
    "storage.objects.compose": "storage.objects.get, storage.objects.create",
    "storage.notifications.insert": "storage.buckets.update, pubsub.topics.getIamPolicy",
    "storage.notifications.delete": "storage.buckets.update",
    "pubsub.Publisher.CreateTopic": "pubsub.topics.create",
    "pubsub.Publisher.DeleteTopic": "pubsub.topics.delete",
    "pubsub.Publisher.Publish": "pubsub.topics.publish",
    "pubsub.Subscriber.CreateSubscription": "pubsub.subscriptions.create, pubsub.topics.attachSubscription",
    "pubsub.Subscriber.DeleteSubscription": "pubsub.subscriptions.delete",
    "pubsub.Subscriber.DeleteSnapshot": "pubsub.snapshots.delete",
    "pubsub.Subscriber.Pull": "pubsub.subscriptions.consume",
    "pubsub.Subscriber.StreamingPull": "pubsub.subscriptions.consume",
    "pubsub.Subscriber.Acknowledge": "pubsub.subscriptions.consume",
    "pubsub.Subscriber.ModifyAckDeadline": "pubsub.subscriptions.consume",
    "secretmanager.SecretManagerService.CreateSecret": "secretmanager.secrets.create",
    "secretmanager.SecretManagerService.DeleteSecret": "secretmanager.secrets.delete",
    "secretmanager.SecretManagerService.AddSecretVersion": "secretmanager.versions.add",
    "secretmanager.SecretManagerService.AccessSecretVersion": "secretmanager.versions.access",
    "secretmanager.SecretManagerService.EnableSecretVersion": "secretmanager.versions.enable",
    "secretmanager.SecretManagerService.DisableSecretVersion": "secretmanager.versions.disable",
    "secretmanager.SecretManagerService.DestroySecretVersion": "secretmanager.versions.destroy",
    "bigquery.datasets.insert": "bigquery.datasets.create",
    "bigquery.datasets.patch": "bigquery.datasets.update",
    "bigquery.datasets.delete": "bigquery.datasets.delete, bigquery.tables.delete",
    "bigquery.tables.get": "bigquery.tables.get",
    "bigquery.tables.list": "bigquery.tables.list",
    "bigquery.tables.insert": "bigquery.tables.create",
    "bigquery.tables.patch": "bigquery.tables.update",
    "bigquery.tables.update": "bigquery.tables.update",
    "bigquery.tables.delete": "bigquery.tables.delete",
    "bigquery.tabledata.list": "bigquery.tables.getData",
    "bigquery.jobs.insert": "bigquery.jobs.create, bigquery.tables.getData, bigquery.tables.updateData",
    "bigquery.jobs.query": "bigquery.jobs.create, bigquery.tables.getData, bigquery.tables.updateData",
    "bigquery.jobs.getQueryResults": "bigquery.jobs.get",
    "bigquery.jobs.cancel": "bigquery.jobs.update",
    "dataflow.projects.locations.jobs.create": "dataflow.jobs.create, iam.serviceAccounts.actAs",
    "dataflow.projects.locations.jobs.update": "dataflow.jobs.cancel",
    "dataflow.JobsV1Beta3.CreateJob": "dataflow.jobs.create, iam.serviceAccounts.actAs",
    "dataflow.JobsV1Beta3.UpdateJob": "dataflow.jobs.cancel",
}

# These name jobs by ids, and their results are those of calls that were admitted.
OF_JOBS = frozenset({"bigquery.jobs.getQueryResults", "bigquery.jobs.cancel"})
OF_JOBS |= {"dataflow.JobsV1Beta3.UpdateJob", "dataflow.projects.locations.jobs.update"}

CREATES_OBJECT = frozenset({"storage.objects.insert", "storage.objects.rewrite", "storage.objects.compose"})
QUERIES = frozenset({"bigquery.jobs.insert", "bigquery.jobs.query"})
CLASS_B = ("storage.buckets.get", "storage.objects.get", "storage.buckets.testIamPermissions")


def permission(method: str) -> str:
    """Return the permissions that a method needs, '' when it needs none."""
    return READS.get(method, OWN.get(method, ""))


def price(method: str) -> float:
    """Return the price of a call in US dollars, without what a query reads."""
    service, _, verb = method.partition(".")
    if service == "storage":
        return 0.0 if verb.endswith("delete") else (PER_1000_B if method in CLASS_B else PER_1000_A) / 1000
    if method.endswith("AccessSecretVersion"):
        return PER_ACCESS
    if method.endswith("AddSecretVersion"):
        return PER_VERSION
    if service == "pubsub" and verb.rpartition(".")[2] in ("Publish", "Pull", "StreamingPull"):
        return PER_MESSAGE
    return DATAFLOW_JOB if method.endswith(("jobs.create", "CreateJob")) and service == "dataflow" else 0.0
