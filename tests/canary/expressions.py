"""Random expressions and queries over the model.

A `Maker` is in one of two tempers. The honest one uses columns with canaries only as an output by themselves, as policy
allows; the devious one uses them anywhere. Most statements are honest, so that most of them run.
"""
import dataclasses

from model import Column

TEXT = ("upper({t})", "lower({t})", "reverse({t})", "{t} || {t}", "md5({t})", "substr({t}, 1, 12)", "left({t}, 14)", "right({t}, 20)", "quote_literal({t})",
        "encode(convert_to({t}, 'UTF8'), 'hex')", "encode(convert_to({t}, 'UTF8'), 'base64')", "encode(sha256({t}::bytea), 'hex')", "coalesce({t}, {t})",
        "replace({t}, 'e', 'E')", "nullif({t}, {t})", "greatest({t}, {t})", "CASE WHEN {b} THEN {t} ELSE {t} END", "format('%s/%s', {t}, {i})",
        "concat_ws(',', {t}, {t})", "{i}::text", "{n}::text", "{d}::text", "to_char({n}, 'FM99999999999999999990.0000')", "to_char({d}, 'YYYY-MM-DD')",
        "split_part({t}, '-', 1)", "regexp_replace({t}, '[0-9]+$', '')", "initcap({t})", "trim({t})", "lpad({t}, 60, '.')", "(ARRAY[{t}, {t}])[1]",
        "jsonb_build_object('k', {t}) ->> 'k'", "row_to_json(ROW({t}, {i}))::text", "(SELECT {t})", "array_to_string(string_to_array({t}, NULL), ',')",
        "{u}::text", "host({h})", "{j}::text", "{j} ->> 'mail'", "encode({y}, 'hex')", "({a})[1]", "array_to_string({a}, '|')", "{m}::text", "{o}::text",
        "to_hex({i})", "ROW({t}, {n})::text", "(xpath('/a/text()', xmlelement(name a, {t})))[1]::text", "xmlelement(name a, {t})::text",
        "translate({t}, 'aeiou', 'AEIOU')", "crm.glue({t}, {t})", "crm.get_email(({i})::int)", "quote_nullable({o})", "{row}::text",
        "to_jsonb({row})::text", "row_to_json({row}) ->> 'email'", "hashtext({t})::text", "string_agg({t}, ',') OVER ()", "lag({t}) OVER (ORDER BY {i})",
        "first_value({t}) OVER (PARTITION BY {i} ORDER BY {t})", "max({t}) OVER ()", "to_tsvector('simple', {t})::text", "normalize({t})", "{t} COLLATE \"C\"",
        "overlay({t} PLACING 'x' FROM 1 FOR 1)", "(SELECT max(s) FROM (VALUES ({t}), ({t})) v (s))", "format_type({i}::oid, NULL)", "chr(ascii({t}))")
INTEGER = ("{i} + {i}", "{i} % 7", "abs({i})", "length({t})", "ascii({t})", "coalesce({i}, 0)", "-{i}", "position('a' IN {t})", "extract(year FROM {d})::int",
           "row_number() OVER (ORDER BY {i})", "rank() OVER (PARTITION BY {t} ORDER BY {n})", "CASE WHEN {b} THEN {i} ELSE {i} END", "sign({n})::int",
           "cardinality({a})", "hashtext({t})", "count(*) OVER (PARTITION BY {t})", "{i} / {i}", "strpos({t}, '-')", "(SELECT count(*) FROM ({q}) s)",
           "floor({n} / 1000000000)::bigint", "octet_length({t})", "num_nulls({t}, {i})", "greatest({i}, {i})", "mod({i}, 5)")
NUMBER = ("{n} + 1", "{n} * 1.0", "round({n}::numeric, 2)", "{i}::numeric", "coalesce({n}, 0)", "-{n}", "{n} / 2", "abs({n})", "{i} * 0.5", "sum({n}) OVER ()",
          "avg({n}) OVER (PARTITION BY {i} % 3)", "extract(epoch FROM {d})", "trunc({n}::numeric)", "greatest({n}, {n})", "sqrt(abs({n}))", "{m}::numeric", "random() * 0 + {n}")
