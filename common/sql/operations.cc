#include <algorithm>
#include <iterator>

#include "common/sql/analysis.h"
#include "fmt/format.h"

namespace postern::sql {
namespace {

struct OperationRow {
  Operation operation;
  std::string_view name;
  bool writes;
  bool changes_catalog;
};

// In the order of the enum.
constexpr OperationRow kOperations[] = {
    {Operation::kSelect, "select", false, false},
    {Operation::kInsert, "insert", true, false},
    {Operation::kUpdate, "update", true, false},
    {Operation::kDelete, "delete", true, false},
    {Operation::kTruncate, "truncate", true, false},
    {Operation::kLock, "lock", false, false},
    {Operation::kCopyOut, "copy_out", false, false},
    {Operation::kCopyIn, "copy_in", true, false},
    {Operation::kMaintain, "maintain", true, false},
    {Operation::kCall, "call", true, false},
    {Operation::kExplain, "explain", false, false},
    {Operation::kCreate, "create", true, true},
    {Operation::kAlter, "alter", true, true},
    {Operation::kDrop, "drop", true, true},
    {Operation::kComment, "comment", true, false},
    {Operation::kGrant, "grant", true, true},
    {Operation::kSet, "set", false, false},
    {Operation::kShow, "show", false, false},
    {Operation::kTransaction, "transaction", false, false},
    {Operation::kPrepare, "prepare", false, false},
    {Operation::kCursor, "cursor", false, false},
    {Operation::kListen, "listen", false, false},
    {Operation::kNotify, "notify", true, false},
    {Operation::kDiscard, "discard", false, false},
    {Operation::kSetRole, "set_role", false, true},
    {Operation::kSetProtected, "set_protected", false, false},
    {Operation::kCopyFile, "copy_file", true, false},
    {Operation::kCopyProgram, "copy_program", true, false},
    {Operation::kLoad, "load", true, true},
    {Operation::kAlterSystem, "alter_system", true, false},
    {Operation::kCreateFunction, "create_function", true, true},
    {Operation::kDoBlock, "do_block", true, true},
    {Operation::kExtension, "extension", true, true},
    {Operation::kReplication, "replication", true, true},
    {Operation::kFunctionCall, "function_call", true, false},
    {Operation::kUnsafeFunction, "unsafe_function", true, false},
    {Operation::kTwoPhase, "two_phase", true, false},
    {Operation::kRoleAdmin, "role_admin", true, true},
    {Operation::kForeign, "foreign", true, true},
    {Operation::kDatabaseAdmin, "database_admin", true, true},
    {Operation::kStatistics, "statistics", false, false},
};
static_assert(std::size(kOperations) == static_cast<size_t>(Operation::kCount));

constexpr bool InOrder() {
  for (size_t i = 0; i < std::size(kOperations); ++i) {
    if (kOperations[i].operation != static_cast<Operation>(i)) return false;
  }
  return true;
}
static_assert(InOrder());

const OperationRow& Row(Operation operation) { return kOperations[static_cast<size_t>(operation)]; }

}  // namespace

std::string_view OperationName(Operation operation) {
  return operation < Operation::kCount ? Row(operation).name : std::string_view("unknown");
}

std::optional<Operation> OperationFromName(std::string_view name) {
  for (const OperationRow& row : kOperations) {
    if (row.name == name) return row.operation;
  }
  return std::nullopt;
}

bool OperationWrites(Operation operation) { return Row(operation).writes; }

bool OperationChangesCatalog(Operation operation) { return Row(operation).changes_catalog; }

std::string Effect::ToString() const {
  std::string text(OperationName(operation));
  if (!name.empty()) {
    text += ' ';
    if (!schema.empty()) text += schema + '.';
    text += name;
  }
  if (all_columns) {
    text += " (*)";
  } else if (!columns.empty()) {
    text += fmt::format(" ({})", fmt::join(columns, ", "));
  }
  if (derived) text += " [derived]";
  return text;
}

}  // namespace postern::sql
