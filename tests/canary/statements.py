"""Random turns of a session: statements of every kind, and every way in which the protocol can send them."""
import dataclasses

import wire
from expressions import Maker, Source

PROBES = (
    "SELECT * FROM pg_stats WHERE schemaname = 'crm'", "SELECT most_common_vals::text FROM pg_stats", "SELECT * FROM pg_statistic", "SELECT query FROM pg_stat_activity",
    "SELECT pg_mcv_list_items(stxdmcv) FROM pg_statistic_ext_data", "SELECT * FROM pg_stats_ext", "SELECT query_to_xml('select email from crm.people', true, false, '')",
    "SELECT table_to_xml('crm.people', true, false, '')", "SELECT schema_to_xml('crm', true, false, '')", "SELECT database_to_xml(true, false, '')",
    "SELECT cursor_to_xml('c', 9, true, false, '')", "SELECT xpath('//email/text()', query_to_xml('select * from crm.people', true, true, ''))",
    "SELECT ts_stat('select to_tsvector(email) from crm.people')", "SELECT * FROM ts_stat('select words from crm.accounts')",
    "SELECT pg_read_file('PG_VERSION')", "SELECT lo_from_bytea(0, (SELECT raw FROM crm.people LIMIT 1))", "SELECT set_config('application_name', (SELECT email FROM crm.people LIMIT 1), false)",
    "SELECT set_config('TimeZone', (SELECT phone FROM crm.people LIMIT 1), false)", "SELECT set_config('a.b', email, false) FROM crm.people", "SELECT current_setting('a.b', true)",
    "SELECT pg_notify('changes', email) FROM crm.people", "LISTEN changes", "NOTIFY changes, 'own words'", "UNLISTEN *", "SELECT crm.raises(3)", "SELECT crm.warns(3)", "CALL crm.shows(3)",
    "SELECT crm.card(p) FROM crm.people p", "SELECT p.card FROM crm.people p", "SELECT (crm.all_people()).email", "SELECT email(p) FROM crm.people p", "SELECT * FROM crm.all_people()",
    "DO $$ BEGIN RAISE NOTICE '%', (SELECT email FROM crm.people LIMIT 1); END $$", "SELECT (SELECT p FROM crm.people p LIMIT 1).email", "SELECT p.* FROM crm.people p NATURAL JOIN crm.contacts",
    "SELECT crm.glued(email) FROM crm.people", "SELECT * FROM crm.people p JOIN crm.contacts c USING (id)", "SELECT ROW(p.*) FROM crm.people p", "SELECT ARRAY(SELECT email FROM crm.people)",
    "SELECT string_agg(chr(g), '' ORDER BY i) FROM crm.people, generate_series(1, 21) i, generate_series(32, 126) g WHERE id = 1 AND substr(email, i, 1) = chr(g)",
    "SELECT pg_get_viewdef('crm.contacts'::regclass)", "SELECT pg_typeof(email) FROM crm.people", "SELECT * FROM information_schema.columns WHERE table_schema = 'crm' LIMIT 40",
    "SELECT relname, attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid WHERE relname = 'people'", "SELECT ctid, xmin, tableoid::regclass, email FROM crm.people LIMIT 3",
    "SELECT (json_populate_record(NULL::crm.people, row_to_json(p))).email FROM crm.people p", "SELECT width_bucket(salary, 0, 1e18, 4) FROM crm.people", "SELECT unnest(tags) FROM crm.people",
    "SELECT * FROM crm.people TABLESAMPLE BERNOULLI (50)", "SELECT email FROM ONLY crm.people FOR UPDATE", "SELECT lower(span), upper(span) FROM crm.accounts", "SELECT (who).mail FROM crm.accounts",
    "SELECT spot[0] FROM crm.accounts", "SELECT jsonb_path_query(payload, '$.*') FROM crm.events", "SELECT payload['mail'] FROM crm.events", "SELECT * FROM jsonb_array_elements((SELECT payload -> 'list' FROM crm.events WHERE id = 3))",
    "SELECT * FROM XMLTABLE('/mail' PASSING (SELECT letter FROM crm.accounts LIMIT 1) COLUMNS m text PATH '.')", "SELECT api_key FROM crm.keyed_old", "SELECT k.api_key FROM crm.keyed* k",
    "SELECT payload FROM crm.events_low", "WITH c AS (UPDATE crm.visits SET place = remark RETURNING place) SELECT * FROM c", "SELECT pg_get_expr(indexprs, indrelid) FROM pg_index WHERE indexprs IS NOT NULL",
    "VALUES ((SELECT email FROM crm.people LIMIT 1))", "SELECT 1 FROM crm.people WHERE email::int = 1", "SELECT 1 ORDER BY (SELECT email::int FROM crm.people LIMIT 1)", "SELECT 1 LIMIT (SELECT pin FROM crm.people LIMIT 1)",
    "SELECT 1 OFFSET (SELECT length(email) FROM crm.people LIMIT 1)", "SHOW ALL", "SHOW application_name", "SELECT name, setting FROM pg_settings LIMIT 20", "SELECT * FROM pg_cursors", "SELECT statement FROM pg_prepared_statements")
