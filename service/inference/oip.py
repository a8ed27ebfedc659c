"""Open Inference Protocol v2: requests and responses as JSON, with tensors in the JSON or as bytes after it.

A request is JSON `{id, parameters, inputs, outputs}`. With the binary extension, the header
Inference-Header-Content-Length is the length of the JSON, and tensors follow as little-endian, row-major bytes. A
length of 0 means that the body is a single tensor. The protocol is KServe's; the extensions are Triton's.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from models.errors import InvalidImage
from models.vocabulary import CLASSES, PIXELS
from service.errors import MalformedBody
from service.http.json_body import UTF_8_MARK, parse_images
from service.http.numbers import whole_number
from service.inference.images import MAX_IMAGES
from service.inference.pixel_numbers import holds_numbers

INPUT = "images"
MAX_OUTPUTS = 4
"""Both outputs, each as numbers and in words; without a limit, a small request has an answer of any size."""

PROBABILITIES, LABELS = "probabilities", "labels"
SHAPES = ((28, 28), (1, 28, 28), (PIXELS,))
ITEM_BYTES = {"UINT8": 1, "FP32": 4}
EXTENSIONS = ["binary_tensor_data", "classification", "model_repository"]


NONE_IS_DEFAULT = BeforeValidator(lambda value: {} if value is None else value)
"""Clients write null where they leave parameters out."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)  # clients may add other members


class InputParameters(_Part):
    """Parameters of an input."""

    binary_data_size: int | None = Field(None, ge=0)


class RequestInput(_Part):
    """An input tensor, with its data here or in the bytes after the JSON."""

    name: str
    shape: list[int] = Field(min_length=1, max_length=4)
    datatype: str
    parameters: Annotated[InputParameters, NONE_IS_DEFAULT] = InputParameters()
    data: list[Any] | None = None


class OutputParameters(_Part):
    """Parameters of an output."""

    binary_data: bool | None = None
    classification: int | None = Field(None, ge=1, description="Number of classes; at most 10 are returned.")


class RequestOutput(_Part):
    """A requested output tensor."""

    name: Literal["probabilities", "labels"]
    parameters: Annotated[OutputParameters, NONE_IS_DEFAULT] = OutputParameters()


class RequestParameters(_Part):
    """Parameters of a request."""

    binary_data_output: bool = False


class InferenceRequest(_Part):
    """The JSON part of a request."""

    id: str | None = None
    parameters: Annotated[RequestParameters, NONE_IS_DEFAULT] = RequestParameters()
    inputs: list[RequestInput] = Field(min_length=1, max_length=1)
    outputs: list[RequestOutput] | None = Field(None, max_length=MAX_OUTPUTS)


class Inference(NamedTuple):
    """A parsed request: its inputs, float32 [n, 784] in [0, 1], and its JSON part."""

    inputs: NDArray[np.float32]
    request: InferenceRequest


def read_request(body: bytes, header_length: str | None) -> Inference:
    """Parse the body of a request; `header_length` is the header of the binary extension, None without it.

    Raises `MalformedBody`, `InvalidImage`, `pydantic.ValidationError`.
    """
    if header_length is None:
        if not body.removeprefix(UTF_8_MARK).lstrip().startswith((b"{", b"[")):
            raise MalformedBody(
                "The body is no JSON.",
                "Send an inference request in JSON; or 784 bytes, with the header Inference-Header-Content-Length: 0.",
            )
        return _read(body, b"")
    length = whole_number(header_length)
    if length is None or length > len(body):
        raise MalformedBody(
            f"Inference-Header-Content-Length is {header_length!r}; the body has {len(body)} bytes.",
            "Set it to the length of the JSON part in bytes.",
        )
    if length == 0:
        return Inference(_pixels(body, "UINT8", _shape_of_bare(body)), _bare_request())
    return _read(body[:length], body[length:])


def _read(text: bytes, tensors: bytes) -> Inference:
    request = InferenceRequest.model_validate(parse_images(text))
    tensor = request.inputs[0]
    shape = _checked_shape(tensor)
    size = tensor.parameters.binary_data_size
    if size is None:
        if tensors:
            raise MalformedBody(f"{len(tensors)} bytes follow the JSON, but no input has binary_data_size.")
        return Inference(_of_list(tensor, shape), request)
    if tensor.data is not None:
        raise MalformedBody("An input has both data and binary_data_size.", "Send only one of them.")
    if size != len(tensors):
        raise MalformedBody(f"binary_data_size is {size}, but {len(tensors)} bytes follow the JSON.")
    return Inference(_pixels(tensors, tensor.datatype, shape), request)


