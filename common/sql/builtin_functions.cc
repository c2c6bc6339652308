#include "common/sql/builtin_functions.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

namespace postern::sql::internal {
namespace {

// SQL from text, files, large objects, other backends, replication, locks that outlive the statement. Listed by name
// to say why; what no list holds is treated the same.
constexpr std::string_view kUnsafeFunctions[] = {
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "cursor_to_xml",
    "cursor_to_xmlschema",
    "table_to_xml",
    "table_to_xmlschema",
    "table_to_xml_and_xmlschema",
    "schema_to_xml",
    "schema_to_xmlschema",
    "schema_to_xml_and_xmlschema",
    "database_to_xml",
    "database_to_xmlschema",
    "database_to_xml_and_xmlschema",
    "ts_stat",
    "ts_rewrite",
    "lo_close",
    "lo_creat",
    "lo_create",
    "lo_export",
    "lo_from_bytea",
    "lo_get",
    "lo_import",
    "lo_lseek",
    "lo_lseek64",
    "lo_open",
    "lo_put",
    "lo_tell",
    "lo_tell64",
    "lo_truncate",
    "lo_truncate64",
    "lo_unlink",
    "loread",
    "lowrite",
    "pg_read_file",
    "pg_read_binary_file",
    "pg_ls_dir",
    "pg_stat_file",
    "pg_terminate_backend",
    "pg_cancel_backend",
    "pg_reload_conf",
    "pg_rotate_logfile",
    "pg_switch_wal",
    "pg_promote",
    "pg_logical_emit_message",
    "pg_logical_slot_get_changes",
    "pg_logical_slot_peek_changes",
    "pg_create_logical_replication_slot",
    "pg_create_physical_replication_slot",
    "pg_drop_replication_slot",
    "pg_advisory_lock",
    "pg_advisory_xact_lock",
    "pg_try_advisory_lock",
    "pg_export_snapshot",
    "pg_stat_reset",
};

constexpr std::string_view kStatisticsFunctions[] = {
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "pg_stat_get_backend_activity_start",
    "pg_stat_get_backend_client_addr",
    "pg_stat_get_backend_client_port",
    "pg_stat_get_backend_dbid",
    "pg_stat_get_backend_idset",
    "pg_stat_get_backend_pid",
    "pg_stat_get_backend_start",
    "pg_stat_get_backend_userid",
    "pg_stat_get_backend_wait_event",
    "pg_stat_get_backend_wait_event_type",
    "pg_stat_get_backend_xact_start",
    "pg_stat_get_db_numbackends",
    "pg_stat_get_progress_info",
    "pg_stat_get_subscription",
    "pg_stat_get_subscription_stats",
    "pg_stat_get_wal_receiver",
    "pg_stat_get_wal_senders",
    "pg_mcv_list_items",
    "pg_cursor",
    "pg_prepared_statement",
    "pg_stat_statements",
};

constexpr std::string_view kStatisticsRelations[] = {
    "pg_statistic",
    "pg_stats",
    "pg_statistic_ext_data",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
    "pg_stat_activity",
    "pg_stat_statements",
    "pg_stat_statements_info",
    "pg_stat_replication",
    "pg_stat_wal_receiver",
    "pg_stat_subscription",
    "pg_stat_progress_analyze",
    "pg_stat_progress_basebackup",
    "pg_stat_progress_cluster",
    "pg_stat_progress_copy",
    "pg_stat_progress_create_index",
    "pg_stat_progress_vacuum",
    "pg_prepared_statements",
    "pg_cursors",
    "pg_authid",
    "pg_shadow",
    "pg_user_mapping",
    "pg_user_mappings",
    "pg_largeobject",
    "pg_subscription",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_file_settings",
    "pg_replication_slots",
    "user_mapping_options",
};

std::vector<std::string_view> Words(std::string_view text) {
  std::vector<std::string_view> words;
  size_t begin = 0;
  while ((begin = text.find_first_not_of(" \n", begin)) != std::string_view::npos) {
    const size_t end = std::min(text.find_first_of(" \n", begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

std::unordered_set<std::string_view> WordSet(std::string_view text) {
  const std::vector<std::string_view> words = Words(text);
  return {words.begin(), words.end()};
}

std::unordered_map<std::string_view, std::vector<std::string_view>> MakeColumns() {
  std::unordered_map<std::string_view, std::vector<std::string_view>> columns;
  std::string_view rest = kFunctionColumns;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size() - 1);
    std::vector<std::string_view> words = Words(rest.substr(0, end));
    if (words.size() > 1) columns[words[0]].assign(words.begin() + 1, words.end());
    rest.remove_prefix(end + 1);
  }
  return columns;
}

std::unordered_map<std::string_view, BuiltinClass> MakeClasses() {
  std::unordered_map<std::string_view, BuiltinClass> classes;
  for (std::string_view name : Words(kHarmlessFunctions)) classes[name] = BuiltinClass::kHarmless;
  for (std::string_view name : kUnsafeFunctions) classes[name] = BuiltinClass::kUnsafe;
  for (std::string_view name : kStatisticsFunctions) classes[name] = BuiltinClass::kStatistics;
  classes["currval"] = BuiltinClass::kSequenceRead;
  classes["nextval"] = BuiltinClass::kSequenceWrite;
  classes["setval"] = BuiltinClass::kSequenceWrite;
  classes["set_config"] = BuiltinClass::kSetConfig;
  classes["pg_notify"] = BuiltinClass::kNotify;
  classes["pg_sleep"] = BuiltinClass::kSleep;
  classes["pg_sleep_for"] = BuiltinClass::kSleep;
  classes["pg_sleep_until"] = BuiltinClass::kSleep;
  return classes;
}

}  // namespace

BuiltinClass ClassifyBuiltin(std::string_view name) {
  static const std::unordered_map<std::string_view, BuiltinClass> classes = MakeClasses();
  auto it = classes.find(name);
  return it == classes.end() ? BuiltinClass::kNotListed : it->second;
}

bool GathersRows(std::string_view name) {
  constexpr std::string_view kNames[] = {"array_agg",       "string_agg",       "json_agg", "jsonb_agg",
                                         "json_object_agg", "jsonb_object_agg", "xmlagg",   "range_agg"};
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

bool IsBuiltinOperator(std::string_view name) {
  static const std::unordered_set<std::string_view> names = WordSet(kOperators);
  return names.contains(name);
}

bool IsBuiltinScalarType(std::string_view name) {
  static const std::unordered_set<std::string_view> names = WordSet(kScalarTypes);
  return names.contains(name);
}

bool IsUnsafeExtensionFunction(std::string_view name) {
  static const std::unordered_set<std::string_view> names = {
      "connectby",
      "xpath_table",
      "get_raw_page",
      "heap_page_items",
      "heap_page_item_attrs",
      "bt_page_items",
      "pg_logdir_ls",
      "plperl_call_handler",
      "http",
      "http_get",
      "http_post",
      "net_http_get",
      "pg_stat_statements",
      "pg_background_launch",
  };
  constexpr std::string_view kPrefixes[] = {"dblink", "crosstab",    "pg_file_",      "pg_read_",      "pg_ls_",
                                            "lo_",    "pg_logical_", "postgres_fdw_", "pg_background_"};
  if (names.contains(name)) return true;
  for (std::string_view prefix : kPrefixes) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

bool IsStatisticsRelation(std::string_view name) {
  static const std::unordered_set<std::string_view> names(std::begin(kStatisticsRelations),
                                                          std::end(kStatisticsRelations));
  return names.contains(name);
}

std::vector<std::string_view> BuiltinColumns(std::string_view name) {
  static const std::unordered_map<std::string_view, std::vector<std::string_view>> columns = MakeColumns();
  auto it = columns.find(name);
  return it == columns.end() ? std::vector<std::string_view>() : it->second;
}

}  // namespace postern::sql::internal