SETTINGS = ("SET application_name = 'canary'", "SET DateStyle = 'SQL, DMY'", "SET DateStyle = 'German'", "SET DateStyle = 'ISO'", "SET extra_float_digits = 3", "SET extra_float_digits = 0",
            "SET IntervalStyle = 'iso_8601'", "RESET IntervalStyle", "SET bytea_output = 'escape'", "SET bytea_output = 'hex'", "SET client_min_messages = debug5", "SET client_min_messages = notice",
            "SET debug_print_plan = on", "SET search_path = crm, public", "RESET search_path", "SET TimeZone = 'Asia/Tokyo'", "SET enable_hashjoin = off", "SET plan_cache_mode = force_generic_plan",
            "RESET ALL", "DISCARD PLANS", "SET xmlbinary = hex", "SET lc_monetary = 'C'", "SET row_security = off", "SET client_encoding = 'LATIN1'", "SET standard_conforming_strings = off")
# In a transaction that is rolled back. {t}, {q}, {b}, {i}: as in expressions.py, over the table's own columns.
WRITES = (
    "UPDATE {T} SET {C} = {t} WHERE {b} RETURNING *", "UPDATE crm.people SET name = NULL WHERE {b}", "UPDATE crm.people SET height = 900 WHERE id < 5", "UPDATE crm.people SET id = 1",
    "UPDATE crm.people SET name = email RETURNING name", "UPDATE crm.people SET email = 'own ' || id", "UPDATE crm.people SET email = {t} RETURNING id, email", "DELETE FROM crm.people WHERE {b}",
    "DELETE FROM crm.visits WHERE id < 9 RETURNING *", "DELETE FROM crm.visits USING crm.people p WHERE p.id = person_id AND p.id < 9 RETURNING p.email, remark", "UPDATE crm.visits SET remark = 'own' RETURNING id, remark",
    "UPDATE crm.visits SET place = {t} WHERE id < 20 RETURNING id, place, remark", "INSERT INTO scratch.notes (body) SELECT name FROM crm.people RETURNING id, body", "INSERT INTO scratch.notes (body) SELECT {t} FROM crm.people RETURNING *",
    "INSERT INTO scratch.uniques (k) SELECT 'key 3' ON CONFLICT (k) DO UPDATE SET v = {t} RETURNING *", "INSERT INTO scratch.uniques (k) VALUES ('key 1')", "INSERT INTO scratch.numbers (n) SELECT height FROM crm.plain_people RETURNING n",
    "INSERT INTO scratch.numbers (n) SELECT pin FROM crm.people", "INSERT INTO crm.people (id, name, city, joined) VALUES (1, 'n', 'c', now())", "INSERT INTO crm.people SELECT * FROM crm.people",
    "INSERT INTO crm.people (id, name, city, joined, email) VALUES (900, 'n', 'c', now(), 'mine@example.com') RETURNING *", "INSERT INTO crm.accounts (id, person_id, kind, opened, rate, iban) VALUES (901, 1, 'k', now(), 5000, 'own')",
    "MERGE INTO scratch.uniques u USING crm.people p ON u.k = p.name WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (p.name, p.city)",
    "MERGE INTO scratch.uniques u USING crm.people p ON u.k = p.name WHEN NOT MATCHED THEN INSERT VALUES (p.name, p.email)", "UPDATE crm.events SET id = 5000 WHERE id = 7", "UPDATE crm.events SET kind = payload ->> 'mail' RETURNING *",
    "WITH gone AS (DELETE FROM crm.ledger WHERE id < 20 RETURNING *) SELECT g.id, g.amount, p.email FROM gone g JOIN crm.people p ON p.id = g.person_id", "UPDATE crm.ledger SET amount = amount * 1e12",
    "UPDATE crm.ledger l SET text = p.name FROM crm.people p WHERE p.id = l.person_id AND l.id < 30 RETURNING l.id, l.text, p.phone", "UPDATE crm.ledger l SET text = p.phone FROM crm.people p WHERE p.id = l.person_id",
    "UPDATE crm.keyed SET label = label RETURNING id, api_key", "DELETE FROM crm.ledger WHERE person_id IN (SELECT id FROM crm.plain_people WHERE city = 'York') RETURNING id", "UPDATE scratch.notes SET body = {t}, tag = 'x' RETURNING *")
