#include "common/sql/settings.h"

#include <algorithm>
#include <unordered_set>

#include "absl/strings/ascii.h"
#include "common/base/strings.h"
#include "fmt/format.h"

namespace postern::sql {
namespace internal {
namespace {

std::string Lower(std::string_view text) { return absl::AsciiStrToLower(AbslView(text)); }

// Settings that change only presentation, resources or plans.
const std::unordered_set<std::string_view>& HarmlessSettings() {
  static const std::unordered_set<std::string_view> names = {
      "application_name",
      "array_nulls",
      "bytea_output",
      "commit_delay",
      "constraint_exclusion",
      "cpu_index_tuple_cost",
      "cpu_operator_cost",
      "cpu_tuple_cost",
      "cursor_tuple_fraction",
      "datestyle",
      "deadlock_timeout",
      "default_statistics_target",
      "default_transaction_deferrable",
      "default_transaction_isolation",
      "effective_cache_size",
      "effective_io_concurrency",
      "extra_float_digits",
      "force_parallel_mode",
      "from_collapse_limit",
      "gin_fuzzy_search_limit",
      "gin_pending_list_limit",
      "hash_mem_multiplier",
      "idle_in_transaction_session_timeout",
      "idle_session_timeout",
      "intervalstyle",
      "jit",
      "jit_above_cost",
      "jit_inline_above_cost",
      "jit_optimize_above_cost",
      "join_collapse_limit",
      "lc_messages",
      "lc_monetary",
      "lc_numeric",
      "lc_time",
      "lock_timeout",
      "logical_decoding_work_mem",
      "maintenance_work_mem",
      "max_parallel_maintenance_workers",
      "max_parallel_workers",
      "max_parallel_workers_per_gather",
      "max_stack_depth",
      "min_parallel_index_scan_size",
      "min_parallel_table_scan_size",
      "parallel_leader_participation",
      "parallel_setup_cost",
      "parallel_tuple_cost",
      "plan_cache_mode",
      "random_page_cost",
      "search_path",
      "seq_page_cost",
      "statement_timeout",
      "stats_fetch_consistency",
      "synchronize_seqscans",
      "tcp_keepalives_count",
      "tcp_keepalives_idle",
      "tcp_keepalives_interval",
      "tcp_user_timeout",
      "temp_buffers",
      "timezone",
      "timezone_abbreviations",
      "transaction_deferrable",
      "transaction_isolation",
      "work_mem",
      "xmlbinary",
  };
  return names;
}

// Settings that are harmless at one value only, the one that analysis and enforcement count on.
bool IsPinnedValue(std::string_view name, std::string_view value) {
  const std::string lower = Lower(value);
  const bool on = lower == "on" || lower == "true" || lower == "1" || lower == "yes" || lower == "t";
  if (name == "standard_conforming_strings" || name == "default_transaction_read_only" ||
      name == "transaction_read_only" || name == "row_security" || name == "check_function_bodies") {
    return on;
  }
  if (name == "client_encoding") return lower == "utf8" || lower == "utf-8" || lower == "unicode";
  if (name == "client_min_messages") return lower == "notice" || lower == "warning" || lower == "error";
  if (name == "session_replication_role") return lower == "origin";
  return false;
}

}  // namespace

Operation SettingOperation(std::string_view name, const std::optional<std::string>& value) {
  if (name == "role" || name == "session_authorization" || name == "is_superuser") return Operation::kSetRole;
  if (HarmlessSettings().contains(name)) return Operation::kSet;
  if (name.starts_with("geqo") || name.starts_with("enable_")) return Operation::kSet;
  if (value.has_value() && IsPinnedValue(name, *value)) return Operation::kSet;
  return Operation::kSetProtected;
}

std::string SearchPathProblem(std::string_view value) {
  const std::vector<std::string> schemas = SplitSearchPath(value);
  const auto listed = std::find(schemas.begin(), schemas.end(), "pg_catalog");
  if (listed == schemas.end() || listed == schemas.begin()) return {};
  return fmt::format(
      "search_path puts {} before pg_catalog, so that its functions and operators would replace Postgres's own",
      schemas.front());
}

}  // namespace internal

std::vector<std::string> SplitSearchPath(std::string_view value) {
  std::vector<std::string> schemas;
  size_t i = 0;
  const auto skip_spaces = [&] {
    while (i < value.size() && absl::ascii_isspace(static_cast<unsigned char>(value[i]))) ++i;
  };
  skip_spaces();
  if (i == value.size()) return schemas;
  while (true) {
    skip_spaces();
    std::string schema;
    if (i < value.size() && value[i] == '"') {
      ++i;
      while (true) {
        if (i >= value.size()) return {};
        if (value[i] == '"') {
          if (i + 1 < value.size() && value[i + 1] == '"') {
            ++i;
          } else {
            break;
          }
        }
        schema += value[i++];
      }
      ++i;
    } else {
      while (i < value.size() && value[i] != ',' && !absl::ascii_isspace(static_cast<unsigned char>(value[i]))) {
        schema += absl::ascii_tolower(static_cast<unsigned char>(value[i++]));
      }
      if (schema.empty()) return {};
    }
    schemas.push_back(std::move(schema));
    skip_spaces();
    if (i == value.size()) return schemas;
    if (value[i++] != ',') return {};
  }
}

}  // namespace postern::sql
