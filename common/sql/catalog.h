// What a database says its names mean: the snapshot that SQL analysis resolves against.
//
// A Catalog is immutable once built and is shared by pointer between threads; a change in the database makes a new one.
// sidecar/catalog reads it from a target; the control plane gets it from sidecars (postern.v1.CatalogContents).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "postern/v1/sidecar.pb.h"

namespace postern::sql {

using Oid = uint32_t;

// A base column by what the server itself calls it. `attnum` as in pg_attribute; 0 stands for the whole row.
struct ColumnId {
  Oid relation = 0;
  int16_t attnum = 0;
  friend auto operator<=>(const ColumnId&, const ColumnId&) = default;
};

struct Column {
  std::string name;
  int16_t attnum = 0;
  Oid type = 0;
  bool generated = false;
};

// pg_class.relkind.
enum class RelationKind : char {
  kTable = 'r',
  kPartitionedTable = 'p',
  kView = 'v',
  kMaterializedView = 'm',
  kForeignTable = 'f',
  kSequence = 'S',
  kComposite = 'c',
};

struct Relation {
  Oid oid = 0;
  Oid schema_oid = 0;
  std::string schema;
  std::string name;
  RelationKind kind = RelationKind::kTable;
  std::vector<Column> columns;
  // pg_get_viewdef() of views and materialized views, read under an empty search_path, so that every name outside
  // pg_catalog is qualified.
  std::string view_definition;
  // Tables that it is a partition or inheritance child of.
  std::vector<Oid> parents;
  bool has_triggers = false;
  bool has_rules = false;

  // nullptr if there is none. System columns (ctid, xmin, tableoid…) are not listed.
  const Column* FindColumn(std::string_view column) const;
};

struct Function {
  Oid oid = 0;
  std::string schema;
  std::string name;
  std::vector<Oid> argument_types;
  Oid return_type = 0;
  char volatility = 'v';
  char kind = 'f';
  std::string language;
  bool security_definer = false;
  bool returns_set = false;
  bool variadic = false;
  // Body, of SQL-language functions only.
  std::string source;
};

namespace internal {
class LineageCache;
}

class Catalog {
 public:
  ~Catalog();

  // Builds the indexes. Takes what sidecars send and what the loader reads.
  static std::shared_ptr<const Catalog> Build(const v1::CatalogContents& contents);

  // nullptr if there is none.
  const Relation* FindRelation(std::string_view schema, std::string_view name) const;
  const Relation* FindRelation(Oid oid) const;
  // Resolves as Postgres does: pg_temp first (never in a snapshot), then implicit pg_catalog unless listed, then path.
  const Relation* Resolve(const std::vector<std::string>& search_path, std::string_view name) const;
  // Every function of that name. With an empty schema: all schemas on the path (and pg_catalog).
  std::vector<const Function*> FindFunctions(const std::vector<std::string>& search_path, std::string_view schema,
                                             std::string_view name) const;
  // Those of all schemas.
  std::vector<const Function*> FindFunctions(std::string_view name) const;
  bool HasSchema(std::string_view schema) const;
  // True if the snapshot holds the system's own relations, and functions. Those of tests may not.
  bool knows_system_relations() const { return knows_system_relations_; }
  bool knows_system_functions() const { return knows_system_functions_; }
  // Direct and indirect partitions and inheritance children.
  std::vector<const Relation*> Descendants(Oid relation) const;

  const std::vector<Relation>& relations() const { return relations_; }
  int server_version() const { return server_version_; }
  // The name of a column's type with its schema, quoted where needed; "" if the snapshot does not have it.
  std::string_view TypeName(Oid type) const;
  // True if users defined operators or casts in this schema, so that plain expressions may call their code.
  bool SchemaHasOperators(std::string_view schema) const;

  // What analysis has found out about views and SQL functions, kept as long as the catalog. Thread-safe.
  internal::LineageCache& lineages() const { return *lineages_; }

 private:
  Catalog();

  std::vector<Relation> relations_;
  std::vector<Function> functions_;
  std::vector<std::string> schemas_;
  std::vector<std::string> schemas_with_operators_;
  // By bare name, as names are looked for in several schemas: places in the lists above.
  using Places = absl::InlinedVector<uint32_t, 2>;
  absl::flat_hash_map<std::string, Places> relation_by_name_;
  absl::flat_hash_map<Oid, uint32_t> relation_by_oid_;
  absl::flat_hash_map<std::string, Places> function_by_name_;
  std::unordered_multimap<Oid, size_t> children_;
  absl::flat_hash_map<Oid, std::string> type_names_;
  int server_version_ = 0;
  bool knows_system_relations_ = false;
  bool knows_system_functions_ = false;
  std::unique_ptr<internal::LineageCache> lineages_;
};

}  // namespace postern::sql
