"""What the small GitLab does on each call."""

from collections.abc import Callable
from typing import Any

from tests.support.gitlab_state import (
    Answer,
    Document,
    GitLab,
    Refused,
    changed_levels,
    digest,
    find,
    levels,
)

Verb = Callable[..., Answer]


# --- project, branches, tags


def project(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    access = {"project_access": {"access_level": role}, "group_access": None}
    return Answer(200, {**gitlab.project, "permissions": access})


def change_project(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    if role < 40:
        raise Refused(403, "403 Forbidden")
    if arguments.get("default_branch", "main") not in gitlab.branches:
        raise Refused(400, "Could not change HEAD: branch does not exist")
    gitlab.project |= arguments
    return project(gitlab, arguments=None, role=role)


def members(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    return Answer(200, list(gitlab.members))


def branch(gitlab: GitLab, name: str, *, arguments: Any, role: int) -> Answer:
    if name not in gitlab.branches:
        raise Refused(404, "404 Branch Not Found")
    return Answer(200, {"name": name, "protected": True, "commit": {"id": "c0ffee"}})


def tag(gitlab: GitLab, name: str, *, arguments: Any, role: int) -> Answer:
    if name not in gitlab.tags:
        raise Refused(404, "404 Tag Not Found")
    return Answer(200, {"name": name, "target": "c0ffee", "message": gitlab.tags[name], "commit": {}})


def create_tag(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    name = arguments["tag_name"]
    if name in gitlab.tags:
        raise Refused(400, f"Tag {name} already exists")
    gitlab.tags[name] = arguments["message"]
    return Answer(201, tag(gitlab, name, arguments=None, role=role).body)


def delete_tag(gitlab: GitLab, name: str, *, arguments: Any, role: int) -> Answer:
    tag(gitlab, name, arguments=None, role=role)
    del gitlab.tags[name]
    return Answer(204)


# --- protection


def _shown(gitlab: GitLab, document: Document) -> Document:
    hidden = () if gitlab.tier == "premium" else ("code_owner_approval_required",)
    return {key: value for key, value in document.items() if key not in hidden}


def protected_branches(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    return Answer(200, [_shown(gitlab, each) for each in gitlab.protected_branches])


def protected_branch(gitlab: GitLab, name: str, *, arguments: Any, role: int) -> Answer:
    return Answer(200, _shown(gitlab, find(gitlab.protected_branches, "name", name)))


def protect_branch(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    if any(each["name"] == arguments["name"] for each in gitlab.protected_branches):
        raise Refused(409, f"Protected branch '{arguments['name']}' already exists")
    document = {
        "id": gitlab.next_id(),
        "name": arguments["name"],
        "push_access_levels": levels(gitlab, arguments.get("push_access_level", 40)),
        "merge_access_levels": levels(gitlab, arguments.get("merge_access_level", 40)),
        "allow_force_push": arguments.get("allow_force_push", False),
        "code_owner_approval_required": arguments.get("code_owner_approval_required", False),
    }
    gitlab.protected_branches.append(document)
    return Answer(201, _shown(gitlab, document))


def change_branch(gitlab: GitLab, name: str, *, arguments: Document, role: int) -> Answer:
    document = find(gitlab.protected_branches, "name", name)
    document["allow_force_push"] = arguments.get("allow_force_push", document["allow_force_push"])
    if gitlab.tier == "premium":
        for key, changes in (("push", "allowed_to_push"), ("merge", "allowed_to_merge")):
            part = f"{key}_access_levels"
            document[part] = changed_levels(gitlab, document[part], arguments.get(changes, []))
        key = "code_owner_approval_required"
        document[key] = arguments.get(key, document[key])
    return Answer(200, _shown(gitlab, document))


def unprotect_branch(gitlab: GitLab, name: str, *, arguments: Any, role: int) -> Answer:
    document = find(gitlab.protected_branches, "name", name)
    gitlab.protected_branches.remove(document)
    for rule in gitlab.approval_rules:
        rule["protected_branches"] = [
            each for each in rule["protected_branches"] if each["id"] != document["id"]
        ]
    return Answer(204)


def protected_tags(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    return Answer(200, list(gitlab.protected_tags))


def protect_tag(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    if any(each["name"] == arguments["name"] for each in gitlab.protected_tags):
        raise Refused(409, f"Protected tag '{arguments['name']}' already exists")
    document = {
        "name": arguments["name"],
        "create_access_levels": levels(gitlab, arguments.get("create_access_level", 40)),
    }
    gitlab.protected_tags.append(document)
    return Answer(201, document)


def unprotect_tag(gitlab: GitLab, name: str, *, arguments: Any, role: int) -> Answer:
    gitlab.protected_tags.remove(find(gitlab.protected_tags, "name", name))
    return Answer(204)


# --- approvals, pushes, environments


def approvals(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    return Answer(200, gitlab.approvals)


def change_approvals(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    gitlab.approvals |= arguments
    return Answer(201, gitlab.approvals)


def approval_rules(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    return Answer(200, list(gitlab.approval_rules))


def _set_rule(gitlab: GitLab, document: Document, arguments: Document) -> Document:
    document["name"] = arguments["name"]
    document["approvals_required"] = arguments["approvals_required"]
    document["users"] = [
        {key: find(gitlab.members, "id", user)[key] for key in ("id", "username")}
        for user in arguments.get("user_ids", [])
    ]
    document["protected_branches"] = [
        find(gitlab.protected_branches, "id", each) for each in arguments.get("protected_branch_ids", [])
    ]
    return document


def create_rule(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    kind = arguments.get("rule_type", "regular")
    if kind == "any_approver" and any(rule["rule_type"] == kind for rule in gitlab.approval_rules):
        raise Refused(400, "any-approver for the project already exists")
    document = _set_rule(gitlab, {"id": gitlab.next_id(), "rule_type": kind, "groups": []}, arguments)
    gitlab.approval_rules.append(document)
    return Answer(201, document)


def change_rule(gitlab: GitLab, rule: str, *, arguments: Document, role: int) -> Answer:
    return Answer(200, _set_rule(gitlab, find(gitlab.approval_rules, "id", rule), arguments))


def delete_rule(gitlab: GitLab, rule: str, *, arguments: Any, role: int) -> Answer:
    gitlab.approval_rules.remove(find(gitlab.approval_rules, "id", rule))
    return Answer(204)


def push_rule(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    return Answer(200, gitlab.push_rule)


def create_push_rule(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    empty = {"branch_name_regex": "", "commit_message_regex": "", "prevent_secrets": False}
    gitlab.push_rule = {"id": 1, "project_id": 7, **empty, **arguments}
    return Answer(201, gitlab.push_rule)


def change_push_rule(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    if gitlab.push_rule is None:
        raise Refused(404, "404 Not found")
    gitlab.push_rule |= arguments
    return Answer(200, gitlab.push_rule)


def environments(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    return Answer(200, list(gitlab.protected_environments))


def protect_environment(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    document: Document = {"name": arguments["name"], "deploy_access_levels": [], "approval_rules": []}
    gitlab.protected_environments.append(document)
    return Answer(201, _change_environment(gitlab, document, arguments))


def change_environment(gitlab: GitLab, name: str, *, arguments: Document, role: int) -> Answer:
    document = find(gitlab.protected_environments, "name", name)
    return Answer(200, _change_environment(gitlab, document, arguments))


def _change_environment(gitlab: GitLab, document: Document, arguments: Document) -> Document:
    for part in ("deploy_access_levels", "approval_rules"):
        document[part] = changed_levels(gitlab, document[part], arguments.get(part, []))
    return document


# --- labels and schedules


def labels(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    return Answer(200, list(gitlab.labels))


def create_label(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    if any(each["name"] == arguments["name"] for each in gitlab.labels):
        raise Refused(409, "Label already exists")
    gitlab.labels.append({"id": gitlab.next_id(), "description": None, **arguments})
    return Answer(201, gitlab.labels[-1])


def change_label(gitlab: GitLab, name: str, *, arguments: Document, role: int) -> Answer:
    label = find(gitlab.labels, "name", name)
    label |= arguments
    return Answer(200, label)


def schedules(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    return Answer(
        200,
        [
            {key: value for key, value in each.items() if key != "variables"}
            for each in gitlab.pipeline_schedules
        ],
    )


def schedule(gitlab: GitLab, number: str, *, arguments: Any, role: int) -> Answer:
    return Answer(200, find(gitlab.pipeline_schedules, "id", number))


def create_schedule(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    document = {"id": gitlab.next_id(), "cron_timezone": "UTC", "active": True, **arguments, "variables": []}
    document["ref"] = f"refs/heads/{arguments['ref']}"
    gitlab.pipeline_schedules.append(document)
    return Answer(201, document)


def change_schedule(gitlab: GitLab, number: str, *, arguments: Document, role: int) -> Answer:
    document = find(gitlab.pipeline_schedules, "id", number)
    document |= arguments
    return Answer(200, document)


def create_variable(gitlab: GitLab, number: str, *, arguments: Document, role: int) -> Answer:
    find(gitlab.pipeline_schedules, "id", number)["variables"].append(arguments)
    return Answer(201, arguments)


def change_variable(gitlab: GitLab, number: str, key: str, *, arguments: Document, role: int) -> Answer:
    variable = find(find(gitlab.pipeline_schedules, "id", number)["variables"], "key", key)
    variable |= arguments
    return Answer(200, variable)


# --- merge requests


def merge_requests(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    return Answer(200, list(gitlab.merge_requests))


def merge_request(gitlab: GitLab, number: str, *, arguments: Any, role: int) -> Answer:
    return Answer(200, find(gitlab.merge_requests, "iid", number))


def open_merge_request(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    for side in ("source_branch", "target_branch"):
        if arguments[side] not in gitlab.branches:
            raise Refused(400, f"{side} does not exist")
    for each in gitlab.merge_requests:
        same = all(each[side] == arguments[side] for side in ("source_branch", "target_branch"))
        if same and each["state"] == "opened":
            raise Refused(
                409, f"Another open merge request already exists for this source branch: !{each['iid']}"
            )
    number = len(gitlab.merge_requests) + 1
    document = {
        "iid": number,
        "state": "opened",
        "web_url": f"http://gitlab.test/-/merge_requests/{number}",
        "author": {"id": 1, "username": "ada"},
        "has_conflicts": False,
        "detailed_merge_status": "mergeable",
        **arguments,
        "labels": [label for label in arguments.get("labels", "").split(",") if label],
    }
    gitlab.merge_requests.append(document)
    return Answer(201, document)


def merge_request_approvals(gitlab: GitLab, number: str, *, arguments: Any, role: int) -> Answer:
    people = gitlab.approved_by.get(int(number), [])
    users = [find(gitlab.members, "username", name) for name in people]
    return Answer(200, {"approved_by": [{"user": user} for user in users]})


def notes(gitlab: GitLab, number: str, *, arguments: Any, role: int) -> Answer:
    return Answer(200, list(gitlab.notes.get(int(number), [])))


def write_note(gitlab: GitLab, number: str, *, arguments: Document, role: int) -> Answer:
    find(gitlab.merge_requests, "iid", number)
    note = {"id": gitlab.next_id(), "author": {"id": 1, "username": "ada"}, "system": False, **arguments}
    gitlab.notes.setdefault(int(number), []).append(note)
    return Answer(201, note)


def rewrite_note(gitlab: GitLab, number: str, note: str, *, arguments: Document, role: int) -> Answer:
    document = find(gitlab.notes.get(int(number), []), "id", note)
    document |= arguments
    return Answer(200, document)


# --- releases and packages


def release(gitlab: GitLab, name: str, *, arguments: Any, role: int) -> Answer:
    return Answer(200, find(gitlab.releases, "tag_name", name))


def create_release(gitlab: GitLab, *, arguments: Document, role: int) -> Answer:
    name = arguments["tag_name"]
    if name not in gitlab.tags:
        raise Refused(422, "Ref is not specified")
    address = f"http://gitlab.test/{gitlab.project['path_with_namespace']}/-/releases/{name}"
    gitlab.releases.append({**arguments, "_links": {"self": address}})
    return Answer(201, gitlab.releases[-1])


def change_release(gitlab: GitLab, name: str, *, arguments: Document, role: int) -> Answer:
    document = find(gitlab.releases, "tag_name", name)
    document |= arguments
    return Answer(200, document)


def links(gitlab: GitLab, name: str, *, arguments: Any, role: int) -> Answer:
    return Answer(200, list(gitlab.links.get(name, [])))


def create_link(gitlab: GitLab, name: str, *, arguments: Document, role: int) -> Answer:
    there = gitlab.links.setdefault(name, [])
    if any(each["name"] == arguments["name"] for each in there):
        raise Refused(400, "Name has already been taken")
    there.append({"id": gitlab.next_id(), "link_type": "other", **arguments})
    return Answer(201, there[-1])


def packages(gitlab: GitLab, *, arguments: Any, role: int) -> Answer:
    versions = {(each["package"], each["version"]): each["package_id"] for each in gitlab.files}
    return Answer(
        200,
        [
            {"id": number, "name": name, "version": version, "package_type": "generic"}
            for (name, version), number in versions.items()
        ],
    )


def package_files(gitlab: GitLab, package: str, *, arguments: Any, role: int) -> Answer:
    keys = ("id", "package_id", "file_name", "size", "file_sha256")
    mine = [each for each in gitlab.files if each["package_id"] == int(package)]
    return Answer(200, [{key: each[key] for key in keys} for each in mine])


def upload(gitlab: GitLab, package: str, version: str, name: str, *, arguments: bytes, role: int) -> Answer:
    same = [each for each in gitlab.files if (each["package"], each["version"]) == (package, version)]
    gitlab.files.append(
        {
            "id": gitlab.next_id(),
            "package_id": same[0]["package_id"] if same else gitlab.next_id(),
            "package": package,
            "version": version,
            "file_name": name,
            "size": len(arguments),
            "file_sha256": digest(arguments),
        }
    )
    return Answer(201, {"message": "201 Created"})


_P = r"([^/]+)"
ROUTES: tuple[tuple[str, dict[str, Verb]], ...] = (
    ("", {"GET": project, "PUT": change_project}),
    ("members/all", {"GET": members}),
    (f"repository/branches/{_P}", {"GET": branch}),
    ("repository/tags", {"POST": create_tag}),
    (f"repository/tags/{_P}", {"GET": tag, "DELETE": delete_tag}),
    ("protected_branches", {"GET": protected_branches, "POST": protect_branch}),
    (
        f"protected_branches/{_P}",
        {"GET": protected_branch, "PATCH": change_branch, "DELETE": unprotect_branch},
    ),
    ("protected_tags", {"GET": protected_tags, "POST": protect_tag}),
    (f"protected_tags/{_P}", {"DELETE": unprotect_tag}),
    ("approvals", {"GET": approvals, "POST": change_approvals}),
    ("approval_rules", {"GET": approval_rules, "POST": create_rule}),
    (f"approval_rules/{_P}", {"PUT": change_rule, "DELETE": delete_rule}),
    ("push_rule", {"GET": push_rule, "POST": create_push_rule, "PUT": change_push_rule}),
    ("protected_environments", {"GET": environments, "POST": protect_environment}),
    (f"protected_environments/{_P}", {"PUT": change_environment}),
    ("labels", {"GET": labels, "POST": create_label}),
    (f"labels/{_P}", {"PUT": change_label}),
    ("pipeline_schedules", {"GET": schedules, "POST": create_schedule}),
    (f"pipeline_schedules/{_P}", {"GET": schedule, "PUT": change_schedule}),
    (f"pipeline_schedules/{_P}/variables", {"POST": create_variable}),
    (f"pipeline_schedules/{_P}/variables/{_P}", {"PUT": change_variable}),
    ("merge_requests", {"GET": merge_requests, "POST": open_merge_request}),
    (f"merge_requests/{_P}", {"GET": merge_request}),
    (f"merge_requests/{_P}/approvals", {"GET": merge_request_approvals}),
    (f"merge_requests/{_P}/notes", {"GET": notes, "POST": write_note}),
    (f"merge_requests/{_P}/notes/{_P}", {"PUT": rewrite_note}),
    ("releases", {"POST": create_release}),
    (f"releases/{_P}", {"GET": release, "PUT": change_release}),
    (f"releases/{_P}/assets/links", {"GET": links, "POST": create_link}),
    ("packages", {"GET": packages}),
    (f"packages/{_P}/package_files", {"GET": package_files}),
    (f"packages/generic/{_P}/{_P}/{_P}", {"PUT": upload}),
)
