#include <charconv>
#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "sidecar/catalog/catalog_loader.h"

namespace postern::sidecar {
namespace {

absl::Status Unexpected(std::string_view what) {
  return Error(absl::StatusCode::kInternal, "CATALOG_ROW_UNEXPECTED",
               fmt::format("the catalog of the database has a row that cannot be read: {}", what));
}

// Reads the fields of one row in order; the first that does not fit makes it fail.
class Fields {
 public:
  explicit Fields(CatalogRow row) : row_(row) {}

  template <typename Integer>
  Integer Number() {
    Integer value = 0;
    const std::string_view text = Text();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) Fail("a number");
    return value;
  }

  std::string_view Text() {
    if (next_ < row_.size() && row_[next_]) return *row_[next_++];
    Fail("a text");
    return {};
  }

  std::string_view TextOrNull() {
    if (next_ < row_.size()) return row_[next_++].value_or(std::string_view());
    Fail("a text or NULL");
    return {};
  }

  bool Bool() {
    const std::string_view text = Text();
    if (text != "t" && text != "f") Fail("a boolean");
    return text == "t";
  }

  absl::Status Finish() {
    if (next_ != row_.size()) Fail("no further column");
    return std::move(status_);
  }

 private:
  void Fail(std::string_view expected) {
    if (status_.ok()) status_ = Unexpected(fmt::format("{} was expected in column {}", expected, next_));
  }

  CatalogRow row_;
  size_t next_ = 0;
  absl::Status status_;
};

}  // namespace

absl::Status CatalogBuilder::AddServer(CatalogRow row) {
  Fields fields(row);
  contents_.set_server_version(fields.Number<int32_t>());
  return fields.Finish();
}

absl::Status CatalogBuilder::AddSchema(CatalogRow row) {
  Fields fields(row);
  auto* schema = contents_.add_schemas();
  schema->set_oid(fields.Number<uint32_t>());
  schema->set_name(std::string(fields.Text()));
  return fields.Finish();
}

absl::Status CatalogBuilder::AddRelation(CatalogRow row) {
  Fields fields(row);
  auto* relation = contents_.add_relations();
  relation->set_oid(fields.Number<uint32_t>());
  relation->set_schema_oid(fields.Number<uint32_t>());
  relation->set_name(std::string(fields.Text()));
  relation->set_relkind(std::string(fields.Text()));
  relation->set_view_definition(std::string(fields.TextOrNull()));
  relation->set_has_triggers(fields.Bool());
  relation->set_has_rules(fields.Bool());
  relations_[relation->oid()] = relation;
  return fields.Finish();
}

absl::Status CatalogBuilder::AddColumn(CatalogRow row) {
  Fields fields(row);
  const auto owner = relations_.find(fields.Number<uint32_t>());
  if (owner == relations_.end()) return absl::OkStatus();  // of a temporary table
  auto* column = owner->second->add_columns();
  column->set_name(std::string(fields.Text()));
  column->set_attnum(fields.Number<int16_t>());
  column->set_type_oid(fields.Number<uint32_t>());
  column->set_generated(fields.Bool());
  column->set_not_null(fields.Bool());
  return fields.Finish();
}

absl::Status CatalogBuilder::AddType(CatalogRow row) {
  Fields fields(row);
  auto* type = contents_.add_types();
  type->set_oid(fields.Number<uint32_t>());
  type->set_name(std::string(fields.Text()));
  return fields.Finish();
}

absl::Status CatalogBuilder::AddParent(CatalogRow row) {
  Fields fields(row);
  const auto child = relations_.find(fields.Number<uint32_t>());
  const auto parent = fields.Number<uint32_t>();
  // Partitions of indexes are in pg_inherits, too.
  if (child != relations_.end()) child->second->add_parents(parent);
  return fields.Finish();
}

absl::Status CatalogBuilder::AddFunction(CatalogRow row) {
  Fields fields(row);
  auto* function = contents_.add_functions();
  function->set_oid(fields.Number<uint32_t>());
  function->set_schema_oid(fields.Number<uint32_t>());
  function->set_name(std::string(fields.Text()));
  std::string_view types = fields.Text();
  while (!types.empty()) {
    uint32_t type = 0;
    const auto [end, error] = std::from_chars(types.data(), types.data() + types.size(), type);
    if (error != std::errc()) return Unexpected("argument types of a function");
    function->add_argument_types(type);
    types.remove_prefix(static_cast<size_t>(end - types.data()));
    if (types.starts_with(' ')) types.remove_prefix(1);
  }
  function->set_return_type(fields.Number<uint32_t>());
  function->set_volatility(std::string(fields.Text()));
  function->set_kind(std::string(fields.Text()));
  function->set_language(std::string(fields.Text()));
  function->set_security_definer(fields.Bool());
  function->set_returns_set(fields.Bool());
  function->set_variadic(fields.Bool());
  function->set_source(std::string(fields.TextOrNull()));
  return fields.Finish();
}

absl::Status CatalogBuilder::AddOperatorSchema(CatalogRow row) {
  Fields fields(row);
  contents_.add_schemas_with_operators(std::string(fields.Text()));
  return fields.Finish();
}

}  // namespace postern::sidecar
