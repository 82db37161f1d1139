"""Language models made of table memories, and the count baselines they have to beat."""
