"""The application: its routes, and their description in OpenAPI."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from srulight import __version__
from srulight.serving.access import Access, Gate
from srulight.serving.batcher import Batcher
from srulight.serving.endpoints import JSON, Endpoints, Report, refusal, text
from srulight.serving.fields import Field
from srulight.serving.limits import Limits, RequestError
from srulight.serving.metrics import CONTENT_TYPE, Metrics
from srulight.serving.page import FILES, HEADERS, page, read
from srulight.serving.services.base import Service

_ERRORS = {
    400: "The body is not JSON.",
    401: "The token is missing or wrong.",
    408: "The request did not arrive in time.",
    413: "The request is too large.",
    415: "The body has another content type.",
    422: "A field, or the content of an input, cannot be used.",
    503: "Too many requests wait.",
    504: "The answer took too long.",
}


def build_app(
    service: Service,
    batcher: Batcher,
    limits: Limits,
    metrics: Metrics,
    token: str | None,
    report: Report,
) -> Any:  # noqa: ANN401
    """Returns the application, for a server that speaks ASGI.

    Args:
        service: Service of the task.
        batcher: Computes the answers.
        limits: Limits on requests.
        metrics: What ``GET /metrics`` shows.
        token: Token that requests need; None for none.
        report: Writes an unexpected error to the log.
    """
    from fastapi import FastAPI, Response, WebSocket

    def respond(
        body: str, status: int, kind: str, headers: dict[str, str] | None = None
    ) -> Response:
        return Response(body.encode("utf-8", "replace"), status, headers, kind)

    endpoints = Endpoints(service, batcher, limits, report)
    metrics.gauges["srulight_streams", "Open streams."] = lambda: endpoints.streams
    facts = {**service.facts, "input": service.kind, "limits": asdict(limits)}

    async def health() -> Response:
        return respond('{"status": "ok"}', 200, JSON)

    async def model() -> Response:
        return respond(text(facts), 200, JSON)

    async def show_metrics() -> Response:
        return respond(metrics.text(), 200, CONTENT_TYPE)

    async def index() -> Response:
        return respond(page(service, token is not None), 200, "text/html", HEADERS)

    async def missing(request: Any, error: Exception) -> Response:  # noqa: ANN401
        status = getattr(error, "status_code", 404)
        said = (
            f"there is no {request.method} {request.url.path[:80]}; GET /docs lists what there is"
        )
        return respond(*refusal(RequestError(status, said)))

    app = FastAPI(
        title=f"srulight: {facts['task']}", version=__version__, redoc_url=None,
        description="Answers requests with a trained model.",
    )  # fmt: skip
    app.add_exception_handler(404, missing)
    app.add_exception_handler(405, missing)
    app.add_api_route("/", index, include_in_schema=False)
    for name, kind in FILES.items():
        app.add_api_route(
            f"/page/{name}", partial(_file, respond, name, kind), include_in_schema=False
        )
    app.add_api_route("/health", health, summary="Whether the server runs")
    app.add_api_route("/v1/model", model, summary="The model and the limits on requests")
    app.add_api_route("/metrics", show_metrics, summary="Metrics for Prometheus")

    def post(
        path: str,
        endpoint: Callable[[Any], Awaitable[dict[str, Any]]],
        summary: str,
        described: dict[str, Any],
        parameters: list[dict[str, Any]],
    ) -> None:
        app.add_api_route(
            path, _typed(endpoints.guarded(endpoint, respond)), methods=["POST"], summary=summary,
            responses={status: {"description": said} for status, said in _ERRORS.items()},
            openapi_extra={
                "requestBody": {"required": True, "content": described}, "parameters": parameters,
            },
        )  # fmt: skip

    post("/v1/predict", endpoints.predict, f"Answer for each {service.kind}", *_request(service))
    if service.generator_fields:
        properties = {"prompt": {"type": "string"}, **_schemas(service.generator_fields)}
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        post("/v1/generate", endpoints.generate, "Continue a text", {JSON: {"schema": schema}}, [])
    if service.has_streams:

        async def stream(socket: WebSocket) -> None:
            await endpoints.stream(socket)

        app.add_api_websocket_route("/v1/stream", stream)
    paths = frozenset(getattr(route, "path", "") for route in app.routes)

    def refuse(error: RequestError) -> Response:
        return respond(*refusal(error))

    app.add_middleware(Gate, access=Access(token), metrics=metrics, paths=paths, refuse=refuse)
    return app


async def _file(respond: Callable[..., Any], name: str, kind: str) -> Any:  # noqa: ANN401
    """Returns a file of the page."""
    return respond(read(name), 200, kind, HEADERS)


def _typed(answer: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """Says that the argument is the request itself, which FastAPI takes from the annotation."""
    from fastapi import Request

    answer.__annotations__ = {"request": Request}
    return answer


def _request(service: Service) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Returns the bodies by media type, and the parameters of the query."""
    if service.files:
        fields = [
            {"name": f.name, "in": "query", "required": False, "schema": f.schema}
            for f in service.options
        ]
        return {kind: {"schema": service.input_schema} for kind in service.files}, fields
    inputs = {
        "type": "array", "items": service.input_schema, "minItems": 1,
        "maxItems": service.limits.max_inputs,
    }  # fmt: skip
    schema = {
        "type": "object", "properties": {"inputs": inputs, **_schemas(service.options)},
        "required": ["inputs"], "additionalProperties": False,
    }  # fmt: skip
    return {JSON: {"schema": schema}}, []


def _schemas(fields: tuple[Field, ...]) -> dict[str, Any]:
    return {field.name: field.schema for field in fields}
