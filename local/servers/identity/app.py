"""Certificates and token requests in, the answers of Google's OAuth endpoints out."""

import secrets
import time
from pathlib import Path
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.servers.identity.tokens import identity_of, sign_oidc

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
LIFETIME_S = 3600


def identity_app(directory: Path) -> Starlette:
    """`GET /certs` and `POST /token` for the identity in a directory."""
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
        access = f"ya29.local-{secrets.token_urlsafe(24)}"
        return JSONResponse({"access_token": access, "expires_in": LIFETIME_S, "token_type": "Bearer"})

    return Starlette(routes=[Route("/certs", certs), Route("/token", token, methods=["POST"])])


def _oauth_error(error: str, description: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": description}, status_code=400)
