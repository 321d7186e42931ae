"""The classic loop on one machine: dishes → topics → pipeline → topics → telescope."""
