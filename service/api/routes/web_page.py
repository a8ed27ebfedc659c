"""The web page: its static files, and Plotly's JavaScript from the installed package. Not part of the API.

The page may load only its own files, and send requests only to this service. Its code needs no inline scripts, inline
styles or eval; `PLOTLY_STYLES` lists the exceptions for Plotly.
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from importlib.metadata import distribution, version
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import FileResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from service.errors import NotFound
from service.http.accept import takes_gzip

WEB = Path(__file__).parents[2] / "web"
SMALLEST_COMPRESSED_BYTES = 500
REVALIDATE = "no-cache"
FOREVER = "public, max-age=31536000, immutable"

PLOTLY_STYLES = (
    "'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='",  # style sheet of its maps, added when it loads; not used
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",  # an empty style attribute, on colour bars
    "'sha256-AR/cKIZjWPcPmBUPDA6oti9XBiTbJvz0Cro2J1VzzS8='",  # image-rendering: pixelated, on heat maps
)
"""Hashes of the inline styles that Plotly writes into the page; no other inline style is allowed."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' 'unsafe-hashes' {' '.join(PLOTLY_STYLES)}",
        "img-src 'self' data: blob:",  # digits in responses, drawings, Plotly's heat maps
        "connect-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

router = APIRouter(include_in_schema=False)


@router.get("/")
def get_page() -> Response:
    """Return the page; everything else that it needs is under /web."""
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": REVALIDATE,
    }
    return FileResponse(WEB / "index.html", media_type="text/html", headers=headers)


@router.get("/web/plotly.min.js")
def find_plotly() -> Response:
    """Redirect to the installed Plotly under a name with its version, which a browser may cache."""
    return RedirectResponse(f"/web/plotly-{version('plotly')}.min.js", headers={"Cache-Control": REVALIDATE})


@router.get("/web/plotly-{asked}.min.js")
async def get_plotly(request: Request, asked: str) -> Response:
    """Return Plotly's JavaScript; it is compressed once per process."""
    if asked != version("plotly"):
        raise NotFound(f"Plotly {asked} is not installed.", "/web/plotly.min.js redirects to the installed version.")
    headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
    if not takes_gzip(request.headers.get("accept-encoding", "")):
        return FileResponse(_plotly_file(), media_type="text/javascript", headers=headers)
    compressed = await run_in_threadpool(_compressed_plotly)
    return Response(compressed, media_type="text/javascript", headers={**headers, "Content-Encoding": "gzip"})


class WebFiles(StaticFiles):
    """The page's files; browsers revalidate them on every load."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file, or 304 if it has not changed."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = REVALIDATE
        return response


def install(app: FastAPI) -> None:
    """Add the routes of the page and its files to `app`."""
    app.include_router(router)
    app.mount("/web", GZipMiddleware(WebFiles(directory=WEB), minimum_size=SMALLEST_COMPRESSED_BYTES))


def _plotly_file() -> Path:
    return Path(str(distribution("plotly").locate_file("plotly/package_data/plotly.min.js")))


@lru_cache(maxsize=1)
def _compressed_plotly() -> bytes:
    return gzip.compress(_plotly_file().read_bytes(), compresslevel=6, mtime=0)
