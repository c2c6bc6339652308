"""What the generator knows of the database: relations, their columns, and which of them show canaries."""
import dataclasses

KINDS = {"text": "t", "character varying": "t", "character": "t", "name": "t", "crm.mail": "t", "integer": "i", "bigint": "i", "smallint": "i",
         "numeric": "n", "double precision": "n", "real": "n", "money": "m", "date": "d", "timestamp without time zone": "d",
         "timestamp with time zone": "d", "boolean": "b", "uuid": "u", "inet": "h", "cidr": "h", "jsonb": "j", "json": "j", "bytea": "y", "text[]": "a"}

DERIVED = ("lowered", "shown", "top")  # crm.people's, crm.shouted's, crm.per_city's

COLUMNS = """
SELECT n.nspname || '.' || c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), a.attgenerated <> ''
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('crm', 'scratch') AND c.relkind IN ('r', 'v', 'm', 'p') AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY c.oid, a.attnum"""


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    kind: str  # one letter of KINDS, "o" for every other type
    canary: bool
    generated: bool = False

    @property
    def derived(self):
        """An expression over a masked column: not even by itself may it come out."""
        return self.name in DERIVED


@dataclasses.dataclass(frozen=True)
class Relation:
    name: str
    kind: str  # of pg_class
    columns: tuple

    @property
    def canary(self):
        return any(column.canary for column in self.columns)


def read(behind, needles):
    """The relations, as the superuser sees them through `behind(sql)`; and the text of every value that shows a canary."""
    listed = behind(COLUMNS)
    shown = behind(" UNION ALL ".join(f"SELECT DISTINCT '{i}', {column}::text FROM {relation} WHERE {column} IS NOT NULL"
                                      for i, (relation, _, column, _, _) in enumerate(listed)))
    canaries = [(int(i), value) for i, value in shown if needles.find(value.encode())]
    with_canaries, found = {i for i, _ in canaries}, {}
    for i, (relation, kind, column, type_name, generated) in enumerate(listed):
        columns = found.setdefault(relation, (kind, []))[1]
        columns.append(Column(column, KINDS.get(type_name.split("(")[0], "o"), i in with_canaries, generated == "t"))
    return [Relation(name, kind, tuple(columns)) for name, (kind, columns) in found.items()], {value for _, value in canaries}
