"""A release on GitLab: its files as a generic package, its notes, and links from one to the other."""

import hashlib
from collections.abc import Mapping

from cifarops.flow.forge import published_otherwise
from cifarops.flow.gitlab.client import Client, Document, GitLabError, segment

_PACKAGE = "release"


def publish(client: Client, tag: str, *, title: str, notes: str, files: Mapping[str, bytes]) -> str:
    """Make a release of a tag that exists and return its address; the same again changes nothing.

    The files come first, so that a release never links to what is not there.

    Raises:
        ConflictError: A file of that name and version has another content.
        GitLabError: GitLab refuses; there is no such tag, for example.
    """
    links = {name: _store(client, tag, name, content) for name, content in files.items()}
    path = f"releases/{segment(tag)}"
    found = client.find(path)
    wanted = {"name": title, "description": notes}
    if found is None:
        found = _create(client, tag, {"tag_name": tag, **wanted})
    elif any(found[key] != value for key, value in wanted.items()):
        found = client.put(path, wanted)
    linked = {link["name"]: link for link in client.list(f"{path}/assets/links")}
    for name, url in links.items():
        if name not in linked:
            client.post(f"{path}/assets/links", {"name": name, "url": url, "link_type": "package"})
    return str(found["_links"]["self"])


def _create(client: Client, tag: str, body: Document) -> Document:
    try:
        return dict(client.post("releases", body))
    except GitLabError as error:
        if error.status in (404, 422):
            raise GitLabError(
                f"{client.access.project} has no tag {tag} that a release could be made of.",
                fix=f"Push it first: git push origin {tag}.",
                status=error.status,
            ) from error
        raise


def _store(client: Client, tag: str, name: str, content: bytes) -> str:
    """Store one file and return its address. GitLab keeps a second file of the same name, so one look comes first."""
    version = tag.removeprefix("v")
    path = f"packages/generic/{_PACKAGE}/{segment(version)}/{segment(name)}"
    digest = hashlib.sha256(content).hexdigest()
    for package in client.list("packages", package_name=_PACKAGE, package_version=version):
        for file in client.list(f"packages/{package['id']}/package_files"):
            if file["file_name"] != name:
                continue
            if file["file_sha256"] != digest:
                raise published_otherwise(tag, name)
            return client.address(path)
    client.upload(path, content)
    return client.address(path)
