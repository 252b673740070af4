-- Numbers that only grow, also when a clock is set back: `run` counts the starts of the panel.
CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