def _checked_shape(tensor: RequestInput) -> tuple[int, ...]:
    if tensor.name != INPUT:
        raise InvalidImage(f"There is no input {tensor.name!r}.", f"The input is {INPUT!r}.")
    shape = tuple(tensor.shape)
    if shape[1:] not in SHAPES or shape[0] < 1:
        raise InvalidImage(f"The shape {list(shape)} is not supported.", "Send [n,28,28], [n,1,28,28] or [n,784].")
    if shape[0] > MAX_IMAGES:
        raise InvalidImage(f"{shape[0]} images are more than {MAX_IMAGES} in one request.", "Send several requests.")
    if tensor.datatype not in ITEM_BYTES:
        raise InvalidImage(f"The datatype {tensor.datatype!r} is not supported.", "Send UINT8 or FP32.")
    return shape


def _bare_request() -> InferenceRequest:
    return InferenceRequest(inputs=[RequestInput(name=INPUT, shape=[1, PIXELS], datatype="UINT8")])


def _shape_of_bare(body: bytes) -> tuple[int, ...]:
    if len(body) != PIXELS:
        raise InvalidImage(f"The body without JSON has {len(body)} bytes.", "Send 784, one per pixel, row by row.")
    return (1, PIXELS)


def _pixels(content: bytes, datatype: str, shape: Sequence[int]) -> NDArray[np.float32]:
    expected = math.prod(shape) * ITEM_BYTES[datatype]
    if len(content) != expected:
        raise InvalidImage(f"{datatype} of shape {list(shape)} has {expected} bytes; the request has {len(content)}.")
    if datatype == "UINT8":
        return np.frombuffer(content, np.uint8).reshape(-1, PIXELS).astype(np.float32) / np.float32(255)
    return _shares_of_ink(np.frombuffer(content, "<f4").astype(np.float32))


def _of_list(tensor: RequestInput, shape: tuple[int, ...]) -> NDArray[np.float32]:
    if tensor.data is None:
        raise InvalidImage("The input has no data.", "Send data in the JSON, or binary_data_size.")
    try:
        values = np.array(tensor.data if holds_numbers(tensor.data, depth=4) else [])
    except (ValueError, OverflowError):
        values = np.array([])
    if values.dtype.kind not in "iuf" or values.size != math.prod(shape):
        raise InvalidImage(
            f"The data are not the {math.prod(shape)} numbers of the shape {list(shape)}.",
            "Send them nested or flat, row by row.",
        )
    if tensor.datatype == "FP32":
        return _shares_of_ink(values.astype(np.float32))
    if values.min() < 0 or values.max() > 255 or (values.dtype.kind == "f" and (values % 1 != 0).any()):
        raise InvalidImage("UINT8 data are whole numbers from 0 to 255.", "Send FP32 for shares of ink from 0 to 1.")
    return values.astype(np.float32).reshape(-1, PIXELS) / np.float32(255)


def _shares_of_ink(values: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 1:
        raise InvalidImage("FP32 data are finite shares of ink from 0 to 1.", "Send UINT8 for levels 0 to 255.")
    return values.reshape(-1, PIXELS)


class OutputTensor(BaseModel):
    """An output tensor of a response."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class InferenceAnswer(BaseModel):
    """The JSON part of a response."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputTensor]


class Written(NamedTuple):
    """The content of a response, and the length of its JSON part if tensors follow, else None."""

    content: bytes
    header_length: int | None


def write_answer(name: str, version: str, request: InferenceRequest, probabilities: NDArray[np.float32]) -> Written:
    """Return the response to a request: JSON, with the tensors in it or, if requested, as bytes after it."""
    wanted = request.outputs or [RequestOutput(name="probabilities"), RequestOutput(name="labels")]
    outputs, tail = [], []
    for tensor in wanted:
        values, shape, datatype = _tensor(tensor, probabilities)
        binary = tensor.parameters.binary_data
        output: dict[str, Any] = {"name": tensor.name, "shape": shape, "datatype": datatype}
        if request.parameters.binary_data_output if binary is None else binary:
            content = _as_bytes(values)
            output["parameters"] = {"binary_data_size": len(content)}
            tail.append(content)
        else:
            output["data"] = values.ravel().tolist()
        outputs.append(output)
    answer = {"model_name": name, "model_version": version, "outputs": outputs}
    answer |= {"id": request.id} if request.id is not None else {}
    if not tail:
        return Written(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE), None)
    text = orjson.dumps(answer)
    return Written(text + b"".join(tail), len(text))


def _tensor(wanted: RequestOutput, probabilities: NDArray[np.float32]) -> tuple[NDArray[Any], list[int], str]:
    count = wanted.parameters.classification
    if count is not None:
        count = min(count, CLASSES)
        best = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
        rows = [
            [f"{float(row[i]):.6f}:{i}:{i}" for i in of_row] for row, of_row in zip(probabilities, best, strict=True)
        ]
        return np.array(rows, dtype=object), [len(rows), count], "BYTES"
    if wanted.name == LABELS:
        return probabilities.argmax(axis=1).astype(np.int64), [len(probabilities)], "INT64"
    return probabilities, [len(probabilities), CLASSES], "FP32"


def _as_bytes(values: NDArray[Any]) -> bytes:
    if values.dtype == object:
        texts = [text.encode() for text in values.ravel()]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return values.astype(values.dtype.newbyteorder("<")).tobytes()
