"""The page of a clinical evaluation: one file a section, each made of what `report.json` says and nothing else."""