DATE = ("{d}", "date_trunc('month', {d})", "coalesce({d}, date '2020-01-01')", "{d} + interval '1 day'", "greatest({d}, {d})", "timestamp '2020-02-02' + {i} * interval '1 s'")
BOOLEAN = ("{i} > 3", "{i} < {i} + 9", "{n} > 0.5", "{d} >= date '2020-01-03'", "{t} LIKE '%a%'", "{t} = {t}", "{t} ~ '^[a-m]'", "{i} IN (1, 2, 3, 5, 8, 13)", "{t} IS NULL", "{t} IS NOT NULL",
           "NOT ({b})", "({b}) OR ({b})", "({b}) AND ({b})", "EXISTS ({q})", "{i} BETWEEN 1 AND 30", "{t} < 'n'", "{i} IS DISTINCT FROM {i}", "{t} IN ({t}, {t})",
           "{i} = ANY (ARRAY[1, 2, 3, 4])", "{j} ? 'mail'", "{t} = ANY ({a})", "crm.same({t}, {t})", "{t} OPERATOR(crm.===) {t}", "{row} IS NOT NULL")
# What quotes the value in an error: never honest on canaries, and mostly an error without them, too.
ERRORS = ("{t}::int", "{t}::numeric", "{t}::date", "{t}::uuid", "{t}::inet", "{t}::json", "{t}::jsonb", "{t}::xml", "{t}::boolean", "{t}::interval", "{t}::regclass",
          "{t}::tsquery", "{t}::int[]", "to_number({t}, '999')", "to_date({t}, 'YYYY-MM-DD')", "{i} / ({i} - {i})", "{t} ~ ('(' || {t})", "'x' ~ {t}", "{i}::int2",
          "{n}::int2", "chr({i} + 2000000)", "crm.raises(({i})::int)", "crm.warns(({i})::int)", "crm.get_email_plpgsql(({i})::int)", "({t} || 'x')::crm.mail", "{t}::\"char\"::int", "decode({t}, 'hex')", "convert_from({y}, 'SJIS')", "to_char({n}, {t})",
          "set_config({t}, 'x', true)", "current_setting({t})", "to_regclass({t})::oid::text::date::text", "date_trunc({t}, {d})", "jsonb_path_query_first({j}, {t}::jsonpath)",
          "format({t})", "json_object(ARRAY[{t}])", "{m}::numeric::int2", "make_date({i}, {i}, {i})", "{a}::int[]", "{j}::text::int", "encode({y}, {t})", "ltrim({t})::regtype")
AGGREGATES = ("count({t})", "max({t})", "min({i})", "sum({n})", "avg({n})", "string_agg({t}, ',' ORDER BY {i})", "array_agg({t})", "json_agg({t})", "jsonb_object_agg({t}, {i})",
              "bool_and({b})", "count(*) FILTER (WHERE {b})", "percentile_disc(0.5) WITHIN GROUP (ORDER BY {n})", "mode() WITHIN GROUP (ORDER BY {t})", "count(DISTINCT {t})",
              "json_agg({row})", "xmlagg(xmlelement(name e, {t}))", "crm.glued({t})", "array_agg({row})", "stddev({n})", "max({d})", "bit_xor({i})", "range_agg(int8range({i}, NULL))")
AS_KIND = {"t": "({})::text", "i": "length(({})::text)", "b": "(({}) IS NOT NULL)"}
FUNCTIONS = {"t": TEXT, "i": INTEGER, "n": NUMBER, "d": DATE}
CONSTANTS = {"t": ("'a'", "'name 3'", "'Leeds'", "'x-y'", "NULL::text", "U&'\\0061'", "$$d$$", "E'\\n'"), "i": ("1", "2", "7", "40", "0", "NULL::int"), "n": ("1.5", "0", "1e3", "NULL::numeric"),
             "d": ("date '2021-05-05'", "timestamp '2021-06-06 01:02:03'"), "b": ("true", "false"), "u": ("'6f6f6f6f-0000-4000-8000-000000000000'::uuid",),
             "h": ("inet '10.0.0.1'",), "j": ("'{\"mail\": \"x\"}'::jsonb",), "y": ("'\\x6162'::bytea",), "a": ("(ARRAY['p', 'q'])",), "m": ("'3.5'::money",), "o": ("'1'::\"char\"", "point(1, 2)")}
JOINS = ("JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN")


