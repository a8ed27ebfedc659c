"""What the theory of wide networks says, without any data: the phase diagram."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import ValidationError

from models.diagnostics.phase import PhaseDiagram, PhaseRequest
from service.api.dependencies import ServicesDep, SpecObject, problem_responses
from service.http.problems import invalid_body

router = APIRouter(prefix="/theory", tags=["theory"])


@router.post(
    "/phase",
    summary="Compute a phase diagram",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/PhaseRequest"},
                    "example": {"activation": "tanh", "sigma_w": [1, 1.5, 2], "sigma_b": [0, 0.2]},
                }
            },
        }
    },
    responses=problem_responses(400, 413, 415, 422, 503),
)
async def get_phase_diagram(services: ServicesDep, connection: Request, body: SpecObject) -> PhaseDiagram:
    """Compute order and chaos of wide networks over weight scales sigma_w and bias scales sigma_b, for one activation.

    sigma_w^2 is n Var(W), and sigma_b^2 is Var(b). The response has, for each pair, the mean square q* and the
    correlation c* that layers reach, chi, and the depth scales xi_q and xi_c (Poole et al. 2016, Schoenholz et al.
    2017); the line of criticality; and the places of the schemes. Requests take turns with previews.
    """
    try:
        request = PhaseRequest.model_validate(body)
    except ValidationError as error:
        raise invalid_body(error, body) from None
    return await services.previews.phase_diagram(request, connection.is_disconnected)
