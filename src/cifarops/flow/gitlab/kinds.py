"""The kinds of settings: how each is read from a project, and how one of them is written."""

from collections.abc import Callable
from dataclasses import dataclass

from cifarops.flow.gitlab import approval_rules, wanted
from cifarops.flow.gitlab.client import Client, Document, segment
from cifarops.flow.gitlab.features import Feature
from cifarops.flow.gitlab.protection import LEVELS, protect, read_protection, who
from cifarops.flow.gitlab.wanted import RULE_PREFIX, Fields, Named, differing


@dataclass(frozen=True)
class Kind:
    """One kind of settings.

    Attributes:
        name: As a plan names it.
        read: Returns what the project has, by name.
        write: Creates or changes one: client, name, what was found (None: nothing), what is wanted.
        feature: What the tier must have for it; None when every tier does.
        remove: Removes one, for kinds in which a superfluous one does harm.
        is_harmful: Whether one that nobody wants undoes one of those that are wanted.
    """

    name: str
    read: Callable[[Client], Named]
    write: Callable[[Client, str, Fields | None, Fields], None]
    feature: Feature | None = None
    remove: Callable[[Client, str], None] | None = None
    is_harmful: Callable[[str, Named], bool] = lambda name, wanted_ones: False


# --- the project


def _read_project(client: Client) -> Named:
    return {"project": client.get()}


def _write_project(client: Client, _: str, found: Fields | None, fields: Fields) -> None:
    client.put("", differing(found, fields))


# --- branches and tags


def _read_branches(client: Client) -> Named:
    return {
        document["name"]: wanted.protection_fields(
            read_protection(document, with_code_owners="code_owner_approval_required" in document)
        )
        for document in client.list("protected_branches")
    }


def _write_branch(client: Client, name: str, _: Fields | None, fields: Fields) -> None:
    protect(client, name, wanted.field_protection(fields))


def _remove_branch(client: Client, name: str) -> None:
    client.delete(f"protected_branches/{segment(name)}")


def _read_tags(client: Client) -> Named:
    return {
        document["name"]: {"create": who(document["create_access_levels"])}
        for document in client.list("protected_tags")
    }


def _write_tag(client: Client, name: str, found: Fields | None, fields: Fields) -> None:
    if found is not None:  # no call changes one in place
        _remove_tag(client, name)
    (role,) = fields["create"]
    client.post("protected_tags", {"name": name, "create_access_level": LEVELS[role]})


def _remove_tag(client: Client, name: str) -> None:
    client.delete(f"protected_tags/{segment(name)}")


def _matches_a_wanted_one(name: str, wanted_ones: Named) -> bool:
    """Say whether a pattern covers a name that is protected: of several rules GitLab takes the most permissive."""
    return any(overlap(name, each) for each in wanted_ones)


def overlap(one: str, other: str) -> bool:
    """Return whether some name matches both patterns; `*` stands for any characters."""
    if not one or not other:
        return not (one + other).strip("*")
    if one[0] == "*":
        return overlap(one[1:], other) or overlap(one, other[1:])
    if other[0] == "*":
        return overlap(other, one)
    return one[0] == other[0] and overlap(one[1:], other[1:])


# --- pushes


def _read_push_rules(client: Client) -> Named:
    found = client.get("push_rule")
    return {"push rules": found} if found else {}


def _write_push_rules(client: Client, _: str, found: Fields | None, fields: Fields) -> None:
    if found is None:
        client.post("push_rule", dict(fields))
    else:
        client.put("push_rule", differing(found, fields))


# --- environments


def _read_environments(client: Client) -> Named:
    return {
        document["name"]: {
            "deploy": who(document["deploy_access_levels"]),
            "approvals": tuple(
                sorted(
                    f"{rule['required_approvals']} by {who([rule])[0]}"
                    for rule in document.get("approval_rules", [])
                )
            ),
            "document": document,
        }
        for document in client.list("protected_environments")
    }


def _write_environment(client: Client, name: str, found: Fields | None, fields: Fields) -> None:
    body: Document = {
        "deploy_access_levels": [{"access_level": LEVELS[role]} for role in fields["deploy"]],
        "approval_rules": [
            {"access_level": LEVELS[role], "required_approvals": int(count)}
            for count, _, role in (each.partition(" by ") for each in fields["approvals"])
        ],
    }
    if found is None:
        client.post("protected_environments", {"name": name, **body})
        return
    for part, entries in body.items():
        entries += [{"id": old["id"], "_destroy": True} for old in found["document"].get(part, [])]
    client.put(f"protected_environments/{segment(name)}", body)


# --- labels and schedules


def _read_labels(client: Client) -> Named:
    return {
        label["name"]: {"color": label["color"].lower(), "description": label["description"] or ""}
        for label in client.list("labels", include_ancestor_groups="false")
    }


def _write_label(client: Client, name: str, found: Fields | None, fields: Fields) -> None:
    if found is None:
        client.post("labels", {"name": name, **fields})
    else:
        client.put(f"labels/{segment(name)}", differing(found, fields))


def _read_schedules(client: Client) -> Named:
    named: Named = {}
    for entry in client.list("pipeline_schedules"):
        document = client.get(f"pipeline_schedules/{entry['id']}")  # a listing leaves the variables out
        named[document["description"]] = {
            **document,
            "ref": document["ref"].removeprefix("refs/heads/"),
            "variables": {each["key"]: each["value"] for each in document.get("variables", [])},
        }
    return named


def _write_schedule(client: Client, name: str, found: Fields | None, fields: Fields) -> None:
    body = {key: value for key, value in fields.items() if key != "variables"}
    if found is None:
        found = {**client.post("pipeline_schedules", {"description": name, **body}), "variables": {}}
    elif changes := differing(found, body):
        client.put(f"pipeline_schedules/{found['id']}", changes)
    variables = f"pipeline_schedules/{found['id']}/variables"
    for key, value in fields["variables"].items():
        if key not in found["variables"]:
            client.post(variables, {"key": key, "value": value})
        elif found["variables"][key] != value:
            client.put(f"{variables}/{segment(key)}", {"value": value})


# In the order in which a project is set up: what keeps people out comes first.
KINDS: tuple[Kind, ...] = (
    Kind(
        "protected branch",
        _read_branches,
        _write_branch,
        remove=_remove_branch,
        is_harmful=_matches_a_wanted_one,
    ),
    Kind("protected tag", _read_tags, _write_tag, remove=_remove_tag, is_harmful=_matches_a_wanted_one),
    Kind("project setting", _read_project, _write_project),
    Kind(
        "approval setting",
        approval_rules.read_settings,
        approval_rules.write_settings,
        Feature.APPROVALS,
    ),
    Kind(
        "approval rule",
        approval_rules.read_rules,
        approval_rules.write_rule,
        Feature.APPROVALS,
        approval_rules.remove_rule,
        lambda name, wanted_ones: name.startswith(RULE_PREFIX),
    ),
    Kind("push rule", _read_push_rules, _write_push_rules, Feature.PUSH_RULES),
    Kind("protected environment", _read_environments, _write_environment, Feature.ENVIRONMENTS),
    Kind("label", _read_labels, _write_label),
    Kind("schedule", _read_schedules, _write_schedule),
)
