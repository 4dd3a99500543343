"""What Premium does by itself, as a check: no merge request without the approvals that its target asks for."""

from cifarops.errors import CifaropsError
from cifarops.flow.forge import MergeRequest
from cifarops.flow.gitlab.forge import GitLabForge
from cifarops.flow.policy import Policy


def check_approvals(forge: GitLabForge, policy: Policy, number: int) -> MergeRequest:
    """Return a merge request that has the approvals it needs.

    Raises:
        CifaropsError: It has too few; the author's own does not count.
    """
    request = forge.merge_request(number)
    rules = policy.protected.get(request.target)
    needed = rules.approvals if rules else 0
    if request.approvals < needed:
        raise CifaropsError(
            f"!{number} into {request.target} has {request.approvals} of {needed} approvals;"
            f" that of its author {request.author} does not count.",
            fix=f"Ask for a review at {request.url}, then run this job again.",
        )
    return request
