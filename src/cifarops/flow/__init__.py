"""The branch process: policy, checks, freeze, release, hotfix."""
