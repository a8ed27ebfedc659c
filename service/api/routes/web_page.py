"""The web page: its own static files, and Plotly's JavaScript from the installed package. Not part of the API.

The page may load nothing but its own files, and send requests to nobody but this service. Its own code runs without
inline scripts, inline styles and eval; see `PLOTLY_STYLES` for what is allowed to Plotly.
"""

from __future__ import annotations

import gzip
import re
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

WEB = Path(__file__).parents[2] / "web"
SMALLEST_COMPRESSED_BYTES = 500
REVALIDATE = "no-cache"
FOREVER = "public, max-age=31536000, immutable"

PLOTLY_STYLES = (
    "'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='",  # its maps' style sheet, added when it is loaded; not used
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",  # an empty style attribute, on colour bars
    "'sha256-AR/cKIZjWPcPmBUPDA6oti9XBiTbJvz0Cro2J1VzzS8='",  # image-rendering: pixelated, on heat maps
)
"""The very styles that Plotly writes into the page as text, by their hashes; no other inline style is let in."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' 'unsafe-hashes' {' '.join(PLOTLY_STYLES)}",
        "img-src 'self' data: blob:",  # pictures of digits in answers; what was drawn; Plotly's heat maps
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
    """Give the page; everything else it needs lies under /web."""
    headers = {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
        "Cache-Control": REVALIDATE,
    }
    return FileResponse(WEB / "index.html", media_type="text/html", headers=headers)


@router.get("/web/plotly.min.js")
def find_plotly() -> Response:
    """Lead to the installed Plotly under a name with its version, which a browser may keep."""
    return RedirectResponse(f"/web/plotly-{version('plotly')}.min.js", headers={"Cache-Control": REVALIDATE})


@router.get("/web/plotly-{asked}.min.js")
async def get_plotly(request: Request, asked: str) -> Response:
    """Give Plotly's JavaScript, compressed once for all."""
    if asked != version("plotly"):
        raise NotFound(f"Plotly {asked} is not here.", "/web/plotly.min.js leads to the one that is.")
    headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
    if not re.search(r"\bgzip\b", request.headers.get("accept-encoding", "")):
        return FileResponse(_plotly_file(), media_type="text/javascript", headers=headers)
    compressed = await run_in_threadpool(_compressed_plotly)
    return Response(compressed, media_type="text/javascript", headers={**headers, "Content-Encoding": "gzip"})


class WebFiles(StaticFiles):
    """The page's own files; a browser asks each time whether it still has the newest."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file, or that it has not changed."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = REVALIDATE
        return response


def install(app: FastAPI) -> None:
    """Serve the page and its files."""
    app.include_router(router)
    app.mount("/web", GZipMiddleware(WebFiles(directory=WEB), minimum_size=SMALLEST_COMPRESSED_BYTES))


def _plotly_file() -> Path:
    return Path(str(distribution("plotly").locate_file("plotly/package_data/plotly.min.js")))


@lru_cache(maxsize=1)
def _compressed_plotly() -> bytes:
    return gzip.compress(_plotly_file().read_bytes(), compresslevel=6, mtime=0)
