"""The Open Inference Protocol's documents: what clients send, and what they get."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

OUTPUTS = ("probabilities", "label", "prediction_id")
Datatype = Literal["BYTES", "FP32", "UINT8"]


class _Strict(BaseModel):
    # What we don't know may be there: clients send parameters of other servers along.
    model_config = ConfigDict(strict=True)


class InputParameters(_Strict):
    """`binary_data_size`: how many of the bytes after the JSON belong to this tensor."""

    binary_data_size: int | None = Field(None, ge=0)
    shared_memory_region: str | None = Field(None, description="Refused: no memory is shared with clients.")


class RequestInput(_Strict):
    """A tensor that comes in; `data` is row major, nested or flat, and absent where the bytes follow the JSON."""

    # What the model wants is checked with the values, to say more than that it does not fit.
    name: str = Field(max_length=100, json_schema_extra={"const": "images"})
    datatype: str = Field(max_length=100, json_schema_extra={"const": "UINT8"})
    shape: list[int] = Field(max_length=16, json_schema_extra={"minItems": 4, "maxItems": 4})
    data: list[Any] | None = None
    parameters: InputParameters = InputParameters()


class OutputParameters(_Strict):
    """`binary_data`: whether the tensor is answered as bytes after the JSON."""

    binary_data: bool | None = None
    classification: int | None = Field(None, description="Refused: ask for `probabilities` and `label`.")
    shared_memory_region: str | None = Field(None, description="Refused: no memory is shared with clients.")


class RequestOutput(_Strict):
    """A tensor that is wanted."""

    name: str = Field(max_length=100, json_schema_extra={"enum": list(OUTPUTS)})
    parameters: OutputParameters = OutputParameters()


class RequestParameters(_Strict):
    """`binary_data_output`: what holds for outputs that do not say it themselves."""

    binary_data_output: bool = False


class InferRequest(_Strict):
    """A request for inference; without `outputs` all of them are answered."""

    id: str = Field("", max_length=200)
    inputs: list[RequestInput] = Field(min_length=1, max_length=1)
    outputs: list[RequestOutput] = Field([], max_length=len(OUTPUTS))
    parameters: RequestParameters = RequestParameters()


class AnswerParameters(BaseModel):
    """`binary_data_size`: how many of the bytes after the JSON belong to this tensor."""

    binary_data_size: int


class AnswerOutput(BaseModel):
    """A tensor that goes out; `data` is flat, and absent where the bytes follow the JSON."""

    name: str
    datatype: Datatype
    shape: list[int]
    data: list[float] | list[str] | None = None
    parameters: AnswerParameters | None = None


class InferAnswer(BaseModel):
    """What inference answers; `id` as in the request."""

    model_name: str
    model_version: str
    id: str
    outputs: list[AnswerOutput]


class ServerMetadata(BaseModel):
    """Which program answers, and which extensions of the protocol it knows."""

    name: str
    version: str
    extensions: list[str]


class TensorMetadata(BaseModel):
    """A tensor; -1 stands for any number of images."""

    name: str
    datatype: Datatype
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model, the versions of it that are loaded, and its tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ModelReady(BaseModel):
    """A version of the model is loaded."""

    name: str
    ready: bool


class TensorConfig(BaseModel):
    """A tensor without its first dimension, the number of images."""

    name: str
    data_type: str
    dims: list[int]


class ModelConfig(BaseModel):
    """The model as the model configuration extension tells of it; load generators ask."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: list[TensorConfig]
    output: list[TensorConfig]
