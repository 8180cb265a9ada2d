"""How patients are dealt to splits and folds, and who looked at the test split."""