DEFINITIONS = (
    "CREATE TEMP TABLE t1 AS {q}", "SELECT * INTO scratch.s1 FROM ({q}) q", "CREATE TABLE scratch.s2 AS TABLE crm.people", "CREATE VIEW scratch.v1 AS {q}", "CREATE TEMP VIEW v2 AS SELECT email AS e FROM crm.people",
    "CREATE INDEX ON crm.people ((email::int))", "CREATE UNIQUE INDEX ON crm.events_low (kind)", "CREATE INDEX ON crm.people ((1 / (length(email) - length(email))))", "CREATE STATISTICS scratch.st ON email, phone FROM crm.people",
    "CREATE MATERIALIZED VIEW scratch.m1 AS {q}", "COMMENT ON TABLE scratch.notes IS 'own words'", "CREATE TABLE scratch.s3 (LIKE crm.people INCLUDING ALL)", "CREATE TABLE scratch.s4 (CHECK (api_key = label)) INHERITS (crm.keyed)",
    "CREATE RULE r AS ON UPDATE TO scratch.notes DO ALSO SELECT email FROM crm.people", "ANALYZE VERBOSE crm.people", "REFRESH MATERIALIZED VIEW crm.kept", "CREATE FUNCTION scratch.f() RETURNS text LANGUAGE sql AS 'select email from crm.people'",
    "CREATE TABLE scratch.s5 (id int PRIMARY KEY DEFAULT 5, b text)", "ALTER TABLE scratch.notes ADD COLUMN more text DEFAULT 'd'", "CREATE POLICY p ON scratch.notes USING ((SELECT email FROM crm.people LIMIT 1) = body)", "LOCK TABLE crm.people IN SHARE MODE",
    "CREATE TRIGGER t AFTER UPDATE ON crm.ledger FOR EACH ROW EXECUTE FUNCTION crm.tells()", "CREATE DOMAIN scratch.d AS text CHECK (VALUE <> (SELECT 'a'))", "ALTER TABLE crm.people RENAME email TO mail", "CREATE SEQUENCE scratch.q START 7391")
READ_BACK = ("SELECT * FROM scratch.notes", "SELECT * FROM scratch.uniques", "SELECT n FROM scratch.numbers", "TABLE crm.ledger", "SELECT name FROM crm.people", "SELECT place FROM crm.visits", "SELECT kind FROM crm.events",
             "SELECT * FROM scratch.v1", "SELECT * FROM t1", "SELECT * FROM v2", "SELECT * FROM scratch.s1", "SELECT body, tag FROM scratch.notes ORDER BY id DESC LIMIT 5")
