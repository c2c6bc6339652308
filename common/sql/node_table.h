// One row per node tag of Postgres's parse tree: what analysis does with it. Internal to common/sql.
//
// A tag without a row is refused where it is met, and a test fails: it walks every tag that the grammar can produce.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/sql/analyzer.h"

namespace postern::sql::internal {

enum class NodeRole : uint8_t {
  kUnlisted,    // no row
  kStatement,   // may stand alone: has a StatementRow
  kExpression,  // may stand where a value does: has an ExpressionHandler
  kPart,        // part of another node, which handles it
  kNotRaw,      // made by Postgres after parsing; never in a raw tree
};

struct StatementRow {
  ::NodeTag tag_number;
  StatementKind kind;
  std::string_view tag;
  Analyzer::StatementHandler handler;
  // For Analyzer::Simple: the one effect.
  Operation operation = Operation::kSelect;
};

// nullptr if it is not a statement that may stand alone.
const StatementRow* StatementRowOf(::NodeTag tag);
// nullptr if it is not an expression.
Analyzer::ExpressionHandler ExpressionHandlerOf(::NodeTag tag);
NodeRole RoleOf(::NodeTag tag);

}  // namespace postern::sql::internal
