"""How much a request may bring. Whatever is more is refused before it is decoded.

`MAX_PIXELS` and `MAX_IMAGES` hold for all images of one request together. A JSON document of tensors costs many times its
own size in memory, hence the lower limit.
"""

MAX_IMAGE_BYTES = 8 * 2**20
MAX_PIXELS = 16_000_000
MAX_IMAGES = 128
MAX_JSON_BYTES = 2 * 2**20
MAX_DOCUMENT_BYTES = 64 * 2**10