COPY_OPTIONS = ("", "", " (FORMAT csv, HEADER)", " (FORMAT csv, QUOTE '''', FORCE_QUOTE *)", " (FORMAT binary)", " (DELIMITER '|', NULL 'name 3')", " WITH CSV", " (FORMAT text, ENCODING 'UTF8')")
COPY_IN = (("COPY scratch.notes (body) FROM STDIN", b"own words\n\\N\n"), ("COPY scratch.numbers FROM STDIN", b"5\t2024-01-01\nx\t2024-01-01\n"), ("COPY scratch.numbers FROM STDIN (FORMAT csv)", b"5,2024-01-01\n5000,\n"),
           ("COPY crm.people (id, name, city, joined) FROM STDIN", b"1\tn\tc\t2024-01-01\n"), ("COPY crm.people (id, name, city, joined, height) FROM STDIN", b"990\tn\tc\t2024-01-01\t900\n"), ("COPY scratch.uniques (k) FROM STDIN", b"key 1\n"))


@dataclasses.dataclass
class Turn:
    """What is sent before the next look at the answers. `frame`: only to prepare or end, not counted."""
    texts: list
    data: bytes
    syncs: int = 1
    copy: bytes = b""
    frame: bool = False


def simple(*texts, frame=False):
    return Turn(list(texts), wire.query("; ".join(texts)), frame=frame)


