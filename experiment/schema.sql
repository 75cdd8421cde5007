-- One run of an experiment. Times are seconds since 1970 by the server's clock, unless they say otherwise.
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE session (
    session TEXT PRIMARY KEY CHECK (length(session) = 12),  -- public name
    token TEXT NOT NULL UNIQUE,                 -- SHA-256 of what the cookie holds
    secret BLOB NOT NULL,                       -- key of the addresses of its pictures
    number INTEGER NOT NULL UNIQUE CHECK (number >= 1),  -- of arrival
    experiment TEXT NOT NULL,                   -- dealt at consent, as the plan is; '' before
    listed TEXT,                                -- session of sessions.json, none if it was planned by need
    attempt INTEGER NOT NULL CHECK (attempt >= 1),  -- which session of this person
    plan TEXT NOT NULL,
    person TEXT,                                -- keyed hash
    platform TEXT NOT NULL CHECK (platform IN ('direct', 'prolific', 'mturk')),
    returned INTEGER NOT NULL CHECK (returned IN (0, 1)),  -- the person was here before
    source TEXT NOT NULL CHECK (source IN ('people', 'simulated')),
    started REAL NOT NULL,
    seen REAL NOT NULL,                         -- last sign of life
    ended REAL,
    stage TEXT NOT NULL,
    block INTEGER NOT NULL,                     -- practice block, from 1
    outcome TEXT CHECK (outcome IN ('complete', 'practice', 'left', 'time', 'before')),
    accepted INTEGER CHECK (accepted IN (0, 1)),  -- by the checks of the settings at its end
    code TEXT NOT NULL,
    comment TEXT,
    screen TEXT NOT NULL
) STRICT;

CREATE TABLE answer (
    session TEXT NOT NULL REFERENCES session (session),
    trial INTEGER NOT NULL CHECK (trial >= 0),
    key TEXT NOT NULL,                          -- of the request: the same key again is the same answer
    kind TEXT NOT NULL CHECK (kind IN ('practice', 'main', 'catch')),
    block INTEGER,                              -- of practice, from 1
    position INTEGER NOT NULL,                  -- in its block or in the main part, from 1
    question TEXT NOT NULL,
    button INTEGER NOT NULL CHECK (button BETWEEN 0 AND 5),
    choice TEXT NOT NULL CHECK (choice IN ('top', 'bottom')),
    correct INTEGER NOT NULL CHECK (correct IN (0, 1)),
    confidence INTEGER NOT NULL CHECK (confidence BETWEEN 1 AND 3),
    rt REAL NOT NULL,                           -- milliseconds by the browser's clock
    received REAL NOT NULL,
    PRIMARY KEY (session, trial)
) STRICT, WITHOUT ROWID;

CREATE TABLE page (
    session TEXT NOT NULL REFERENCES session (session),
    trial INTEGER NOT NULL CHECK (trial >= 0),
    key TEXT NOT NULL,
    page INTEGER NOT NULL,
    picked TEXT NOT NULL,                       -- JSON: places on the page, from 0
    "nothing" INTEGER NOT NULL CHECK ("nothing" IN (0, 1)),
    seconds REAL NOT NULL,                      -- by the browser's clock
    received REAL NOT NULL,
    PRIMARY KEY (session, trial)
) STRICT, WITHOUT ROWID;

CREATE TABLE event (
    session TEXT NOT NULL REFERENCES session (session),
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    at REAL NOT NULL,
    seconds REAL,                               -- by the browser's clock, where it says how long
    PRIMARY KEY (session, number)
) STRICT, WITHOUT ROWID;
