"""The experiment walked through without people: simulated participants, a browser without a window, and what it saw."""
