"""Strict check of Kubernetes objects: every key, type and required field, by the models of the Kubernetes client.

`kubernetes_asyncio` is generated from the API's own description; the few objects of other makers have a small one here.
"""

import re
from typing import Any

from kubernetes_asyncio.client import models

Json = dict[str, Any]
SCALARS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (float, int),
    "datetime": (str,),
    "object": (object,),
}
KINDS = {
    "v1": "V1",
    "apps/v1": "V1",
    "batch/v1": "V1",
    "networking.k8s.io/v1": "V1",
    "policy/v1": "V1",
    "rbac.authorization.k8s.io/v1": "V1",
    "autoscaling/v2": "V2",
}
# Each maker's own: https://external-secrets.io, https://cloud.google.com/kubernetes-engine/docs/how-to/ingress-configuration
OTHERS: dict[tuple[str, str], Json] = {
    ("external-secrets.io/v1", "SecretStore"): {
        "provider": {
            "gcpsm": {
                "projectID": str,
                "auth": {
                    "workloadIdentity": {"clusterLocation": str, "clusterName": str, "serviceAccountRef": {"name": str}}
                },
            }
        },
    },
    ("external-secrets.io/v1", "ExternalSecret"): {
        "refreshInterval": str,
        "secretStoreRef": {"kind": str, "name": str},
        "target": {"name": str},
        "data": [{"secretKey": str, "remoteRef": {"key": str}}],
    },
    ("networking.gke.io/v1", "ManagedCertificate"): {"domains": [str]},
    ("networking.gke.io/v1beta1", "FrontendConfig"): {"redirectToHttps": {"enabled": bool}, "sslPolicy": str},
    ("cloud.google.com/v1", "BackendConfig"): {
        "healthCheck": {"type": str, "requestPath": str, "port": int},
        "connectionDraining": {"drainingTimeoutSec": int},
        "timeoutSec": int,
    },
}


def errors(document: Json) -> list[str]:
    """Return the faults of an object; an empty list for a valid one."""
    kind = (str(document.get("apiVersion")), str(document.get("kind")))
    if kind in OTHERS:
        rest = {k: v for k, v in document.items() if k != "spec"}
        wrong = _by_model(rest, models.V1ConfigMap, kind[1])
        return wrong + _by_shape(document.get("spec"), OTHERS[kind], f"{kind[1]}.spec")
    model = getattr(models, KINDS.get(kind[0], "?") + kind[1], None)
    if model is None:
        return [f"{kind[0]} {kind[1]}: no such kind is known"]
    return _by_model(document, model, kind[1])


def _by_model(value: Any, model: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: expected an object, got {value!r}"]
    keys = {key: attribute for attribute, key in model.attribute_map.items()}
    wrong = [f"{where}.{key}: no such field" for key in value if key not in keys]
    for key, inner in value.items():
        if key in keys:
            wrong += _by_type(inner, model.openapi_types[keys[key]], f"{where}.{key}")
    missing = [key for key, attribute in keys.items() if _required(model, attribute) and value.get(key) is None]
    return wrong + [f"{where}.{key}: is required" for key in missing]


def _by_type(value: Any, kind: str, where: str) -> list[str]:
    if match := re.fullmatch(r"list\[(.+)\]", kind):
        if not isinstance(value, list):
            return [f"{where}: expected a list, got {value!r}"]
        return [e for i, item in enumerate(value) for e in _by_type(item, match[1], f"{where}[{i}]")]
    if match := re.fullmatch(r"dict\(str, (.+)\)", kind):
        if not isinstance(value, dict):
            return [f"{where}: expected a mapping, got {value!r}"]
        return [e for key, item in value.items() for e in _by_type(item, match[1], f"{where}.{key}")]
    if kind in SCALARS:
        fits = isinstance(value, SCALARS[kind]) and (kind in ("bool", "object") or not isinstance(value, bool))
        return [] if fits else [f"{where}: expected {kind}, got {value!r}"]
    return _by_model(value, getattr(models, kind), where)


def _required(model: Any, attribute: str) -> bool:
    """Return True when the attribute is required: only then the client's setter rejects None."""
    try:
        setattr(model.__new__(model), attribute, None)
    except ValueError:
        return True
    except AttributeError:  # it looks at whether it should check at all
        probe = model.__new__(model)
        probe.local_vars_configuration = _CHECKS
        try:
            setattr(probe, attribute, None)
        except ValueError:
            return True
    return False


class _Checks:
    client_side_validation = True


_CHECKS = _Checks()


def _by_shape(value: Any, shape: Any, where: str) -> list[str]:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{where}: expected an object, got {value!r}"]
        wrong = [f"{where}.{key}: no such field" for key in value if key not in shape]
        return wrong + [e for k, v in value.items() if k in shape for e in _by_shape(v, shape[k], f"{where}.{k}")]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where}: expected a list, got {value!r}"]
        return [e for i, item in enumerate(value) for e in _by_shape(item, shape[0], f"{where}[{i}]")]
    return [] if isinstance(value, shape) else [f"{where}: expected {shape.__name__}, got {value!r}"]
