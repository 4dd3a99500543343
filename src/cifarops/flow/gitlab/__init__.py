"""GitLab as the forge: the policy as its settings, and merge requests, locks, releases and notes through its API."""
