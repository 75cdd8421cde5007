"""Rules of the house: who imports whom, what dvc.yaml says, who reads which parameter."""
