#include "common/sql/catalog.h"

#include <algorithm>

#include "common/base/strings.h"
#include "common/sql/lineage_cache.h"

namespace postern::sql {
namespace {

char FirstChar(const std::string& text, char otherwise) { return text.empty() ? otherwise : text[0]; }

}  // namespace

Catalog::Catalog() : lineages_(std::make_unique<internal::LineageCache>()) {}
Catalog::~Catalog() = default;

const Column* Relation::FindColumn(std::string_view column) const {
  for (const Column& candidate : columns) {
    if (candidate.name == column) return &candidate;
  }
  return nullptr;
}

std::shared_ptr<const Catalog> Catalog::Build(const v1::CatalogContents& contents) {
  std::shared_ptr<Catalog> catalog(new Catalog());
  std::unordered_map<Oid, std::string> schema_names;
  for (const auto& schema : contents.schemas()) {
    schema_names[schema.oid()] = schema.name();
    catalog->schemas_.push_back(schema.name());
  }
  std::sort(catalog->schemas_.begin(), catalog->schemas_.end());

  catalog->relations_.reserve(contents.relations_size());
  for (const auto& from : contents.relations()) {
    Relation& to = catalog->relations_.emplace_back();
    to.oid = from.oid();
    to.schema_oid = from.schema_oid();
    to.schema = schema_names[from.schema_oid()];
    to.name = from.name();
    to.kind = static_cast<RelationKind>(FirstChar(from.relkind(), 'r'));
    for (const auto& column : from.columns()) {
      to.columns.push_back(
          {column.name(), static_cast<int16_t>(column.attnum()), column.type_oid(), column.generated()});
    }
    std::sort(to.columns.begin(), to.columns.end(),
              [](const Column& a, const Column& b) { return a.attnum < b.attnum; });
    to.view_definition = from.view_definition();
    to.parents.assign(from.parents().begin(), from.parents().end());
    to.has_triggers = from.has_triggers();
    to.has_rules = from.has_rules();
  }
  for (size_t i = 0; i < catalog->relations_.size(); ++i) {
    const Relation& relation = catalog->relations_[i];
    catalog->relation_by_name_[relation.name].push_back(static_cast<uint32_t>(i));
    catalog->relation_by_oid_[relation.oid] = static_cast<uint32_t>(i);
    for (Oid parent : relation.parents) catalog->children_.emplace(parent, i);
  }

  catalog->functions_.reserve(contents.functions_size());
  for (const auto& from : contents.functions()) {
    Function& to = catalog->functions_.emplace_back();
    to.oid = from.oid();
    to.schema = schema_names[from.schema_oid()];
    to.name = from.name();
    to.argument_types.assign(from.argument_types().begin(), from.argument_types().end());
    to.return_type = from.return_type();
    to.volatility = FirstChar(from.volatility(), 'v');
    to.kind = FirstChar(from.kind(), 'f');
    to.language = from.language();
    to.security_definer = from.security_definer();
    to.returns_set = from.returns_set();
    to.variadic = from.variadic();
    to.source = from.source();
  }
  for (size_t i = 0; i < catalog->functions_.size(); ++i) {
    catalog->function_by_name_[catalog->functions_[i].name].push_back(static_cast<uint32_t>(i));
  }

  catalog->schemas_with_operators_.assign(contents.schemas_with_operators().begin(),
                                          contents.schemas_with_operators().end());
  for (const auto& type : contents.types()) catalog->type_names_[type.oid()] = type.name();
  catalog->server_version_ = contents.server_version();
  catalog->knows_system_relations_ = catalog->FindRelation("pg_catalog", "pg_class") != nullptr;
  catalog->knows_system_functions_ = !catalog->FindFunctions({}, "pg_catalog", "lower").empty();
  return catalog;
}

std::string_view Catalog::TypeName(Oid type) const {
  const auto it = type_names_.find(type);
  return it == type_names_.end() ? std::string_view() : std::string_view(it->second);
}

const Relation* Catalog::FindRelation(std::string_view schema, std::string_view name) const {
  auto it = relation_by_name_.find(AbslView(name));
  if (it == relation_by_name_.end()) return nullptr;
  for (const uint32_t place : it->second) {
    if (relations_[place].schema == schema) return &relations_[place];
  }
  return nullptr;
}

const Relation* Catalog::FindRelation(Oid oid) const {
  auto it = relation_by_oid_.find(oid);
  return it == relation_by_oid_.end() ? nullptr : &relations_[it->second];
}

const Relation* Catalog::Resolve(const std::vector<std::string>& search_path, std::string_view name) const {
  const bool listed = std::find(search_path.begin(), search_path.end(), "pg_catalog") != search_path.end();
  if (!listed) {
    if (const Relation* relation = FindRelation("pg_catalog", name)) return relation;
  }
  for (const std::string& schema : search_path) {
    if (const Relation* relation = FindRelation(schema, name)) return relation;
  }
  return nullptr;
}

std::vector<const Function*> Catalog::FindFunctions(const std::vector<std::string>& search_path,
                                                    std::string_view schema, std::string_view name) const {
  std::vector<const Function*> found;
  auto it = function_by_name_.find(AbslView(name));
  if (it == function_by_name_.end()) return found;
  for (const uint32_t place : it->second) {
    const Function& function = functions_[place];
    const bool visible =
        schema.empty() ? function.schema == "pg_catalog" ||
                             std::find(search_path.begin(), search_path.end(), function.schema) != search_path.end()
                       : function.schema == schema;
    if (visible) found.push_back(&function);
  }
  return found;
}

std::vector<const Function*> Catalog::FindFunctions(std::string_view name) const {
  std::vector<const Function*> found;
  auto it = function_by_name_.find(AbslView(name));
  if (it == function_by_name_.end()) return found;
  for (const uint32_t place : it->second) found.push_back(&functions_[place]);
  return found;
}

bool Catalog::HasSchema(std::string_view schema) const {
  return std::binary_search(schemas_.begin(), schemas_.end(), schema);
}

std::vector<const Relation*> Catalog::Descendants(Oid relation) const {
  std::vector<const Relation*> found;
  std::vector<Oid> open = {relation};
  while (!open.empty()) {
    const Oid parent = open.back();
    open.pop_back();
    auto [begin, end] = children_.equal_range(parent);
    for (auto it = begin; it != end; ++it) {
      const Relation* child = &relations_[it->second];
      // A child may have several parents that are all descendants.
      if (child->oid == relation || std::find(found.begin(), found.end(), child) != found.end()) continue;
      found.push_back(child);
      open.push_back(child->oid);
    }
  }
  return found;
}

bool Catalog::SchemaHasOperators(std::string_view schema) const {
  return std::find(schemas_with_operators_.begin(), schemas_with_operators_.end(), schema) !=
         schemas_with_operators_.end();
}

}  // namespace postern::sql
