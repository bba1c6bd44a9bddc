"""A source of the project in; its contract, and its connector with the secrets filled in, out."""

from blocks.secrets import MillraceCredentials
from cli.connector_runs import ConnectorRun
from cli.environment import Environment
from cli.source_config import fill_secrets
from millrace.contracts.source import SourceContract, find_source, load_manifest, load_sources
from millrace.project import Project
from millrace.secrets import read_secret
from millrace.settings import load_settings

MANIFEST = "__injected_declarative_manifest"


def open_source(environment: Environment, name: str) -> tuple[SourceContract, ConnectorRun]:
    """Return the contract and the connector.

    Raises:
        UnknownStream: the project has no such source.
        SecretError: a secret of the configuration is missing.
    """
    folder = Project(environment.project).sources
    source = find_source(load_sources(folder), name)
    settings = load_settings()
    credentials = MillraceCredentials(project=settings.events.project, endpoint=settings.secrets.endpoint)
    config = source.connector.model_dump(mode="json")["config"]
    config = fill_secrets(config, lambda secret: read_secret(credentials, secret))
    if source.connector.manifest:
        config[MANIFEST] = load_manifest(folder, source)
    return source, ConnectorRun(source.connector.image, config)
