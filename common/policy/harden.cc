#include "common/policy/harden.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/policy/compiled.h"
#include "common/sql/analysis.h"
#include "fmt/format.h"
#include "fmt/ranges.h"

namespace postern::policy {
namespace {

using sql::Operation;
using sql::RelationKind;

constexpr Operation kRightVerbs[] = {Operation::kSelect, Operation::kInsert, Operation::kUpdate, Operation::kDelete,
                                     Operation::kTruncate};

std::string Identifier(std::string_view name) {
  std::string quoted = "\"";
  for (const char c : name) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

std::string TextLiteral(std::string_view text) {
  std::string quoted = text.find('\\') == std::string_view::npos ? "'" : "E'";
  for (const char c : text) quoted.append(c == '\'' || c == '\\' ? 2 : 1, c);
  return quoted + '\'';
}

std::string TableName(const sql::Relation& relation) {
  return Identifier(relation.schema) + "." + Identifier(relation.name);
}

bool IsSystem(std::string_view schema) { return schema == "information_schema" || schema.substr(0, 3) == "pg_"; }

bool HoldsRows(const sql::Relation& relation) {
  switch (relation.kind) {
    case RelationKind::kTable:
    case RelationKind::kPartitionedTable:
    case RelationKind::kView:
    case RelationKind::kMaterializedView:
    case RelationKind::kForeignTable:
      return true;
    default:
      return false;
  }
}

// Columns of one relation that a role needs, by verb.
struct Rights {
  std::map<Operation, std::set<std::string>> columns;
  bool whole_delete = false;
  bool truncate = false;
};

// The policies of one role.
class RoleWriter {
 public:
  RoleWriter(std::string role, const std::vector<const v1::Policy*>& policies, const std::vector<v1::Policy>& all,
             const HardenOptions& options, const sql::Catalog& catalog)
      : role_(std::move(role)), options_(options), catalog_(catalog) {
    for (const v1::Policy* policy : policies) documents_.push_back(CompileDocument(*policy));
    for (const v1::Policy& policy : all) {
      const CompiledDocument document = CompileDocument(policy);
      masks_.insert(masks_.end(), document.masks.begin(), document.masks.end());
    }
  }

  std::string Write() {
    std::vector<std::string> names;
    for (const CompiledDocument& document : documents_) names.push_back(document.name);
    Line("");
    Line("-- Sessions as {}: policies {}.", Identifier(role_), fmt::join(names, ", "));
    Line("DO $postern$ BEGIN");
    Line("  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {}) THEN", TextLiteral(role_));
    Line("    CREATE ROLE {} NOLOGIN NOINHERIT;", Identifier(role_));
    Line("  END IF;");
    Line("END $postern$;");
    Line("REVOKE pg_read_all_data, pg_write_all_data FROM {};", Identifier(role_));
    // From 16 on each membership says for itself whether its rights are had without SET ROLE.
    constexpr int kMembershipsHaveOptions = 160000;
    Line("GRANT {} TO {}{};", Identifier(role_), Identifier(options_.login_role),
         catalog_.server_version() >= kMembershipsHaveOptions ? " WITH INHERIT FALSE, SET TRUE" : "");
    for (const sql::Relation& relation : catalog_.relations()) {
      if (!IsSystem(relation.schema) && HoldsRows(relation)) Relation(relation);
    }
    for (const std::string& schema : used_schemas_)
      Line("GRANT USAGE ON SCHEMA {} TO {};", Identifier(schema), Identifier(role_));
    for (const std::string& schema : inserted_schemas_) {
      Line("GRANT USAGE ON ALL SEQUENCES IN SCHEMA {} TO {};", Identifier(schema), Identifier(role_));
    }
    Proof();
    return std::move(out_);
  }

 private:
  template <typename... Args>
  void Line(fmt::format_string<Args...> format, Args&&... args) {
    out_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
  }

  // Masked by whichever policy, by its own name or a relative's; of views what shows such a column.
  std::set<std::string> Masked(const sql::Relation& relation) const {
    std::set<std::string> masked;
    const Relations relatives = RelativesOf(relation, catalog_);
    for (const CompiledMask& mask : masks_) {
      const auto names = [&](const sql::Relation& each) {
        return mask.schema.Matches(each.schema) && mask.relation.Matches(each.name);
      };
      const bool is_named = names(relation) || std::any_of(relatives.begin(), relatives.end(),
                                                           [&](const sql::Relation* each) { return names(*each); });
      if (!is_named) continue;
      for (const sql::Column& column : relation.columns) {
        if (mask.column.Matches(column.name)) masked.insert(column.name);
      }
    }
    return masked;
  }

  // What a view shows of masked columns; everything, where that cannot be told.
  std::set<std::string> MaskedThrough(const sql::Relation& view) const {
    std::set<std::string> masked = Masked(view);
    const bool is_view = view.kind == RelationKind::kView || view.kind == RelationKind::kMaterializedView;
    if (!is_view) return masked;
    const auto analysis = sql::Analyze("SELECT * FROM " + TableName(view), catalog_, sql::SessionView());
    const bool known = analysis.ok() && analysis->statements.size() == 1 && !analysis->statements[0].unanalysable &&
                       analysis->statements[0].outputs_known;
    if (!known) {
      for (const sql::Column& column : view.columns) masked.insert(column.name);
      return masked;
    }
    for (const sql::OutputColumn& output : analysis->statements[0].outputs) {
      const bool shows =
          output.opaque || std::any_of(output.sources.begin(), output.sources.end(), [&](auto source) {
            const sql::Relation* base = catalog_.FindRelation(source.relation);
            if (base == nullptr || base->oid == view.oid) return false;
            const std::set<std::string> columns = Masked(*base);
            return std::any_of(base->columns.begin(), base->columns.end(), [&](const sql::Column& column) {
              return (source.attnum == 0 || column.attnum == source.attnum) && columns.contains(column.name);
            });
          });
      if (shows) masked.insert(output.name);
    }
    return masked;
  }

  Rights RightsOn(const sql::Relation& relation, const std::set<std::string>& masked) const {
    Rights rights;
    const auto contains = [](const std::vector<std::string>& list, const std::string& text) {
      return std::find(list.begin(), list.end(), text) != list.end();
    };
    const auto add = [&](Operation verb, const CompiledRule* rule) {
      for (const sql::Column& column : relation.columns) {
        if (verb == Operation::kSelect && masked.contains(column.name)) continue;
        const bool fits = rule == nullptr || ((rule->only.empty() || contains(rule->only, column.name)) &&
                                              !contains(rule->except, column.name));
        if (fits) rights.columns[verb].insert(column.name);
      }
    };
    sql::Effect effect;
    effect.object_kind = sql::ObjectKind::kRelation;
    effect.schema = relation.schema;
    effect.name = relation.name;
    for (const CompiledDocument& document : documents_) {
      for (const CompiledRule& rule : document.rules) {
        if (!rule.grants() || rule.on_token) continue;
        for (const Operation verb : kRightVerbs) {
          if (!rule.verbs.Contains(verb)) continue;
          effect.operation = verb;
          if (!ObjectCovered(rule, effect)) continue;
          if (verb == Operation::kDelete) rights.whole_delete = true;
          if (verb == Operation::kTruncate) rights.truncate = true;
          const bool has_columns = verb != Operation::kDelete && verb != Operation::kTruncate;
          if (has_columns) add(verb, &rule);
          // The gate lets an UPDATE and a DELETE read their own table in WHERE.
          if (verb == Operation::kUpdate || verb == Operation::kDelete) add(Operation::kSelect, nullptr);
        }
      }
    }
    return rights;
  }

  void Relation(const sql::Relation& relation) {
    const std::set<std::string> masked = MaskedThrough(relation);
    const Rights rights = RightsOn(relation, masked);
    const std::string table = TableName(relation);
    Line("REVOKE ALL ON {} FROM {};", table, Identifier(role_));
    for (const std::string& column : masked) unreadable_.emplace_back(table, column);
    bool any = rights.whole_delete || rights.truncate;
    for (const auto& [verb, columns] : rights.columns) {
      if (columns.empty()) continue;
      any = true;
      std::vector<std::string> quoted;
      for (const std::string& column : columns) quoted.push_back(Identifier(column));
      constexpr std::pair<Operation, std::string_view> kWords[] = {
          {Operation::kSelect, "SELECT"}, {Operation::kInsert, "INSERT"}, {Operation::kUpdate, "UPDATE"}};
      const auto* word = std::find_if(std::begin(kWords), std::end(kWords),
                                      [verb = verb](const auto& each) { return each.first == verb; });
      Line("GRANT {} ({}) ON {} TO {};", word->second, fmt::join(quoted, ", "), table, Identifier(role_));
      if (verb == Operation::kInsert) inserted_schemas_.insert(relation.schema);
    }
    if (rights.whole_delete) Line("GRANT DELETE ON {} TO {};", table, Identifier(role_));
    if (rights.truncate) Line("GRANT TRUNCATE ON {} TO {};", table, Identifier(role_));
    if (any) used_schemas_.insert(relation.schema);
  }

  // Rights come by other ways, too: PUBLIC, memberships, ownership.
  void Proof() {
    if (unreadable_.empty()) return;
    Line("DO $postern$ DECLARE one record; BEGIN");
    Line("  FOR one IN SELECT * FROM (VALUES");
    for (size_t i = 0; i < unreadable_.size(); ++i) {
      Line("    ({}, {}){}", TextLiteral(unreadable_[i].first), TextLiteral(unreadable_[i].second),
           i + 1 < unreadable_.size() ? "," : ") AS masked(relation, col) LOOP");
    }
    for (const std::string& role : {role_, options_.login_role}) {
      Line("    IF pg_catalog.has_column_privilege({}, one.relation, one.col, 'SELECT') THEN", TextLiteral(role));
      Line(
          "      RAISE EXCEPTION 'role % can still read % of %: look at its memberships, at PUBLIC and at who owns "
          "it',");
      Line("        {}, one.col, one.relation;", TextLiteral(role));
      Line("    END IF;");
    }
    Line("  END LOOP;");
    Line("END $postern$;");
  }

  const std::string role_;
  const HardenOptions& options_;
  const sql::Catalog& catalog_;
  std::vector<CompiledDocument> documents_;
  std::vector<CompiledMask> masks_;
  std::set<std::string> used_schemas_, inserted_schemas_;
  std::vector<std::pair<std::string, std::string>> unreadable_;
  std::string out_;
};

bool SpeaksOf(const v1::Policy& policy, const TargetView& target) {
  const auto fits = [](const auto& patterns, const std::string& text) {
    return patterns.empty() || std::any_of(patterns.begin(), patterns.end(),
                                           [&](const std::string& pattern) { return Pattern(pattern).Matches(text); });
  };
  return fits(policy.targets().names(), target.name) && fits(policy.targets().databases(), target.database) &&
         fits(policy.targets().env(), target.env);
}

}  // namespace

absl::StatusOr<std::string> HardenSql(const std::vector<v1::Policy>& policies, const HardenOptions& options,
                                      const sql::Catalog& catalog) {
  std::map<std::string, std::vector<const v1::Policy*>> by_role;
  std::vector<v1::Policy> speaking;
  for (const v1::Policy& policy : policies) {
    if (SpeaksOf(policy, options.target)) speaking.push_back(policy);
  }
  for (const v1::Policy& policy : speaking) {
    std::string role = policy.session().role();
    if (role.empty()) role = options.default_role.empty() ? options.login_role : options.default_role;
    if (role == options.login_role) {
      return Error(absl::StatusCode::kFailedPrecondition, "SHARED_ROLE",
                   fmt::format("sessions of policy {} run as {}, the role that the sidecar logs in as", policy.name(),
                               options.login_role),
                   "give the policy a role of its own (`session: {role: …}`), or the target a --default-role");
    }
    by_role[role].push_back(&policy);
  }
  if (by_role.empty()) {
    return Error(
        absl::StatusCode::kFailedPrecondition, "NO_POLICY",
        fmt::format("no policy speaks of target {} and database {}", options.target.name, options.target.database),
        "apply the policies first, or give their files with --policy");
  }
  std::string sql = fmt::format(
      "-- Rights for sessions through Postern on {}, database {}. Run it as a superuser, and again after each change "
      "of\n"
      "-- policy or schema: psql -v ON_ERROR_STOP=1 -f FILE. It changes nothing unless all of it succeeds.\n"
      "-- A masked column is then not shown masked any more: Postgres refuses it.\n"
      "BEGIN;\n"
      "-- The sidecar's role only opens sessions; it has no rights of its own.\n"
      "ALTER ROLE {} NOINHERIT;\n"
      "REVOKE pg_read_all_data, pg_write_all_data FROM {};\n",
      options.target.name, options.target.database, Identifier(options.login_role), Identifier(options.login_role));
  for (const auto& [role, of_role] : by_role) sql += RoleWriter(role, of_role, speaking, options, catalog).Write();
  return sql + "COMMIT;\n";
}

}  // namespace postern::policy
