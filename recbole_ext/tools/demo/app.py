"""The web application of the page; it stores nothing between requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Address
from threading import Lock

from flask import Flask, Response, abort, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

from recbole_ext.tools.demo.answers import Guide, Said, read_said
from recbole_ext.tools.demo.form import Form, form_of
from recbole_ext.tools.new_users import Recommender

MOST_BYTES = 64 * 1024  # the longest request
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
    "require-trusted-types-for": "'script'",  # a browser refuses to make HTML of text
    "trusted-types": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{key} {value}" for key, value in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def trusted_hosts(address: IPv4Address) -> list[str] | None:
    """The host names that a request may have, so that no other site's name can lead to the server.

    Args:
        address: the address that the server listens on.

    Returns:
        The names; ``None`` allows any name, if the server listens on all addresses.
    """
    if address.is_unspecified:
        return None
    return [str(address), *(["localhost", "127.0.0.1"] if address.is_loopback else [])]


def create_app(recommender: Recommender, topk: int = 10, hosts: list[str] | None = None) -> Flask:
    """Create the application; the model answers once, so that no visitor waits for its start.

    ``GET /`` returns the page. ``POST /answer`` takes JSON, ``{"profile": {field: text}, "ratings":
    [[item, number], …], "skipped": [item, …]}``, whose keys are optional. It returns the result of
    :meth:`recbole_ext.tools.demo.answers.Guide.answer`, or ``{"error": text}``.

    Args:
        recommender: a model for new users.
        topk: the number of items in the list.
        hosts: the allowed host names, from :func:`trusted_hosts`.

    Raises:
        ValueError: if the model cannot place new users, or ``topk`` is below 1.
    """
    app = Flask(__name__)
    app.config.update(TRUSTED_HOSTS=hosts, MAX_CONTENT_LENGTH=MOST_BYTES)
    form, guide, lock = form_of(recommender), Guide(recommender, topk), Lock()
    items = recommender.dataset.field2token_id[recommender.item]
    name = f"{type(recommender.model).__name__} on {recommender.dataset.dataset_name}"
    guide.answer(Said({}, {}, []))

    @app.get("/")
    def page() -> str:
        return render_template("page.html", form=form, name=name)

    @app.post("/answer")
    def answer() -> Response:
        said = _said(form, items)
        with lock:  # the model lends its tables to the visitor while it answers
            return jsonify(guide.answer(said))

    app.register_error_handler(HTTPException, _error)
    app.after_request(_secured)
    return app


def _said(form: Form, items: Mapping[str, int]) -> Said:
    """The content of the request; a request that cannot be used is aborted."""
    if not request.is_json:  # which the page of another site cannot send
        abort(415, "the request must be application/json")
    try:
        return read_said(json.loads(request.get_data()), form, items)
    except RecursionError:
        abort(400, "the request is nested too deeply")
    except json.JSONDecodeError as error:
        abort(400, f"the request is not JSON: {error}")
    except UnicodeDecodeError:
        abort(400, "the request is not in UTF-8")
    except ValueError as error:
        abort(400, str(error))


def _error(error: HTTPException) -> tuple[Response, int]:
    """The answer to an error; for a fault of the server it only points to the log."""
    status = error.code or 500
    text = error.description if status < 500 else "the server failed; its log says why"
    return jsonify(error=text), status


def _secured(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response
