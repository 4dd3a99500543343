"""How large a request may be. Whatever is larger is refused before it is decoded."""

MAX_IMAGE_BYTES = 8 * 2**20
MAX_PIXELS = 16_000_000
MAX_DOCUMENT_BYTES = 64 * 2**10