class Statements:
    """A stream of turns over one session."""

    def __init__(self, random, relations, share_devious):
        self.random, self.relations, self.share = random, relations, share_devious
        self.kinds = [(kind, weight) for kind, weight in ((self.query, 34), (self.extended, 28), (self.pipeline, 7), (self.copy_out, 6), (self.copy_in, 2), (self.write, 8), (self.cursor, 5),
                                                           (self.prepared, 5), (self.explain, 4), (self.probe, 5), (self.setting, 2), (self.definition, 3), (self.several, 4))]

    def turns(self):
        kind = self.random.choices([kind for kind, _ in self.kinds], [weight for _, weight in self.kinds])[0]
        return kind()

    def maker(self):
        devious = self.random.choice((0.1, 0.3, 0.7)) if self.random.random() < self.share else 0
        return Maker(self.random, self.relations, devious)

    def text(self, depth=2):
        return self.maker().query(depth)[0]

    def query(self):
        return [simple(self.text())]

    def several(self):
        texts = [self.text(1) for _ in range(self.random.randint(2, 3))]
        if self.random.random() < 0.3:
            texts.insert(self.random.randint(0, len(texts)), self.random.choice(("COMMIT", "BEGIN", "SET LOCAL search_path = crm", "SELECT 1/0", "")))
        return [simple(*texts), *self.roll_back()]

    def extended_data(self, text, serial=0):
        """One execution, in one of the ways of drivers; without its Sync."""
        name = self.random.choice(("", f"s{serial}"))
        portal = self.random.choice(("", f"p{serial}"))
        data = wire.close(b"S", name) if name else b""
        data += wire.parse(text, name)
        if self.random.random() < 0.3:
            data += wire.describe(b"S", name)
        for _ in range(self.random.choice((1, 1, 1, 2))):
            if portal:
                data += wire.close(b"P", portal)
            data += wire.bind((), portal, name, binary=self.random.random() < 0.5)
            if self.random.random() < 0.6:
                data += wire.describe(b"P", portal)
            rows = self.random.choice((0, 0, 0, 2))
            data += wire.execute(portal, rows) * (self.random.randint(1, 3) if rows else 1)
            if self.random.random() < 0.1:
                data += wire.FLUSH
        return data

    def extended(self):
        text = self.text()
        return [Turn([text], self.extended_data(text) + wire.SYNC)]

    def pipeline(self):
        texts = [self.text(1) for _ in range(self.random.randint(2, 4))]
        data, syncs = b"", 0
        for serial, text in enumerate(texts):
            data += self.extended_data(text, serial)
            if serial == len(texts) - 1 or self.random.random() < 0.4:
                data += wire.SYNC
                syncs += 1
        return [Turn(texts, data, syncs)]

    def copy_out(self):
        options = self.random.choice(COPY_OPTIONS)
        if self.random.random() < 0.4:
            relation = self.random.choice([relation for relation in self.relations if relation.kind == "r"])
            columns = [column.name for column in relation.columns if not column.generated and self.random.random() < 0.7] or [relation.columns[0].name]
            text = f"COPY {relation.name} ({', '.join(columns)}) TO STDOUT{options}"
        else:
            text = f"COPY ({self.text(1)}) TO STDOUT{options}"
        if self.random.random() < 0.3:
            return [Turn([text], wire.parse(text) + wire.bind() + wire.execute() + wire.SYNC)]
        return [simple(text)]

    def copy_in(self):
        text, data = self.random.choice(COPY_IN)
        end = wire.message(b"d", data) + self.random.choice((wire.message(b"c"), wire.message(b"c"), wire.message(b"f", wire.text("no more"))))
        if self.random.random() < 0.4:
            turn = Turn([text], wire.parse(text) + wire.bind() + wire.execute() + wire.SYNC, copy=end + wire.SYNC)
        else:
            turn = Turn([text], wire.query(text), copy=end)
        return [simple("BEGIN", frame=True), turn, *self.roll_back()]

    def roll_back(self):
        return [simple(self.random.choice(("ROLLBACK", "ROLLBACK", "ROLLBACK")), frame=True)]

    def in_transaction(self, *turns):
        return [simple("BEGIN", frame=True), *turns, *self.roll_back()]

    def execution(self, text):
        if self.random.random() < 0.4:
            return Turn([text], self.extended_data(text) + wire.SYNC)
        return simple(text)

    def write(self):
        template = self.random.choice(WRITES)
        maker = self.maker()
        tables = [relation for relation in self.relations if relation.kind == "r" and any(column.kind == "t" for column in relation.columns)]
        table = self.random.choice(tables)
        if "{T}" in template:
            column = self.random.choice([column.name for column in table.columns if column.kind == "t" and not column.generated])
            template = template.replace("{T}", table.name).replace("{C}", column)
        else:
            target = template.split(" FROM crm.people")[0] != template or template.startswith("UPDATE crm.people")
            name = "crm.people" if target else next((word for word in template.split() if word in maker.by_name), "scratch.notes")
            table = maker.by_name[name]
        maker.scopes.append([source_of(table)])
        text = maker.fill(template, 1)
        turns = [self.execution(text)]
        if self.random.random() < 0.3:
            turns.append(self.execution(self.random.choice(READ_BACK)))
        return self.in_transaction(*turns)

    def definition(self):
        maker = self.maker()
        template = self.random.choice(DEFINITIONS)
        text = template.replace("{q}", self.text(1)) if "{q}" in template else maker.fill(template, 1)
        return self.in_transaction(self.execution(text), self.execution(self.random.choice(READ_BACK)))

    def cursor(self):
        words = self.random.choice(("CURSOR", "SCROLL CURSOR", "BINARY CURSOR", "CURSOR WITH HOLD", "INSENSITIVE CURSOR"))
        turns = [self.execution(f"DECLARE cu {words} FOR {self.text(1)}")]
        for _ in range(self.random.randint(1, 3)):
            turns.append(self.execution(self.random.choice(("FETCH ALL FROM cu", "FETCH 3 FROM cu", "FETCH FIRST FROM cu", "MOVE 2 IN cu", "FETCH BACKWARD 1 FROM cu", "FETCH RELATIVE 2 FROM cu", "CLOSE cu"))))
        return self.in_transaction(*turns)

    def prepared(self):
        text = self.text(1)
        turns = [simple("DEALLOCATE ALL", frame=True), self.execution(f"PREPARE st AS {text}")]
        for _ in range(self.random.randint(1, 2)):
            turns.append(self.random.choice((simple("EXECUTE st"), simple("EXPLAIN ANALYZE EXECUTE st"), Turn(["EXECUTE st"], wire.bind(statement="st", binary=True) + wire.describe(b"P") + wire.execute() + wire.SYNC))))
        return turns

    def explain(self):
        options = self.random.choice(("", "ANALYZE ", "(ANALYZE, VERBOSE) ", "(VERBOSE, COSTS OFF) ", "(ANALYZE, FORMAT json) ", "(ANALYZE, BUFFERS, FORMAT xml) ", "(ANALYZE, FORMAT yaml) "))
        return [self.execution(f"EXPLAIN {options}{self.text(1)}")]

    def probe(self):
        return self.in_transaction(self.execution(self.random.choice(PROBES)))

    def setting(self):
        return [simple(self.random.choice(SETTINGS)), self.execution(self.text(1))]


def source_of(table):
    return Source(table.name.split(".")[1], table.columns, True)
