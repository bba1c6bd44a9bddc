"""Certificates and token requests in, the answers of Google's OAuth endpoints out."""

import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from local.servers.identity.tokens import identity_of, sign_oidc
from local.servers.rights.policy import make_token

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_S = 3600
SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def identity_app(directory: Path, account: str = "", project: str = "") -> Starlette:
    """`GET /certs` and `POST /token` for the identity in a directory; with an account also its metadata server."""
    identity = identity_of(directory)

    async def certs(_: Request) -> JSONResponse:
        return JSONResponse(identity.certificates, headers={"Cache-Control": f"public, max-age={LIFETIME_S}"})

    async def token(request: Request) -> JSONResponse:
        form = parse_qs((await request.body()).decode(errors="replace"))
        if form.get("grant_type") != [JWT_BEARER]:
            return _oauth_error("unsupported_grant_type", f"grant_type must be {JWT_BEARER}")
        from google.auth import exceptions, jwt

        try:
            claims = jwt.decode(form.get("assertion", [""])[0], certs=identity.certificates)
        except (exceptions.GoogleAuthError, ValueError) as error:
            return _oauth_error("invalid_grant", f"the assertion was not signed with this identity's key: {error}")
        if audience := claims.get("target_audience"):
            return JSONResponse({"id_token": sign_oidc(directory, audience, claims["iss"], time.time(), LIFETIME_S)})
        return JSONResponse(
            {"access_token": make_token(claims["iss"]), "expires_in": LIFETIME_S, "token_type": "Bearer"}
        )

    own = metadata_routes(account, project) if account else []
    return Starlette(routes=[Route("/certs", certs), Route("/token", token, methods=["POST"]), *own])


def _oauth_error(error: str, description: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": description}, status_code=400)


def metadata_routes(account: str, project: str) -> list[Route]:
    """Return the routes of a metadata server: what a virtual machine, pod or job of an account asks about itself.

    https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys; an identity token is not served.
    """
    own = "/computeMetadata/v1/instance/service-accounts"
    headers = {"Metadata-Flavor": "Google"}

    async def ping(_: Request) -> Response:
        return PlainTextResponse("computeMetadata/\n", headers=headers)

    async def described(request: Request) -> Response:
        if request.headers.get("metadata-flavor") != "Google":
            return PlainTextResponse("Missing Metadata-Flavor:Google header.", 403)
        if request.path_params["name"] not in ("default", account):
            return PlainTextResponse("Not Found", 404, headers)
        answers: dict[str, Any] = {
            "": {"aliases": ["default"], "email": account, "scopes": [SCOPE]},
            "email": account,
            "scopes": SCOPE,
            "token": {"access_token": make_token(account), "expires_in": LIFETIME_S, "token_type": "Bearer"},
        }
        answer = answers.get(request.path_params.get("key", ""))
        if answer is None:
            return PlainTextResponse("Not Found", 404, headers)
        return (
            PlainTextResponse(answer, headers=headers)
            if isinstance(answer, str)
            else JSONResponse(answer, 200, headers)
        )

    async def project_id(_: Request) -> Response:
        return PlainTextResponse(project, headers=headers)

    async def universe(_: Request) -> Response:
        return PlainTextResponse("googleapis.com", headers=headers)

    return [
        Route("/", ping),
        Route(own + "/{name}/", described),
        Route(own + "/{name}/{key}", described),
        Route("/computeMetadata/v1/project/project-id", project_id),
        Route("/computeMetadata/v1/universe/universe-domain", universe),
    ]
