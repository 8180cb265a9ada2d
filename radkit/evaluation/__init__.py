"""From a table of cases to a clinical evaluation: every number with its method, its n and its interval."""
