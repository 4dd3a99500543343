"""A forge in one directory: a bare repository, hooks that enforce the policy, merge requests."""
