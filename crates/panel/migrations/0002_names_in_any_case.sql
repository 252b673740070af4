-- Login names are one name in any case of letters, as e-mail addresses are. Of names that differ only in that, the oldest account keeps
-- its own and the others get something added.

UPDATE users SET username = username || '-' || SUBSTR(uuid, 1, 8)
WHERE EXISTS (
    SELECT 1 FROM users AS older WHERE LOWER(older.username) = LOWER(users.username) AND older.number < users.number
);
CREATE UNIQUE INDEX users_by_lower_username ON users (LOWER(username));
