"""The documents of MLflow's scoring protocol."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cifarops.serving import protocol
from cifarops.serving.pixels import unusable
from cifarops.serving.sizes import MAX_IMAGES

_COLUMN = "image"


class Frame(BaseModel):
    """A pandas data frame with the orientation `split`; the column `image` holds image files in base64."""

    model_config = ConfigDict(strict=True)

    columns: list[str] = Field(min_length=1, max_length=1, json_schema_extra={"items": {"const": _COLUMN}})
    data: list[list[Any]]
    index: list[Any] | None = None


class Invocation(BaseModel):
    """Images in exactly one of the four forms; each one an image file in base64, or uint8 pixels (S, S, 3) in nested lists.

    Attributes:
        dataframe_split: `{"columns": ["image"], "data": [[image], …]}`.
        dataframe_records: `[{"image": image}, …]`.
        instances: `[image, …]` or `[{"image": image}, …]`.
        inputs: `[image, …]` or `{"image": [image, …]}`.
        params: Ignored: the model has none.
    """

    model_config = ConfigDict(strict=True, extra="forbid")

    dataframe_split: Frame | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[Any] | None = None
    inputs: list[Any] | dict[str, Any] | None = None
    params: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "Invocation":
        forms = (self.dataframe_split, self.dataframe_records, self.instances, self.inputs)
        if sum(form is not None for form in forms) != 1:
            raise ValueError("give exactly one of dataframe_split, dataframe_records, instances and inputs")
        return self

    def images(self) -> list[Any]:
        """Return the images, whatever form they came in.

        Raises:
            ProblemError: They are not where that form has them, or there are none, or too many (422).
        """
        if self.dataframe_split is not None:
            columns = self.dataframe_split.columns
            found: Any = [dict(zip(columns, row, strict=False)) for row in self.dataframe_split.data]
        else:
            found = self.dataframe_records or self.instances or self.inputs
        if isinstance(found, dict):
            found = found.get(_COLUMN)
        if not isinstance(found, list) or not 1 <= len(found) <= MAX_IMAGES:
            raise unusable(f"Give 1 to {MAX_IMAGES} images under {_COLUMN!r}")
        return [each.get(_COLUMN) if isinstance(each, dict) else each for each in found]


class InvocationAnswer(BaseModel):
    """One answer for each image, in order."""

    predictions: list[protocol.Answer]
