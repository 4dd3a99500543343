import pytest

from cifarops.errors import UsageError
from cifarops.flow.gitlab.access import Access, find_access
from cifarops.settings import GitLabSettings, Settings

TOKEN = "glpat-secret"
HERE = GitLabSettings(token=TOKEN)


@pytest.mark.parametrize(
    ("origin", "url", "project"),
    [
        ("https://gitlab.example.com/team/cifarops.git", "https://gitlab.example.com", "team/cifarops"),
        ("https://gitlab.example.com/team/sub/cifarops", "https://gitlab.example.com", "team/sub/cifarops"),
        ("http://localhost:8929/team/cifarops.git/", "http://localhost:8929", "team/cifarops"),
        ("git@gitlab.example.com:team/cifarops.git", "https://gitlab.example.com", "team/cifarops"),
        (
            "ssh://git@gitlab.example.com:2222/team/cifarops.git",
            "https://gitlab.example.com",
            "team/cifarops",
        ),
        (
            "https://oauth2:glpat-in-it@gitlab.example.com/a/b.git",  # allow-secret
            "https://gitlab.example.com",
            "a/b",
        ),
    ],
)
def test_server_and_project_are_read_off_the_remote(origin: str, url: str, project: str) -> None:
    assert find_access(HERE, origin) == Access(url, project, TOKEN, is_job_token=False)


def test_the_environment_stands_above_the_remote() -> None:
    settings = GitLabSettings(url="https://other.example/", project="g/p", token=TOKEN)
    found = find_access(settings, "git@gitlab.example.com:team/cifarops.git")
    assert (found.url, found.project) == ("https://other.example", "g/p")


def test_a_server_under_a_path() -> None:
    settings = GitLabSettings(url="https://example.com/gitlab", token=TOKEN)
    assert find_access(settings, "https://example.com/gitlab/team/p.git").project == "team/p"
    assert find_access(settings, "git@example.com:team/p.git").project == "team/p"


@pytest.mark.parametrize(
    "origin", ["/srv/git/p.git", "../p.git", "", "https://gitlab.example.com/alone", "file:///a/b"]
)
def test_a_remote_that_names_no_project_is_refused(origin: str) -> None:
    with pytest.raises(UsageError, match="names no GitLab project") as caught:
        find_access(HERE, origin)
    assert "CIFAROPS_GITLAB_URL" in caught.value.fix


def test_without_a_token_it_says_how_to_get_one() -> None:
    with pytest.raises(UsageError, match="no GitLab token") as caught:
        find_access(GitLabSettings(), "git@gitlab.example.com:team/p.git")
    assert "export CIFAROPS_GITLAB_TOKEN" in caught.value.fix


@pytest.mark.parametrize(
    ("environment", "token", "is_job_token"),
    [
        ({"CIFAROPS_GITLAB_TOKEN": "a", "GITLAB_TOKEN": "b", "CI_JOB_TOKEN": "c"}, "a", False),
        ({"GITLAB_TOKEN": "b", "CI_JOB_TOKEN": "c"}, "b", False),
        ({"CI_JOB_TOKEN": "c"}, "c", True),
        ({"CIFAROPS_GITLAB_TOKEN": "", "CI_JOB_TOKEN": "c"}, "c", True),
        ({}, None, False),
    ],
)
def test_the_best_token_is_taken(environment: dict[str, str], token: str | None, is_job_token: bool) -> None:
    found = Settings.from_environment(environment).gitlab
    assert (found.token, found.is_job_token) == (token, is_job_token)


def test_a_token_is_never_shown() -> None:
    access = find_access(HERE, "https://oauth2:glpat-in-it@gitlab.example.com/a/b.git")  # allow-secret
    assert "glpat" not in f"{access!r} {HERE!r} {Settings.from_environment({'GITLAB_TOKEN': TOKEN})!r}"
    with pytest.raises(UsageError) as caught:
        find_access(HERE, "https://oauth2:glpat-in-it@gitlab.example.com/alone")  # allow-secret
    assert "glpat" not in caught.value.message + caught.value.fix