@dataclasses.dataclass
class Source:
    """An item of FROM: its alias and what it has."""
    alias: str
    columns: tuple  # of model.Column
    table: bool = False


class Maker:
    """`devious`: how often an expression takes a column with canaries where one is at hand."""

    def __init__(self, random, relations, devious):
        self.random, self.relations, self.devious = random, relations, devious
        self.scopes, self.ctes, self.serial, self.windows = [], [], 0, True
        self.by_name = {relation.name: relation for relation in relations}
        # Where an honest statement finds something in each row.
        self.whole = [relation for relation in relations if devious or not any(column.derived for column in relation.columns)]

    def chance(self, probability):
        return self.random.random() < probability

    def alias(self):
        self.serial += 1
        return f"a{self.serial}"

    # Expressions

    def expression(self, kind, depth=2):
        if kind == "row":
            return self.whole_row()
        if self.devious and kind in "tib" and self.chance(0.05):
            return AS_KIND[kind].format(self.fill(self.random.choice(ERRORS), depth - 1))
        if kind == "b":
            return self.fill(self.random.choice(BOOLEAN if depth > 0 else BOOLEAN[:6]), depth - 1)
        if depth > 0 and kind in FUNCTIONS and self.chance(0.45):
            choices = FUNCTIONS[kind]
            template = self.random.choice(choices)
            while not self.windows and " OVER " in template:
                template = self.random.choice(choices)
            return "(" + self.fill(template, depth - 1) + ")"
        return self.leaf(kind)

    def without_windows(self, make):
        kept, self.windows = self.windows, False
        text = make()
        self.windows = kept
        return text

    def condition(self, depth):
        return self.without_windows(lambda: self.expression("b", depth))

    def fill(self, template, depth):
        """Puts expressions where the template has {kind}."""
        text, rest = "", template
        while "{" in rest:
            before, _, after = rest.partition("{")
            kind, _, rest = after.partition("}")
            text += before + (self.subquery() if kind == "q" else self.expression(kind, depth))
        return text + rest

    def leaf(self, kind):
        if self.chance(0.9):
            column = self.column_of(kind)
            if column:
                return column
        return self.random.choice(CONSTANTS[kind])

    def column_of(self, kind):
        """A column of that kind, None if there is none."""
        columns = self.columns_of(lambda column: column.kind == kind)
        canaries = [name for name, column in columns if column.canary]
        plain = [name for name, column in columns if not column.canary]
        if canaries and (self.chance(self.devious) or (self.devious and not plain)):
            return self.random.choice(canaries)
        return self.random.choice(plain) if plain else None

    def columns_of(self, wanted):
        return [(f"{source.alias}.{column.name}", column) for source in self.visible() for column in source.columns if wanted(column)]

    def visible(self):
        """The innermost query's sources and, now and then, the outer ones'."""
        if len(self.scopes) > 1 and self.chance(0.3):
            return [source for scope in self.scopes for source in scope]
        return self.scopes[-1] if self.scopes else []

    def whole_row(self):
        rows = [source.alias for source in self.visible() if self.devious or not any(column.canary for column in source.columns)]
        return self.random.choice(rows) if rows else "ROW(1, 'a')"

    # Queries

    def subquery(self):
        """A scalar-sized query for EXISTS and the like."""
        if len(self.scopes) > 2:
            return "SELECT 1 AS c"
        return self.select(["i"], depth=0)[0] + " LIMIT 3"

    def query(self, depth=2):
        """(text, output columns) of a whole query, with WITH and set operations."""
        kept, prefix = list(self.ctes), ""
        if depth > 0 and self.chance(0.25):
            prefix = self.with_clause(depth - 1)
        if depth > 0 and self.chance(0.15):
            body, columns = self.set_operation(depth - 1)
        else:
            body, columns = self.select(None, depth)
        self.ctes = kept
        return prefix + body, columns

    def with_clause(self, depth):
        parts = []
        for _ in range(self.random.randint(1, 2)):
            name = f"c{self.alias()}"
            if self.chance(0.15):
                body, columns = self.recursive(name)
            else:
                body, columns = self.query(depth)
            columns = self.named(columns)
            parts.append(f"{name} ({', '.join(column.name for column in columns)}) AS {self.random.choice(('', '', 'MATERIALIZED ', 'NOT MATERIALIZED '))}({body})")
            self.ctes.append((name, tuple(columns)))
        return "WITH RECURSIVE " + ", ".join(parts) + " "

    def recursive(self, name):
        first, columns = self.select(["i", "t"], 0)
        a, b = (column.name for column in self.named(columns))
        return f"{first} UNION ALL SELECT {a} + 100, {b} FROM {name} WHERE {a} < 60", columns

    def set_operation(self, depth):
        kinds = [self.random.choice("tind") for _ in range(self.random.randint(1, 4))]
        left, columns = self.select(kinds, depth)
        right, others = self.select(kinds, depth)
        operator = self.random.choice(("UNION ALL", "UNION ALL", "UNION", "INTERSECT", "EXCEPT"))
        if operator != "UNION ALL" and not self.devious and any(column.canary for column in columns + others):
            operator = "UNION ALL"  # the others compare
        merged = [dataclasses.replace(a, canary=a.canary or b.canary) for a, b in zip(columns, others)]
        return f"({left}) {operator} ({right})", merged

    def named(self, columns):
        """With names that are unique, for an alias list."""
        return [dataclasses.replace(column, name=f"k{i}") for i, column in enumerate(columns)]

    def select(self, kinds, depth):
        if kinds is None and self.chance(0.05):
            relation = self.random.choice(self.whole)
            return f"TABLE {relation.name}", list(relation.columns)
        self.scopes.append([])
        text = "FROM " + self.from_clause(depth)
        if self.chance(0.35):
            text += f" WHERE {self.condition(2)}"
        outputs, columns = self.outputs(kinds, depth, text)
        self.scopes.pop()
        return outputs, columns

    def outputs(self, kinds, depth, text):
        """The query whose FROM and WHERE is `text`."""
        if kinds is None and self.chance(0.15):
            return self.grouped(text)
        items, columns = [], []
        if kinds is None and self.chance(0.15) and (self.devious or not any(column.derived for source in self.scopes[-1] for column in source.columns)):
            items, columns = self.star()
        else:
            for i, kind in enumerate(kinds or [self.kind() for _ in range(self.random.randint(1, 6))]):
                item, canary = self.output(kind, depth, kinds is None)
                items.append(f"{item} AS o{i}" if kinds is None and self.chance(0.8) else item)
                columns.append(self.column(f"o{i}", kind, canary))
        distinct = "DISTINCT " if self.chance(0.05) and (self.devious or not any(column.canary for column in columns)) else ""
        return f"SELECT {distinct}{', '.join(items)} {text}" + self.tail(kinds), columns

    def tail(self, kinds):
        text = ""
        if kinds is None and self.chance(0.4):
            key = self.column_of(self.random.choice("tin"))
            text += f" ORDER BY {key}" if key else " ORDER BY 1" if self.devious else ""
        if kinds is None and self.chance(0.8):
            text += f" LIMIT {self.random.choice((1, 5, 20))}"
        return text

    def star(self):
        sources = self.scopes[-1]
        if self.chance(0.5):
            return ["*"], [column for source in sources for column in source.columns]
        source = self.random.choice(sources)
        return [f"{source.alias}.*"], list(source.columns)

    def grouped(self, text):
        keys = [key for key in (self.column_of(self.random.choice("ti")) for _ in range(self.random.randint(0, 2))) if key]
        items = keys + [self.without_windows(lambda: self.fill(self.random.choice(AGGREGATES), 1)) for _ in range(self.random.randint(1, 3))]
        group = f" GROUP BY {self.random.choice(('{}', '{}', 'ROLLUP ({})', 'GROUPING SETS (({}), ())')).format(', '.join(keys))}" if keys else ""
        having = f" HAVING {self.fill('count(*) > {i}', 0)}" if not keys and self.chance(0.1) else ""
        return f"SELECT {', '.join(items)} {text}{group}{having}", [self.column(f"g{i}", "o", bool(self.devious)) for i in range(len(items))]

    def kind(self):
        """Mostly one that there are columns of."""
        columns = self.columns_of(lambda column: self.devious or not column.derived)
        return self.random.choice(columns)[1].kind if columns and self.chance(0.8) else self.random.choice("tinb")

    @staticmethod
    def column(name, kind, canary):
        return Column(name, kind, canary)

    def output(self, kind, depth, may_be_bare):
        """(text, whether it may show a canary) of one output: honest, a canary comes only by itself."""
        bare = self.columns_of(lambda column: column.kind == kind and column.canary and (self.devious or not column.derived))
        if bare and (may_be_bare or self.devious) and self.chance(0.6):
            return self.random.choice(bare)[0], True
        if kind in "juhyamo":
            return self.leaf(kind), bool(self.devious)
        return self.expression(kind, depth + 1), bool(self.devious)

    # FROM

    def from_clause(self, depth):
        scope = self.scopes[-1]
        text = self.item(depth)
        for _ in range(self.random.choice((0, 0, 0, 1, 1, 2))):
            before = len(scope)
            item = self.item(depth, lateral=True)
            condition, simple = self.join_condition(before)
            kind = self.random.choice(JOINS if simple and not item.startswith("LATERAL") else ("JOIN", "LEFT JOIN"))
            text += f" {kind} {item} ON {condition}"
        return text

    def join_condition(self, before):
        """(text, whether it only compares two columns, as FULL JOIN wants it)."""
        left = [f"{source.alias}.{c.name}" for source in self.scopes[-1][:before] for c in source.columns if c.kind == "i" and not c.canary]
        right = [f"{source.alias}.{c.name}" for source in self.scopes[-1][before:] for c in source.columns if c.kind == "i" and not c.canary]
        if left and right and not (self.devious and self.chance(0.2)):
            return f"{self.random.choice(left)} = {self.random.choice(right)}", True
        return self.condition(1), False

    def item(self, depth, lateral=False):
        scope, alias = self.scopes[-1], self.alias()
        choice = self.random.random()
        if self.ctes and choice < 0.35:
            name, columns = self.random.choice(self.ctes)
            scope.append(Source(alias, columns))
            return f"{name} AS {alias}"
        if depth > 0 and choice < 0.5:
            scopes, self.scopes = self.scopes, self.scopes if lateral and self.chance(0.3) else []
            word = "LATERAL " if self.scopes else ""
            body, columns = self.query(depth - 1)
            self.scopes = scopes
            columns = tuple(self.named(columns))
            scope.append(Source(alias, columns))
            return f"{word}({body}) AS {alias} ({', '.join(column.name for column in columns)})"
        if choice < 0.58:
            return self.function_item(alias)
        relation = self.by_name["crm.people"] if self.chance(0.3) else self.random.choice(self.whole)
        scope.append(Source(alias, relation.columns, True))
        return f"{self.random.choice(('', '', '', 'ONLY ')) if relation.kind in 'rp' else ''}{relation.name} AS {alias}"

    def function_item(self, alias):
        people = self.by_name["crm.people"].columns
        canary = bool(self.devious)
        items = [(f"generate_series(1, {self.random.randint(1, 9)}) AS {alias} (k0)", (self.column("k0", "i", False),)),
                 (f"(VALUES (1, 'v'), (2, 'w')) AS {alias} (k0, k1)", (self.column("k0", "i", False), self.column("k1", "t", False))),
                 (f"json_to_recordset('[{{\"k0\": 1, \"k1\": \"x\"}}]') AS {alias} (k0 int, k1 text)", (self.column("k0", "i", False), self.column("k1", "t", False))),
                 (f"unnest(ARRAY['p', 'q'], ARRAY[1, 2]) WITH ORDINALITY AS {alias} (k0, k1, k2)", (self.column("k0", "t", False), self.column("k1", "i", False), self.column("k2", "i", False)))]
        if canary:
            items += [(f"crm.all_people() AS {alias}", people), (f"crm.get_email({self.random.randint(1, 9)}) AS {alias} (k0)", (self.column("k0", "t", True),)),
                      (f"LATERAL regexp_split_to_table({self.expression('t', 1)}, '-') AS {alias} (k0)", (self.column("k0", "t", True),)),
                      (f"LATERAL jsonb_each_text(to_jsonb({self.whole_row()})) AS {alias} (k0, k1)", (self.column("k0", "t", False), self.column("k1", "t", True))),
                      (f"ROWS FROM (generate_series(1, 3), crm.get_email(2)) AS {alias} (k0, k1)", (self.column("k0", "i", False), self.column("k1", "t", True)))]
        text, columns = self.random.choice(items)
        self.scopes[-1].append(Source(alias, tuple(columns)))
        return text
