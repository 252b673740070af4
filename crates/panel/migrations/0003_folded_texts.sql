-- What is searched in any case of letters, in lower case: LOWER() of SQLite knows ASCII only. The panel writes these beside their
-- originals, and fills those of older rows when it makes this step. Login names and e-mail addresses need none: the former are ASCII,
-- the latter are kept in lower case.

ALTER TABLE servers ADD COLUMN name_folded TEXT NOT NULL DEFAULT '';
ALTER TABLE servers ADD COLUMN description_folded TEXT NOT NULL DEFAULT '';
ALTER TABLE servers ADD COLUMN external_id_folded TEXT;
ALTER TABLE users ADD COLUMN external_id_folded TEXT;
